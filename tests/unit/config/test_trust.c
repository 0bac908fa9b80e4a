/*
 * Entries of address lists, and trust files in the spellings of three servers.
 */
#include "support.h"

#include <time.h>

#include "config/resolve.h"
#include "config/trust.h"
#include "names.h"

#define FORMS                                                                                                \
    "not an address; write an address, a block such as 192.0.2.0/24, loopback, link-local, private, unix: "  \
    "or a "                                                                                                  \
    "host name"
#define RESOLVE                                                                                              \
    "cannot resolve the host name: Name or service not known; write an address, a block such as "            \
    "192.0.2.0/24, "                                                                                         \
    "loopback, link-local, private, unix: or a host name"

struct collected {
    char text[1024];
    size_t count;
};

static int collect(void *user, const struct cidr *block)
{
    struct collected *collected = user;
    char address[ADDRESS_TEXT_MAX + 1];
    char item[64];
    address[address_format(&block->first, address)] = '\0';
    snprintf(item, sizeof item, "%s/%u ", address, (unsigned)block->bits);
    if (strlen(collected->text) + strlen(item) < sizeof collected->text)
        strcat(collected->text, item);
    collected->count++;
    return 0;
}

static int refuse(void *user, const struct cidr *block)
{
    (void)user;
    (void)block;
    return -ENOMEM;
}

static void test_entries(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        const char *blocks;
        const char *said;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1/32 ", ""},
        {"192.0.2.0/24", "192.0.2.0/24 ", ""},
        {"10.0.0.0/255.0.0.0", "10.0.0.0/8 ", ""},
        {"2001:DB8::1", "2001:db8::1/128 ", ""},
        {"2001:db8::/32", "2001:db8::/32 ", ""},
        {"::ffff:192.0.2.0/120", "192.0.2.0/24 ", ""},
        {"10.1.2.3/8", "10.0.0.0/8 ",
         "W7: trust = \"10.1.2.3/8\": bits are set behind the prefix; taken as 10.0.0.0/8\n"},
        {"2001:db8::1/32", "2001:db8::/32 ",
         "W7: trust = \"2001:db8::1/32\": bits are set behind the prefix; taken as 2001:db8::/32\n"},
        {"unix:", "unix:/0 ", ""},
        {"UNIX:", "unix:/0 ", ""},
        {"loopback", "127.0.0.0/8 ::1/128 ", ""},
        {"Loopback", "127.0.0.0/8 ::1/128 ", ""},
        {"link-local", "169.254.0.0/16 fe80::/10 ", ""},
        {"private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 ", ""},
        {"localhost", "127.0.0.1/32 ::1/128 ", ""},
        {"lb.example", "192.0.2.7/32 2001:db8::7/128 ", ""},
        {"mapped.example", "192.0.2.9/32 ", ""},
        {"my_proxy", "192.0.2.8/32 ", ""},
        {"0.0.0.0/0", "0.0.0.0/0 ",
         "W7: trust = \"0.0.0.0/0\": trusts everybody, so that any client can choose its own address; list "
         "only your "
         "proxies\n"},
        {"::/0", "::/0 ",
         "W7: trust = \"::/0\": trusts everybody, so that any client can choose its own address; list only "
         "your "
         "proxies\n"},
        {"nowhere.example", "", "E7: trust = \"nowhere.example\": " RESOLVE "\n"},
        {"all", "", "E7: trust = \"all\": " RESOLVE "\n"},
        {"10.1", "", "E7: trust = \"10.1\": " FORMS "\n"},
        {"10", "", "E7: trust = \"10\": " FORMS "\n"},
        {"10.0.0.256", "", "E7: trust = \"10.0.0.256\": " FORMS "\n"},
        {"10.0.0.01", "", "E7: trust = \"10.0.0.01\": " FORMS "\n"},
        {"1.2.3.4.5", "", "E7: trust = \"1.2.3.4.5\": " FORMS "\n"},
        {"0x7f000001", "", "E7: trust = \"0x7f000001\": " FORMS "\n"},
        {"0x7f.1", "", "E7: trust = \"0x7f.1\": " FORMS "\n"},
        {"10.0.0.0/33", "", "E7: trust = \"10.0.0.0/33\": " FORMS "\n"},
        {"10.0.0.0/255.0.255.0", "", "E7: trust = \"10.0.0.0/255.0.255.0\": " FORMS "\n"},
        {"10.0.0.0/", "", "E7: trust = \"10.0.0.0/\": " FORMS "\n"},
        {"10.0.0.0-10.0.0.9", "", "E7: trust = \"10.0.0.0-10.0.0.9\": " FORMS "\n"},
        {"lb.example/24", "", "E7: trust = \"lb.example/24\": " FORMS "\n"},
        {"*", "", "E7: trust = \"*\": " FORMS "\n"},
        {"=", "", "E7: trust = \"=\": " FORMS "\n"},
        {"fe80::1%eth0", "",
         "E7: trust = \"fe80::1%eth0\": an address with a zone id; write it without \"%\" and what "
         "follows\n"},
        {"[::1]", "", "E7: trust = \"[::1]\": an address with brackets or a port; write the address alone\n"},
        {"1.2.3.4:80", "",
         "E7: trust = \"1.2.3.4:80\": an address with brackets or a port; write the address alone\n"},
        {"unix", "",
         "E7: trust = \"unix\": not an address; write unix: with its colon for a web server that connects "
         "over a unix "
         "socket\n"},
        {"unix:/run/x", "", "E7: trust = \"unix:/run/x\": a unix peer has no path; write unix: alone\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct collected collected = {0};
        struct messages messages = {0};
        struct memory memory = {0};
        struct trust_list list = {.add = collect,
                                  .user = &collected,
                                  .trusting = true,
                                  .key = "trust",
                                  .memory = &memory,
                                  .messages = &messages,
                                  .file = INI,
                                  .line = 7};
        trust_add_entry(&list, slice_of(rows[i].entry));
        check_text(slice_of(collected.text), slice_of(rows[i].blocks), rows[i].entry);
        check_messages(&messages, rows[i].said);
        memory_free(&memory);
    }
}

static void test_numbers_ask_nobody(void **state)
{
    (void)state;
    static const char *const entries[] = {"10.1",  "1.2.3.4", "0x7f.1",     "unix",
                                          "unix:", "private", "10.0.0.0/8", "4711"};
    struct collected collected = {0};
    struct messages messages = {0};
    struct trust_list list = {
        .add = collect, .user = &collected, .key = "trust", .messages = &messages, .file = INI};
    lookups = 0;
    for (size_t i = 0; i < COUNT(entries); i++)
        trust_add_entry(&list, slice_of(entries[i]));
    assert_int_equal(lookups, 0);
    messages_free(&messages);
}

static void test_name_syntax(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a", "a-b", "a_b", "_a", "a.b.", "A.example", "4a", "a.4b", "xn--bcher-kva.example"};
    static const char *const others[] = {"",    ".",         ".a",      "a..b", "-a",
                                         "a-",  "a.-b",      "a-.b",    "a b",  "a/b",
                                         "a:b", "a\xC3\xBC", "1.2.3.4", "0x7f", "017700000001"};
    for (size_t i = 0; i < COUNT(names); i++)
        check_number(resolve_is_name(slice_of(names[i])), true, names[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        check_number(resolve_is_name(slice_of(others[i])), false, others[i]);

    char text[300];
    memset(text, 'a', sizeof text);
    assert_true(resolve_is_name((struct slice){text, 63}));
    assert_false(resolve_is_name((struct slice){text, 64}));
    for (size_t i = 50; i < sizeof text; i += 50)
        text[i] = '.';
    assert_true(resolve_is_name((struct slice){text, 253}));
    assert_false(resolve_is_name((struct slice){text, 254}));
}

static void test_other_lists(void **state)
{
    (void)state;
    struct collected collected = {0};
    struct messages messages = {0};
    struct trust_list list = {.add = collect,
                              .user = &collected,
                              .no_unix = true,
                              .key = "allowed_clients",
                              .messages = &messages,
                              .file = INI,
                              .line = 2};
    trust_add_entry(&list, SLICE("unix:"));
    assert_int_equal(collected.count, 0);
    assert_false(list.all_v4);
    trust_add_entry(&list, SLICE("0.0.0.0/0"));
    assert_true(list.all_v4);
    assert_false(list.all_v6);
    trust_add_entry(&list, SLICE("::/0"));
    assert_true(list.all_v6);
    assert_int_equal(collected.count, 2);
    check_messages(&messages,
                   "E2: allowed_clients = \"unix:\": the clients of a unix socket have no address; set the "
                   "socket's mode, owner and group\n");
}

static void test_no_memory(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct trust_list list = {.add = refuse, .key = "deny", .messages = &messages, .file = INI, .line = 3};
    trust_add_entry(&list, SLICE("192.0.2.1"));
    check_messages(&messages, "E3: deny = \"192.0.2.1\": out of memory\n");
}

/* What list.txt gives, named in line 4 of test.ini as "list.txt". */
static void check_file(const char *text, const char *blocks, const char *said)
{
    struct collected collected = {0};
    struct messages messages = {0};
    struct memory memory = {0};
    const struct trust_list list = {.add = collect,
                                    .user = &collected,
                                    .trusting = true,
                                    .key = "trust",
                                    .memory = &memory,
                                    .messages = &messages,
                                    .file = INI,
                                    .line = 4};
    if (text)
        write_text("list.txt", text);
    trust_add_file(&list, "./list.txt", SLICE("list.txt"));
    check_text(slice_of(collected.text), slice_of(blocks), text ? text : "no file");
    assert_int_equal(messages.within, 0);
    for (size_t i = 0; i < messages.count; i++)
        assert_int_equal(messages.list[i].order, 4);
    check_messages(&messages, said);
    memory_free(&memory);
}

static void test_file_spellings(void **state)
{
    (void)state;
    check_file("192.0.2.1\n", "192.0.2.1/32 ", "");
    check_file("192.0.2.1", "192.0.2.1/32 ", "");
    check_file("\xEF\xBB\xBF# proxies\r\n\r\n192.0.2.1, 192.0.2.2\t192.0.2.3\r\n  192.0.2.4 # four\r\n",
               "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32 192.0.2.4/32 ", "");
    check_file("loopback unix:\nlb.example\n", "127.0.0.0/8 ::1/128 unix:/0 192.0.2.7/32 2001:db8::7/128 ",
               "");
    check_file("set_real_ip_from 192.0.2.0/24;\n\tset_real_ip_from   2001:db8::/32 ; # CDN\nset_real_ip_from "
               "unix:;\n",
               "192.0.2.0/24 2001:db8::/32 unix:/0 ", "");
    check_file("RemoteIPTrustedProxy 192.0.2.1 192.0.2.0/24 lb.example\nremoteipinternalproxy 10.0.0.0/8\n",
               "192.0.2.1/32 192.0.2.0/24 192.0.2.7/32 2001:db8::7/128 10.0.0.0/8 ", "");
}

static void test_file_mistakes(void **state)
{
    (void)state;
    check_file("192.0.2.1\n\n10.0.0.300 192.0.2.2\n", "",
               "E./list.txt:3: trust = \"10.0.0.300\": " FORMS "\n");
    check_file(
        "10.1.0.0/8\n", "10.0.0.0/8 ",
        "W./list.txt:1: trust = \"10.1.0.0/8\": bits are set behind the prefix; taken as 10.0.0.0/8\n");
    check_file(
        "set_real_ip_from 192.0.2.1\n", "",
        "E./list.txt:1: trust = \"set_real_ip_from 192.0.2.1\": no \";\" at the end of nginx's line; write "
        "set_real_ip_from X;\n");
    check_file(
        "set_real_ip_from ;\nRemoteIPTrustedProxy\n", "",
        "E./list.txt:1: trust = \"set_real_ip_from ;\": no address behind it; write one, or remove the line\n"
        "E./list.txt:2: trust = \"RemoteIPTrustedProxy\": no address behind it; write one, or remove the "
        "line\n");
    check_file("192.0.2.1;\n", "", "E./list.txt:1: trust = \"192.0.2.1;\": " FORMS "\n");
    check_file("real_ip_header X-Forwarded-For;\nRemoteIPHeader X-Real-IP\n192.0.2.1\n", "",
               "E./list.txt:1: trust = \"real_ip_header\": not a list of proxies; remove this line, and say "
               "it in the "
               "[proxy] section\n"
               "E./list.txt:2: trust = \"RemoteIPHeader\": not a list of proxies; remove this line, and say "
               "it in the "
               "[proxy] section\n");
    check_file("192.0.2.1\001\n", "", "E./list.txt:1: control character 0x01 in column 10; remove it\n");
}

/* As a program that is named by mistake; each of its words could be a host name, and asked for. */
static void test_file_of_mistakes_alone(void **state)
{
    (void)state;
    char text[12000] = "", said[8192] = "", line[256];
    for (int i = 1; i <= 1000; i++)
        strcat(text, "nobody\n");
    for (int i = 1; i <= 20; i++) {
        snprintf(line, sizeof line, "E./list.txt:%d: trust = \"nobody\": " RESOLVE "\n", i);
        strcat(said, line);
    }
    strcat(said, "E./list.txt:21: too many errors: not read any further; is this a list of proxies?\n");
    check_file(text, "", said);
}

#define NO_ENTRY                                                                                             \
    "E4: trust_file = \"list.txt\": ./list.txt holds no entry; write the proxies' addresses into it, one a " \
    "line\n"

static void test_empty_and_missing_files(void **state)
{
    (void)state;
    check_file("", "", NO_ENTRY);
    check_file("# nobody yet\n\n  , \n", "", NO_ENTRY);
    assert_int_equal(unlink("list.txt"), 0);
    check_file(NULL, "",
               "E4: trust_file = \"list.txt\": cannot read ./list.txt: No such file or directory\n");
    assert_int_equal(mkdir("list.txt", 0700), 0);
    check_file(NULL, "", "E4: trust_file = \"list.txt\": cannot read ./list.txt: it is a folder\n");
    assert_int_equal(rmdir("list.txt"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_numbers_ask_nobody),
        cmocka_unit_test(test_name_syntax),
        cmocka_unit_test(test_other_lists),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_file_spellings),
        cmocka_unit_test(test_file_mistakes),
        cmocka_unit_test(test_file_of_mistakes_alone),
        cmocka_unit_test(test_empty_and_missing_files),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
