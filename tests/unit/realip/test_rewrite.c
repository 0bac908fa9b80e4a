/*
 * What the application sees: complete lists, byte for byte. T trusts 10/8 and reads X-Forwarded-For.
 */
#include "realip_case.h"

#define T   "[t] trust=10.0.0.0/8,unix: "
#define XFF "HTTP_X_FORWARDED_FOR="
#define FWD "HTTP_FORWARDED="
#define P   "REMOTE_ADDR=10.0.0.1|"
#define OUT "REALIP_REMOTE_ADDR=10.0.0.1|REALIP_PROXIES=10.0.0.1"

static void test_remote(void **state)
{
    static const struct case_row rows[] = {
        /* in place, canonical; everything else passes in order */
        {T, "A=1|REMOTE_ADDR=10.0.0.1|B=|" XFF "2001:DB8:0::1|C=%00%ff",
         "A=1|REMOTE_ADDR=2001:db8::1|B=|" XFF "2001:DB8:0::1|C=%00%ff|" OUT},
        {T, P XFF "::ffff:5.6.7.8", "REMOTE_ADDR=5.6.7.8|" XFF "::ffff:5.6.7.8|" OUT},
        /* unchanged bytes if the client is the peer */
        {T, "REMOTE_ADDR=::ffff:10.0.0.1|REMOTE_PORT=9|REMOTE_HOST=x",
         "REMOTE_ADDR=::ffff:10.0.0.1|REMOTE_PORT=9|REMOTE_HOST=x|REALIP_REMOTE_ADDR=::ffff:10.0.0.1|"
         "REALIP_REMOTE_PORT=9"},
        {T, "REMOTE_ADDR=001.2.3.4|REMOTE_PORT=9", "REMOTE_ADDR=001.2.3.4|REMOTE_PORT=9"},
        {T, "REMOTE_ADDR=::ffff:10.0.0.1|REMOTE_PORT=9|REMOTE_HOST=x|" XFF "10.0.0.1:77",
         "REMOTE_ADDR=::ffff:10.0.0.1|REMOTE_PORT=9|REMOTE_HOST=x|" XFF
         "10.0.0.1:77|REALIP_REMOTE_ADDR=::ffff:10.0.0.1|REALIP_REMOTE_PORT=9|REALIP_PROXIES=10.0.0.1"},
        /* the port: the element's, else empty; added only if there is one */
        {T, "REMOTE_PORT=4711|" P XFF "5.6.7.8:99",
         "REMOTE_PORT=99|REMOTE_ADDR=5.6.7.8|" XFF
         "5.6.7.8:99|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_PORT=4711|"
         "REALIP_PROXIES=10.0.0.1"},
        {T, "REMOTE_PORT=4711|" P XFF "5.6.7.8",
         "REMOTE_PORT=|REMOTE_ADDR=5.6.7.8|" XFF
         "5.6.7.8|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_PORT=4711|"
         "REALIP_PROXIES=10.0.0.1"},
        {T, P XFF "5.6.7.8:65535", "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8:65535|REMOTE_PORT=65535|" OUT},
        {T, P XFF "5.6.7.8", "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|" OUT},
        {T, "REMOTE_ADDR=unix:|REMOTE_PORT=|" XFF "5.6.7.8",
         "REMOTE_ADDR=5.6.7.8|REMOTE_PORT=|" XFF
         "5.6.7.8|REALIP_REMOTE_ADDR=unix:|REALIP_REMOTE_PORT=|REALIP_PROXIES=unix:"},
        /* the host, if present */
        {T, "REMOTE_HOST=proxy.example|" P XFF "5.6.7.8:1",
         "REMOTE_HOST=5.6.7.8|REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8:1|REMOTE_PORT=1|" OUT},
        /* repeated: the last counts, at the place of the first */
        {T, "REMOTE_ADDR=9.9.9.9|A=1|" P XFF "5.6.7.8", "REMOTE_ADDR=5.6.7.8|A=1|" XFF "5.6.7.8|" OUT},
        {T, "REMOTE_ADDR=10.0.0.1|A=1|REMOTE_ADDR=9.9.9.9|B=2|REMOTE_ADDR=8.8.8.8",
         "REMOTE_ADDR=8.8.8.8|A=1|B=2"},
        {T, "REMOTE_PORT=1|REMOTE_HOST=a|REMOTE_ADDR=8.8.8.8|REMOTE_HOST=b|REMOTE_PORT=2|REMOTE_PORT=3",
         "REMOTE_PORT=3|REMOTE_HOST=b|REMOTE_ADDR=8.8.8.8"},
        {T, "REMOTE_PORT=1|REMOTE_HOST=a|" P "REMOTE_HOST=b|REMOTE_PORT=2|" XFF "5.6.7.8:7",
         "REMOTE_PORT=7|REMOTE_HOST=5.6.7.8|REMOTE_ADDR=5.6.7.8|" XFF
         "5.6.7.8:7|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_PORT=2|REALIP_PROXIES=10.0.0.1"},
        /* missing: nothing is made up */
        {T, "A=1|" XFF "5.6.7.8|REMOTE_PORT=5", "A=1|REMOTE_PORT=5"},
        {T, "", ""},
        /* a value that is the same already needs no edit */
        {T, P "REMOTE_PORT=99|" XFF "5.6.7.8:99",
         "REMOTE_ADDR=5.6.7.8|REMOTE_PORT=99|" XFF
         "5.6.7.8:99|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_PORT=99|"
         "REALIP_PROXIES=10.0.0.1"},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_ours(void **state)
{
    static const struct case_row rows[] = {
        /* incoming ones are always dropped, whoever sent them */
        {T, "REALIP_REMOTE_ADDR=6.6.6.6|REMOTE_ADDR=1.2.3.4|REALIP_PROXIES=6.6.6.6|realip_x=1|REALIP_ANY=",
         "REMOTE_ADDR=1.2.3.4"},
        {T, "REALIP_PROXIES=6.6.6.6|" P "REALIP_REMOTE_PORT=1",
         "REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_ADDR=10.0.0.1"},
        /* the trusted hops passed, nearest the client first, the peer last */
        {T, P XFF "5.6.7.8, 10.0.0.3:1, ::ffff:10.0.0.2",
         "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8, 10.0.0.3:1, ::ffff:10.0.0.2|REALIP_REMOTE_ADDR=10.0.0.1|"
         "REALIP_PROXIES=10.0.0.3, 10.0.0.2, 10.0.0.1"},
        {T, "REMOTE_ADDR=/run/x|" XFF "5.6.7.8, 10.0.0.2",
         "REMOTE_ADDR=5.6.7.8|" XFF
         "5.6.7.8, 10.0.0.2|REALIP_REMOTE_ADDR=/run/x|REALIP_PROXIES=10.0.0.2, unix:"},
        /* none passed: not sent */
        {T "malformed=peer", P XFF "junk, 10.0.0.2", "REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_ADDR=10.0.0.1"},
        /* always dropped */
        {T, "HTTP_PROXY=http://6.6.6.6/|REMOTE_ADDR=1.2.3.4|http_proxy=x|HTTP_PROXY_X=y",
         "REMOTE_ADDR=1.2.3.4|HTTP_PROXY_X=y"},
        {T, P "HTTP_PROXY=x", "REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_ADDR=10.0.0.1"},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_secrets(void **state)
{
    static const struct case_row rows[] = {
#define S T "require=HTTP_X_KEY:s untrusted=keep "
        {S, P "HTTP_X_KEY=s|" XFF "5.6.7.8", "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|" OUT},
        {S, P "HTTP_X_KEY=wrong|" XFF "5.6.7.8", "REMOTE_ADDR=10.0.0.1|" XFF "5.6.7.8"},
        {S, "HTTP_X_KEY=s|REMOTE_ADDR=1.2.3.4|http-x-key=s", "REMOTE_ADDR=1.2.3.4"},
        {S "[u] trust=11.0.0.0/8 require=TOKEN:t",
         "TOKEN=x|REMOTE_ADDR=11.0.0.1|HTTP_X_KEY=", "REMOTE_ADDR=11.0.0.1"},
#undef S
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_aliases(void **state)
{
    static const struct case_row rows[] = {
        {T, "http_x_forwarded_for=6.6.6.6|HTTP_X.FORWARDED_FOR=6.6.6.6|" P XFF "5.6.7.8|REMOTE.ADDR=6.6.6.6",
         "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|" OUT},
        {T "untrusted=keep",
         "REMOTE_ADDR=1.2.3.4|" XFF "6.6.6.6|http_x_real_ip=6.6.6.6|HTTP_X_REAL_IP=6.6.6.6",
         "REMOTE_ADDR=1.2.3.4|" XFF "6.6.6.6|HTTP_X_REAL_IP=6.6.6.6"},
        {T "accept=proto", P "https=on|HTTPS=x", "REMOTE_ADDR=10.0.0.1|HTTPS=x|REALIP_REMOTE_ADDR=10.0.0.1"},
        {T, P "https=on", "REMOTE_ADDR=10.0.0.1|https=on|REALIP_REMOTE_ADDR=10.0.0.1"},
    };
    static struct realip_case test;

    (void)state;
    check_rewrites(rows, COUNT(rows));
    case_rewrite(&test, T, rows[0].params);
    assert_int_equal(test.rewrite.aliases, 3);
    assert_false(test.rewrite.repeated_addr);
    case_close(&test);
    case_rewrite(&test, T, "REMOTE_ADDR=1.1.1.1|REMOTE_ADDR=1.1.1.1|remote_addr=2.2.2.2");
    assert_int_equal(test.rewrite.aliases, 1);
    assert_true(test.rewrite.repeated_addr);
    assert_string_equal(test.text, "REMOTE_ADDR=1.1.1.1");
    case_close(&test);
    case_rewrite(&test, T, "REMOTE_ADDR=1.1.1.1|A=b");
    assert_int_equal(test.rewrite.aliases, 0);
    assert_int_equal(test.rewrite.nedits, 0);
    assert_int_equal(test.rewrite.nadded, 0);
    assert_false(test.rewrite.junk);
    case_close(&test);
}

#define ALL_HEADERS                                                                                          \
    "HTTP_FORWARDED=f|HTTP_X_REAL_IP=1|HTTP_CLIENT_IP=2|HTTP_X_CLIENT_IP=3|HTTP_X_CLUSTER_CLIENT_IP=4|"      \
    "HTTP_TRUE_CLIENT_IP=5|HTTP_CF_CONNECTING_IP=6|HTTP_ALI_CDN_REAL_IP=7|HTTP_FORWARDED_FOR=8|HTTP_X_"      \
    "FORWARDED=9|"                                                                                           \
    "HTTP_X_ORIGINATING_IP=a|HTTP_X_FORWARDED_PREFIX=b|HTTP_X_FORWARDED_SSL=c"
#define ACCEPTABLE "|HTTP_X_FORWARDED_PROTO=http|HTTP_X_FORWARDED_HOST=h|HTTP_X_FORWARDED_PORT=1"

static void test_client_headers(void **state)
{
    static const struct case_row rows[] = {
        /* from an untrusted peer */
        {T "[u] header=My-IP",
         "REMOTE_ADDR=1.2.3.4|" XFF "6.6.6.6|HTTP_MY_IP=6.6.6.6|A=1|" ALL_HEADERS ACCEPTABLE,
         "REMOTE_ADDR=1.2.3.4|A=1"},
        {T "[u] header=My-IP untrusted=keep",
         "REMOTE_ADDR=1.2.3.4|" XFF "6.6.6.6|" XFF " 7, |HTTP_MY_IP=6.6.6.6|" ALL_HEADERS ACCEPTABLE,
         "REMOTE_ADDR=1.2.3.4|" XFF "6.6.6.6|" XFF " 7, |HTTP_MY_IP=6.6.6.6|" ALL_HEADERS ACCEPTABLE},
        {T "accept=proto", "REMOTE_ADDR=1.2.3.4|HTTP_X_FORWARDED_PROTO=https|HTTPS=off",
         "REMOTE_ADDR=1.2.3.4|HTTPS=off"},
        /* the others from a trusted peer */
        {T, P ALL_HEADERS ACCEPTABLE, P ALL_HEADERS ACCEPTABLE "|REALIP_REMOTE_ADDR=10.0.0.1"},
        {T "unmanaged=strip", P ALL_HEADERS ACCEPTABLE, "REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_ADDR=10.0.0.1"},
        {T "unmanaged=strip accept=port", P ALL_HEADERS ACCEPTABLE,
         "REMOTE_ADDR=10.0.0.1|HTTP_X_FORWARDED_PORT=1|REALIP_REMOTE_ADDR=10.0.0.1|SERVER_PORT=1"},
        {T "unmanaged=strip accept=host", P ALL_HEADERS ACCEPTABLE,
         "REMOTE_ADDR=10.0.0.1|HTTP_X_FORWARDED_HOST=h|REALIP_REMOTE_ADDR=10.0.0.1|HTTP_HOST=h|SERVER_NAME="
         "h"},
        {T "unmanaged=strip accept=proto,port", P ALL_HEADERS ACCEPTABLE,
         "REMOTE_ADDR=10.0.0.1|HTTP_X_FORWARDED_PROTO=http|HTTP_X_FORWARDED_PORT=1|REALIP_REMOTE_ADDR=10.0.0."
         "1|"
         "REQUEST_SCHEME=http|SERVER_PORT=1"},
        /* Forwarded is asked for the scheme, so X-Forwarded-Proto is not accepted */
        {T "header=Forwarded unmanaged=strip accept=proto forwarded_for=keep",
         P FWD "for=1.2.3.4;proto=https" ACCEPTABLE,
         "REMOTE_ADDR=1.2.3.4|" FWD "for=1.2.3.4;proto=https|" OUT
         "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443"},
        /* a configured group's header that is not on the chain */
        {T "[u] header=My-IP trust=11.0.0.0/8", P XFF "5.6.7.8|HTTP_MY_IP=6.6.6.6",
         "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|" OUT},
        {T "[u] header=My-IP trust=11.0.0.0/8 forwarded_for=keep", P XFF "5.6.7.8|HTTP_MY_IP=6.6.6.6",
         "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|" OUT},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

/* The header of the chain, for one value of forwarded_for: what is left of it. */
static void check_chain(const char *policy, const char *header, const char *copies, const char *want)
{
    static struct realip_case test;
    char params[512], *p = params + sprintf(params, "REMOTE_ADDR=10.0.0.1");
    char copy[512], *rest = copy, *word;
    struct slice got = {NULL, 0};

    snprintf(copy, sizeof copy, "%s", copies);
    while ((word = strsep(&rest, "|")) != NULL)
        p += sprintf(p, "|%s%s", header, word);
    case_rewrite(&test, policy, params);
    char *found = strstr(test.text, header);
    if (found != NULL) {
        found += strlen(header);
        got = (struct slice){found, strcspn(found, "|")};
        assert_null(strstr(found, header));
    }
    check_number(found != NULL, want != NULL, copies);
    if (want != NULL)
        check_text(got, slice_of(want), copies);
    case_close(&test);
}

struct chain_row {
    const char *policy, *copies;
    const char *confirmed, *unconfirmed, *client, *keep;
};

static void check_chains(const char *header, const struct chain_row *rows, size_t n)
{
    static const char *const modes[] = {"confirmed", "unconfirmed", "client", "keep", "remove"};

    for (size_t i = 0; i < n; i++) {
        const char *const want[] = {rows[i].confirmed, rows[i].unconfirmed, rows[i].client, rows[i].keep,
                                    NULL};

        for (size_t mode = 0; mode < COUNT(modes); mode++) {
            char policy[256];

            snprintf(policy, sizeof policy, "%s forwarded_for=%s", rows[i].policy, modes[mode]);
            check_chain(policy, header, rows[i].copies, want[mode]);
        }
    }
}

static void test_chain_header(void **state)
{
    static const struct chain_row rows[] = {
        {T, "5.6.7.8", "5.6.7.8", NULL, "5.6.7.8", "5.6.7.8"},
        {T, "6.6.6.6, 5.6.7.8 , 10.0.0.2", "5.6.7.8 , 10.0.0.2", "6.6.6.6", "5.6.7.8",
         "6.6.6.6, 5.6.7.8 , 10.0.0.2"},
        {T, " 6.6.6.6,, 5.6.7.8:9, ", "5.6.7.8:9,", "6.6.6.6", "5.6.7.8", "6.6.6.6,, 5.6.7.8:9,"},
        {T, " , 6.6.6.6 ,%09, 5.6.7.8", "5.6.7.8", "6.6.6.6", "5.6.7.8", ", 6.6.6.6 ,%09, 5.6.7.8"},
        /* all trusted */
        {T, "10.0.0.3, 10.0.0.2", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3", "10.0.0.3, 10.0.0.2"},
        /* copies are joined, blank ones left out */
        {T, "6.6.6.6|5.6.7.8|10.0.0.2", "5.6.7.8, 10.0.0.2", "6.6.6.6", "5.6.7.8",
         "6.6.6.6, 5.6.7.8, 10.0.0.2"},
        {T, "6.6.6.6|| |5.6.7.8, 10.0.0.3| \t|10.0.0.2|", "5.6.7.8, 10.0.0.3, 10.0.0.2", "6.6.6.6", "5.6.7.8",
         "6.6.6.6, 5.6.7.8, 10.0.0.3, 10.0.0.2"},
        {T, "6.6.6.6|7.7.7.7, |5.6.7.8", "5.6.7.8", "6.6.6.6, 7.7.7.7", "5.6.7.8",
         "6.6.6.6, 7.7.7.7, , 5.6.7.8"},
        {T, "6.6.6.6 |,| , 5.6.7.8", "5.6.7.8", "6.6.6.6", "5.6.7.8", "6.6.6.6 , ,,  , 5.6.7.8"},
        {T, "|5.6.7.8|", "5.6.7.8", NULL, "5.6.7.8", "5.6.7.8"},
        /* nothing confirmed: removed; with the peer as the client unconfirmed keeps all */
        {T, "junk", NULL, "junk", "10.0.0.1", "junk"},
        {T, " junk |x", NULL, "junk , x", "10.0.0.1", "junk , x"},
        {T, "", NULL, NULL, "10.0.0.1", NULL},
        {T, " , ", NULL, ",", "10.0.0.1", ","},
        {T, "|", NULL, NULL, "10.0.0.1", NULL},
        {T "malformed=peer", "junk, 10.0.0.2", NULL, "junk, 10.0.0.2", "10.0.0.1", "junk, 10.0.0.2"},
        /* malformed: the rest stays unconfirmed */
        {T, "5.6.7.8, junk, 10.0.0.2", "10.0.0.2", "5.6.7.8, junk", "10.0.0.2", "5.6.7.8, junk, 10.0.0.2"},
        /* where a second pass from a trusted client would read on, unconfirmed text is removed */
        {T "max=1", "5.6.7.8, 10.0.0.3, 10.0.0.2", "10.0.0.2", NULL, "10.0.0.2",
         "5.6.7.8, 10.0.0.3, 10.0.0.2"},
        {T "select=single", "5.6.7.8, 10.0.0.2", "10.0.0.2", NULL, "10.0.0.2", "5.6.7.8, 10.0.0.2"},
        {T "select=single", "6.6.6.6, 5.6.7.8", "5.6.7.8", "6.6.6.6", "5.6.7.8", "6.6.6.6, 5.6.7.8"},
        {T "select=hops:2", "9.9.9.9, 10.0.0.3, 6.6.6.6", "10.0.0.3, 6.6.6.6", NULL, "10.0.0.3",
         "9.9.9.9, 10.0.0.3, 6.6.6.6"},
        {T "select=hops:2", "9.9.9.9, 5.5.5.5, 6.6.6.6", "5.5.5.5, 6.6.6.6", "9.9.9.9", "5.5.5.5",
         "9.9.9.9, 5.5.5.5, 6.6.6.6"},
        {T "select=hops:3", "9.9.9.9, 5.5.5.5", NULL, "9.9.9.9, 5.5.5.5", "10.0.0.1", "9.9.9.9, 5.5.5.5"},
        {T "select=hops:3", "9.9.9.9, junk, 10.0.0.2", "10.0.0.2", NULL, "10.0.0.2",
         "9.9.9.9, junk, 10.0.0.2"},
        {T "select=leftmost", "x, 5.5.5.5, y, 6.6.6.6", "5.5.5.5, y, 6.6.6.6", "x", "5.5.5.5",
         "x, 5.5.5.5, y, 6.6.6.6"},
        {T "select=leftmost", "x, 10.0.0.9, y", "10.0.0.9, y", NULL, "10.0.0.9", "x, 10.0.0.9, y"},
    };

    (void)state;
    check_chains(XFF, rows, COUNT(rows));
}

/* Nothing at or left of a NUL, CR or LF is sent on. */
static void test_control_bytes(void **state)
{
    static const struct chain_row rows[] = {
        {T, "a%00b, 5.6.7.8", "5.6.7.8", "b", "5.6.7.8", "b, 5.6.7.8"},
        {T, "x, a%0d, , 5.6.7.8", "5.6.7.8", NULL, "5.6.7.8", "5.6.7.8"},
        {T, "%0a%00|x|5.6.7.8, 10.0.0.2", "5.6.7.8, 10.0.0.2", "x", "5.6.7.8", "x, 5.6.7.8, 10.0.0.2"},
        {T, "%0a|%00|5.6.7.8|10.0.0.2", "5.6.7.8, 10.0.0.2", NULL, "5.6.7.8", "5.6.7.8, 10.0.0.2"},
        {T "select=leftmost", "5.5.5.5, y%00, 6.6.6.6", "6.6.6.6", NULL, "5.5.5.5", "6.6.6.6"},
        /* with a trusted client a second pass would take the rest for all that there was */
        {T, "5.6.7.8%0a", NULL, NULL, "10.0.0.1", NULL},
        {T, "%00 6.6.6.6, 10.0.0.2", "10.0.0.2", NULL, "10.0.0.2", NULL},
        {T "malformed=peer", "x%00, 10.0.0.2", NULL, NULL, "10.0.0.1", NULL},
        {T "select=leftmost", "10.0.0.3, x%00, 10.0.0.2", NULL, NULL, "10.0.0.3", NULL},
    };

    (void)state;
    check_chains(XFF, rows, COUNT(rows));
}

static void test_forwarded_header(void **state)
{
#define F "[f] trust=10.0.0.0/8,2001:db8:1::/48,unix: header=Forwarded "
    static const struct chain_row rows[] = {
        {F, "for=6.6.6.6;by=\"a,b\", for=\"5.6.7.8:80\";proto=http , for=10.0.0.2",
         "for=\"5.6.7.8:80\";proto=http , for=10.0.0.2", "for=6.6.6.6;by=\"a,b\"", "for=5.6.7.8",
         "for=6.6.6.6;by=\"a,b\", for=\"5.6.7.8:80\";proto=http , for=10.0.0.2"},
        {F, "for=x|for=\"[2001:db8::1]:80\"", "for=\"[2001:db8::1]:80\"", "for=x", "for=\"[2001:db8::1]\"",
         "for=x, for=\"[2001:db8::1]:80\""},
    };

    (void)state;
    check_chains(FWD, rows, COUNT(rows));
}

static void test_client_without_address(void **state)
{
    static const struct case_row rows[] = {
        /* a unix peer has no text for a header */
        {T "forwarded_for=client", "REMOTE_ADDR=unix:|" XFF "junk",
         "REMOTE_ADDR=unix:|REALIP_REMOTE_ADDR=unix:"},
        {F "forwarded_for=client", "REMOTE_ADDR=unix:|" FWD "junk",
         "REMOTE_ADDR=unix:|REALIP_REMOTE_ADDR=unix:"},
        /* absent stays absent */
        {T "forwarded_for=client", P, "REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_ADDR=10.0.0.1"},
    };
#undef F

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

/* In a chain over several headers each header's own elements count for it. */
static void test_several_headers(void **state)
{
#define C    T "[c] trust=11.0.0.0/8 header=C-IP [d] header=D-IP trust=12.0.0.0/8 "
#define IN   P XFF "9.9.9.9, 11.0.0.1|HTTP_C_IP=6.6.6.6|HTTP_D_IP=d|HTTP_C_IP=5.6.7.8"
#define REST "|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_PROXIES=11.0.0.1, 10.0.0.1"
    static const struct case_row rows[] = {
        {C, IN, "REMOTE_ADDR=5.6.7.8|" XFF "11.0.0.1|HTTP_C_IP=5.6.7.8" REST},
        {C "forwarded_for=unconfirmed", IN,
         "REMOTE_ADDR=5.6.7.8|" XFF "9.9.9.9"
         "|HTTP_C_IP=6.6.6.6" REST},
        {C "forwarded_for=client", IN, "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8|HTTP_C_IP=5.6.7.8" REST},
        {C "forwarded_for=keep", IN,
         "REMOTE_ADDR=5.6.7.8|" XFF "9.9.9.9, 11.0.0.1|HTTP_C_IP=6.6.6.6, 5.6.7.8" REST},
        {C "forwarded_for=remove", IN, "REMOTE_ADDR=5.6.7.8" REST},
        /* on the chain, but nothing in it was read */
        {C, P XFF "11.0.0.1|HTTP_C_IP=junk", "REMOTE_ADDR=11.0.0.1|" XFF "11.0.0.1|" OUT},
        {C "forwarded_for=unconfirmed", P XFF "11.0.0.1|HTTP_C_IP=junk",
         "REMOTE_ADDR=11.0.0.1|HTTP_C_IP=junk|" OUT},
    };
#undef C
#undef IN
#undef REST

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

/* What survives in one piece is not copied. */
static void test_slices(void **state)
{
    static struct realip_case test;
    static const char *const texts[] = {P XFF "6.6.6.6, 5.6.7.8, 10.0.0.2",
                                        P XFF "6.6.6.6|" XFF "5.6.7.8, 10.0.0.2",
                                        P XFF "6.6.6.6, 5.6.7.8|" XFF " "};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        bool found = false;

        case_rewrite(&test, T, texts[i]);
        for (size_t edit = 1; edit < test.rewrite.nedits; edit++) {
            const struct edit *e = &test.rewrite.edits[edit];

            if (e->drop)
                continue;
            found = true;
            assert_true(e->value.data > test.bytes && e->value.data < test.bytes + sizeof test.bytes);
        }
        assert_true(found);
        case_close(&test);
    }
}

static void test_accept_proto(void **state)
{
#define A T "accept=proto "
#define Q "|REALIP_REMOTE_ADDR=10.0.0.1"
    static const struct case_row rows[] = {
        {A, P "HTTP_X_FORWARDED_PROTO=https",
         P "HTTP_X_FORWARDED_PROTO=https" Q "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443"},
        {A, P "HTTP_X_FORWARDED_PROTO=HTTPS|HTTPS=off|REQUEST_SCHEME=http|SERVER_PORT=80",
         P "HTTP_X_FORWARDED_PROTO=HTTPS|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443" Q},
        {A, P "HTTP_X_FORWARDED_PROTO=https|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443",
         P "HTTP_X_FORWARDED_PROTO=https|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443" Q},
        /* removed for http */
        {A, P "HTTPS=on|HTTP_X_FORWARDED_PROTO=http|HTTPS=on|SERVER_PORT=443",
         P "HTTP_X_FORWARDED_PROTO=http|SERVER_PORT=80" Q "|REQUEST_SCHEME=http"},
        /* once, at the first place */
        {A, P "HTTPS=|HTTP_X_FORWARDED_PROTO=https|HTTPS=x|REQUEST_SCHEME=https|SERVER_PORT=1|SERVER_PORT=2",
         P "HTTPS=on|HTTP_X_FORWARDED_PROTO=https|REQUEST_SCHEME=https|SERVER_PORT=443" Q},
        /* of a list, and of several, the rightmost value */
        {A, P "HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PROTO=https, http ,|HTTP_X_FORWARDED_PROTO= ",
         P "HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PROTO=https, http ,|HTTP_X_FORWARDED_PROTO= " Q
           "|REQUEST_SCHEME=http|SERVER_PORT=80"},
        /* junk is ignored */
        {A, P "HTTP_X_FORWARDED_PROTO=https, ftp|HTTPS=x", P "HTTP_X_FORWARDED_PROTO=https, ftp|HTTPS=x" Q},
        {A, P "HTTP_X_FORWARDED_PROTO=https%00", P "HTTP_X_FORWARDED_PROTO=https%00" Q},
        {A, P "HTTP_X_FORWARDED_PROTO=|HTTPS=x|HTTPS=y", P "HTTP_X_FORWARDED_PROTO=|HTTPS=x|HTTPS=y" Q},
        {A, P "X=1", P "X=1" Q},
        /* an alias says nothing */
        {A, P "http_x_forwarded_proto=https", "REMOTE_ADDR=10.0.0.1" Q},
        /* the peer's group says what is accepted */
        {T "[u] trust=11.0.0.0/8 accept=proto", P "HTTP_X_FORWARDED_PROTO=https|HTTPS=x|" XFF "11.0.0.1",
         "REMOTE_ADDR=11.0.0.1|HTTP_X_FORWARDED_PROTO=https|HTTPS=x|" XFF "11.0.0.1|" OUT},
        {A, "REMOTE_ADDR=1.2.3.4|HTTPS=x|SERVER_PORT=1", "REMOTE_ADDR=1.2.3.4|HTTPS=x|SERVER_PORT=1"},
        /* accepted besides what the walk comes to */
        {A, P XFF "5.6.7.8:9|HTTP_X_FORWARDED_PROTO=https",
         "REMOTE_ADDR=5.6.7.8|" XFF "5.6.7.8:9|HTTP_X_FORWARDED_PROTO=https|REMOTE_PORT=9|" OUT
         "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443"},
        /* the port, if it is not accepted itself */
        {T "accept=proto,port", P "HTTP_X_FORWARDED_PROTO=https|SERVER_PORT=80",
         P "HTTP_X_FORWARDED_PROTO=https|SERVER_PORT=80" Q "|HTTPS=on|REQUEST_SCHEME=https"},
        {T "accept=proto,port", P "HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PORT=8443|SERVER_PORT=80",
         P "HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PORT=8443|SERVER_PORT=8443" Q
           "|HTTPS=on|REQUEST_SCHEME=https"},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_accept_forwarded_proto(void **state)
{
#define AF "[f] trust=10.0.0.0/8 header=Forwarded accept=proto forwarded_for=keep "
#define ON Q "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443"
    static const struct case_row rows[] = {
        {AF, P FWD "for=x;proto=http, for=\"x\";Proto=\"ht\\tps\"",
         P FWD "for=x;proto=http, for=\"x\";Proto=\"ht\\tps\"" ON},
        /* only of the rightmost element, and nothing of X-Forwarded-Proto */
        {AF, P FWD "for=x;proto=https, for=x|HTTP_X_FORWARDED_PROTO=https",
         P FWD "for=x;proto=https, for=x|HTTP_X_FORWARDED_PROTO=https" Q},
        {AF, P FWD "for=x;proto=http|" FWD "for=x;proto=https|" FWD " ",
         P FWD "for=x;proto=http, for=x;proto=https" ON},
        {AF, P FWD "for=x;proto=ftp", P FWD "for=x;proto=ftp" Q},
        {AF, P FWD "for=x;proto=https;proto=https", P FWD "for=x;proto=https;proto=https" Q},
        {AF, P FWD "proto=https", P FWD "proto=https" Q},
        {AF, P FWD "", "REMOTE_ADDR=10.0.0.1" Q},
        {AF, "A=" FWD "for=x;proto=https|" P "B=2", "A=" FWD "for=x;proto=https|" P "B=2" Q},
        /* another group's Forwarded is not asked */
        {T "accept=proto [f] header=Forwarded", P FWD "for=x;proto=https|HTTP_X_FORWARDED_PROTO=http",
         P "HTTP_X_FORWARDED_PROTO=http" Q "|REQUEST_SCHEME=http|SERVER_PORT=80"},
        {AF "[u] header=Other accept=proto", P "HTTP_OTHER=1|" FWD "for=x;proto=https",
         P FWD "for=x;proto=https" ON},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_accept_port_and_host(void **state)
{
    static const struct case_row rows[] = {
        {T "accept=port", P "HTTP_X_FORWARDED_PORT=1, 8080",
         P "HTTP_X_FORWARDED_PORT=1, 8080" Q "|SERVER_PORT=8080"},
        {T "accept=port", P "SERVER_PORT=80|HTTP_X_FORWARDED_PORT=65535|HTTPS=x",
         P "SERVER_PORT=65535|HTTP_X_FORWARDED_PORT=65535|HTTPS=x" Q},
        {T "accept=port", P "SERVER_PORT=80|HTTP_X_FORWARDED_PORT=65536",
         P "SERVER_PORT=80|HTTP_X_FORWARDED_PORT=65536" Q},
        {T "accept=port", P "SERVER_PORT=80|HTTP_X_FORWARDED_PORT=0",
         P "SERVER_PORT=80|HTTP_X_FORWARDED_PORT=0" Q},
        {T "accept=port", P "HTTP_X_FORWARDED_PORT=443%0d", P "HTTP_X_FORWARDED_PORT=443%0d" Q},
        {T "accept=port", P "HTTP_X_FORWARDED_PORT=,", P "HTTP_X_FORWARDED_PORT=," Q},
        {T "accept=proto", P "HTTP_X_FORWARDED_PORT=443|SERVER_PORT=1",
         P "HTTP_X_FORWARDED_PORT=443|SERVER_PORT=1" Q},
        {T "accept=host", P "HTTP_HOST=a|SERVER_NAME=b|HTTP_X_FORWARDED_HOST=evil, example.org:8080",
         P
         "HTTP_HOST=example.org:8080|SERVER_NAME=example.org|HTTP_X_FORWARDED_HOST=evil, example.org:8080" Q},
        {T "accept=host", P "HTTP_X_FORWARDED_HOST=[2001:DB8::1]:80",
         P "HTTP_X_FORWARDED_HOST=[2001:DB8::1]:80" Q
           "|HTTP_HOST=[2001:DB8::1]:80|SERVER_NAME=[2001:DB8::1]"},
        {T "accept=host", P "HTTP_HOST=a|HTTP_HOST=b|HTTP_X_FORWARDED_HOST=c|SERVER_NAME=c",
         P "HTTP_HOST=c|HTTP_X_FORWARDED_HOST=c|SERVER_NAME=c" Q},
        {T "accept=host", P "HTTP_HOST=a|HTTP_X_FORWARDED_HOST=a/b",
         P "HTTP_HOST=a|HTTP_X_FORWARDED_HOST=a/b" Q},
        {T "accept=host", P "HTTP_HOST=a|HTTP_X_FORWARDED_HOST=", P "HTTP_HOST=a|HTTP_X_FORWARDED_HOST=" Q},
        {"[f] trust=10.0.0.0/8 header=Forwarded accept=host",
         P FWD "for=1.2.3.4;host=h|HTTP_X_FORWARDED_HOST=g",
         "REMOTE_ADDR=1.2.3.4|" FWD "for=1.2.3.4;host=h|HTTP_X_FORWARDED_HOST=g|" OUT
         "|HTTP_HOST=g|SERVER_NAME=g"},
        /* all that can be added, in its order */
        {T "accept=proto,port,host",
         P XFF "5.6.7.8:9|REMOTE_PORT=7|HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PORT=8443|"
               "HTTP_X_FORWARDED_HOST=h:1",
         "REMOTE_ADDR=5.6.7.8|" XFF
         "5.6.7.8:9|REMOTE_PORT=9|HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PORT=8443|"
         "HTTP_X_FORWARDED_HOST=h:1|REALIP_REMOTE_ADDR=10.0.0.1|REALIP_REMOTE_PORT=7|REALIP_PROXIES=10.0.0.1|"
         "HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=8443|HTTP_HOST=h:1|SERVER_NAME=h"},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
}

static void test_junk(void **state)
{
    static const struct {
        const char *params;
        bool junk;
    } rows[] = {
        {P "HTTP_X_FORWARDED_PROTO=https|HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_HOST=h", false},
        {P "HTTP_X_FORWARDED_PROTO=|HTTP_X_FORWARDED_PORT=,|HTTP_X_FORWARDED_HOST= ", false},
        {P, false},
        {P "HTTP_X_FORWARDED_PROTO=x", true},
        {P "HTTP_X_FORWARDED_PORT=x", true},
        {P "HTTP_X_FORWARDED_HOST=/", true},
        {"REMOTE_ADDR=1.2.3.4|HTTP_X_FORWARDED_PROTO=x", false},
    };
    static const struct {
        const char *value;
        bool junk;
    } forwarded[] = {{"for=x;proto=https", false},
                     {"for=x", false},
                     {"", false},
                     {"for=x;proto=x", true},
                     {"for=x;proto=http;proto=http", true},
                     {"proto=https", true},
                     {"for=\"x", true}};
    static struct realip_case test;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        case_rewrite(&test, T "accept=proto,port,host", rows[i].params);
        check_number(test.rewrite.junk, rows[i].junk, rows[i].params);
        case_close(&test);
    }
    for (size_t i = 0; i < COUNT(forwarded); i++) {
        char params[128];

        snprintf(params, sizeof params, P FWD "%s", forwarded[i].value);
        case_rewrite(&test, AF, params);
        check_number(test.rewrite.junk, forwarded[i].junk, params);
        case_close(&test);
    }
}

/* Twice through leaves what once did. */
static void test_twice(void **state)
{
    static const char *const modes[] = {"confirmed", "unconfirmed", "client", "keep", "remove"};
    static const char *const selects[] = {"recursive", "single", "hops:2", "leftmost", "recursive max=2"};
    static const char *const lists[] = {"5.6.7.8:9", "6.6.6.6, 5.6.7.8:9, 10.0.0.2", "10.0.0.3, 10.0.0.2:8",
                                        "6.6.6.6, junk, 10.0.0.2:8",
                                        "6.6.6.6, 10.0.0.4, 10.0.0.3:5, 10.0.0.2:8"};
    static struct realip_case once, twice;

    (void)state;
    for (size_t i = 0; i < COUNT(modes) * COUNT(selects) * COUNT(lists); i++) {
        char policy[128], params[256], first[3][64];
        static const char *const names[] = {"REMOTE_ADDR=", "REMOTE_PORT=", "REMOTE_HOST="};

        snprintf(policy, sizeof policy, T "select=%s forwarded_for=%s",
                 selects[i / COUNT(lists) % COUNT(selects)], modes[i / COUNT(lists) / COUNT(selects)]);
        snprintf(params, sizeof params, P "REMOTE_PORT=1|REMOTE_HOST=h|" XFF "%s", lists[i % COUNT(lists)]);
        case_rewrite(&once, policy, params);
        case_rewrite(&twice, policy, once.text);
        for (size_t k = 0; k < 3; k++) {
            const char *a = strstr(once.text, names[k]), *b = strstr(twice.text, names[k]);

            snprintf(first[k], sizeof first[k], "%.*s", (int)strcspn(a, "|"), a);
            check_text(((struct slice){b, strcspn(b, "|")}), slice_of(first[k]), policy);
        }
        case_close(&once);
        case_close(&twice);
    }
}

/* Values too large for the first room of the workspace; all slices stay good. */
static void test_large_values(void **state)
{
    enum { COPIES = 40, LEN = 1000 };
    static char text[COPIES][LEN + 1];
    static struct param params[COPIES + 1];
    struct policy *policy = case_policy(T "forwarded_for=keep");
    struct workspace *workspace = workspace_new(policy);
    struct decision decision;
    struct rewrite rewrite;

    (void)state;
    for (int i = 0; i < COPIES; i++) {
        memset(text[i], 'a' + i % 26, LEN);
        params[i] = (struct param){SLICE("HTTP_X_FORWARDED_FOR"), {text[i], LEN}};
    }
    memcpy(text[COPIES - 1], "5.6.7.8,10.0.0.2", 17);
    params[COPIES - 1].value.len = 16;
    params[COPIES] = (struct param){SLICE("REMOTE_ADDR"), SLICE("10.0.0.1")};
    size_t before = workspace->text_cap;
    decide_request(policy, params, COPIES + 1, workspace, &decision);
    assert_int_equal(rewrite_params(policy, params, COPIES + 1, &decision, workspace, &rewrite), 0);
    assert_true(workspace->text_cap > before);
    assert_int_equal(rewrite.nedits, COPIES + 1);
    assert_int_equal(rewrite.edits[0].value.len, (LEN + 2) * (COPIES - 1) + 16);
    for (int i = 0; i < COPIES - 1; i++) {
        const char *piece = rewrite.edits[0].value.data + (LEN + 2) * i;

        assert_memory_equal(piece, text[i], LEN);
        assert_memory_equal(piece + LEN, ", ", 2);
    }
    assert_true(rewrite.edits[1].drop);
    check_text(rewrite.edits[COPIES].value, SLICE("5.6.7.8"), "REMOTE_ADDR");
    check_text(rewrite.added[1].value, SLICE("10.0.0.2, 10.0.0.1"), "REALIP_PROXIES");
    workspace_free(workspace);
    workspace_free(NULL);
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remote),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_client_headers),
        cmocka_unit_test(test_chain_header),
        cmocka_unit_test(test_control_bytes),
        cmocka_unit_test(test_forwarded_header),
        cmocka_unit_test(test_client_without_address),
        cmocka_unit_test(test_several_headers),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_accept_proto),
        cmocka_unit_test(test_accept_forwarded_proto),
        cmocka_unit_test(test_accept_port_and_host),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_large_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
