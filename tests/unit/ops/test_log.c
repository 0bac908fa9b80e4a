/*
 * The error log: whole lines, byte by byte but for the time, and text that a peer sent made harmless.
 */
#include "realip_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "ops/log.h"

#define TIME_LEN 24 /* "2026-01-31T12:00:00.123Z" */

/* What one log_write put into a pipe. */
struct written {
    char text[8192];
    size_t length;
};

static void open_pipe(int ends[2])
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static void read_all(int fd, struct written *written)
{
    ssize_t length = read(fd, written->text, sizeof written->text - 1);
    written->length = length > 0 ? (size_t)length : 0;
    written->text[written->length] = '\0';
}

static void check_line(enum log_level level, const char *word)
{
    int ends[2];
    struct written written;
    char expected[128];
    open_pipe(ends);
    const struct log log = {LOG_DEBUG, ends[1]};
    log_write(&log, level, "client %s, status %d", "192.0.2.1", 403);
    read_all(ends[0], &written);
    snprintf(expected, sizeof expected, " fcgi-realip[%ld] %s: client 192.0.2.1, status 403\n",
             (long)getpid(), word);
    assert_true(written.length > TIME_LEN);
    assert_string_equal(written.text + TIME_LEN, expected);
    close(ends[0]);
    close(ends[1]);
}

static void test_line(void **state)
{
    (void)state;
    check_line(LOG_ERROR, "error");
    check_line(LOG_WARNING, "warning");
    check_line(LOG_INFO, "info");
    check_line(LOG_DEBUG, "debug");
}

/* time() reads a clock that is a tick behind. */
static time_t now(void)
{
    struct timespec time;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &time), 0);
    return time.tv_sec;
}

static void test_time_is_utc_with_milliseconds(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    open_pipe(ends);
    const struct log log = {LOG_INFO, ends[1]};
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    time_t before = now();
    log_write(&log, LOG_INFO, "x");
    time_t after = now();
    read_all(ends[0], &written);

    struct tm parts = {0};
    const char *rest = strptime(written.text, "%Y-%m-%dT%H:%M:%S", &parts);
    assert_non_null(rest);
    assert_int_equal(rest - written.text, 19);
    time_t seen = timegm(&parts);
    assert_true(seen >= before && seen <= after);
    assert_int_equal(rest[0], '.');
    assert_int_equal(strspn(rest + 1, "0123456789"), 3);
    assert_int_equal(rest[4], 'Z');
    unsetenv("TZ");
    close(ends[0]);
    close(ends[1]);
}

static void test_level(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    open_pipe(ends);
    const struct log log = {LOG_WARNING, ends[1]};
    log_write(&log, LOG_INFO, "not wanted");
    log_write(&log, LOG_DEBUG, "not wanted");
    read_all(ends[0], &written);
    assert_int_equal(written.length, 0);
    assert_true(log_wants(&log, LOG_ERROR));
    assert_true(log_wants(&log, LOG_WARNING));
    assert_false(log_wants(&log, LOG_INFO));
    close(ends[0]);
    close(ends[1]);
}

static void test_line_ends_inside_are_blanks(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    open_pipe(ends);
    const struct log log = {LOG_INFO, ends[1]};
    log_write(&log, LOG_INFO, "one\r\ntwo");
    read_all(ends[0], &written);
    assert_string_equal(strstr(written.text, ": ") + 2, "one  two\n");
    close(ends[0]);
    close(ends[1]);
}

static void test_long_line_is_cut_and_still_one_write(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    char text[6000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    open_pipe(ends);
    const struct log log = {LOG_INFO, ends[1]};
    log_write(&log, LOG_INFO, "%s", text);
    read_all(ends[0], &written);
    assert_true(written.length <= 4096);
    assert_true(written.length > 4000);
    assert_string_equal(written.text + written.length - 5, "a...\n");
    assert_int_equal(strlen(written.text), written.length);
    close(ends[0]);
    close(ends[1]);
}

static void test_errno_stays(void **state)
{
    (void)state;
    const struct log log = {LOG_INFO, -1};
    errno = EAGAIN;
    log_write(&log, LOG_INFO, "to nowhere: write fails with EBADF");
    assert_int_equal(errno, EAGAIN);
}

static int drain_fd;
static volatile sig_atomic_t interrupts;

/* Makes room on the third interruption. */
static void drain(int signal)
{
    (void)signal;
    char text[65536];
    if (++interrupts == 3)
        while (read(drain_fd, text, sizeof text) > 0)
            continue;
}

static void test_interrupted_write_is_repeated(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    char page[4096] = {0};
    open_pipe(ends);
    while (write(ends[1], page, sizeof page) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0); /* log_write is to block in write */
    drain_fd = ends[0];
    struct sigaction action = {.sa_handler = drain}; /* without SA_RESTART */
    struct sigaction old;
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    const struct itimerval every = {{0, 5000}, {0, 5000}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);

    const struct log log = {LOG_INFO, ends[1]};
    log_write(&log, LOG_INFO, "at last");

    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    sigaction(SIGALRM, &old, NULL);
    assert_true(interrupts >= 3);
    read_all(ends[0], &written);
    assert_string_equal(strstr(written.text, ": ") + 2, "at last\n");
    close(ends[0]);
    close(ends[1]);
}

static void test_limit(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    unsigned suppressed = 77;
    assert_true(log_limit_pass(&limit, 0, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(log_limit_pass(&limit, 0, &suppressed));
    assert_false(log_limit_pass(&limit, 59999, &suppressed));
    assert_true(log_limit_pass(&limit, 60000, &suppressed));
    assert_int_equal(suppressed, 2);
    assert_false(log_limit_pass(&limit, 60001, &suppressed));
    assert_true(log_limit_pass(&limit, 500000, &suppressed));
    assert_int_equal(suppressed, 1);
    assert_true(log_limit_pass(&limit, 560000, &suppressed));
    assert_int_equal(suppressed, 0);
}

static void test_escape(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        size_t size;
        const char *expected;
    } rows[] = {
        {{"", 0}, 8, ""},
        {{NULL, 0}, 8, ""},
        {{"1.2.3.4, ~ x", 12}, 64, "1.2.3.4, ~ x"},
        {{"a\"b\\c", 5}, 64, "a\\x22b\\x5cc"},
        {{"\0\n\r\t\x7f\xff\x1b", 7}, 64, "\\x00\\x0a\\x0d\\x09\\x7f\\xff\\x1b"},
        {{"abcdef", 6}, 7, "abcdef"},
        {{"abcdefg", 7}, 7, "abc..."},
        {{"abcdef", 6}, 6, "ab..."},
        {{"\n\n\n", 3}, 13, "\\x0a\\x0a\\x0a"},
        {{"\n\n\n", 3}, 12, "\\x0a\\x0a..."}, /* never half an escape */
        {{"\n\n\n", 3}, 11, "\\x0a..."},
        {{"ab\n", 3}, 6, "ab..."},
        {{"abcd", 4}, 4, "..."},
        {{"abcd", 4}, 3, ".."},
        {{"abcd", 4}, 1, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[80];
        memset(out, '#', sizeof out);
        assert_ptr_equal(log_escape(rows[i].text, out, rows[i].size), out);
        assert_string_equal(out, rows[i].expected);
        assert_int_equal(out[rows[i].size], '#');
    }
    char untouched = '#';
    log_escape(SLICE("abc"), &untouched, 0);
    assert_int_equal(untouched, '#');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_time_is_utc_with_milliseconds),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_line_ends_inside_are_blanks),
        cmocka_unit_test(test_long_line_is_cut_and_still_one_write),
        cmocka_unit_test(test_errno_stays),
        cmocka_unit_test(test_interrupted_write_is_repeated),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
