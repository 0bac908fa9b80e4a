/*
 * What each of several processes gets of a total.
 */
#include "realip_cmocka.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_make),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
