#include "realip/names.h"
#include "realip_case.h"

static void test_defaults(void **state)
{
    struct policy *policy = policy_new();
    struct group *group = policy_add_group(policy, SLICE("edge"));
    struct address address = {ADDRESS_V4, 0, 0x0a000001};

    (void)state;
    assert_string_equal(group->name, "edge");
    assert_string_equal(group->header, "X-Forwarded-For");
    assert_null(group->require_name);
    assert_int_equal(group->select, SELECT_RECURSIVE);
    assert_int_equal(group->on_malformed, MALFORMED_STOP);
    assert_int_equal(group->repeated, REPEATED_JOIN);
    assert_int_equal(group->max_elements, 64);
    assert_int_equal(group->accept, 0);
    assert_true(group->private_clients);
    assert_false(group->require_header);
    assert_int_equal(policy->forwarded_for, FORWARDED_CONFIRMED);
    assert_int_equal(policy->untrusted_headers, HEADERS_STRIP);
    assert_int_equal(policy->unmanaged_headers, HEADERS_KEEP);
    assert_false(policy->deny_direct);
    assert_int_equal(policy_compile(policy), 0);
    assert_int_equal(cidr_set_find(policy->trust, &address), -1);
    policy_free(policy);
    policy_free(NULL);
}

static void test_no_groups(void **state)
{
    struct policy *policy = case_policy("");

    (void)state;
    assert_int_equal(policy->nheaders, 0);
    assert_int_equal(policy_match_name(policy, SLICE("HTTP_X_FORWARDED_FOR")).kind, NAME_CLIENT_HEADER);
    policy_free(policy);
}

static void test_most_groups(void **state)
{
    struct policy *policy = policy_new();

    (void)state;
    for (unsigned i = 0; i < POLICY_MAX_GROUPS; i++)
        assert_non_null(policy_add_group(policy, SLICE("g")));
    assert_null(policy_add_group(policy, SLICE("g")));
    assert_int_equal(policy->ngroups, POLICY_MAX_GROUPS);
    policy_free(policy);
}

static void test_headers(void **state)
{
    struct policy *policy =
        case_policy("[a] [b] header=cf-connecting-ip [c] header=x.forwarded.for [d] header=forwarded "
                    "[e] header=Forwarded [f] header=Forwarded-For");

    (void)state;
    assert_int_equal(policy->nheaders, 4);
    assert_string_equal(policy->headers[0].param, "HTTP_X_FORWARDED_FOR");
    assert_string_equal(policy->headers[1].param, "HTTP_CF_CONNECTING_IP");
    assert_string_equal(policy->headers[2].param, "HTTP_FORWARDED");
    assert_string_equal(policy->headers[3].param, "HTTP_FORWARDED_FOR");
    assert_false(policy->headers[0].forwarded);
    assert_false(policy->headers[1].forwarded);
    assert_true(policy->headers[2].forwarded);
    assert_false(policy->headers[3].forwarded);
    assert_int_equal(policy->groups[0].header_index, 0);
    assert_int_equal(policy->groups[1].header_index, 1);
    assert_int_equal(policy->groups[2].header_index, 0);
    assert_int_equal(policy->groups[3].header_index, 2);
    assert_int_equal(policy->groups[4].header_index, 2);
    assert_int_equal(policy->groups[5].header_index, 3);
    policy_free(policy);
}

static void test_header_param(void **state)
{
    char param[32];

    (void)state;
    policy_header_param(SLICE("X-Forwarded-For"), param);
    assert_string_equal(param, "HTTP_X_FORWARDED_FOR");
    policy_header_param(SLICE("aZ09.\xe4 _"), param);
    assert_string_equal(param, "HTTP_AZ09____");
    policy_header_param(SLICE(""), param);
    assert_string_equal(param, "HTTP_");
}

struct name_row {
    const char *name;
    enum name_kind kind;
    unsigned index;
    bool alias;
};

static void check_names(const struct policy *policy, const struct name_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct name_match match = policy_match_name(policy, slice_of(rows[i].name));

        check_number(match.kind, rows[i].kind, rows[i].name);
        check_number(match.index, rows[i].index, rows[i].name);
        check_number(match.alias, rows[i].alias, rows[i].name);
    }
}

static void test_names(void **state)
{
    static const struct name_row rows[] = {
        {"REMOTE_ADDR", NAME_REMOTE_ADDR, 0, false},
        {"REMOTE.ADDR", NAME_REMOTE_ADDR, 0, true},
        {"remote_addr", NAME_REMOTE_ADDR, 0, true},
        {"REMOTE_PORT", NAME_REMOTE_PORT, 0, false},
        {"REMOTE-PORT", NAME_REMOTE_PORT, 0, true},
        {"REMOTE_HOST", NAME_REMOTE_HOST, 0, false},
        {"HTTP_PROXY", NAME_HTTP_PROXY, 0, false},
        {"http_proxy", NAME_HTTP_PROXY, 0, true},
        {"REALIP_", NAME_REALIP, 0, false},
        {"REALIP_X", NAME_REALIP, 0, false},
        {"REALIP_REMOTE_ADDR", NAME_REALIP, 0, false},
        {"realip_x", NAME_REALIP, 0, true},
        {"REALIP.X", NAME_REALIP, 0, true},
        {"REALIP_x", NAME_REALIP, 0, true},
        {"REALIP", NAME_OTHER, 0, false},
        {"REALIPX", NAME_OTHER, 0, false},
        {"READ", NAME_OTHER, 0, false},
        {"XREALIP_X", NAME_OTHER, 0, false},
        {"HTTP_REALIP_X", NAME_OTHER, 0, false},
        {"HTTP_X_KEY", NAME_REQUIRED, 1, false},
        {"HTTP_X.KEY", NAME_REQUIRED, 1, true},
        {"HTTP_X_FORWARDED_FOR", NAME_GROUP_HEADER, 0, false},
        {"HTTP_X.FORWARDED_FOR", NAME_GROUP_HEADER, 0, true},
        {"http_x_forwarded_for", NAME_GROUP_HEADER, 0, true},
        {"HTTP_MY_CDN", NAME_GROUP_HEADER, 1, false},
        {"HTTP_FORWARDED", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_REAL_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_CLIENT_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_CLIENT_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_CLUSTER_CLIENT_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_TRUE_CLIENT_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_CF_CONNECTING_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_ALI_CDN_REAL_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_FORWARDED_FOR", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_FORWARDED", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_ORIGINATING_IP", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_FORWARDED_PREFIX", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_FORWARDED_SSL", NAME_CLIENT_HEADER, 0, false},
        {"HTTP_X_FORWARDED_PROTO", NAME_X_FORWARDED_PROTO, 0, false},
        {"HTTP_X_FORWARDED_PORT", NAME_X_FORWARDED_PORT, 0, false},
        {"HTTP_X_FORWARDED_HOST", NAME_X_FORWARDED_HOST, 0, false},
        /* nobody accepts what would change these */
        {"HTTPS", NAME_OTHER, 0, false},
        {"REQUEST_SCHEME", NAME_OTHER, 0, false},
        {"SERVER_PORT", NAME_OTHER, 0, false},
        {"HTTP_HOST", NAME_OTHER, 0, false},
        {"SERVER_NAME", NAME_OTHER, 0, false},
        /* near misses */
        {"", NAME_OTHER, 0, false},
        {"A", NAME_OTHER, 0, false},
        {"AA", NAME_OTHER, 0, false},
        {"REMOTE_ADDRS", NAME_OTHER, 0, false},
        {"REMOTE_ADD", NAME_OTHER, 0, false},
        {"REMOTE_XDDR", NAME_OTHER, 0, false},
        {"XEMOTE_ADDR", NAME_OTHER, 0, false},
        {"REDIRECT_REMOTE_ADDR", NAME_OTHER, 0, false},
        {"X_FORWARDED_FOR", NAME_OTHER, 0, false},
        {"REMOTE_USER", NAME_OTHER, 0, false},
        {"SCRIPT_FILENAME", NAME_OTHER, 0, false},
    };
    struct policy *policy =
        case_policy("[a] [b] header=My-CDN require=HTTP_X_KEY:v [c] require=HTTP_X_KEY:w");

    (void)state;
    check_names(policy, rows, COUNT(rows));
    assert_int_equal(policy->groups[1].require_index, 1);
    assert_int_equal(policy->groups[2].require_index, 1);
    assert_int_equal(policy_match_name(policy, SLICE("REMOTE_ADDR\0")).kind, NAME_OTHER);
    assert_int_equal(policy_match_name(policy, SLICE("REMOTE\0ADDR")).alias, true);
    policy_free(policy);
}

/* Any byte may be the "_" that it folds to, also those by which a name is told to be nothing to us. */
static void check_any_byte(const char *group, const char *text, size_t at)
{
    struct policy *policy = case_policy(group);
    char name[32];
    size_t len = strlen(text);

    memcpy(name, text, len);
    for (unsigned c = 0; c < 256; c++) {
        name[at] = (char)c;
        bool known = names_fold((char)c) == '_';
        struct name_match match = policy_match_name(policy, (struct slice){name, len});
        check_number(match.kind == NAME_OTHER, !known, text);
        check_number(match.alias, known && c != '_', text);
    }
    policy_free(policy);
}

static void test_names_with_any_byte(void **state)
{
    (void)state;
    check_any_byte("[a] header=X-Odd-", "HTTP_X_ODD_", 10);
    check_any_byte("[a] header=Odd require=MY_SECRET:v", "MY_SECRET", 2);
    check_any_byte("[a] header=Odd", "REALIP_PROXIES", 6);
}

static void test_accepted_names(void **state)
{
    static const struct {
        const char *accept;
        bool https, scheme, port, host, name;
    } rows[] = {
        {"for", false, false, false, false, false},        {"proto", true, true, true, false, false},
        {"port", false, false, true, false, false},        {"host", false, false, false, true, true},
        {"proto,port,host", true, true, true, true, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[64];

        snprintf(text, sizeof text, "[a] [b] accept=%s", rows[i].accept);
        struct policy *policy = case_policy(text);
        const struct name_row names[] = {
            {"HTTPS", rows[i].https ? NAME_HTTPS : NAME_OTHER, 0, false},
            {"REQUEST_SCHEME", rows[i].scheme ? NAME_REQUEST_SCHEME : NAME_OTHER, 0, false},
            {"SERVER_PORT", rows[i].port ? NAME_SERVER_PORT : NAME_OTHER, 0, false},
            {"HTTP_HOST", rows[i].host ? NAME_HTTP_HOST : NAME_OTHER, 0, false},
            {"SERVER_NAME", rows[i].name ? NAME_SERVER_NAME : NAME_OTHER, 0, false},
            {"https", rows[i].https ? NAME_HTTPS : NAME_OTHER, 0, rows[i].https},
        };
        check_names(policy, names, COUNT(names));
        policy_free(policy);
    }
}

/* Of several meanings: our own names, then secrets, then groups' headers, then the rest. */
static void test_name_with_two_meanings(void **state)
{
    static const struct name_row rows[] = {
        {"REMOTE_ADDR", NAME_REMOTE_ADDR, 0, false},
        {"HTTP_X_REAL_IP", NAME_REQUIRED, 1, false},
        {"HTTP_X_FORWARDED_PROTO", NAME_GROUP_HEADER, 2, false},
        {"REALIP_KEY", NAME_REQUIRED, 2, false},
        {"REALIP_OTHER", NAME_REALIP, 0, false},
        {"HTTPS", NAME_REQUIRED, 3, false},
    };
    struct policy *policy =
        case_policy("[a] require=REMOTE_ADDR:x accept=proto [b] header=X-Real-IP require=HTTP_X_REAL_IP:x "
                    "[c] header=X-Forwarded-Proto require=REALIP_KEY:x [d] require=HTTPS:on");

    (void)state;
    check_names(policy, rows, COUNT(rows));
    policy_free(policy);
}

/* The table grows with the names, and a secret without a name is none. */
static void test_many_names(void **state)
{
    struct policy *policy = policy_new();

    (void)state;
    for (unsigned i = 0; i < POLICY_MAX_GROUPS; i++) {
        struct group *group = policy_add_group(policy, SLICE("g"));
        char name[32];

        snprintf(name, sizeof name, "X-%u-Client", i);
        free(group->header);
        group->header = strdup(name);
        snprintf(name, sizeof name, "HTTP_KEY_%u", i);
        group->require_name = strdup(i == 0 ? "" : name);
        group->require_value = strdup("v");
    }
    assert_int_equal(policy_compile(policy), 0);
    for (unsigned i = 0; i < POLICY_MAX_GROUPS; i++) {
        char name[32];

        snprintf(name, sizeof name, "HTTP_X_%u_CLIENT", i);
        struct name_row row = {name, NAME_GROUP_HEADER, i, false};
        check_names(policy, &row, 1);
        if (i == 0)
            continue;
        snprintf(name, sizeof name, "http-key-%u", i);
        row = (struct name_row){name, NAME_REQUIRED, i, true};
        check_names(policy, &row, 1);
    }
    assert_int_equal(policy_match_name(policy, SLICE("REMOTE_HOST")).kind, NAME_REMOTE_HOST);
    assert_int_equal(policy_match_name(policy, SLICE("REQUEST_URI")).kind, NAME_OTHER);
    policy_free(policy);
}

/* Longest prefix; where two groups trust the same block the one added first has it; deny wins a tie. */
static void test_lists(void **state)
{
    static const char *const texts[] = {"allow=10.0.0.0/8,10.1.0.0/16 deny=10.1.0.0/16,192.0.2.0/24",
                                        "deny=10.1.0.0/16,192.0.2.0/24 allow=10.0.0.0/8,10.1.0.0/16"};
    struct address in8 = {ADDRESS_V4, 0, 0x0a020000}, in16 = {ADDRESS_V4, 0, 0x0a010000},
                   out = {ADDRESS_V4, 0, 1};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct policy *policy = case_policy(texts[i]);

        assert_true(policy->access_has_allow && policy->access_has_deny);
        assert_int_equal(cidr_set_find(policy->access, &in8), ACCESS_ALLOW);
        assert_int_equal(cidr_set_find(policy->access, &in16), ACCESS_DENY);
        assert_int_equal(cidr_set_find(policy->access, &out), -1);
        policy_free(policy);
    }
    struct policy *policy = case_policy("[a] trust=10.0.0.0/8 [b] trust=10.0.0.0/8,10.1.0.0/16");
    assert_int_equal(cidr_set_find(policy->trust, &in8), 0);
    assert_int_equal(cidr_set_find(policy->trust, &in16), 1);
    assert_int_equal(cidr_set_find(policy->trust, &out), -1);
    assert_false(policy->access_has_allow || policy->access_has_deny);
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_no_groups),
        cmocka_unit_test(test_most_groups),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_header_param),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_with_any_byte),
        cmocka_unit_test(test_accepted_names),
        cmocka_unit_test(test_name_with_two_meanings),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
