/*
 * A configuration that takes another one's place: what it takes over, what it may not change.
 */
#include "support.h"

#include "names.h"

#define UPSTREAM "[upstream]\naddress = unix:/run/app\n"
#define LISTED   "[proxy a]\ntrust_file = list.txt\n"

/* As check_messages; "DIR" in it is the test's folder. */
static void check_said(struct messages *messages, const char *expected, int line)
{
    char *text = join_messages(messages);
    char *out = calloc(1, strlen(text) + 1);
    const char *at = text;
    for (const char *found; (found = strstr(at, support_folder)); at = found + strlen(support_folder)) {
        strncat(out, at, (size_t)(found - at));
        strcat(out, "DIR");
    }
    strcat(out, at);
    if (strcmp(out, expected) != 0)
        print_error("got:\n%swant:\n%s", out, expected);
    _assert_true(strcmp(out, expected) == 0, "messages", __FILE__, line);
    free(out);
    free(text);
    messages_free(messages);
}

/* Reads test.ini again, and compares what is said. */
static struct config *again_at(const struct config *old, const char *text, const char *expected, int line)
{
    struct messages messages = {0};
    write_text(INI, text);
    struct config *config = config_load_again(old, &messages);
    _assert_true((config != NULL) == (messages.errors == 0), "a configuration, or errors", __FILE__, line);
    check_said(&messages, expected, line);
    return config;
}
#define again(old, text, expected) again_at(old, text, expected, __LINE__)

/* Reads the trust files again. */
static struct config *trust_at(const struct config *old, const char *expected, int line)
{
    struct messages messages = {0};
    struct config *config = config_load_trust(old, &messages);
    check_said(&messages, expected, line);
    _assert_true(config != NULL, "a configuration", __FILE__, line);
    return config;
}
#define trust(old, expected) trust_at(old, expected, __LINE__)

/* ---- the whole file ---- */

static void test_a_new_text(void **state)
{
    (void)state;
    struct config *old = load_text(UPSTREAM GROUP "[log]\nlevel = debug\n");
    struct config *config = again(old, UPSTREAM "[proxy a]\ntrust = 192.0.2.2\n", "");
    check_trusted(config, "192.0.2.1", false);
    check_trusted(config, "192.0.2.2", true);
    assert_int_equal(config->log_level, 2);
    check_trusted(old, "192.0.2.1", true);
    config_free(old);
    config_free(config);
}

static void test_a_wrong_text(void **state)
{
    (void)state;
    struct config *old = load_text(UPSTREAM GROUP);
    assert_null(
        again(old, "[proxy a]\ntrust = 10.0.0.300\n[log]\nlevel = x\n",
              "E2: trust = \"10.0.0.300\": not an address; write an address, a block such as "
              "192.0.2.0/24, loopback, link-local, private, unix: or a host name\n"
              "E4: level = \"x\": not one of its words; write error, warning, warn, info or debug\n"));
    unlink(INI);
    struct messages messages = {0};
    assert_null(config_load_again(old, &messages));
    check_messages(&messages, "E cannot read the configuration: No such file or directory\n");
    config_free(old);
}

static void test_no_application(void **state)
{
    (void)state;
    struct config *old = load_text(UPSTREAM GROUP);
    struct config *none = load_text(GROUP);
    assert_null(again(old, GROUP,
                      "E no application to send to; write an [upstream] section with its address, or the "
                      "command that starts it\n"));
    struct config *config = again(none, GROUP, ""); /* the library has none anyway */
    config_free(config);
    config_free(none);
    config_free(old);
}

static void test_the_command_stays(void **state)
{
    (void)state;
    char *words[] = {"prog", "-x", NULL};
    struct messages messages = {0};
    write_text(INI, GROUP);
    struct config *old = config_load_command(INI, words, &messages);
    words[0] = NULL; /* not kept */
    assert_non_null(old);
    struct config *config = again(old, UPSTREAM GROUP, "");
    assert_int_equal(config->upstream.kind, UPSTREAM_COMMAND);
    assert_string_equal(config->upstream.command[0], "prog");
    assert_string_equal(config->upstream.command[1], "-x");
    assert_null(config->upstream.command[2]);
    config_free(old);
    config_free(config);
}

/* ---- host names ---- */

static void test_names_are_asked_again(void **state)
{
    (void)state;
    static const char text[] = UPSTREAM "[proxy a]\ntrust = lb.example lb.example\n";
    struct config *old = load_text(text);
    lookups = 0;
    struct config *config = again(old, text, "");
    assert_int_equal(lookups, 1);
    check_trusted(config, "192.0.2.7", true);
    config_free(old);
    config_free(config);
}

#define KEPT "Temporary failure in name resolution; it keeps the addresses that it had\n"

static void test_a_name_that_fails_keeps_its_addresses(void **state)
{
    (void)state;
    static const char text[] = "[upstream]\naddress = lb.example:9000\n"
                               "[proxy a]\ntrust = lb.example\n[access]\nallow = lb.example\n";
    /* Of a list's names, once each. */
    static const char said[] = "W2: address = \"lb.example:9000\": cannot resolve the name: " KEPT
                               "W6: allow = \"lb.example\": cannot resolve the host name: " KEPT;
    struct config *config = load_text(text);
    names_fail = true;
    for (int i = 0; i < 2; i++) { /* what was taken over is known as well */
        struct config *next = again(config, text, said);
        config_free(config);
        config = next;
    }
    assert_int_equal(config->upstream.naddresses, 2);
    assert_string_equal(config->upstream.addresses[1].text, "lb.example:9000");
    check_trusted(config, "192.0.2.7", true);
    check_trusted(config, "2001:db8::7", true);

    assert_null(again(config, "[proxy a]\ntrust = my_proxy\n",
                      "E2: trust = \"my_proxy\": cannot resolve the host name: Temporary failure in name "
                      "resolution; write an address, a block such as 192.0.2.0/24, loopback, link-local, "
                      "private, unix: or a host name\n"));
    names_fail = false;
    config_free(config);
}

/* ---- trust files ---- */

static void check_list(const struct config *config, const struct config *old, size_t entries, bool changed)
{
    struct config_trust_file file;
    char path[128];
    snprintf(path, sizeof path, "%s/list.txt", support_folder);
    assert_true(config_find_trust_file(config, 0, old, &file));
    assert_string_equal(file.path, path);
    assert_int_equal(file.entries, entries);
    assert_int_equal(file.changed, changed);
    assert_false(file.touched);
    assert_false(config_find_trust_file(config, 1, old, &file));
}

static bool is_touched(const struct config *config)
{
    struct config_trust_file file;
    return config_find_trust_file(config, 0, NULL, &file) && file.touched;
}

#define EMPTY                                                                                                \
    "W4: trust_file = \"list.txt\": DIR/list.txt holds no entry; write the proxies' addresses into it, one " \
    "a line\n"
#define STAYS(count) "WDIR/list.txt: its old list of " #count " addresses and blocks stays in force\n"
#define WRONG                                                                                                \
    "EDIR/list.txt:2: trust = \"10.0.0.300\": not an address; write an address, a block such as "            \
    "192.0.2.0/24, loopback, link-local, private, unix: or a host name\n"
#define MISSING "E4: trust_file = \"list.txt\": cannot read DIR/list.txt: No such file or directory\n"

static void test_an_empty_file_keeps_its_list(void **state)
{
    (void)state;
    write_text("list.txt", "192.0.2.1\n192.0.2.2\n");
    struct config *config = load_text(UPSTREAM LISTED);
    write_text("list.txt", "# nobody\n");
    for (int i = 0; i < 2; i++) {
        struct config *next = again(config, UPSTREAM LISTED, EMPTY STAYS(2));
        check_list(next, config, 2, false);
        config_free(config);
        config = next;
    }
    check_trusted(config, "192.0.2.2", true);
    config_free(config);
}

static void test_a_wrong_file_is_an_error(void **state)
{
    (void)state;
    write_text("list.txt", "192.0.2.1\n");
    struct config *old = load_text(UPSTREAM LISTED);
    write_text("list.txt", "192.0.2.2\n10.0.0.300\n");
    assert_null(again(old, UPSTREAM LISTED, WRONG));
    unlink("list.txt");
    assert_null(again(old, UPSTREAM LISTED, MISSING));
    write_text("empty.txt", "\n");
    assert_null(again(old, UPSTREAM "[proxy a]\ntrust_file = empty.txt\n",
                      "E4: trust_file = \"empty.txt\": DIR/empty.txt holds no entry; write the proxies' "
                      "addresses into it, one a line\n"));
    config_free(old);
}

/* Nothing but the trust files is looked at: not the INI, not the name servers. */
static void test_the_files_alone(void **state)
{
    (void)state;
    write_text("list.txt", "192.0.2.1 lb.example\n");
    struct config *old =
        load_text("[listen]\naddress = localhost:9001\n[upstream]\naddress = lb.example:9000\n" LISTED
                  "trust = my_proxy\n[access]\ndeny = header\n");
    write_text(INI, "[nonsense\n");
    write_text("list.txt", "192.0.2.2 lb.example\n");
    assert_true(is_touched(old));
    names_fail = true;
    struct config *config = trust(old, "");
    names_fail = false;
    check_list(config, old, 3, true);
    assert_int_equal(config->listen.naddresses, 2);
    assert_int_equal(config->upstream.naddresses, 2);
    check_trusted(config, "192.0.2.1", false);
    check_trusted(config, "192.0.2.2", true);
    check_trusted(config, "192.0.2.7", true);
    check_trusted(config, "192.0.2.8", true);
    config_free(old);
    /* The text lives on in the new one. */
    write_text("list.txt", "192.0.2.3\n");
    struct config *third = trust(config, "");
    check_list(third, config, 1, true);
    check_trusted(third, "192.0.2.3", true);
    config_free(config);
    config_free(third);
}

static void test_a_new_name_in_a_file(void **state)
{
    (void)state;
    write_text("list.txt", "192.0.2.1\n");
    struct config *old = load_text(UPSTREAM LISTED);
    write_text("list.txt", "lb.example\n");
    struct config *config = trust(old, "");
    check_trusted(config, "192.0.2.7", true);
    config_free(old);
    config_free(config);
}

/* And what is wrong with one does not keep the other from being read. */
static void test_files_that_are_of_no_use(void **state)
{
    (void)state;
    static const char two[] = UPSTREAM LISTED "[proxy b]\ntrust_file = other.txt\n";
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {{"\n10.0.0.300\n", WRONG STAYS(1)}, {"", EMPTY STAYS(1)}, {NULL, MISSING STAYS(1)}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        write_text("list.txt", "192.0.2.1\n");
        write_text("other.txt", "192.0.2.2\n");
        struct config *old = load_text(two);
        write_text("other.txt", "192.0.2.4\n");
        if (rows[i].text)
            write_text("list.txt", rows[i].text);
        else
            unlink("list.txt");
        struct config *config = trust(old, rows[i].said);
        check_trusted(config, "192.0.2.1", true);
        assert_false(is_touched(config)); /* it is known to be of no use */
        struct address address;
        assert_true(address_parse(SLICE("192.0.2.4"), &address));
        assert_int_equal(cidr_set_find(config->policy->trust, &address), 1);
        config_free(old);
        config_free(config);
    }
}

static void test_two_groups_with_one_file(void **state)
{
    (void)state;
    write_text("list.txt", "192.0.2.1/8\n");
    struct messages messages = {0};
    write_text(INI, UPSTREAM "[proxy a]\ntrust_file = list.txt\n[proxy b]\ntrust_file = list.txt\n");
    struct config *config = config_load(INI, &messages);
    assert_int_equal(messages.count, 1); /* of the host bits */
    messages_free(&messages);
    check_list(config, NULL, 1, false);
    config_free(config);
}

/* ---- what stays ---- */

#define FIXED(address, mode, clients, timeout)                                                               \
    "[listen]\naddress = " address "\nmode = " mode "\nallowed_clients = " clients                           \
    "\n[process]\nshutdown_timeout = " timeout "\n"

static void test_listen_and_process_stay(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct config *old = load_text(UPSTREAM GROUP FIXED("unix:/run/a", "0600", "192.0.2.0/24", "3s"));
    struct config *config =
        again(old, UPSTREAM GROUP FIXED("unix:/run/b 127.0.0.1:9001", "0666", "10.0.0.0/8", "4s"), "");
    config_keep_fixed(config, old, &messages);
#define CHANGED " has changed: that takes effect when the shim is started again\n"
    check_messages(&messages,
                   "W6: [listen] address" CHANGED "W7: [listen] mode" CHANGED
                   "W8: [listen] allowed_clients" CHANGED "W10: [process] shutdown_timeout" CHANGED);
    config_free(old);
    assert_int_equal(config->listen.naddresses, 1);
    assert_string_equal(config->listen.addresses[0].text, "unix:/run/a");
    assert_int_equal(config->listen.mode, 0600);
    assert_int_equal(config->shutdown_timeout_ms, 3000);
    struct address address;
    assert_true(address_parse(SLICE("192.0.2.77"), &address));
    assert_int_equal(cidr_set_find(config->listen.allowed_clients, &address), 0);

    /* It is compared with what is in force, not with what was written last. */
    struct config *third =
        again(config, UPSTREAM GROUP FIXED("unix:/run/a", "600", "192.0.2.0/24", "3000ms"), "");
    config_keep_fixed(third, config, &messages);
    check_messages(&messages, "");
    config_free(config);
    config_free(third);
}

static void test_a_setting_that_is_gone(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct config *old = load_text(UPSTREAM GROUP "[listen]\naddress = unix:/run/a\nowner = 12\n");
    struct config *config = again(old, UPSTREAM GROUP, "");
    config_keep_fixed(config, old, &messages);
    check_messages(&messages, "W [listen] address" CHANGED "W [listen] owner" CHANGED);
    assert_int_equal(config->listen.owner, 12);
    config_free(old);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_text),
        cmocka_unit_test(test_a_wrong_text),
        cmocka_unit_test(test_no_application),
        cmocka_unit_test(test_the_command_stays),
        cmocka_unit_test(test_names_are_asked_again),
        cmocka_unit_test(test_a_name_that_fails_keeps_its_addresses),
        cmocka_unit_test(test_an_empty_file_keeps_its_list),
        cmocka_unit_test(test_a_wrong_file_is_an_error),
        cmocka_unit_test(test_the_files_alone),
        cmocka_unit_test(test_a_new_name_in_a_file),
        cmocka_unit_test(test_files_that_are_of_no_use),
        cmocka_unit_test(test_two_groups_with_one_file),
        cmocka_unit_test(test_listen_and_process_stay),
        cmocka_unit_test(test_a_setting_that_is_gone),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
