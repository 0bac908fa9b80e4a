/*
 * The error log: whole lines, byte by byte but for the time, and text that a peer sent made harmless.
 */
#include "realip_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
    struct log log;
    log_open_fd(&log, LOG_DEBUG, ends[1]);
    log_write(&log, level, "client %s, status %d", "192.0.2.1", 403);
    read_all(ends[0], &written);
    snprintf(expected, sizeof expected, " fcgi-realip[%ld] %s: client 192.0.2.1, status 403\n",
             (long)getpid(), word);
    assert_true(written.length > TIME_LEN);
    assert_string_equal(written.text + TIME_LEN, expected);
    log_close(&log);
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
    struct log log;
    log_open_fd(&log, LOG_INFO, ends[1]);
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
    log_close(&log);
    close(ends[0]);
    close(ends[1]);
}

static void test_level(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    open_pipe(ends);
    struct log log;
    log_open_fd(&log, LOG_WARNING, ends[1]);
    log_write(&log, LOG_INFO, "not wanted");
    log_write(&log, LOG_DEBUG, "not wanted");
    read_all(ends[0], &written);
    assert_int_equal(written.length, 0);
    assert_true(log_wants(&log, LOG_ERROR));
    assert_true(log_wants(&log, LOG_WARNING));
    assert_false(log_wants(&log, LOG_INFO));
    log_close(&log);
    close(ends[0]);
    close(ends[1]);
}

static void test_line_ends_inside_are_blanks(void **state)
{
    (void)state;
    int ends[2];
    struct written written;
    open_pipe(ends);
    struct log log;
    log_open_fd(&log, LOG_INFO, ends[1]);
    log_write(&log, LOG_INFO, "one\r\ntwo");
    read_all(ends[0], &written);
    assert_string_equal(strstr(written.text, ": ") + 2, "one  two\n");
    log_close(&log);
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
    struct log log;
    log_open_fd(&log, LOG_INFO, ends[1]);
    log_write(&log, LOG_INFO, "%s", text);
    read_all(ends[0], &written);
    assert_true(written.length <= 4096);
    assert_true(written.length > 4000);
    assert_string_equal(written.text + written.length - 5, "a...\n");
    assert_int_equal(strlen(written.text), written.length);
    log_close(&log);
    close(ends[0]);
    close(ends[1]);
}

static void test_errno_stays(void **state)
{
    (void)state;
    struct log log;
    log_open_fd(&log, LOG_INFO, -1);
    errno = EAGAIN;
    log_write(&log, LOG_INFO, "to nowhere: write fails with EBADF");
    assert_int_equal(errno, EAGAIN);
    log_close(&log);
}

static void read_line(int fd, char *text, size_t size)
{
    ssize_t n = read(fd, text, size - 1);
    assert_true(n > 0);
    text[n] = '\0';
}

static void test_journal_is_told_by_its_inode(void **state)
{
    (void)state;
    int ends[2];
    char text[256];
    char name[64];
    struct stat status;
    struct log log;
    open_pipe(ends);
    assert_int_equal(fstat(ends[1], &status), 0);
    snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    log_open_fd(&log, LOG_DEBUG, ends[1]);
    static const char *const expected[] = {"<3>x 1\n", "<4>x 1\n", "<6>x 1\n", "<7>x 1\n"};
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        log_write(&log, (enum log_level)level, "x %d", 1);
        read_line(ends[0], text, sizeof text);
        assert_string_equal(text, expected[level]);
    }
    log_close(&log);

    /* Of another stream it says nothing. */
    snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino + 1);
    setenv("JOURNAL_STREAM", name, 1);
    log_open_fd(&log, LOG_DEBUG, ends[1]);
    log_write(&log, LOG_ERROR, "x");
    read_line(ends[0], text, sizeof text);
    assert_string_equal(strchr(text, 'Z'), strstr(text, "Z fcgi-realip["));
    log_close(&log);
    unsetenv("JOURNAL_STREAM");
    close(ends[0]);
    close(ends[1]);
}

/* As rsyslogd and the journal parse it. */
static void test_syslog_line(void **state)
{
    (void)state;
    int ends[2];
    char text[256];
    char rest[64];
    struct log log;
    struct tm parts;
    open_pipe(ends);
    log_open_fd(&log, LOG_DEBUG, ends[1]);
    log.style = LOG_SYSLOG;
    setenv("TZ", "UTC", 1);
    tzset();
    time_t before = now();
    log_write(&log, LOG_WARNING, "it is %s", "late");
    time_t after = now();
    read_line(ends[0], text, sizeof text);
    unsetenv("TZ");
    assert_memory_equal(text, "<28>", 4);
    gmtime_r(&before, &parts);
    const char *end = strptime(text + 4, "%b %e %H:%M:%S", &parts);
    assert_non_null(end);
    time_t seen = timegm(&parts);
    assert_true(seen >= before && seen <= after);
    assert_int_equal(end - text, 4 + 15);
    snprintf(rest, sizeof rest, " fcgi-realip[%ld]: it is late\n", (long)getpid());
    assert_string_equal(end, rest);
    log_close(&log);
    close(ends[0]);
    close(ends[1]);
}

static void test_open_a_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/realip-log-XXXXXX";
    char path[64];
    char text[512];
    struct log log;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/error.log", folder);
    assert_int_equal(log_open(&log, LOG_INFO, path), 0);
    log_write(&log, LOG_INFO, "one");
    log_close(&log);
    assert_int_equal(log_open(&log, LOG_INFO, path), 0);
    log_write(&log, LOG_INFO, "two");
    log_close(&log);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    read_line(fd, text, sizeof text);
    assert_non_null(strstr(text, " info: one\n20"));
    assert_non_null(strstr(text, " info: two\n"));
    close(fd);
    unlink(path);
    rmdir(folder);

    /* The folder is gone. */
    assert_int_equal(log_open(&log, LOG_INFO, path), -ENOENT);
    assert_int_equal(log.sink.fd == -1, false);
    log_close(&log);
}

static void fill(int fd)
{
    char page[4096] = {0};
    while (write(fd, page, sizeof page) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
}

/* A pipe that nobody reads: nothing waits for it, and what is missing is said afterwards, in its place. */
static void test_dropped_lines_are_told(void **state)
{
    (void)state;
    int ends[2];
    char line[1100];
    static char text[4 * 65536];
    struct log log;
    open_pipe(ends);
    fill(ends[1]);
    log_open_fd(&log, LOG_INFO, ends[1]);
    memset(line, 'a', 1000);
    line[1000] = '\0';
    const int sent = 100;
    for (int i = 0; i < sent; i++)
        log_write(&log, LOG_INFO, "%s", line);
    uint64_t dropped = log.sink.dropped;
    size_t waiting = sink_count(&log.sink);
    assert_true(dropped > 0 && dropped < (uint64_t)sent);
    assert_int_equal(dropped + waiting, sent);

    while (read(ends[0], text, sizeof text) > 0)
        continue;
    log_write(&log, LOG_INFO, "at last");
    size_t length = 0;
    for (ssize_t n; (n = read(ends[0], text + length, sizeof text - length - 1)) > 0;) {
        length += (size_t)n;
        log_flush(&log);
    }
    text[length] = '\0';
    size_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, waiting + 2);
    char expected[128];
    snprintf(expected, sizeof expected, " warning: %ju lines of this log could not be written",
             (uintmax_t)dropped);
    const char *told = strstr(text, expected);
    assert_non_null(told);
    assert_non_null(strstr(text, " info: at last\n"));
    assert_int_equal(log.sink.dropped, 0);
    assert_int_equal(log.sink.len, 0);
    log_close(&log);
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
        cmocka_unit_test(test_journal_is_told_by_its_inode),
        cmocka_unit_test(test_syslog_line),
        cmocka_unit_test(test_open_a_file),
        cmocka_unit_test(test_dropped_lines_are_told),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
