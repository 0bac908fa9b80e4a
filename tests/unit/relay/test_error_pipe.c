/*
 * What programs say on standard error: lines, bytes, pauses, the end.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "relay/error_pipe.h"

static struct error_pipe heard;
static int program; /* the end that a program would have */
static size_t descriptors;

static char lines[100000]; /* what came, a "|" behind each line */
static size_t lines_len;
static char bytes[300000];
static size_t bytes_len;
static unsigned ends;
static size_t pause_at; /* bytes_came pauses there, or closes */
static size_t close_at;

static void on_line(struct error_pipe *pipe, const char *text)
{
    assert_ptr_equal(pipe, &heard);
    size_t len = strlen(text);
    assert_true(len > 0);
    assert_true(lines_len + len + 2 < sizeof(lines));
    lines_len += (size_t)snprintf(lines + lines_len, sizeof(lines) - lines_len, "%s|", text);
}

static void on_bytes(struct error_pipe *pipe, const char *data, size_t len)
{
    assert_true(bytes_len + len <= sizeof(bytes));
    memcpy(bytes + bytes_len, data, len);
    bytes_len += len;
    if (pause_at > 0 && bytes_len >= pause_at)
        pipe->paused = true;
    if (close_at > 0 && bytes_len >= close_at)
        error_pipe_close(pipe);
}

static void on_closed(struct error_pipe *pipe)
{
    assert_ptr_equal(pipe, &heard);
    ends++;
}

static int setup(void **state)
{
    (void)state;
    if (open_loop() < 0)
        return -1;
    descriptors = count_descriptors();
    lines_len = bytes_len = pause_at = close_at = 0;
    lines[0] = '\0';
    ends = 0;
    heard = (struct error_pipe){
        .watch.fd = -1, .line_came = on_line, .bytes_came = on_bytes, .closed = on_closed};
    return error_pipe_open(&poller, &heard, &program);
}

static int teardown(void **state)
{
    (void)state;
    error_pipe_close(&heard);
    error_pipe_close(&heard);
    if (program >= 0)
        close(program);
    bool left = count_descriptors() != descriptors;
    return close_loop() < 0 || left ? -1 : 0;
}

static void say(const char *text, size_t len)
{
    assert_int_equal(write(program, text, len), (ssize_t)len);
}

static void end_program(void)
{
    close(program);
    program = -1;
}

static bool has_ended(void)
{
    return ends > 0;
}

static void begin_again(void)
{
    error_pipe_close(&heard);
    lines_len = bytes_len = 0;
    lines[0] = '\0';
    ends = 0;
    assert_int_equal(error_pipe_open(&poller, &heard, &program), 0);
}

static void check_lines_at(const char *expected, const char *what, const char *file, int line)
{
    if (strcmp(lines, expected) != 0)
        print_error("%s: got \"%s\", want \"%s\"\n", what, lines, expected);
    _assert_true(strcmp(lines, expected) == 0, "lines", file, line);
}
#define check_lines(expected, what) check_lines_at(expected, what, __FILE__, __LINE__)

/* ---- lines ---- */

static const struct {
    const char *text;
    size_t len;
    const char *lines;
    const char *last;
} rows[] = {
#define ROW(text, lines, last)                                                                               \
    {                                                                                                        \
        text, sizeof(text) - 1, lines, last                                                                  \
    }
    ROW("", "", ""),
    ROW("one\n", "one|", "one"),
    ROW("one\ntwo\n", "one|two|", "two"),
    ROW("one\ntwo", "one|two|", "two"),
    ROW("no end", "no end|", "no end"),
    ROW("one\r\ntwo\r\n", "one|two|", "two"),
    ROW("one\r", "one|", "one"),
    ROW("o\rne\r\r\n", "o\\x0dne\\x0d|", "o\\x0dne\\x0d"),
    ROW("\n\n\r\none\n\n\r\n\r", "one|", "one"),
    ROW("\n", "", ""),
    ROW("  a b \t\n", "  a b \\x09|", "  a b \\x09"),
    ROW("say \"x\" \\ 'y' ~\n", "say \"x\" \\ 'y' ~|", "say \"x\" \\ 'y' ~"),
    ROW("a\0b\x1b[31m\x7f\x80\xff\n", "a\\x00b\\x1b[31m\\x7f\\x80\\xff|", "a\\x00b\\x1b[31m\\x7f\\x80\\xff"),
    /* UTF-8: the first and last of each length. */
    ROW("\xc2\xa0 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\n",
        "\xc2\xa0 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf|",
        "\xc2\xa0 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"),
    /* C1 controls, too long forms, a surrogate, beyond Unicode, a broken one, one without its end. */
    ROW("\xc2\x9b\n", "\\xc2\\x9b|", "\\xc2\\x9b"),
    ROW("\xc1\xbf\n", "\\xc1\\xbf|", "\\xc1\\xbf"),
    ROW("\xe0\x9f\xbf\n", "\\xe0\\x9f\\xbf|", "\\xe0\\x9f\\xbf"),
    ROW("\xed\xa0\x80\n", "\\xed\\xa0\\x80|", "\\xed\\xa0\\x80"),
    ROW("\xf0\x8f\xbf\xbf\n", "\\xf0\\x8f\\xbf\\xbf|", "\\xf0\\x8f\\xbf\\xbf"),
    ROW("\xf4\x90\x80\x80\n", "\\xf4\\x90\\x80\\x80|", "\\xf4\\x90\\x80\\x80"),
    ROW("\xf5\x80\x80\x80\n", "\\xf5\\x80\\x80\\x80|", "\\xf5\\x80\\x80\\x80"),
    ROW("\xe2\x82x\n", "\\xe2\\x82x|", "\\xe2\\x82x"),
    ROW("\xe2\x82\n", "\\xe2\\x82|", "\\xe2\\x82"),
    /* What ends lines or turns the direction of writing, and its neighbours. */
    ROW("\xe2\x80\xa7\xe2\x80\xa8\n", "\xe2\x80\xa7\\xe2\\x80\\xa8|", "\xe2\x80\xa7\\xe2\\x80\\xa8"),
    ROW("\xe2\x80\xae\xe2\x80\xaf\n", "\\xe2\\x80\\xae\xe2\x80\xaf|", "\\xe2\\x80\\xae\xe2\x80\xaf"),
    ROW("\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa\n", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9\xe2\x81\xaa|",
        "\\xe2\\x81\\xa6\\xe2\\x81\\xa9\xe2\x81\xaa"),
};

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int piecemeal = 0; piecemeal < 2; piecemeal++) {
            if (piecemeal) {
                for (size_t at = 0; at < rows[i].len; at++) {
                    say(rows[i].text + at, 1);
                    run_for_now();
                }
            } else {
                say(rows[i].text, rows[i].len);
            }
            end_program();
            run_until(has_ended);
            check_lines(rows[i].lines, rows[i].lines);
            assert_string_equal(heard.last, rows[i].last);
            assert_int_equal(bytes_len, rows[i].len);
            assert_memory_equal(bytes, rows[i].text, rows[i].len);
            assert_int_equal(ends, 1);
            begin_again();
        }
    }
}

/* A line is told when it ends, not when more comes. */
static void test_line_at_its_end(void **state)
{
    (void)state;
    say("one", 3);
    run_for_now();
    check_lines("", "no end yet");
    assert_int_equal(bytes_len, 3);
    say("\ntw", 3);
    run_for_now();
    check_lines("one|", "the first");
    assert_int_equal(ends, 0);
}

static void test_long_lines(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *before, *after;
        size_t first; /* bytes of the first piece, 0: there is but one */
    } sizes[] = {
        {ERROR_PIPE_PIECE, "", "", 0},
        {ERROR_PIPE_PIECE + 1, "", "", ERROR_PIPE_PIECE},
        {ERROR_PIPE_PIECE - 2, "", "\xe2\x82\xac", ERROR_PIPE_PIECE - 2},
        {ERROR_PIPE_PIECE - 1, "", "\xe2\x82\xac", ERROR_PIPE_PIECE - 1},
        {ERROR_PIPE_PIECE - 3, "", "\xe2\x82\xacx", ERROR_PIPE_PIECE},
        {ERROR_PIPE_PIECE - 3, "", "\xf0\x9f\x98\x80", ERROR_PIPE_PIECE - 3},
        {ERROR_PIPE_PIECE - 1, "", "\xc3\xa9", ERROR_PIPE_PIECE - 1},
        {ERROR_PIPE_PIECE - 1, "\"", "", 0},
    };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        char text[ERROR_PIPE_PIECE + 16];
        char expected[ERROR_PIPE_PIECE + 16];
        size_t before = strlen(sizes[i].before);
        memcpy(text, sizes[i].before, before);
        memset(text + before, 'x', sizes[i].len);
        size_t len = before + sizes[i].len;
        memcpy(text + len, sizes[i].after, strlen(sizes[i].after));
        len += strlen(sizes[i].after);
        size_t first = sizes[i].first;
        snprintf(expected, sizeof(expected), "%.*s%s%.*s|", (int)first, text, first > 0 ? "|" : "",
                 (int)(len - first), text + first);
        text[len++] = '\n';
        say(text, len);
        end_program();
        run_until(has_ended);
        check_lines(expected, "long");
        begin_again();
    }
}

/* The longest that a piece can become goes through. */
static void test_long_binary_line(void **state)
{
    (void)state;
    char text[3 * ERROR_PIPE_PIECE];
    memset(text, 0xff, sizeof(text));
    say(text, sizeof(text));
    end_program();
    run_until(has_ended);
    assert_int_equal(lines_len, 4 * sizeof(text) + 3);
    for (size_t i = 0; i < lines_len; i++) {
        if (i % (4 * ERROR_PIPE_PIECE + 1) == 4 * ERROR_PIPE_PIECE)
            assert_int_equal(lines[i], '|');
        else
            assert_int_equal(lines[i], "\\xff"[i % (4 * ERROR_PIPE_PIECE + 1) % 4]);
    }
}

static void test_last_words(void **state)
{
    (void)state;
    char text[ERROR_PIPE_LINE + 1];
    /* Escaped it is one byte shorter than there is room for, then as long, then one longer. */
    for (size_t over = 0; over < 3; over++) {
        size_t len = ERROR_PIPE_LINE - 2 + over - 3 * 100;
        memset(text, 'x', sizeof(text));
        memset(text, '\x01', 100);
        text[len] = '\n';
        say("first\n", 6);
        say(text, len + 1);
        say("\r\n\n", 3);
        end_program();
        run_until(has_ended);
        assert_int_equal(strlen(heard.last), over == 0 ? ERROR_PIPE_LINE - 2 : ERROR_PIPE_LINE - 1);
        assert_memory_equal(heard.last, "\\x01\\x01", 8);
        assert_string_equal(heard.last + strlen(heard.last) - 4, over == 2 ? "x..." : "xxxx");
        assert_int_equal(strlen(strchr(lines, '|') + 1), len + 3 * 100 + 1);
        begin_again();
        assert_string_equal(heard.last, "");
    }
    /* No character is cut in two. */
    memset(text, '\x01', 255);
    memcpy(text + 255, "\xf0\x9f\x98\x80 and more\n", 14);
    say(text, 255 + 14);
    end_program();
    run_until(has_ended);
    assert_int_equal(strlen(heard.last), 4 * 255 + 3);
    assert_string_equal(heard.last + 4 * 255, "...");
}

/* ---- pauses ---- */

static bool has_50000(void)
{
    return bytes_len == 50000;
}

static void test_pause(void **state)
{
    (void)state;
    char text[50000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i % 251);
    pause_at = 5000;
    heard.line_came = NULL;
    say(text, sizeof(text));
    run_for_now();
    assert_int_equal(bytes_len, 8192);
    /* It rests, and does not ask again and again. */
    assert_null(poller.again);
    /* What happens meanwhile wakes nobody. */
    end_program();
    run_for_now();
    assert_int_equal(bytes_len, 8192);
    assert_int_equal(ends, 0);
    pause_at = 20000;
    error_pipe_resume(&heard);
    run_for_now();
    assert_int_equal(bytes_len, 20480);
    pause_at = 0;
    error_pipe_resume(&heard);
    run_until(has_ended);
    assert_true(has_50000());
    assert_memory_equal(bytes, text, sizeof(text));
    error_pipe_resume(&heard);
    run_for_now();
    assert_int_equal(ends, 1);
}

static void test_resume_of_what_is_not_paused(void **state)
{
    (void)state;
    error_pipe_resume(&heard);
    run_for_now();
    say("one\n", 4);
    error_pipe_resume(&heard);
    run_for_now();
    check_lines("one|", "once");
    error_pipe_close(&heard);
    error_pipe_resume(&heard);
    run_for_now();
    check_lines("one|", "once");
}

/* ---- the end ---- */

static void test_close_among_the_bytes(void **state)
{
    (void)state;
    char text[20000];
    memset(text, 'x', sizeof(text));
    close_at = 1;
    say("one\n", 4);
    say(text, sizeof(text));
    run_for_now();
    assert_int_equal(bytes_len, 4096);
    assert_int_equal(ends, 0);
    assert_int_equal(heard.watch.fd, -1);
}

/* Others hold the pipe, and may go on to write: that is nobody's any more. */
static void test_drain(void **state)
{
    (void)state;
    heard.paused = true;
    say("one\ntwo\nthr", 11);
    run_for_now();
    check_lines("", "paused");
    error_pipe_drain(&heard);
    check_lines("one|two|thr|", "drained");
    assert_string_equal(heard.last, "thr");
    assert_int_equal(bytes_len, 11);
    error_pipe_drain(&heard);
    say("four\n", 5);
    error_pipe_drain(&heard);
    error_pipe_resume(&heard);
    end_program();
    run_for_now();
    check_lines("one|two|thr|", "and no more");
    assert_int_equal(ends, 0);
}

static void test_drain_of_an_ended_program(void **state)
{
    (void)state;
    say("one\ntwo", 7);
    end_program();
    error_pipe_drain(&heard);
    check_lines("one|two|", "drained");
    run_for_now();
    assert_int_equal(ends, 0);
    error_pipe_close(&heard);
    error_pipe_drain(&heard);
    check_lines("one|two|", "closed");
}

static void test_close_in_a_drain(void **state)
{
    (void)state;
    heard.paused = true;
    close_at = 1;
    say("one\ntw", 6);
    error_pipe_drain(&heard);
    assert_int_equal(heard.watch.fd, -1);
    check_lines("one|", "and nothing after it is closed");
}

/* Who talks without end is not listened to for ever. */
static void test_drain_of_much(void **state)
{
    (void)state;
    static char text[200000];
    memset(text, 'x', sizeof(text));
    assert_true(fcntl(program, F_SETPIPE_SZ, (int)sizeof(text)) >= (int)sizeof(text));
    say(text, sizeof(text));
    error_pipe_drain(&heard);
    assert_int_equal(bytes_len, 65536);
}

/* ---- fairness ---- */

static size_t flood_when_heard; /* bytes of the flood that were there when the other's line came */

static void on_other_line(struct error_pipe *pipe, const char *text)
{
    (void)pipe;
    assert_string_equal(text, "me, too");
    flood_when_heard = bytes_len;
}

static bool has_200000(void)
{
    return bytes_len == 200000;
}

static void test_flood(void **state)
{
    (void)state;
    static char text[200000];
    memset(text, 'x', sizeof(text));
    heard.line_came = NULL;
    assert_true(fcntl(program, F_SETPIPE_SZ, (int)sizeof(text)) >= (int)sizeof(text));
    say(text, sizeof(text));
    struct error_pipe other = {.watch.fd = -1, .line_came = on_other_line};
    int end;
    assert_int_equal(error_pipe_open(&poller, &other, &end), 0);
    assert_int_equal(write(end, "me, too\n", 8), 8);
    flood_when_heard = sizeof(text);
    run_until(has_200000);
    assert_true(flood_when_heard <= 32768);
    close(end);
    error_pipe_close(&other);
}

/* ---- opening ---- */

static void test_descriptors(void **state)
{
    (void)state;
    assert_int_equal(fcntl(program, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(heard.watch.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(program, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(fcntl(heard.watch.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static void test_open_fails(void **state)
{
    (void)state;
    size_t before = count_descriptors();
    struct error_pipe other = {.watch.fd = -1};
    int end = -2;
    struct poller broken = {.epoll = -1};
    assert_int_equal(error_pipe_open(&broken, &other, &end), -EBADF);
    assert_int_equal(other.watch.fd, -1);
    error_pipe_close(&other);

    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = error_pipe_open(&poller, &other, &end);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, -EMFILE);
    error_pipe_close(&other);
    assert_int_equal(end, -2);
    assert_int_equal(count_descriptors(), before);
}

static void test_nobody_asks(void **state)
{
    (void)state;
    heard.line_came = NULL;
    heard.bytes_came = NULL;
    heard.closed = NULL;
    say("one\ntwo", 7);
    end_program();
    run_for_now();
    assert_string_equal(heard.last, "two");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_lines),
        TEST(test_line_at_its_end),
        TEST(test_long_lines),
        TEST(test_long_binary_line),
        TEST(test_last_words),
        TEST(test_pause),
        TEST(test_resume_of_what_is_not_paused),
        TEST(test_close_among_the_bytes),
        TEST(test_drain),
        TEST(test_drain_of_an_ended_program),
        TEST(test_close_in_a_drain),
        TEST(test_drain_of_much),
        TEST(test_flood),
        TEST(test_descriptors),
        TEST(test_open_fails),
        TEST(test_nobody_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
