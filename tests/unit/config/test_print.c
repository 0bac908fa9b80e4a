/*
 * Printing the effective settings, the way back, and the sample INI.
 */
#include "support.h"

#include "config/settings.h"
#include "names.h"

static char sample_path[4096];

static int set_up(void **state)
{
    char folder[4000];
    if (!getcwd(folder, sizeof folder))
        return -1;
    snprintf(sample_path, sizeof sample_path, "%s/../etc/fcgi-realip.ini", folder);
    return enter_folder(state);
}

/* Printing */

/* Loads what was printed; that prints the same again. */
static void check_round_trip(const char *text)
{
    struct config *config = load_text(text);
    char *first = print_text(config);
    config_free(config);
    config = load_text(first);
    char *second = print_text(config);
    config_free(config);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void test_print(void **state)
{
    (void)state;
    struct config *config =
        load_text("[listen]\naddress = unix:/run/a.sock localhost:9000\n"
                  "[proxy cdn]\ntrust = 192.0.2.0/24, 10.0.0.0/255.0.0.0 loopback unix:\nselect = hops:2\n"
                  "accept = for,proto\nrequire_param = HTTP_X_S:secret\n"
                  "[proxy b]\ntrust = lb.example\nheader = Forwarded\n"
                  "[log]\nlevel = warn\n");
    char *text = print_text(config);
    assert_string_equal(text, "[listen]\n"
                              "address = unix:/run/a.sock, localhost:9000\n"
                              "mode = 0660\n"
                              "# owner is not set: the user that runs the shim\n"
                              "# group is not set: the group that runs the shim\n"
                              "backlog = 1024\n"
                              "# allowed_clients is not set: all, over loopback only\n"
                              "\n"
                              "[upstream]\n"
                              "# address is not set: see command and cgi\n"
                              "# command is not set: see address and cgi\n"
                              "processes = 1\n"
                              "# cgi is not set: see address and command\n"
                              "# cgi_root is not set: none; cgi = script needs one\n"
                              "max_processes = 16\n"
                              "# environment is not set: no more of them\n"
                              "connections = 0\n"
                              "queue = 1024\n"
                              "queue_timeout = 30s\n"
                              "keepalive = no\n"
                              "idle_timeout = 10s\n"
                              "connect_timeout = 5s\n"
                              "send_timeout = 1m\n"
                              "read_timeout = 1m\n"
                              "request_timeout = 0\n"
                              "\n"
                              "[proxy cdn]\n"
                              "trust = 192.0.2.0/24, 10.0.0.0/255.0.0.0, loopback, unix:\n"
                              "# trust_file is not set: none\n"
                              "header = X-Forwarded-For\n"
                              "select = hops:2\n"
                              "on_malformed = stop\n"
                              "repeated = join\n"
                              "private_clients = yes\n"
                              "require_header = no\n"
                              "# require_param = HTTP_X_S:******** (set, but not shown: put the secret in "
                              "before you use this text)\n"
                              "accept = for, proto\n"
                              "max_elements = 64\n"
                              "\n"
                              "[proxy b]\n"
                              "trust = lb.example\n"
                              "# trust_file is not set: none\n"
                              "header = Forwarded\n"
                              "select = recursive\n"
                              "on_malformed = stop\n"
                              "repeated = join\n"
                              "private_clients = yes\n"
                              "require_header = no\n"
                              "# require_param is not set: none\n"
                              "accept = for\n"
                              "max_elements = 64\n"
                              "\n"
                              "[realip]\n"
                              "forwarded_for = confirmed\n"
                              "untrusted_headers = strip\n"
                              "unmanaged_headers = keep\n"
                              "trust_reload = watch\n"
                              "\n"
                              "[access]\n"
                              "# allow is not set: all\n"
                              "# deny is not set: none\n"
                              "deny_direct = no\n"
                              "\n"
                              "[log]\n"
                              "level = warning\n"
                              "error = stderr\n"
                              "access = off\n"
                              "format = combined\n"
                              "decisions = refused\n"
                              "\n"
                              "[status]\n"
                              "# path is not set: none; there is no status page\n"
                              "# allow is not set: loopback\n"
                              "\n"
                              "[process]\n"
                              "workers = 1\n"
                              "# user is not set: the user that starts the shim\n"
                              "# group is not set: that of user\n"
                              "# pid_file is not set: none\n"
                              "core_dumps = no\n"
                              "sandbox = yes\n"
                              "io_uring = yes\n"
                              "shutdown_timeout = 30s\n"
                              "\n"
                              "[limits]\n"
                              "params_size = 256k\n"
                              "requests = 10000\n"
                              "header_timeout = 15s\n");
    free(text);
    config_free(config);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_round_trip(GROUP);
    check_round_trip("[SETTINGS]\nHEADER = X-Real-IP\n" GROUP
                     "[proxy b]\ntrust = private link-local\nheader = Forwarded\n");
    check_round_trip(
        "[listen]\naddress = unix:/run/a, 0.0.0.0:9000 [::1]:9000\nmode = 777\nowner = 0\ngroup = "
        "4000000001\n"
        "backlog = 7\nallowed_clients = 192.0.2.0/24 lb.example\n[upstream]\naddress = unix:@x\nconnections "
        "= 7\n"
        "queue = 0\nqueue_timeout = 90s\nkeepalive = on\nidle_timeout = 1500ms\nrequest_timeout = 2h\n"
        "[proxy a]\ntrust = 192.0.2.1/255.255.255.255, 2001:db8::/32\nselect = hops:9\non_malformed = peer\n"
        "repeated = malformed\nprivate_clients = no\nrequire_header = on\naccept = host, for\nmax_elements = "
        "9\n"
        "[realip]\nforwarded_for = remove\n[access]\nallow = unix: 10.0.0.0/8\ndeny_direct = yes\n[log]\n"
        "level = debug\nerror = /var/log/a b.log\naccess = STDOUT\nformat = JSON\ndecisions = All\n"
        "[status]\npath = /realip-status\nallow = 10.0.0.0/8 unix:\n"
        "[process]\nworkers = 5\nshutdown_timeout = 0\n[limits]\nparams_size = 70000\n");
    check_round_trip(GROUP "[upstream]\nprocesses = 7\nmax_processes = 8\nenvironment = A\n");
    check_round_trip(GROUP "[upstream]\ncommand = /bin/sh -c 'exec  \"$0\" = [x] : #' \"\" é\nprocesses = 7\n"
                           "environment = A b,_3\n C\nkeepalive = on\nidle_timeout = 3s\nqueue = 1\n");
    check_round_trip(GROUP "[upstream]\ncommand = php-cgi\nconnections = 9\n");
    check_round_trip(GROUP "[upstream]\ncgi = '/usr/lib/my cgi/x' y ; z\nmax_processes = 1\nqueue = 0\n");
    check_round_trip(GROUP "[upstream]\ncgi = Script\ncgi_root = //srv/./my  cgi//\nread_timeout = 5m\n");
}

/* A line of so many bytes that inih would cut it. */
static void test_round_trip_of_a_long_command(void **state)
{
    (void)state;
    char text[2000];
    int length = snprintf(text, sizeof text, GROUP "[upstream]\ncommand = /bin/x");
    for (int i = 0; i < 100; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "  '%d; =#'", i);
    struct config *config = load_text(text);
    for (int i = 0; i < 100; i++) {
        char word[16];
        snprintf(word, sizeof word, "%d; =#", i);
        assert_string_equal(config->upstream.command[i + 1], word);
    }
    assert_null(config->upstream.command[101]);
    config_free(config);
    check_round_trip(text);
}

static void test_round_trip_of_a_long_list(void **state)
{
    (void)state;
    char text[8000];
    int length = snprintf(text, sizeof text, "[proxy a]\ntrust =");
    for (int i = 0; i < 200; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, " 2001:db8:%x::/48,10.0.0.%d", i, i);
    snprintf(text + length, sizeof text - (size_t)length, "\n");
    struct config *config = load_text(text);
    char *printed = print_text(config);
    for (const char *line = printed; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        assert_true(strcspn(line, "\n") <= 100 || strncmp(line, "# ", 2) == 0);
    free(printed);
    config_free(config);
    check_round_trip(text);
}

/* The sample */

static char *read_sample(void)
{
    char *text = calloc(1, 100000);
    FILE *file = fopen(sample_path, "r");
    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, 99999, file) > 0);
    fclose(file);
    return text;
}

/* The text between "[section" and the next section; NUL-terminated in out. */
static void cut_section(const char *text, const char *section, char *out)
{
    char head[64];
    snprintf(head, sizeof head, "[%s", section);
    const char *start = strstr(text, head);
    assert_non_null(start);
    const char *next = strstr(start, "\n[");
    size_t length = next ? (size_t)(next - start) + 1 : strlen(start);
    memcpy(out, start, length);
    out[length] = '\0';
}

static void test_sample(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct config *config = config_load(sample_path, &messages);
    check_messages(&messages, "");
    assert_non_null(config);
    assert_int_equal(config->listen.naddresses, 1);
    assert_string_equal(config->listen.addresses[0].text, "unix:/run/fcgi-realip/fcgi-realip.sock");
    assert_int_equal(config->upstream.naddresses, 1);
    assert_string_equal(config->upstream.addresses[0].text, "unix:/run/php/php-fpm.sock");
    assert_int_equal(config->policy->ngroups, 1);
    check_trusted(config, "127.0.0.1", true);
    check_trusted(config, "::1", true);
    check_trusted(config, "10.0.0.1", false);
    config_free(config);
}

static void test_sample_shows_every_setting(void **state)
{
    (void)state;
    char *text = read_sample();
    char *section = malloc(strlen(text) + 1);
    assert_non_null(section);
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        char line[128];
        cut_section(text, setting->section, section);
        if (setting->initial)
            snprintf(line, sizeof line, "\n#%s = %s\n", setting->key, setting->initial);
        else
            snprintf(line, sizeof line, "\n#%s = ", setting->key);
        bool shown = strstr(section, line) != NULL;
        if (!shown && !setting->initial) {
            snprintf(line, sizeof line, "\n%s = ", setting->key);
            shown = strstr(section, line) != NULL;
        }
        check_number(shown, true, setting->key);
    }
    free(section);
    free(text);
}

static bool is_for(const char *line, unsigned kind)
{
    struct slice key = slice_part(slice_of(line), 0, strcspn(line, " ="));
    const struct setting *setting = settings_find(SLICE("upstream"), key);
    bool elsewhere = setting && strstr(line, "unix:/run/fcgi-realip/"); /* the address of [listen] */
    return !setting || setting->kinds == 0 || (setting->kinds & kind) || elsewhere;
}

/* Everything that the sample shows behind "#" and that is for this kind of [upstream] is right as well. */
static void check_sample_with_all(unsigned kind)
{
    char *text = read_sample();
    char *active = calloc(1, strlen(text) + 1);
    assert_non_null(active);
    char *out = active;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool setting = line[0] == '#' && (line[1] == '[' || (line[1] >= 'a' && line[1] <= 'z') ||
                                          strncmp(line, "#HEADER", 7) == 0);
        line += setting ? 1 : 0;
        if (is_for(line, kind))
            out += sprintf(out, "%s\n", line);
    }
    write_text("proxies.txt", "192.0.2.1\n");
    write_text(INI, active);
    struct messages messages = {0};
    struct config *config = config_load(INI, &messages);
    assert_int_equal(messages.errors, 0);
    assert_int_equal(messages.count, 1); /* its examples of allow and deny do not cover everybody */
    assert_non_null(strstr(messages.list[0].text, ": allow and deny: a client that is in neither is let in"));
    messages_free(&messages);
    assert_non_null(config);
    assert_string_equal(config->policy->groups[0].require_name, "HTTP_X_PROXY_SECRET");
    assert_int_equal(config->upstream.naddresses, kind == FOR_ADDRESS);
    assert_int_equal(config->upstream.command != NULL, kind == FOR_COMMAND);
    assert_int_equal(config->upstream.cgi_root != NULL, kind == FOR_SCRIPT);
    config_free(config);
    free(active);
    free(text);
}

static void test_sample_with_all_its_settings(void **state)
{
    (void)state;
    check_sample_with_all(FOR_ADDRESS);
    check_sample_with_all(FOR_COMMAND);
    check_sample_with_all(FOR_SCRIPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_a_long_command),
        cmocka_unit_test(test_round_trip_of_a_long_list),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_sample_shows_every_setting),
        cmocka_unit_test(test_sample_with_all_its_settings),
    };
    return cmocka_run_group_tests(tests, set_up, leave_folder);
}
