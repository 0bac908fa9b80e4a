/* A listener that only we can reach, and that leaves nothing in the file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/private_socket.h"

static char folder[256];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/realip-unit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return setenv("TMPDIR", folder, 1);
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something in it */
}

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static int count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static struct private_socket open_one(void)
{
    char error[512] = "";
    struct private_socket s = {.listener = -1, .file = -1};
    assert_int_equal(private_socket_open(&s, error, sizeof(error)), 0);
    assert_string_equal(error, "");
    return s;
}

/* A connected descriptor, or a negative errno. */
static int dial(const struct private_socket *s)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&s->endpoint.address, s->endpoint.length) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static void test_connects(void **state)
{
    (void)state;
    int before = count_descriptors();
    struct private_socket s = open_one();
    int ours = dial(&s);
    assert_true(ours >= 0);
    int theirs = accept(s.listener, NULL, NULL);
    assert_true(theirs >= 0);
    char byte = 0;
    assert_int_equal(write(ours, "x", 1), 1);
    assert_int_equal(read(theirs, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(ours);
    close(theirs);
    private_socket_close(&s);
    private_socket_close(&s);
    assert_int_equal(count_descriptors(), before);
}

static void test_leaves_nothing_in_the_file_system(void **state)
{
    (void)state;
    struct private_socket s = open_one();
    assert_int_equal(count_entries(folder), 0);
    private_socket_close(&s);
}

/* libfcgi takes EAGAIN of accept for the end of its world. */
static void test_listener_blocks_and_is_closed_on_exec(void **state)
{
    (void)state;
    struct private_socket s = open_one();
    assert_int_equal(fcntl(s.listener, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(fcntl(s.listener, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(s.file, F_GETFD), FD_CLOEXEC);
    int value = 0;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(s.listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
    assert_int_equal(value, 1);
    private_socket_close(&s);
}

static void test_without_a_listener_refuses_at_once(void **state)
{
    (void)state;
    int before = count_descriptors();
    struct private_socket s = open_one();
    int waiting = dial(&s);
    assert_true(waiting >= 0);
    private_socket_refuse(&s);
    assert_int_equal(s.listener, -1);
    assert_int_equal(dial(&s), -ECONNREFUSED);
    char byte;
    ssize_t n = recv(waiting, &byte, 1, MSG_DONTWAIT);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(waiting);
    assert_int_equal(private_socket_open(&s, NULL, 0), 0);
    int fd = dial(&s);
    assert_true(fd >= 0);
    close(fd);
    private_socket_close(&s);
    assert_int_equal(count_descriptors(), before);
}

static void test_folder_with_a_long_name(void **state)
{
    (void)state;
    char deep[PATH_MAX];
    snprintf(deep, sizeof(deep), "%s/%0200d", folder, 0);
    assert_int_equal(mkdir(deep, 0700), 0);
    setenv("TMPDIR", deep, 1);
    struct private_socket s = open_one();
    int fd = dial(&s);
    assert_true(fd >= 0);
    close(fd);
    private_socket_close(&s);
    assert_int_equal(rmdir(deep), 0);
}

static void test_no_such_folder(void **state)
{
    (void)state;
    char error[512];
    int before = count_descriptors();
    struct private_socket s = {.listener = -1, .file = -1};
    setenv("TMPDIR", "/nonexistent", 1);
    assert_int_equal(private_socket_open(&s, error, sizeof(error)), -ENOENT);
    assert_string_equal(error,
                        "cannot make a private socket: making a folder in /nonexistent: No such file or "
                        "directory (TMPDIR says where it is made)");
    assert_int_equal(s.listener, -1);
    assert_int_equal(s.file, -1);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaves_nothing_in_the_file_system, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listener_blocks_and_is_closed_on_exec, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_listener_refuses_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_with_a_long_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_such_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
