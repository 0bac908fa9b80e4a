/*
 * What each of several processes gets of a total.
 */
#include "support.h"

#include <limits.h>

#include "config/share.h"

/* All shares of a total, as "3 3 2". */
static void check_parts_at(unsigned total, unsigned count, const char *expected, const char *file, int line)
{
    char text[256] = "";
    size_t at = 0;
    for (unsigned i = 0; i < count && at < sizeof text; i++)
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "%s%u", i ? " " : "", share_part(total, count, i));
    if (strcmp(text, expected) != 0)
        print_error("%u for %u: got %s, want %s\n", total, count, text, expected);
    _assert_true(strcmp(text, expected) == 0, "shares", file, line);
}
#define check_parts(total, count, expected) check_parts_at(total, count, expected, __FILE__, __LINE__)

static void test_parts(void **state)
{
    (void)state;
    check_parts(7, 1, "7");
    check_parts(0, 1, "0");
    check_parts(0, 3, "0 0 0");
    check_parts(3, 3, "1 1 1");
    check_parts(4, 3, "2 1 1");
    check_parts(5, 3, "2 2 1");
    check_parts(6, 3, "2 2 2");
    check_parts(1000000, 7, "142858 142857 142857 142857 142857 142857 142857");
    check_parts(UINT_MAX, 2, "2147483648 2147483647");
}

static void test_sums(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 256; count++) {
        for (unsigned total = 0; total < 1100; total += 1 + total / 16) {
            unsigned sum = 0;
            unsigned least = UINT_MAX;
            unsigned most = 0;
            for (unsigned i = 0; i < count; i++) {
                unsigned part = share_part(total, count, i);
                sum += part;
                least = part < least ? part : least;
                most = part > most ? part : most;
            }
            check_number(sum, total, "the sum");
            check_number(most - least <= 1, true, "the difference");
            check_number(least > 0, total >= count, "nobody goes without");
        }
    }
}

/* Connections never exceed processes in a share if they do not in all. */
static void test_order(void **state)
{
    (void)state;
    for (unsigned processes = 1; processes < 70; processes++) {
        for (unsigned connections = 1; connections <= processes; connections++) {
            for (unsigned i = 0; i < 7; i++)
                check_number(share_part(connections, 7, i) <= share_part(processes, 7, i), true, "order");
        }
    }
}

static void test_make(void **state)
{
    (void)state;
    struct config config = {.limit_requests = 11};
    config.upstream.queue = 4;
    config.upstream.processes = 5;
    config.upstream.max_processes = 7;
    for (unsigned i = 0; i < 2; i++) {
        struct share share = share_make(&config, 2, i);
        check_number(share.connections, 0, "connections");
        check_number(share.queue, 2, "queue");
        check_number(share.processes, i ? 2 : 3, "processes");
        check_number(share.max_processes, i ? 3 : 4, "max_processes");
        check_number(share.requests, i ? 5 : 6, "requests");
    }
    config.upstream.connections = 9;
    check_number(share_make(&config, 2, 0).connections, 5, "connections");
    check_number(share_make(&config, 1, 0).connections, 9, "connections of one");
}

#define FEWER ": less than one for each of the workers (4), who share it; raise it, or lower workers\n"

/* A total that is not enough for all, in the file or by default. */
static void test_totals(void **state)
{
    (void)state;
    static const struct {
        const char *upstream; /* lines 4 on */
        const char *rest;
        const char *expected;
    } rows[] = {
        {"address = 127.0.0.1:9\nconnections = 4\nqueue = 4\n", "[limits]\nrequests = 4\n", ""},
        {"address = 127.0.0.1:9\nconnections = 0\nqueue = 0\n", "", ""},
        {"address = 127.0.0.1:9\nconnections = 3\n", "", "E5: connections = 3" FEWER},
        {"address = 127.0.0.1:9\nqueue = 1\n", "", "E5: queue = 1" FEWER},
        {"queue = 1\n", "", "E4: queue = 1" FEWER},
        {"queue = 8\n", "[limits]\nrequests = 3\n", "E8: requests = 3" FEWER},
        {"command = /x\nprocesses = 4\n", "", ""},
        {"command = /x\nprocesses = 3\n", "", "E5: processes = 3" FEWER},
        {"command = /x\nprocesses = 4\nconnections = 3\n", "", "E6: connections = 3" FEWER},
        {"command = /x\nprocesses = 3\nconnections = 3\n", "", "E5: processes = 3" FEWER},
        {"command = /x\n", "",
         "E6: workers = 4: more than processes (1), which they share; lower it, or raise processes in "
         "[upstream]\n"},
        {"cgi = /x\n", "", ""},
        {"cgi = /x\nmax_processes = 2\n", "", "E5: max_processes = 2" FEWER},
        {"connections = 3\nprocesses = 3\nmax_processes = 3\n", "", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[512];
        snprintf(text, sizeof text, GROUP "[upstream]\n%s[process]\nworkers = 4\n%s", rows[i].upstream,
                 rows[i].rest);
        check_load(text, rows[i].expected);
    }
    check_load(GROUP "[process]\nworkers = 256\n[upstream]\ncgi = /x\n",
               "E4: workers = 256: more than max_processes (16), which they share; lower it, or raise "
               "max_processes in [upstream]\n");
    check_load(GROUP "[upstream]\nqueue = 0\n[limits]\nrequests = 1\n[process]\nworkers = 1\n", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts), cmocka_unit_test(test_sums),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_make),  cmocka_unit_test(test_totals),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
