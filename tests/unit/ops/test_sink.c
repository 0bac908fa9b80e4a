/*
 * Sinks: nothing ever waits for a descriptor, lines stay whole and in order, what is lost is counted.
 */
#include "realip_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ops/sink.h"

#define CAP 8192

static char folder[64];
static char path[128];
static int waits; /* calls of on_waits */

static void on_waits(struct sink *sink)
{
    assert_true(sink->len > 0 || sink->dropped > 0);
    waits++;
}

static int make_folder(void **state)
{
    (void)state;
    waits = 0;
    strcpy(folder, "/tmp/realip-sink-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char old[160];
    snprintf(old, sizeof old, "%s.old", path);
    unlink(old);
    unlink(path);
    return rmdir(folder);
}

static void put(struct sink *sink, const char *line)
{
    sink_put(sink, line, strlen(line));
}

static void write_line(struct sink *sink, const char *line)
{
    sink_write(sink, line, strlen(line));
}

/* A line of 1000 bytes. */
static const char *thousand(void)
{
    static char line[1001];
    memset(line, 'x', 999);
    line[999] = '\n';
    return line;
}

static void check_file(const char *name, const char *expected)
{
    static char text[65536];
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
    close(fd);
}

static void test_file(void **state)
{
    (void)state;
    struct sink sink;
    struct stat status;
    mode_t mask = umask(0);
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    umask(mask);
    sink.waits = on_waits;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    write_line(&sink, "one\n");
    check_file(path, "one\n");
    assert_int_equal(waits, 0);
    put(&sink, "two\n");
    assert_int_equal(waits, 1);
    check_file(path, "one\n");
    write_line(&sink, "three\n"); /* not before what waits */
    check_file(path, "one\ntwo\nthree\n");
    put(&sink, "four\n");
    assert_int_equal(sink_count(&sink), 1);
    sink_close(&sink);
    check_file(path, "one\ntwo\nthree\nfour\n");

    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    write_line(&sink, "five\n");
    sink_close(&sink);
    check_file(path, "one\ntwo\nthree\nfour\nfive\n");
    sink_close(&sink);

    assert_int_equal(sink_open_path(&sink, folder, CAP), -EISDIR);
}

/* Half of the buffer is the mark at which lines go out unasked. */
static void test_put_writes_in_bulk(void **state)
{
    (void)state;
    struct sink sink;
    struct stat status;
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    for (int i = 0; i < 4; i++)
        put(&sink, thousand());
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 0);
    put(&sink, thousand());
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 5000);
    assert_int_equal(sink.len, 0);
    sink_close(&sink);
}

static void test_reopen(void **state)
{
    (void)state;
    struct sink sink;
    char old[160];
    snprintf(old, sizeof old, "%s.old", path);
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    write_line(&sink, "one\n");
    assert_int_equal(rename(path, old), 0);
    write_line(&sink, "two\n");
    put(&sink, "three\n");
    assert_int_equal(sink_reopen(&sink), 0);
    write_line(&sink, "four\n");
    check_file(old, "one\ntwo\nthree\n");
    check_file(path, "four\n");

    /* It cannot be made: all stays as it was. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    put(&sink, "five\n");
    int fd = sink.fd;
    assert_int_equal(sink_reopen(&sink), -EISDIR);
    assert_int_equal(sink.fd, fd);
    assert_int_equal(sink_count(&sink), 1);
    sink_flush(&sink);
    assert_int_equal(sink.len, 0);
    assert_int_equal(rmdir(path), 0);
    sink_close(&sink);
}

/* /dev/full is a disk that stays full. */
static void test_full_disk(void **state)
{
    (void)state;
    struct sink sink;
    assert_int_equal(sink_open_path(&sink, "/dev/full", CAP), 0);
    sink.waits = on_waits;
    for (int i = 0; i < 20; i++)
        write_line(&sink, thousand());
    assert_int_equal(sink.error, ENOSPC);
    assert_int_equal(sink_count(&sink), 8);
    assert_int_equal(sink.dropped, 12);
    assert_int_equal(waits > 0, 1);
    assert_int_equal(sink_take_dropped(&sink), 0); /* not before it works again */
    sink_close(&sink);
}

/* The same through sink_put: while the disk is full there is not one write a line. */
static void test_full_disk_in_bulk(void **state)
{
    (void)state;
    struct sink sink;
    assert_int_equal(sink_open_path(&sink, "/dev/full", CAP), 0);
    for (int i = 0; i < 100; i++) {
        put(&sink, thousand());
        if (i > 5)
            assert_int_equal(sink.untried, (i - 4) * 1000);
    }
    assert_int_equal(sink_count(&sink), 8);
    assert_int_equal(sink.dropped, 92);
    sink_close(&sink);
}

/* A limit of a file's size behaves as a disk does that has room for a part of a line only, and can be lifted.
 */
static void test_disk_with_room_again(void **state)
{
    (void)state;
    struct sink sink;
    struct rlimit before;
    struct stat status;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    struct rlimit limit = {.rlim_cur = 2500, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 20; i++)
        write_line(&sink, thousand());
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(sink.error, EFBIG);
    assert_true(sink.torn);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 2500);
    assert_true(sink.len > CAP - 1000);
    uint64_t dropped = sink.dropped;
    size_t waiting = sink_count(&sink);
    assert_int_equal(2 + waiting + dropped, 20); /* the third is torn, and waits with its end */

    sink_flush(&sink);
    assert_int_equal(sink.error, 0);
    assert_false(sink.torn);
    assert_int_equal(sink_take_dropped(&sink), dropped);
    assert_int_equal(sink_take_dropped(&sink), 0);
    static char expected[65536];
    expected[0] = '\0';
    for (size_t i = 0; i < 2 + waiting; i++)
        strcat(expected, thousand());
    check_file(path, expected);
    sink_close(&sink);
}

/* The end of a line whose beginning is in the file of yesterday is worth nothing. */
static void test_reopen_behind_a_torn_line(void **state)
{
    (void)state;
    struct sink sink;
    struct rlimit before;
    char old[160];
    snprintf(old, sizeof old, "%s.old", path);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    struct rlimit limit = {.rlim_cur = 6, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    write_line(&sink, "one\n");
    write_line(&sink, "two\n");
    write_line(&sink, "three\n");
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(sink_reopen(&sink), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    sink_flush(&sink);
    check_file(old, "one\ntw");
    check_file(path, "three\n");
    assert_int_equal(sink_take_dropped(&sink), 1);
    sink_close(&sink);
}

static void fill(int fd)
{
    char page[4096] = {0};
    int flags = fcntl(fd, F_GETFL);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, page, sizeof page) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

static size_t empty(int fd)
{
    static char text[65536];
    size_t length = 0;
    for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;)
        length += (size_t)n;
    return length;
}

/* kind: as which the pipe is used. A blocking write would never return: there is no other reader. */
static void check_pipe(enum sink_kind kind)
{
    int ends[2];
    struct sink sink;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    fill(ends[1]);
    assert_int_equal(sink_open_fd(&sink, ends[1], CAP), 0);
    assert_int_equal(sink.kind, SINK_PIPE);
    if (kind == SINK_SHARED) {
        close(sink.fd);
        sink.fd = ends[1];
        sink.owned = false;
        sink.kind = kind;
    }
    sink.waits = on_waits;
    for (int i = 0; i < 20; i++)
        write_line(&sink, thousand());
    assert_int_equal(sink.error, EAGAIN);
    assert_int_equal(sink_count(&sink), 8);
    assert_int_equal(sink.dropped, 12);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* its other users notice nothing */
    empty(ends[0]);
    sink_flush(&sink);
    assert_int_equal(sink_take_dropped(&sink), 12);
    write_line(&sink, "the end\n");
    static char text[16384];
    ssize_t n = read(ends[0], text, sizeof text);
    assert_int_equal(n, 8008);
    assert_memory_equal(text, thousand(), 1000);
    assert_memory_equal(text + 8000, "the end\n", 8);

    /* Nobody reads any more. */
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    write_line(&sink, "lost\n");
    assert_int_equal(sink.error, EPIPE);
    assert_int_equal(sink_count(&sink), 1);
    sink_close(&sink);
    assert_true(fcntl(ends[1], F_GETFD) >= 0);
    close(ends[1]);
}

static void test_pipe(void **state)
{
    (void)state;
    check_pipe(SINK_PIPE);
}

static void test_pipe_of_others(void **state)
{
    (void)state;
    check_pipe(SINK_SHARED);
}

/* A reader that is slow, but there, loses nothing if the buffer is large enough: a full pipe is tried again
 * as lines come, not only when somebody flushes. */
static void test_pipe_with_a_reader(void **state)
{
    (void)state;
    int ends[2];
    struct sink sink;
    static char text[65536];
    size_t got = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(sink_open_fd(&sink, ends[1], 65536), 0);
    for (int i = 0; i < 1000; i++) {
        put(&sink, thousand());
        ssize_t n = read(ends[0], text, 2000);
        got += n > 0 ? (size_t)n : 0;
    }
    for (int i = 0; i < 100; i++) {
        sink_flush(&sink);
        got += empty(ends[0]);
    }
    assert_int_equal(got, 1000000);
    assert_int_equal(sink.dropped, 0);
    sink_close(&sink);
    close(ends[0]);
    close(ends[1]);
}

/* Each write to a pipe ends with a line and fits into PIPE_BUF. */
static void test_pipe_gets_whole_lines(void **state)
{
    (void)state;
    int ends[2];
    struct sink sink;
    char text[PIPE_BUF];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK | O_DIRECT), 0); /* O_DIRECT: a read is a write */
    assert_int_equal(sink_open_fd(&sink, ends[1], 65536), 0);
    int fd = sink.fd;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT), 0);
    for (int i = 0; i < 10; i++)
        put(&sink, thousand());
    sink_flush(&sink);
    assert_int_equal(read(ends[0], text, sizeof text), 4000);
    assert_int_equal(read(ends[0], text, sizeof text), 4000);
    assert_int_equal(read(ends[0], text, sizeof text), 2000);
    sink_close(&sink);
    close(ends[0]);
    close(ends[1]);
}

/* A FIFO that nobody reads yet does not hold us up; who comes later finds what it took. */
static void test_fifo_without_reader(void **state)
{
    (void)state;
    struct sink sink;
    char text[64];
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sink_open_path(&sink, path, CAP), 0);
    assert_int_equal(sink.kind, SINK_PIPE);
    write_line(&sink, "one\n");
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(read(reader, text, sizeof text), 4);
    fill(sink.fd);
    for (int i = 0; i < 20; i++)
        write_line(&sink, thousand());
    assert_int_equal(sink.dropped, 12);
    empty(reader);
    sink_flush(&sink);
    assert_int_equal(empty(reader), 8000);
    assert_int_equal(sink_take_dropped(&sink), 12);
    close(reader);
    sink_close(&sink);
}

static void test_socket(void **state)
{
    (void)state;
    int pair[2];
    struct sink sink;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(sink_open_fd(&sink, pair[1], CAP), 0);
    assert_int_equal(sink.kind, SINK_SOCKET);
    sink.waits = on_waits;
    int lines = 0;
    while (sink.dropped == 0 && lines++ < 10000)
        write_line(&sink, thousand());
    assert_int_equal(sink.dropped, 1);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    size_t got = 0;
    while (sink.len > 0) {
        got += empty(pair[0]);
        sink_flush(&sink);
    }
    got += empty(pair[0]);
    assert_int_equal(got, (size_t)(lines - 1) * 1000);
    close(pair[0]);
    sink_close(&sink);
    close(pair[1]);
}

static int listen_datagrams(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void check_datagram(int fd, const char *expected)
{
    char text[2048];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

/* Who takes them may start later, be slow, end, and come again. */
static void test_datagrams(void **state)
{
    (void)state;
    struct sink sink;
    char text[2048];
    assert_int_equal(sink_open_datagram(&sink, path, CAP), 0);
    sink.waits = on_waits;
    write_line(&sink, "early\n");
    assert_int_equal(sink_count(&sink), 1);
    int service = listen_datagrams();
    write_line(&sink, "one\n");
    check_datagram(service, "early");
    check_datagram(service, "one");

    close(service);
    unlink(path);
    write_line(&sink, "two\n");
    service = listen_datagrams();
    sink_flush(&sink);
    check_datagram(service, "two");

    int lines = 0;
    while (sink.dropped == 0 && lines++ < 10000)
        write_line(&sink, thousand());
    assert_int_equal(sink.dropped, 1);
    int got = 0;
    while (sink.len > 0) {
        for (; recv(service, text, sizeof text, 0) == 999; got++)
            continue;
        sink_flush(&sink);
    }
    for (; recv(service, text, sizeof text, 0) == 999; got++)
        continue;
    assert_int_equal(got, lines - 1);
    close(service);
    sink_close(&sink);

    memset(text, 'x', 200);
    text[200] = '\0';
    assert_int_equal(sink_open_datagram(&sink, text, CAP), -ENAMETOOLONG);
}

static void test_closed_descriptor(void **state)
{
    (void)state;
    struct sink sink;
    assert_int_equal(sink_open_fd(&sink, 999, CAP), -EBADF);
    write_line(&sink, "nowhere\n");
    assert_int_equal(sink_count(&sink), 1);
    sink_close(&sink);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file),
        TEST(test_put_writes_in_bulk),
        TEST(test_reopen),
        TEST(test_full_disk),
        TEST(test_full_disk_in_bulk),
        TEST(test_disk_with_room_again),
        TEST(test_reopen_behind_a_torn_line),
        TEST(test_pipe),
        TEST(test_pipe_of_others),
        TEST(test_pipe_with_a_reader),
        TEST(test_pipe_gets_whole_lines),
        TEST(test_fifo_without_reader),
        TEST(test_socket),
        TEST(test_datagrams),
        TEST(test_closed_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
