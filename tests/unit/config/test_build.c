/*
 * What settings say together, and all errors of a file at once.
 */
#include "support.h"

#include "names.h"

static void test_listen(void **state)
{
    (void)state;
    static const char open[] = "other machines can reach it, and whoever can may run any script; list the "
                               "web servers in allowed_clients, or "
                               "listen on 127.0.0.1 or a unix socket\n";
    char expected[1024];
    snprintf(expected, sizeof expected,
             "E4: address = \"0.0.0.0:9000\": %sE5: address = \"[::]:9000\": %sE6: address = "
             "\"lb.example:9000\": %s",
             open, open, open);
    check_load(
        GROUP
        "[listen]\naddress = 127.0.0.1:9000, 0.0.0.0:9000\naddress = [::]:9000\naddress = lb.example:9000, "
        "[::1]:9000\n",
        expected);
    config_free(load_text("[listen]\naddress = 0.0.0.0:9000\nallowed_clients = 192.0.2.0/24\n" GROUP));
    config_free(load_text("[listen]\nallowed_clients =\n  192.0.2.0/24\naddress = 0.0.0.0:9000\n" GROUP));
    check_load(GROUP
               "[listen]\naddress = unix:/run/a\n  127.0.0.1:9000 unix:/run/a\naddress = localhost:9000\n",
               "E5: address = \"unix:/run/a\": the same socket is already in the list; remove one\n"
               "E6: address = \"localhost:9000\": the same socket is already in the list; remove one\n");
    check_load(GROUP "[listen]\naddress = unix:@x\n", "E4: address = \"unix:@x\": any user of this machine "
                                                      "could connect to an abstract socket; listen on a "
                                                      "path\n");
}

static void test_keepalive(void **state)
{
    (void)state;
    check_load(GROUP "[upstream]\nqueue = 3\nkeepalive = on\n",
               "E5: keepalive = on: without a cap, idle connections could take all of the application's "
               "processes; set "
               "connections to one less than it has\n");
    config_free(load_text(GROUP "[upstream]\nkeepalive = on\nconnections = 1\n"));
    config_free(load_text(GROUP "[upstream]\nkeepalive = off\n"));
}

static void test_select(void **state)
{
    (void)state;
    check_load(GROUP "max_elements = 3\nselect = hops:4\n",
               "E4: select = hops:4: more than the 3 elements that are read; raise max_elements\n");
    check_load(GROUP "select = hops:65\n",
               "E3: select = hops:65: more than the 64 elements that are read; raise max_elements\n");
    config_free(load_text(GROUP "select = hops:100\nmax_elements = 100\n"));
    check_load(GROUP "select = leftmost\n", "W3: select = leftmost: believes what the client itself wrote, "
                                            "so any client can choose its address; use "
                                            "recursive unless a proxy removes what clients send\n");
}

static void test_access(void **state)
{
    (void)state;
    static const char warning[] =
        "allow and deny: a client that is in neither is let in; to refuse it, add 0.0.0.0/0 and "
        "::/0 to deny\n";
    char expected[256];
    snprintf(expected, sizeof expected, "W5: %s", warning);
    check_load(GROUP "[access]\ndeny = 192.0.2.9\nallow = 192.0.2.0/24\n", expected);
    snprintf(expected, sizeof expected, "W4: %s", warning);
    check_load(GROUP "[access]\nallow = 192.0.2.0/24\ndeny = 0.0.0.0/0\n", expected);
    check_load(GROUP "[access]\nallow = ::/0\ndeny = 192.0.2.9\n", expected);
    config_free(load_text(GROUP "[access]\nallow = 192.0.2.0/24, ::/0\ndeny = 0.0.0.0/0\n"));
    config_free(load_text(GROUP "[access]\nallow = 192.0.2.0/24\n"));
    config_free(load_text(GROUP "[access]\ndeny = 192.0.2.0/24\n"));
    check_load(
        GROUP "[access]\nallow = all\ndeny = 1.2.3\n",
        "E4: allow = \"all\": cannot resolve the host name: Name or service not known; write an address, a "
        "block "
        "such as 192.0.2.0/24, loopback, link-local, private, unix: or a host name\n"
        "W4: allow and deny: a client that is in neither is let in; to refuse it, add 0.0.0.0/0 and ::/0 to "
        "deny\n"
        "E5: deny = \"1.2.3\": not an address; write an address, a block such as 192.0.2.0/24, loopback, "
        "link-local, private, unix: or a host name\n");
}

#define HTTPOXY                                                                                              \
    "clients send this header to redirect the application's own requests (httpoxy), and it is always "       \
    "dropped; "                                                                                              \
    "name the header that holds the client's address\n"
#define NO_CLIENT                                                                                            \
    "this header holds no client's address; name the one that does, and see accept for this one\n"

static void test_headers(void **state)
{
    (void)state;
    check_load(GROUP "header = Proxy\n", "E3: header = \"Proxy\": " HTTPOXY);
    check_load(GROUP "header = pRoXy\n", "E3: header = \"pRoXy\": " HTTPOXY);
    check_load(GROUP "header = X-Forwarded-Proto\n", "E3: header = \"X-Forwarded-Proto\": " NO_CLIENT);
    check_load(GROUP "header = x_forwarded_port\n", "E3: header = \"x_forwarded_port\": " NO_CLIENT);
    check_load(GROUP "header = X-Forwarded-Host\n", "E3: header = \"X-Forwarded-Host\": " NO_CLIENT);
    check_load(GROUP "header = Host\n", "E3: header = \"Host\": " NO_CLIENT);
    char text[400];
    char name[257];
    memset(name, 'h', 256);
    name[256] = '\0';
    snprintf(text, sizeof text, GROUP "header = %s\n", name);
    check_load(text,
               "E3: header = "
               "\"hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh...\": "
               "too long for a header's name; write one of at most 255 bytes\n");
    name[255] = '\0';
    snprintf(text, sizeof text, GROUP "header = %s\n", name);
    struct config *config = load_text(text);
    assert_string_equal(config->policy->groups[0].header, name);
    config_free(config);
    config_free(load_text(GROUP "header = CF-Connecting-IP\n"));
    config_free(load_text(GROUP "header = Forwarded\n"));
    config_free(load_text(GROUP "header = X-My-Own\n"));
}

static void test_default_header(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[SETTINGS]\nHEADER=X-Real-IP\n[proxy a]\ntrust = 192.0.2.1\n[proxy b]\ntrust = 192.0.2.2\nheader = "
        "Forwarded\n",
        "[proxy a]\ntrust = 192.0.2.1\n[proxy b]\nheader = Forwarded\ntrust = 192.0.2.2\n[Settings]\nheader "
        "= X-Real-IP\n",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *config = load_text(texts[i]);
        assert_string_equal(config->policy->groups[0].header, "X-Real-IP");
        assert_string_equal(config->policy->groups[1].header, "Forwarded");
        config_free(config);
    }
    check_load("[SETTINGS]\r\nHEADER=Proxy\r\n[proxy a]\ntrust = 192.0.2.1\n[proxy b]\ntrust = 192.0.2.2\n",
               "E2: header = \"Proxy\": " HTTPOXY);
    check_load("[SETTINGS]\nHEADERS=X\n" GROUP,
               "E2: \"HEADERS\": no such key in [SETTINGS]; did you mean \"HEADER\"?\n");
}

static void test_required_parameter(void **state)
{
    (void)state;
    static const char *const managed[] = {
        "REMOTE_ADDR", "REMOTE_PORT",    "REMOTE_HOST",
        "REALIP_X",    "HTTP_PROXY",     "HTTP_X_FORWARDED_FOR",
        "HTTP_HOST",   "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_PROTO",
        "HTTPS",       "REQUEST_SCHEME", "SERVER_PORT",
        "SERVER_NAME", "HTTP_X_MY_OWN",  "HTTP_FORWARDED",
    };
    for (size_t i = 0; i < COUNT(managed); i++) {
        char text[256];
        char expected[256];
        snprintf(text, sizeof text, GROUP "require_param = %s:v\nheader = X-My-Own\n", managed[i]);
        snprintf(expected, sizeof expected,
                 "E3: require_param = \"%s:...\": the shim changes or removes this parameter itself; use one "
                 "of its own for "
                 "the secret\n",
                 managed[i]);
        check_load(text, expected);
    }
    config_free(load_text(GROUP "require_param = HTTP_X_MY_SECRET:v\n"));
    config_free(load_text(GROUP "require_param = SSL_CLIENT_S_DN_CN:proxy\n"));
    /* The header of another group counts too. */
    check_load(GROUP "require_param = HTTP_X_MY_OWN:v\n[proxy b]\ntrust = 192.0.2.2\nheader = X-My-Own\n",
               "E3: require_param = \"HTTP_X_MY_OWN:...\": the shim changes or removes this parameter "
               "itself; use one of its "
               "own for the secret\n");
}

/* All of it */

static void test_all_errors_in_order(void **state)
{
    (void)state;
    char folder[256];
    char expected[8000];
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(expected, sizeof expected,
             "E1: \"key = x\": outside of any section; write a section such as [realip] above it\n"
             "E3: address = \"0.0.0.0:99\": other machines can reach it, and whoever can may run any script; "
             "list the web "
             "servers in allowed_clients, or listen on 127.0.0.1 or a unix socket\n"
             "E4: mode = \"0999\": not a file mode; write octal digits from 0 to 0777, as in 0660\n"
             "E5: [upsteam]: no such section; did you mean [upstream]?\n"
             "E7: keepalive = on: without a cap, idle connections could take all of the application's "
             "processes; set "
             "connections to one less than it has\n"
             "E8: read_timeout = \"60\": a duration needs its unit; write ms, s, m or h behind the number, "
             "as in 5s\n"
             "E9: control character 0x1b in column 1; remove it\n"
             "E10: [proxy cdn]: trusts nobody; give it the proxies' addresses with trust or trust_file\n"
             "E11: header = \"Proxy\": clients send this header to redirect the application's own requests "
             "(httpoxy), and "
             "it is always dropped; name the header that holds the client's address\n"
             "E12: select = hops:70: more than the 64 elements that are read; raise max_elements\n"
             "E13: \"x\": text behind \"]\"; put it on a line of its own, a comment behind \" ;\"\n"
             "W14: trust = \"10.0.0.1/8\": bits are set behind the prefix; taken as 10.0.0.0/8\n"
             "E14: trust = \"10.1\": not an address; write an address, a block such as 192.0.2.0/24, "
             "loopback, link-local, "
             "private, unix: or a host name\n"
             "E15: trust_file = \"nofile\": cannot read %s/nofile: No such file or directory\n"
             "E16: accept = \"protto\": not one of its words; write for, proto, port or host\n"
             "W18: allow and deny: a client that is in neither is let in; to refuse it, add 0.0.0.0/0 and "
             "::/0 to deny\n"
             "E20: \"junk\": no \"=\" in this line; write KEY = VALUE, and \"#\" in front of a comment\n",
             folder);
    check_load("key = x\n"
               "[listen]\n"
               "address = 0.0.0.0:99\n"
               "mode = 0999\n"
               "[upsteam]\n"
               "[upstream]\n"
               "keepalive = on\n"
               "read_timeout = 60\n"
               "\033\n"
               "[proxy cdn]\n"
               "header = Proxy\n"
               "select = hops:70\n"
               "[proxy lb] x\n"
               "trust = 10.0.0.1/8 10.1\n"
               "trust_file = nofile\n"
               "accept = for, protto\n"
               "[access]\n"
               "allow = 192.0.2.0/24\n"
               "deny = 192.0.2.1\n"
               "junk\n",
               expected);
}

static void test_earlier_messages_stay(void **state)
{
    (void)state;
    struct messages messages = {0};
    messages_add(&messages, true, "other.ini", 9, "earlier");
    write_text(INI, GROUP);
    struct config *config = config_load(INI, &messages);
    assert_non_null(config);
    config_free(config);
    check_messages(&messages, "Eother.ini:9: earlier\n");
}

static bool is_allowed(const struct config *config, const char *text)
{
    struct address address = address_parse_peer(slice_of(text));
    return cidr_set_find(config->status.allow, &address) >= 0;
}

static void test_status(void **state)
{
    (void)state;
    struct config *config = load_text("[status]\npath = /s\n" GROUP);
    assert_string_equal(config->status.path, "/s");
    assert_true(is_allowed(config, "127.1.2.3"));
    assert_true(is_allowed(config, "::1"));
    assert_false(is_allowed(config, "192.0.2.1"));
    assert_false(is_allowed(config, "unix:"));
    config_free(config);

    config = load_text("[status]\nallow = 192.0.2.0/24\n  unix:\npath = /s\n" GROUP);
    assert_false(is_allowed(config, "127.0.0.1"));
    assert_true(is_allowed(config, "192.0.2.9"));
    assert_true(is_allowed(config, "unix:/x"));
    config_free(config);

    check_load("[status]\npath = /s\nallow = 192.0.2.300\n" GROUP,
               "E3: allow = \"192.0.2.300\": not an address; write an address, a block such as 192.0.2.0/24, "
               "loopback, link-local, private, unix: or a host name\n");
    check_load("[status]\nallow = 192.0.2.1\n" GROUP,
               "W2: allow: there is no status page that it could be about; add path to [status]\n");
    char path[1002] = "/";
    memset(path + 1, 'x', sizeof path - 2);
    char text[1200];
    struct messages messages = {0};
    snprintf(text, sizeof text, "[status]\npath = %.1000s\n" GROUP, path);
    config_free(load_text(text));
    snprintf(text, sizeof text, "[status]\npath = %.1001s\n" GROUP, path);
    write_text(INI, text);
    assert_null(config_load(INI, &messages));
    assert_non_null(strstr(messages.list[0].text, "too long for the path of a page"));
    messages_free(&messages);
}

static void test_trust_files(void **state)
{
    (void)state;
    struct config_trust_file file;
    write_text("one.txt", "192.0.2.1 192.0.2.2\n# 192.0.2.3\n198.51.100.0/24\n");
    write_text("two.txt", "192.0.2.9\n");
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, "one.txt", times, 0), 0);
    struct config *config = load_text("[proxy a]\ntrust_file = one.txt\n"
                                      "[proxy b]\ntrust_file = two.txt one.txt\n");
    assert_true(config_find_trust_file(config, 0, NULL, &file));
    assert_string_equal(file.group, "a");
    assert_string_equal(strrchr(file.path, '/'), "/one.txt");
    assert_int_equal(file.entries, 3);
    assert_int_equal(file.modified, 1000000000);
    assert_true(config_find_trust_file(config, 1, NULL, &file));
    assert_string_equal(file.group, "b");
    assert_string_equal(strrchr(file.path, '/'), "/two.txt");
    assert_int_equal(file.entries, 1);
    assert_true(file.modified > 1000000000);
    assert_false(config_find_trust_file(config, 2, NULL, &file));
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_default_header),
        cmocka_unit_test(test_required_parameter),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_trust_files),
        cmocka_unit_test(test_all_errors_in_order),
        cmocka_unit_test(test_earlier_messages_stay),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
