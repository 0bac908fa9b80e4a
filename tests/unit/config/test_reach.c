/*
 * Where a process has to get at to go on with a configuration, and whether another one asks for more.
 */
#include "support.h"

#include "names.h"

#include "config/reach.h"

#define ONE      "[proxy z]\ntrust = 10.0.0.0/8\n"
#define UPSTREAM ONE "[upstream]\naddress = unix:/run/app\n"
#define WAY_OUT                                                                                              \
    "; `fcgi-realip upgrade` and a restart make another sandbox, and sandbox = no in [process] none\n"

static struct reach of(const char *text)
{
    struct reach reach;
    struct config *config = load_text(text);
    assert_int_equal(reach_make(&reach, config), 0);
    config_free(config);
    return reach;
}

static bool has(char **list, const char *path)
{
    while (list && *list && strcmp(*list, path) != 0)
        list++;
    return list && *list;
}

/* "DIR" in the expected text is the test's folder. */
static void check_covers_at(const struct reach *reach, const char *text, const char *expected, int line)
{
    struct messages messages = {0};
    struct config *config = load_text(text);
    bool covers = reach_covers(reach, config, &messages);
    char *said = join_messages(&messages);
    if (strcmp(said, expected) != 0)
        print_error("got:\n%swant:\n%s", said, expected);
    _assert_true(strcmp(said, expected) == 0, "messages", __FILE__, line);
    _assert_true(covers == (expected[0] == '\0'), "covers", __FILE__, line);
    free(said);
    messages_free(&messages);
    config_free(config);
}
#define check_covers(reach, text, expected) check_covers_at(reach, text, expected, __LINE__)

static void test_folders(void **state)
{
    (void)state;
    char folder[128];
    write_text("list.txt", "192.0.2.0/24\n");
    mkdir("lists", 0755);
    mkdir("real", 0755);
    write_text("real/list.txt", "192.0.2.0/24\n");
    assert_int_equal(symlink("../real/list.txt", "lists/list.txt"), 0);
    struct reach reach = of(UPSTREAM "[proxy a]\ntrust_file = lists/list.txt, list.txt\n"
                                     "[log]\nerror = /log/one/error\naccess = /log/access\n");
    assert_true(has(reach.read, support_folder));
    snprintf(folder, sizeof folder, "%s/lists", support_folder);
    assert_true(has(reach.read, folder));
    snprintf(folder, sizeof folder, "%s/real", support_folder);
    assert_true(has(reach.read, folder));
    assert_true(has(reach.write, "/log/one") && has(reach.write, "/log"));
    assert_true(has(reach.write, "/var/log/fcgi-realip"));
    assert_false(has(reach.read, "/log"));
    assert_false(reach.names);
    reach_free(&reach);
}

static void test_less_is_covered(void **state)
{
    (void)state;
    mkdir("lists", 0755);
    write_text("lists/one.txt", "192.0.2.0/24\n");
    struct reach reach = of(UPSTREAM "[proxy a]\ntrust = lb.example\n[log]\naccess = /log/access\n");
    check_covers(&reach, UPSTREAM, "");
    check_covers(&reach, UPSTREAM "[proxy a]\ntrust_file = lists/one.txt\n", "");
    check_covers(&reach,
                 UPSTREAM "[log]\nerror = /log/below/error\naccess = /var/log/fcgi-realip/access.log\n", "");
    check_covers(&reach, UPSTREAM "[log]\nerror = syslog\naccess = stdout\n", "");
    check_covers(&reach, ONE "[upstream]\naddress = localhost:9000\n", "");
    reach_free(&reach);
}

static void test_more_is_not(void **state)
{
    (void)state;
    static char folder[] = "/tmp/fcgi-realip-other-XXXXXX";
    char text[256], expected[512], path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/list.txt", folder);
    write_text(path, "192.0.2.0/24\n");
    struct reach reach = of(UPSTREAM "[log]\nerror = /log/error\n");
    snprintf(text, sizeof text, UPSTREAM "[proxy a]\ntrust_file = %s\n", path);
    snprintf(expected, sizeof expected,
             "E cannot read files in %s: the sandbox that was made at the start does not reach "
             "there" WAY_OUT,
             folder);
    check_covers(&reach, text, expected);
    unlink(path);
    rmdir(folder);
    check_covers(&reach, UPSTREAM "[log]\nerror = /logs/error\n",
                 "E cannot write log files in /logs: the sandbox that was made at the start does not reach "
                 "there" WAY_OUT);
    reach_free(&reach);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const named[] = {
        "[proxy a]\ntrust = lb.example\n",
        "[access]\ndeny = lb.example\n",
        "[listen]\naddress = localhost:9000\n",
        "[listen]\naddress = unix:/run/x\nowner = 0\n",
        "[listen]\naddress = unix:/run/x\ngroup = 0\n",
        "[process]\nuser = 0\n",
    };
    struct reach without = of(UPSTREAM "[listen]\naddress = 127.0.0.1:9000, [::1]:9000, unix:/run/x\n");
    assert_false(without.names);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        char text[256];
        snprintf(text, sizeof text, UPSTREAM "%s", named[i]);
        struct reach reach = of(text);
        if (!reach.names)
            print_error("%s\n", named[i]);
        assert_true(reach.names);
        reach_free(&reach);
        check_covers(
            &without, text,
            "E cannot look up the names of hosts, users and groups: there were none when the sandbox "
            "was made at the start" WAY_OUT);
    }
    struct reach reach = of(ONE "[upstream]\naddress = localhost:9000\n");
    assert_true(reach.names);
    reach_free(&reach);
    reach_free(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_folders, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_less_is_covered, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_more_is_not, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(test_names, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
