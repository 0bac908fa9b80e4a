/*
 * repeated = malformed: a header that came in several copies, which the walk and the rewrite do not read.
 *
 * T trusts 10/8 and reads X-Forwarded-For, R is T with that setting.
 */
#include "realip_case.h"

#define T   "[t] trust=10.0.0.0/8 "
#define R   T "repeated "
#define XFF "HTTP_X_FORWARDED_FOR="
#define FWD "HTTP_FORWARDED="
#define P   "REMOTE_ADDR=10.0.0.1|"
#define Q   "|REALIP_REMOTE_ADDR=10.0.0.1"
#define OUT "REALIP_REMOTE_ADDR=10.0.0.1|REALIP_PROXIES=10.0.0.1"

/* Several copies are malformed as a whole, whatever is in them. */
static void test_decisions(void **state)
{
    static const struct case_row rows[] = {
        {R, P XFF "5.6.7.8, 10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        {R, P, "no-header 10.0.0.1"},
        {R, P XFF "", "exhausted 10.0.0.1"},
        {R, P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1"},
        {R, XFF "5.6.7.8|" P XFF "", "malformed 10.0.0.1"},
        {R, P XFF "|" XFF "|" XFF, "malformed 10.0.0.1"},
        {R "malformed=peer", P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1"},
        {R "malformed=reject", P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1 400"},
        {R "require_header", P XFF "|" XFF, "malformed 10.0.0.1"},
        {R "require_header", P XFF, "exhausted 10.0.0.1 400"},
        {R "select=single", P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1"},
        {R "select=hops:1", P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1"},
        {R "select=leftmost", P XFF "5.6.7.8|" XFF "6.6.6.6", "malformed 10.0.0.1"},
        {R "header=Forwarded", P FWD "for=5.6.7.8|" FWD "for=6.6.6.6", "malformed 10.0.0.1"},
        {R "header=Forwarded", P FWD "for=5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* a name that only folds to the header's is dropped, and no copy; nor is another header */
        {R, P XFF "5.6.7.8|http_x_forwarded_for=6.6.6.6|HTTP_X.FORWARDED_FOR=6.6.6.6|HTTP_X_REAL_IP=6.6.6.6",
         "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {R, "REMOTE_ADDR=1.2.3.4|" XFF "5.6.7.8|" XFF "6.6.6.6", "untrusted-peer 1.2.3.4"},
        /* the group of the hop that would read it decides */
        {T "[c] trust=11.0.0.0/8 header=C repeated", P XFF "11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=6.6.6.6",
         "malformed 11.0.0.1 via 10.0.0.1"},
        {T "[c] trust=11.0.0.0/8 header=C repeated malformed=peer",
         P XFF "11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=6.6.6.6", "malformed 10.0.0.1"},
        {T "[c] trust=11.0.0.0/8 header=C repeated malformed=reject",
         P XFF "11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=6.6.6.6", "malformed 11.0.0.1 via 10.0.0.1 400"},
        {R "[c] trust=11.0.0.0/8 header=C", P XFF "11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=6.6.6.6",
         "untrusted-hop 6.6.6.6 via 10.0.0.1,11.0.0.1"},
        {T "[u] trust=11.0.0.0/8 repeated", P XFF "5.6.7.8|" XFF "11.0.0.1",
         "malformed 11.0.0.1 via 10.0.0.1"},
        {R "[u] trust=11.0.0.0/8", P XFF "5.6.7.8|" XFF "11.0.0.1", "malformed 10.0.0.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

/* Of copies that were not read, nothing is sent: not even where a list is sent as it came. */
static void test_chain(void **state)
{
#define BOTH   P XFF "5.6.7.8|" XFF "6.6.6.6"
#define C      T "[c] trust=11.0.0.0/8 header=C repeated "
#define C_BOTH P XFF "7.7.7.7, 11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=6.6.6.6"
#define C_OUT  "REALIP_REMOTE_ADDR=10.0.0.1|REALIP_PROXIES=10.0.0.1"
    static const struct case_row rows[] = {
        {R, BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {R "forwarded_for=unconfirmed", BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {R "forwarded_for=keep", BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {R "forwarded_for=remove", BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {R "forwarded_for=client", BOTH, P XFF "10.0.0.1" Q},
        {R "forwarded_for=keep malformed=peer", BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {R "untrusted=keep", "REMOTE_ADDR=1.2.3.4|" XFF "5.6.7.8|" XFF "6.6.6.6",
         "REMOTE_ADDR=1.2.3.4|" XFF "5.6.7.8|" XFF "6.6.6.6"},
        /* further on; a second pass begins at 11.0.0.1 */
        {C, C_BOTH, "REMOTE_ADDR=11.0.0.1|" XFF "11.0.0.1|" C_OUT},
        {C "forwarded_for=unconfirmed", C_BOTH, "REMOTE_ADDR=11.0.0.1|" C_OUT},
        {C "forwarded_for=keep", C_BOTH, "REMOTE_ADDR=11.0.0.1|" C_OUT},
        /* given up: with a header left, a second pass would come to 11.0.0.1 and stay there */
        {C "forwarded_for=keep malformed=peer", C_BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        {C "forwarded_for=unconfirmed malformed=peer", C_BOTH, "REMOTE_ADDR=10.0.0.1" Q},
        /* what another group read of it is confirmed */
        {T "[u] trust=11.0.0.0/8 repeated", P XFF "5.6.7.8|" XFF "6.6.6.6, 11.0.0.1",
         "REMOTE_ADDR=11.0.0.1|" XFF "11.0.0.1|" C_OUT},
    };

    (void)state;
    check_rewrites(rows, COUNT(rows));
#undef BOTH
#undef C
#undef C_BOTH
#undef C_OUT
}

/* Several copies of what is accepted besides are junk. */
static void test_accept(void **state)
{
#define RA R "accept=proto,port,host "
#define RF "[f] trust=10.0.0.0/8 header=Forwarded accept=proto repeated "
    static const struct {
        const char *policy, *params, *want;
        bool junk;
    } rows[] = {
        {RA, P "HTTP_X_FORWARDED_PROTO=http, https|HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_HOST=h",
         P "HTTP_X_FORWARDED_PROTO=http, https|HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_HOST=h" Q
           "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=1|HTTP_HOST=h|SERVER_NAME=h",
         false},
        {RA, P "HTTP_X_FORWARDED_PROTO=http|HTTP_X_FORWARDED_PROTO=https",
         P "HTTP_X_FORWARDED_PROTO=http|HTTP_X_FORWARDED_PROTO=https" Q, true},
        {RA, P "HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_PORT=",
         P "HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_PORT=" Q, true},
        {RA, P "HTTP_X_FORWARDED_HOST=h|HTTP_X_FORWARDED_HOST=h",
         P "HTTP_X_FORWARDED_HOST=h|HTTP_X_FORWARDED_HOST=h" Q, true},
        {RA, P "HTTP_X_FORWARDED_HOST=|HTTP_X_FORWARDED_HOST=",
         P "HTTP_X_FORWARDED_HOST=|HTTP_X_FORWARDED_HOST=" Q, false},
        {RA, P "HTTP_X_FORWARDED_PORT=1|HTTP_X.FORWARDED_PORT=2",
         P "HTTP_X_FORWARDED_PORT=1" Q "|SERVER_PORT=1", false},
        {RF, P FWD "for=5.6.7.8;proto=https",
         "REMOTE_ADDR=5.6.7.8|" FWD "for=5.6.7.8;proto=https|" OUT
         "|HTTPS=on|REQUEST_SCHEME=https|SERVER_PORT=443",
         false},
        {RF, P FWD "for=5.6.7.8;proto=https|" FWD "for=5.6.7.8;proto=https", "REMOTE_ADDR=10.0.0.1" Q, true},
        {RF, P FWD "for=5.6.7.8|" FWD "for=5.6.7.8", "REMOTE_ADDR=10.0.0.1" Q, true},
        /* the peer's group says so, as it says what is accepted */
        {T "accept=port [u] repeated", P "HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_PORT=2",
         P "HTTP_X_FORWARDED_PORT=1|HTTP_X_FORWARDED_PORT=2" Q "|SERVER_PORT=2", false},
    };
    static struct realip_case test;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        case_rewrite(&test, rows[i].policy, rows[i].params);
        check_text(slice_of(test.text), slice_of(rows[i].want), rows[i].params);
        check_number(test.rewrite.junk, rows[i].junk, rows[i].params);
        case_close(&test);
    }
#undef RA
#undef RF
}

/* A second shim behind the first sees fewer copies, and must come to the same client. */
static void test_twice(void **state)
{
    static const char *const modes[] = {"confirmed", "unconfirmed", "client", "keep", "remove"};
    static const char *const groups[] = {R,
                                         R "malformed=peer",
                                         R "select=leftmost",
                                         T "[c] trust=11.0.0.0/8 header=C repeated",
                                         T "[c] trust=11.0.0.0/8 header=C repeated malformed=peer",
                                         T "[u] trust=11.0.0.0/8 repeated"};
    static const char *const headers[] = {
        XFF "5.6.7.8|" XFF "10.0.0.2",
        XFF "6.6.6.6, 11.0.0.1|HTTP_C=5.6.7.8|HTTP_C=11.0.0.2",
        XFF "6.6.6.6|" XFF "5.6.7.8, 11.0.0.1",
    };
    static struct realip_case once, twice;

    (void)state;
    for (size_t i = 0; i < COUNT(modes) * COUNT(groups) * COUNT(headers); i++) {
        char policy[128], params[256], first[64];

        snprintf(policy, sizeof policy, "%s forwarded_for=%s", groups[i / COUNT(headers) % COUNT(groups)],
                 modes[i / COUNT(headers) / COUNT(groups)]);
        snprintf(params, sizeof params, P "%s", headers[i % COUNT(headers)]);
        case_rewrite(&once, policy, params);
        case_rewrite(&twice, policy, once.text);
        snprintf(first, sizeof first, "%.*s", (int)strcspn(once.text, "|"), once.text);
        check_text(((struct slice){twice.text, strcspn(twice.text, "|")}), slice_of(first), policy);
        case_close(&once);
        case_close(&twice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
