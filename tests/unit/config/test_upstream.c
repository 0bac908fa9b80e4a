/*
 * [upstream]: of which kind it is, what belongs to that kind, and what arrives.
 */
#include "support.h"

#include "names.h"

/* What the lines of [upstream], from line 4 on, say. */
static void check_lines_at(const char *lines, const char *expected, const char *file, int line)
{
    char text[2048];
    snprintf(text, sizeof text, GROUP "[upstream]\n%s", lines);
    check_load_at(text, expected, file, line);
}
#define check_lines(lines, expected) check_lines_at(lines, expected, __FILE__, __LINE__)

static struct config *load_lines_at(const char *lines, const char *file, int line)
{
    char text[2048];
    snprintf(text, sizeof text, GROUP "[upstream]\n%s", lines);
    return load_text_at(text, file, line);
}
#define load_lines(lines) load_lines_at(lines, __FILE__, __LINE__)

/* A vector's words, with a "|" behind each; NULL is "none". Returns out. */
static char *join(char *const *words, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "%s", words ? "" : "none");
    for (; words && *words && at < size; words++)
        at += (size_t)snprintf(out + at, size - at, "%s|", *words);
    return out;
}

static void check_words_at(char *const *words, const char *expected, const char *file, int line)
{
    char text[512];
    join(words, text, sizeof text);
    if (strcmp(text, expected) != 0)
        print_error("got %s, want %s\n", text, expected);
    _assert_true(strcmp(text, expected) == 0, "words", file, line);
}
#define check_words(words, expected) check_words_at(words, expected, __FILE__, __LINE__)

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        enum config_upstream_kind kind;
        size_t naddresses;
        const char *command, *root, *environment;
        unsigned connections;
    } rows[] = {
        {"", UPSTREAM_NONE, 0, "none", NULL, "none", 0},
        {"queue = 3\n", UPSTREAM_NONE, 0, "none", NULL, "none", 0},
        {"processes = 3\nmax_processes = 4\nenvironment = A\nkeepalive = no\ncgi_root = x\n", UPSTREAM_NONE,
         0, "none", NULL, "A|", 0},
        {"address = lb.example:9\nconnections = 5\nkeepalive = on\n", UPSTREAM_ADDRESS, 2, "none", NULL,
         "none", 5},
        {"command = php-cgi\n", UPSTREAM_COMMAND, 0, "php-cgi|", NULL, "none", 1},
        {"command = php-cgi\nkeepalive = on\n", UPSTREAM_COMMAND, 0, "php-cgi|", NULL, "none", 1},
        {"command = /usr/bin/php-cgi -b 'x y' ''\nprocesses = 1024\n", UPSTREAM_COMMAND, 0,
         "/usr/bin/php-cgi|-b|x y||", NULL, "none", 1024},
        {"command = /x\nprocesses = 4\nconnections = 0\n", UPSTREAM_COMMAND, 0, "/x|", NULL, "none", 4},
        {"command = /x\nprocesses = 4\nconnections = 40\n", UPSTREAM_COMMAND, 0, "/x|", NULL, "none", 40},
        {"command = script\nenvironment = A_1, _b\n  C\nenvironment = A_1\n", UPSTREAM_COMMAND, 0, "script|",
         NULL, "A_1|_b|C|A_1|", 1},
        {"cgi = /usr/lib/cgit/cgit.cgi\n", UPSTREAM_CGI, 0, "/usr/lib/cgit/cgit.cgi|", NULL, "none", 16},
        {"cgi = '/usr/lib/my cgi' x\nmax_processes = 65536\nenvironment = A\n", UPSTREAM_CGI, 0,
         "/usr/lib/my cgi|x|", NULL, "A|", 65536},
        {"cgi = scripts\nmax_processes = 1\n", UPSTREAM_CGI, 0, "scripts|", NULL, "none", 1},
        {"cgi = /bin/script\n", UPSTREAM_CGI, 0, "/bin/script|", NULL, "none", 16},
        {"cgi = script\ncgi_root = /srv/cgi\nmax_processes = 3\nsend_timeout = 1s\n", UPSTREAM_CGI, 0, "none",
         "/srv/cgi", "none", 3},
        {"cgi_root = /srv/cgi\ncgi = SCRIPT\n", UPSTREAM_CGI, 0, "none", "/srv/cgi", "none", 16},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct config *config = load_lines(rows[i].lines);
        const struct config_upstream *upstream = &config->upstream;
        check_number(upstream->kind, rows[i].kind, rows[i].lines);
        check_number((long long)upstream->naddresses, (long long)rows[i].naddresses, rows[i].lines);
        check_words(upstream->command, rows[i].command);
        check_words(upstream->environment, rows[i].environment);
        check_number(upstream->cgi_root != NULL, rows[i].root != NULL, rows[i].lines);
        if (rows[i].root)
            assert_string_equal(upstream->cgi_root, rows[i].root);
        check_number(upstream->connections, rows[i].connections, rows[i].lines);
        config_free(config);
    }
}

static void test_kept_connections(void **state)
{
    (void)state;
    config_free(load_lines("command = /x\nprocesses = 4\nconnections = 4\nkeepalive = on\n"));
    config_free(load_lines("address = 127.0.0.1:9\nconnections = 4\nkeepalive = on\n"));
    write_text(INI, GROUP "[upstream]\ncommand = /x\nprocesses = 4\nconnections = 5\nkeepalive = on\n");
    config_free(
        load_at("W6: connections = 5: with keepalive, the requests of more connections than processes (4) "
                "wait until a kept one is closed, unless each process serves several at a time; remove "
                "it\n",
                __FILE__, __LINE__));
}

#define LEADS_BACK "leads back with \"..\"; write the path without it\n"

static void test_roots(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *root; /* NULL: refused */
        const char *why;
    } rows[] = {
        {"/srv/cgi", "/srv/cgi", ""},
        {"/srv/cgi/", "/srv/cgi", ""},
        {"/srv/cgi///", "/srv/cgi", ""},
        {"//srv//cgi", "/srv/cgi", ""},
        {"/./srv/././cgi/.", "/srv/cgi", ""},
        {"/srv/...", "/srv/...", ""},
        {"/srv/.cgi/..x/y.", "/srv/.cgi/..x/y.", ""},
        {"/srv/my cgi, = #1", "/srv/my cgi, = #1", ""},
        {"/", "/", "W5: cgi_root = \"/\": "},
        {"//.//", "/", "W5: cgi_root = \"//.//\": "},
        {"srv/cgi", NULL, "E5: cgi_root = \"srv/cgi\": a relative path; write an absolute one\n"},
        {"\"/srv/cgi\"", NULL, "E5: cgi_root = \"\"/srv/cgi\"\": a relative path; write an absolute one\n"},
        {".", NULL, "E5: cgi_root = \".\": a relative path; write an absolute one\n"},
        {"/srv/../cgi", NULL, "E5: cgi_root = \"/srv/../cgi\": " LEADS_BACK},
        {"/..", NULL, "E5: cgi_root = \"/..\": " LEADS_BACK},
        {"/srv/../", NULL, "E5: cgi_root = \"/srv/../\": " LEADS_BACK},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        char expected[256];
        snprintf(text, sizeof text, GROUP "[upstream]\ncgi = script\ncgi_root = %s\n", rows[i].text);
        snprintf(expected, sizeof expected, "%s%s", rows[i].why,
                 rows[i].why[0] == 'W'
                     ? "lets every program of this machine be run; write the directory that the scripts are "
                       "in\n"
                     : "");
        write_text(INI, text);
        struct config *config = load_at(expected, __FILE__, __LINE__);
        check_number(config != NULL, rows[i].root != NULL, rows[i].text);
        if (config)
            assert_string_equal(config->upstream.cgi_root, rows[i].root);
        config_free(config);
    }
}

/* The line of the one that comes second is to blame, wherever the keys stand. */
static void test_several_kinds(void **state)
{
    (void)state;
    check_lines("address = unix:/a\ncommand = /x\n",
                "E5: command: where the application is, address says already in line 4; remove one of the "
                "lines\n");
    check_lines("command = /x\nqueue = 1\n[upstream]\naddress = unix:/a\n",
                "E7: address: where the application is, command says already in line 4; remove one of the "
                "lines\n");
    check_lines(
        "cgi = script\ncommand = a/b\n",
        "E5: command: where the application is, cgi says already in line 4; remove one of the lines\n");
    check_lines(
        "cgi = /x\naddress = unix:/a\ncommand = /x\nprocesses = 2\nmax_processes = 3\n",
        "E5: address: where the application is, cgi says already in line 4; remove one of the lines\n"
        "E6: command: where the application is, cgi says already in line 4; remove one of the lines\n");
    check_lines("command =\naddress = unix:/a\n",
                "E4: command: no value; write one, or remove the line\n"
                "E5: address: where the application is, command says already in line 4; remove one of the "
                "lines\n");
}

/* A line that is wrong says of which kind it is all the same. */
static void test_wrong_kind(void **state)
{
    (void)state;
    check_lines("command =\nprocesses = 2\n", "E4: command: no value; write one, or remove the line\n");
    check_lines(
        "command = \"\nprocesses = 2\n",
        "E4: command = \"\"\": a quote is not closed; close it, and mind that \" ;\" begins a comment "
        "between quotes, too\n");
    check_lines("cgi =\nmax_processes = 2\n", "E4: cgi: no value; write one, or remove the line\n");
    check_lines("cgi = script\ncgi_root =\n", "E5: cgi_root: no value; write one, or remove the line\n");
    check_lines("address = x\nprocesses = 2\n",
                "E4: address = \"x\": no port; write unix:/PATH, HOST:PORT or [IPV6]:PORT\n"
                "E5: processes: not for address, only for command; remove it\n");
}

/* Each key with each kind. */
static void test_keys_of_kinds(void **state)
{
    (void)state;
    static const char *const kinds[] = {"address", "command", "cgi", "cgi = script"};
    static const char *const beginnings[] = {"address = unix:/a\n#\n", "command = /x\n#\n", "cgi = /x\n#\n",
                                             "cgi = script\ncgi_root = /r\n"};
    static const struct {
        const char *key, *value;
        bool fits[4];
        const char *only;
    } rows[] = {
        {"processes", "2", {false, true, false, false}, "command"},
        {"max_processes", "2", {false, false, true, true}, "cgi"},
        {"environment", "A", {false, true, true, true}, "command and cgi"},
        {"connections", "2", {true, true, false, false}, "address and command"},
        {"keepalive", "no", {true, true, false, false}, "address and command"},
        {"idle_timeout", "2s", {true, true, false, false}, "address and command"},
        {"connect_timeout", "2s", {true, true, false, false}, "address and command"},
        {"queue", "2", {true, true, true, true}, ""},
        {"queue_timeout", "2s", {true, true, true, true}, ""},
        {"send_timeout", "2s", {true, true, true, true}, ""},
        {"read_timeout", "2s", {true, true, true, true}, ""},
        {"request_timeout", "2s", {true, true, true, true}, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t j = 0; j < COUNT(kinds); j++) {
            char text[256];
            char expected[256] = "";
            snprintf(text, sizeof text, "%s%s = %s\n", beginnings[j], rows[i].key, rows[i].value);
            if (!rows[i].fits[j])
                snprintf(expected, sizeof expected, "E6: %s: not for %s, only for %s; remove it\n",
                         rows[i].key, kinds[j], rows[i].only);
            check_lines(text, expected);
        }
    }
    check_lines("address = unix:/a\ncgi_root = /r\n",
                "E5: cgi_root: not for address, only for cgi = script; remove it\n");
    check_lines("command = /x\ncgi_root = /r\n",
                "E5: cgi_root: not for command, only for cgi = script; remove it\n");
    check_lines("cgi_root = r\ncgi = scripts\n",
                "E4: cgi_root: not for cgi, only for cgi = script; remove it\n");
    check_lines("cgi = /x\nidle_timeout = 0\n[upstream]\nkeepalive = on\n",
                "E5: idle_timeout = \"0\": too small; write at least 1ms\n"
                "E5: idle_timeout: not for cgi, only for address and command; remove it\n"
                "E7: keepalive: not for cgi, only for address and command; remove it\n");
}

#define RELATIVE   "a relative path; write an absolute one, or a name alone to look for it in PATH\n"
#define NO_PROGRAM "names no program; write its path, then its arguments\n"
#define ALONE      "the word script stands alone; remove the rest, or write the path of a program of that name\n"
#define NUMBERS    "not a variable's name; write letters, digits and \"_\", as in APP_ENV\n"

static void test_mistakes(void **state)
{
    (void)state;
    check_lines("command = bin/x\n", "E4: command = \"bin/x\": " RELATIVE);
    check_lines("command = ./x -y\n", "E4: command = \"./x -y\": " RELATIVE);
    check_lines("command = 'my dir/x'\n", "E4: command = \"'my dir/x'\": " RELATIVE);
    check_lines("command = '' x\n", "E4: command = \"'' x\": " NO_PROGRAM);
    check_lines("command = /bin/sh -c \"a ; b\"\n",
                "E4: command = \"/bin/sh -c \"a\": a quote is not closed; close it, and mind that \" ;\" "
                "begins a comment between quotes, too\n");
    check_lines("command = /x\n  -y\n", "E5: \"-y\": continues command, being indented, but that takes one "
                                        "value; join the lines, or remove the white space\n");
    check_lines("cgi = lib/x\n", "E4: cgi = \"lib/x\": " RELATIVE);
    check_lines("cgi = script x\n", "E4: cgi = \"script x\": " ALONE);
    check_lines("cgi = 'script'\n", "E4: cgi = \"'script'\": " ALONE);
    check_lines("cgi = script\n",
                "E4: cgi = \"script\": without cgi_root any file could be run; add it, with "
                "the directory that the scripts are in\n");
    check_lines("command = /x\nprocesses = 0\n", "E5: processes = \"0\": too small; write at least 1\n");
    check_lines("command = /x\nprocesses = 1025\n",
                "E5: processes = \"1025\": too large; write at most 1024\n");
    check_lines("cgi = /x\nmax_processes = 0\n", "E5: max_processes = \"0\": too small; write at least 1\n");
    check_lines("cgi = /x\nmax_processes = 65537\n",
                "E5: max_processes = \"65537\": too large; write at most 65536\n");
    check_lines("cgi = /x\nenvironment = LC_*, A-B\n  1A A.B \xc3\x84\n",
                "E5: environment = \"LC_*\": " NUMBERS "E5: environment = \"A-B\": " NUMBERS
                "E6: environment = \"1A\": " NUMBERS "E6: environment = \"A.B\": " NUMBERS
                "E6: environment = \"\xc3\x84\": " NUMBERS);
    /* The value may be a secret. */
    check_lines(
        "cgi = /x\nenvironment = A SECRET=hush =hush\n",
        "E5: environment = \"SECRET=...\": a value; write the name alone, and set the variable in the "
        "shim's environment\n"
        "E5: environment = \"=...\": a value; write the name alone, and set the variable in the "
        "shim's environment\n");
}

/* "# KEY is not for KIND" */
static void test_print(void **state)
{
    (void)state;
    struct config *config = load_lines("cgi = /x  'y z'\nenvironment = A B\n");
    char *text = print_text(config);
    char *start = strstr(text, "[upstream]");
    assert_non_null(start);
    char *end = strstr(start, "\n[");
    assert_non_null(end);
    *end = '\0';
    assert_string_equal(start, "[upstream]\n"
                               "# address is not for cgi\n"
                               "# command is not for cgi\n"
                               "# processes is not for cgi\n"
                               "cgi = /x  'y z'\n"
                               "# cgi_root is not for cgi\n"
                               "max_processes = 16\n"
                               "environment = A, B\n"
                               "# connections is not for cgi\n"
                               "queue = 1024\n"
                               "queue_timeout = 30s\n"
                               "# keepalive is not for cgi\n"
                               "# idle_timeout is not for cgi\n"
                               "# connect_timeout is not for cgi\n"
                               "send_timeout = 1m\n"
                               "read_timeout = 1m\n"
                               "request_timeout = 0\n");
    free(text);
    config_free(config);

    config = load_lines("cgi = Script\ncgi_root = /srv//cgi/\n");
    text = print_text(config);
    assert_non_null(
        strstr(text, "\n# processes is not for cgi = script\ncgi = Script\ncgi_root = /srv//cgi/\n"));
    free(text);
    config_free(config);
}

/* ---- a command from the command line ---- */

static struct config *load_command(const char *lines, const char *expected)
{
    static char program[] = "./a b/x";
    static char argument[] = "";
    static char *command[] = {program, argument, NULL};
    char text[1024];
    snprintf(text, sizeof text, GROUP "[upstream]\n%s", lines);
    write_text(INI, text);
    struct messages messages = {0};
    struct config *config = config_load_command(INI, command, &messages);
    check_messages(&messages, expected);
    return config;
}

static void test_given_command(void **state)
{
    (void)state;
    static const char *const overridden[] = {
        "",
        "address = unix:/a\n",
        "address = nonsense\n",
        "command = other -x\n",
        "command = \"\n",
        "cgi = script\n",
        "cgi = script\ncgi_root = relative\nmax_processes = 3\n",
        "address = unix:/a\ncommand = /x\ncgi = /y\n",
    };
    for (size_t i = 0; i < COUNT(overridden); i++) {
        struct config *config = load_command(overridden[i], "");
        assert_non_null(config);
        check_number(config->upstream.kind, UPSTREAM_COMMAND, overridden[i]);
        check_number((long long)config->upstream.naddresses, 0, overridden[i]);
        check_words(config->upstream.command, "./a b/x||");
        assert_null(config->upstream.cgi_root);
        check_number(config->upstream.connections, 1, overridden[i]);
        config_free(config);
    }
}

static void test_given_command_and_other_keys(void **state)
{
    (void)state;
    struct config *config = load_command(
        "address = unix:/a\nprocesses = 3\nenvironment = A\nkeepalive = on\nread_timeout = 7ms\n", "");
    assert_non_null(config);
    assert_int_equal(config->upstream.processes, 3);
    assert_int_equal(config->upstream.connections, 3);
    assert_true(config->upstream.keepalive);
    assert_int_equal(config->upstream.read_timeout_ms, 7);
    check_words(config->upstream.environment, "A|");
    config_free(config);
    config = load_command("cgi = /x\nconnections = 5\n", "");
    assert_non_null(config);
    assert_int_equal(config->upstream.connections, 5);
    config_free(config);
    assert_null(
        load_command("processes = 0\nenvironment = A=\n",
                     "E4: processes = \"0\": too small; write at least 1\n"
                     "E5: environment = \"A=...\": a value; write the name alone, and set the variable "
                     "in the shim's environment\n"));
}

static void test_find_line(void **state)
{
    (void)state;
    struct config *config = load_lines("\ncommand = /x\n[upstream]\nenvironment = A\nenvironment = B\n");
    assert_int_equal(config_find_line(config, "upstream", "command"), 5);
    assert_int_equal(config_find_line(config, "upstream", "environment"), 7);
    assert_int_equal(config_find_line(config, "upstream", "cgi"), 0);
    assert_int_equal(config_find_line(config, "upstream", "no such"), 0);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_kept_connections),
        cmocka_unit_test(test_roots),         cmocka_unit_test(test_several_kinds),
        cmocka_unit_test(test_wrong_kind),    cmocka_unit_test(test_keys_of_kinds),
        cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_print),
        cmocka_unit_test(test_given_command), cmocka_unit_test(test_given_command_and_other_keys),
        cmocka_unit_test(test_find_line),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
