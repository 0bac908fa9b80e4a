/*
 * Files as a whole: what cannot be read, sections and keys, lists, trust files.
 */
#include "support.h"

#include <sys/wait.h>
#include <time.h>

#include "names.h"

/* Files */

static void test_no_file(void **state)
{
    (void)state;
    struct messages messages = {0};
    assert_null(config_load("nothing.ini", &messages));
    assert_null(config_load("/tmp", &messages));
    assert_null(config_load("/dev/null", &messages));
    check_messages(&messages, "Enothing.ini: cannot read the configuration: No such file or directory\n"
                              "E/tmp: cannot read the configuration: it is a folder\n"
                              "E/dev/null: cannot read the configuration: it is not a regular file\n");
    config_free(NULL);
}

static void test_unreadable_file(void **state)
{
    (void)state;
    write_text(INI, GROUP);
    assert_int_equal(chmod(INI, 0), 0);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct messages messages = {0};
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(1);
        bool refused = config_load(INI, &messages) == NULL;
        FILE *out = fdopen(ends[1], "w");
        messages_print(&messages, out);
        fclose(out);
        messages_free(&messages);
        _exit(refused ? 42 : 2);
    }
    close(ends[1]);
    char text[256] = "";
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    assert_string_equal(text,
                        "fcgi-realip: error: test.ini: cannot read the configuration: Permission denied\n");
    assert_int_equal(unlink(INI), 0);
}

static void test_odd_bytes(void **state)
{
    (void)state;
    struct messages messages = {0};
    static const char nul[] = "[proxy a]\ntrust = 192.0.2.1\0.2\n";
    write_bytes(INI, nul, sizeof nul - 1);
    assert_null(config_load(INI, &messages));
    check_messages(&messages,
                   "E1: [proxy a]: trusts nobody; give it the proxies' addresses with trust or trust_file\n"
                   "E2: NUL byte in column 18; this is not a plain text file\n");
    config_free(load_text("\xEF\xBB\xBF[proxy a]\r\ntrust = 192.0.2.1\r\n  192.0.2.2\r\n"));
    check_load("", "W no [proxy NAME] section, so no proxy is trusted and every request keeps its "
                   "REMOTE_ADDR; add one\n");
}

/* Sections and keys */

static void test_sections(void **state)
{
    (void)state;
    check_load(GROUP "[realp]\n", "E3: [realp]: no such section; did you mean [realip]?\n");
    check_load(GROUP "[RealIP]\n", "E3: [RealIP]: no such section; did you mean [realip]?\n");
    check_load(GROUP "[metrics]\npath = /x\n", "E3: [metrics]: no such section\n");
    check_load(GROUP "[]\n", "E3: []: no such section\n");
    check_load(GROUP "[realip x]\n", "E3: [realip x]: no such section; did you mean [realip]?\n");
    check_load(GROUP "[Proxy cdn]\n", "E3: [Proxy cdn]: no such section; did you mean [proxy cdn]?\n");
    check_load(GROUP "[prxoy]\n", "E3: [prxoy]: no such section; did you mean [proxy NAME]?\n");
    check_load(GROUP "[cdn]\ntrust = 1.2.3.4\n", "E3: [cdn]: no such section\n");
    check_load("[proxy]\ntrust = 192.0.2.1\n", "E1: [proxy]: the proxies have no name; write [proxy NAME]\n");
    check_load(
        "[proxy a b]\ntrust = 192.0.2.1\n",
        "E1: [proxy a b]: not a name; write [proxy NAME], NAME in letters, digits, \"-\", \"_\" and \".\"\n");
    check_load("[proxy \"a\"]\ntrust = 192.0.2.1\n", "E1: [proxy \"a\"]: not a name; write [proxy NAME], "
                                                     "NAME in letters, digits, \"-\", \"_\" and \".\"\n");
    check_load(GROUP "[proxy A]\ntrust = 192.0.2.2\n[proxy  a ]\ntrust = 192.0.2.3\nselect = x\n",
               "E5: [proxy  a]: this section is already in line 1; give each its own name, or join them\n"
               "E7: select = \"x\": not one of its words; write recursive, single, leftmost or hops:N\n");
}

static void test_section_twice(void **state)
{
    (void)state;
    struct config *config =
        load_text("[realip]\nforwarded_for = keep\n" GROUP "[realip]\nuntrusted_headers = keep\n");
    assert_int_equal(config->policy->forwarded_for, FORWARDED_KEEP);
    assert_int_equal(config->policy->untrusted_headers, HEADERS_KEEP);
    config_free(config);
    check_load(
        "[realip]\nforwarded_for = keep\n" GROUP "[realip]\nforwarded_for = keep\n",
        "E6: forwarded_for: given twice, first in line 2; it takes one value, so remove one of the lines\n");
}

static void test_group_order(void **state)
{
    (void)state;
    struct config *config =
        load_text("[proxy b]\ntrust = 192.0.2.1\n[proxy a]\ntrust = 192.0.2.2\n[proxy c-1_x.y]\n"
                  "trust = unix:\nheader = X-Real-IP\n");
    assert_int_equal(config->policy->ngroups, 3);
    assert_string_equal(config->policy->groups[0].name, "b");
    assert_string_equal(config->policy->groups[1].name, "a");
    assert_string_equal(config->policy->groups[2].name, "c-1_x.y");
    struct address address;
    assert_true(address_parse(SLICE("192.0.2.2"), &address));
    assert_int_equal(cidr_set_find(config->policy->trust, &address), 1);
    address = address_parse_peer(SLICE("unix:"));
    assert_int_equal(cidr_set_find(config->policy->trust, &address), 2);
    assert_int_equal(config->policy->nheaders, 2);
    config_free(config);
}

static void test_too_many_groups(void **state)
{
    (void)state;
    FILE *file = fopen(INI, "w");
    assert_non_null(file);
    for (int i = 0; i <= POLICY_MAX_GROUPS; i++)
        fprintf(file, "[proxy p%d]\ntrust = 10.0.%d.%d\n", i, i / 256, i % 256);
    fclose(file);
    config_free(load_at("E513: [proxy p256]: too many sections of proxies; join some\n", __FILE__, __LINE__));
}

static void test_keys(void **state)
{
    (void)state;
    check_load(GROUP "trsut = 192.0.2.2\n",
               "E3: \"trsut\": no such key in [proxy a]; did you mean \"trust\"?\n");
    check_load(GROUP "Header = X\n", "E3: \"Header\": no such key in [proxy a]; did you mean \"header\"?\n");
    check_load(GROUP "[realip]\nheader = X\n",
               "E4: \"header\": no such key in [realip]; it belongs in [proxy NAME]\n");
    check_load(GROUP "keepalive = on\n",
               "E3: \"keepalive\": no such key in [proxy a]; it belongs in [upstream]\n");
    check_load(GROUP "[realip]\nthreads = 4\n", "E4: \"threads\": no such key in [realip]\n");
    check_load(GROUP "[realip]\nthreads = 4\n  5\nfrowarded_for = x\n",
               "E4: \"threads\": no such key in [realip]\n"
               "E6: \"frowarded_for\": no such key in [realip]; did you mean \"forwarded_for\"?\n");
    /* Settings of later versions do nothing yet, so they are not taken. */
    check_load(GROUP "[process]\nthreads = 2\nsandboxes = x\n[status]\npath = /x\n[state]\n",
               "E4: \"threads\": no such key in [process]\n"
               "E5: \"sandboxes\": no such key in [process]; did you mean \"sandbox\"?\n"
               "E8: [state]: no such section; did you mean [status]?\n");
}

/* Lists */

static void test_list_spellings(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[proxy a]\ntrust = 192.0.2.1, 192.0.2.2 ,192.0.2.3\t2001:db8::4\n",
        "[proxy a]\ntrust = 192.0.2.1\ntrust = 192.0.2.2\ntrust = 192.0.2.3,2001:db8::4\n",
        "[proxy a]\ntrust = 192.0.2.1 ; one\n  192.0.2.2 ; two\n\n# three\n\t192.0.2.3\n 2001:db8::4\n",
        "[proxy a]\ntrust =\n  192.0.2.1\n  192.0.2.2,\n  192.0.2.3,\n  2001:db8::4,\n",
        "[proxy a]\ntrust:192.0.2.1,\n  192.0.2.2\nselect = recursive\ntrust = 192.0.2.3\n  2001:db8::4\n",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *config = load_text(texts[i]);
        check_trusted(config, "192.0.2.1", true);
        check_trusted(config, "192.0.2.2", true);
        check_trusted(config, "192.0.2.3", true);
        check_trusted(config, "2001:db8::4", true);
        check_trusted(config, "192.0.2.4", false);
        config_free(config);
    }
}

static void test_list_mistakes(void **state)
{
    (void)state;
    check_load("[proxy a]\ntrust = 192.0.2.1 # the load balancer\n",
               "E2: trust = \"#\": not an entry; a comment behind a value begins with \" ;\"\n");
    /* "header" would resolve. */
    check_load("[proxy a]\ntrust = 192.0.2.1\n  header = X-Real-IP\n",
               "E3: \"header = X-Real-IP\": continues the line above, being indented; remove the white space "
               "in front "
               "of the key\n");
    check_load("[proxy a]\ntrust = 192.0.2.1\n  header=X-Real-IP\n",
               "E3: \"header=X-Real-IP\": continues the line above, being indented; remove the white space "
               "in front of "
               "the key\n");
    check_load(
        "[proxy a]\ntrust = 192.0.2.1\n2001:db8::/32\n10.0.0.0/8\n",
        "E3: \"2001:db8::/32\": an address without a key; to continue the list above it, indent this line\n"
        "E4: \"10.0.0.0/8\": an address without a key; to continue the list above it, indent this line\n");
    check_load("[proxy a]\ntrust =\nselect = single\n",
               "E2: trust: no value; write one, or remove the line\n");
    check_load("[proxy a]\ntrust =\n", "E2: trust: no value; write one, or remove the line\n");
    check_load("[proxy a]\ntrust =\n[realip]\n", "E2: trust: no value; write one, or remove the line\n");
    check_load("[proxy a]\ntrust = 192.0.2.1\ntrust =\n",
               "E3: trust: no value; write one, or remove the line\n");
}

static void test_long_list(void **state)
{
    (void)state;
    FILE *file = fopen(INI, "w");
    assert_non_null(file);
    int length = fprintf(file, "[proxy a]\ntrust = 198.51.100.0/24");
    for (int i = 0; length < 10000; i++)
        length += fprintf(file, ", 10.%d.%d.%d, 2001:db8:%x::/48", i % 200, i % 100, i % 50, i);
    /* At the end of the line, an entry that would be another one if the line were cut anywhere. */
    fprintf(file, ", 192.168.7.0/24\nselect = single\n");
    fclose(file);
    struct config *config = load_at("", __FILE__, __LINE__);
    assert_non_null(config);
    check_trusted(config, "198.51.100.7", true);
    check_trusted(config, "10.7.7.7", true);
    check_trusted(config, "2001:db8:77::1", true);
    check_trusted(config, "192.168.7.200", true);
    check_trusted(config, "192.168.8.1", false);
    check_trusted(config, "192.0.0.1", false);
    assert_int_equal(config->policy->groups[0].select, SELECT_SINGLE);
    config_free(config);
}

static void test_long_secret(void **state)
{
    (void)state;
    char text[512];
    char secret[301];
    for (size_t i = 0; i < 300; i++)
        secret[i] = "abc:=[];#,xyz"[i % 13];
    secret[300] = '\0';
    snprintf(text, sizeof text, GROUP "require_param = HTTP_X_SECRET:%s ; not this\n", secret);
    struct config *config = load_text(text);
    assert_string_equal(config->policy->groups[0].require_name, "HTTP_X_SECRET");
    assert_string_equal(config->policy->groups[0].require_value, secret);
    char *printed = print_text(config);
    assert_null(strstr(printed, "abc:="));
    free(printed);
    config_free(config);
}

/* Trust files */

#define TRUSTS_NOBODY "trusts nobody; give it the proxies' addresses with trust or trust_file\n"

static void test_trust_files(void **state)
{
    (void)state;
    assert_int_equal(mkdir("conf", 0755), 0);
    assert_int_equal(mkdir("conf/lists", 0755), 0);
    write_text("conf/lists/cdn.txt", "192.0.2.0/24\nset_real_ip_from 2001:db8::/32;\n");
    write_text("conf/more.txt", "RemoteIPTrustedProxy 198.51.100.1\n");
    write_text("conf/a.ini", "[proxy a]\ntrust_file = lists/cdn.txt, more.txt\ntrust = 203.0.113.1\n");
    struct messages messages = {0};
    struct config *config = config_load("conf/a.ini", &messages);
    check_messages(&messages, "");
    assert_non_null(config);
    check_trusted(config, "192.0.2.77", true);
    check_trusted(config, "2001:db8::77", true);
    check_trusted(config, "198.51.100.1", true);
    check_trusted(config, "203.0.113.1", true);
    check_trusted(config, "203.0.113.2", false);

    /* The print holds absolute paths, so it works from anywhere. */
    char folder[256];
    char expected[8400];
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(expected, sizeof expected, "trust_file = %s/conf/lists/cdn.txt\n    %s/conf/more.txt\n", folder,
             folder);
    char *printed = print_text(config);
    assert_non_null(strstr(printed, expected));
    write_text(INI, printed);
    config_free(config);
    config = load_at("", __FILE__, __LINE__);
    check_trusted(config, "2001:db8::77", true);
    config_free(config);
    free(printed);
}

static void test_trust_file_mistakes(void **state)
{
    (void)state;
    char folder[256];
    char expected[16000];
    assert_non_null(getcwd(folder, sizeof folder));
    write_text("bad.txt", "192.0.2.1\n10.0.0.0/33\n10.0.0.1/8\n");
    write_text("empty.txt", "# none\n");
    snprintf(expected, sizeof expected,
             "E3: trust_file = \"missing.txt\": cannot read %s/missing.txt: No such file or directory\n"
             "E%s/bad.txt:2: trust = \"10.0.0.0/33\": not an address; write an address, a block such as "
             "192.0.2.0/24, "
             "loopback, link-local, private, unix: or a host name\n"
             "W%s/bad.txt:3: trust = \"10.0.0.1/8\": bits are set behind the prefix; taken as 10.0.0.0/8\n"
             "E5: select = \"x\": not one of its words; write recursive, single, leftmost or hops:N\n"
             "E6: trust_file = \"empty.txt\": %s/empty.txt holds no entry; write the proxies' addresses into "
             "it, one a "
             "line\n",
             folder, folder, folder, folder);
    check_load(
        "[proxy a]\n# below\ntrust_file = missing.txt\n  bad.txt\nselect = x\ntrust_file = empty.txt\n",
        expected);
    check_load("[proxy a]\nheader = X-Real-IP\n", "E1: [proxy a]: " TRUSTS_NOBODY);
}

/* Size */

/* Processor seconds that loading a trust file with so many blocks takes. */
static double load_blocks(unsigned count)
{
    FILE *file = fopen("blocks.txt", "w");
    assert_non_null(file);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i * 7919 % count; /* not in order */
        if (i % 4 == 0)
            fprintf(file, "2001:%x:%x::/48\n", at >> 16, at & 0xffff);
        else
            fprintf(file, "%u.%u.%u.0/24\n", 1 + (at >> 16), (at >> 8) & 255, at & 255);
    }
    fclose(file);
    write_text(INI, "[proxy a]\ntrust_file = blocks.txt\n");
    clock_t before = clock();
    struct config *config = load_at("", __FILE__, __LINE__);
    clock_t after = clock();
    assert_non_null(config);
    assert_int_equal(cidr_set_count(config->policy->trust), count);
    check_trusted(config, "1.0.3.77", true);
    check_trusted(config, "0.0.3.77", false);
    config_free(config);
    return (double)(after - before) / CLOCKS_PER_SEC;
}

static void test_large_trust_file(void **state)
{
    (void)state;
    double small = load_blocks(10000);
    double large = load_blocks(100000);
    print_message("100000 blocks load in %.0f ms\n", large * 1000);
    /* Ten times as many take ten times as long, not a hundred; sanitizers and valgrind slow both down alike.
     */
    assert_true(large < 40 * small + 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_file),          cmocka_unit_test(test_unreadable_file),
        cmocka_unit_test(test_odd_bytes),        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_section_twice),    cmocka_unit_test(test_group_order),
        cmocka_unit_test(test_too_many_groups),  cmocka_unit_test(test_keys),
        cmocka_unit_test(test_list_spellings),   cmocka_unit_test(test_list_mistakes),
        cmocka_unit_test(test_long_list),        cmocka_unit_test(test_long_secret),
        cmocka_unit_test(test_trust_files),      cmocka_unit_test(test_trust_file_mistakes),
        cmocka_unit_test(test_large_trust_file),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
