/* Bytes that wait in a file. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/spool.h"

static char directory[] = "/tmp/test_spool.XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) && setenv("TMPDIR", directory, 1) == 0 ? 0 : -1;
}

/* Whatever was done in it, it is empty. */
static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static void test_in_order(void **state)
{
    (void)state;
    struct spool spool = {.fd = -1};
    char text[64];
    assert_int_equal(spool_take(&spool, text, sizeof(text)), 0);
    assert_int_equal(spool_append(&spool, "one two", 7), 0);
    assert_int_equal(spool_length(&spool), 7);
    assert_int_equal(spool_take(&spool, text, 4), 4);
    assert_memory_equal(text, "one ", 4);
    assert_int_equal(spool_append(&spool, " three", 6), 0);
    assert_int_equal(spool_length(&spool), 9);
    assert_int_equal(spool_take(&spool, text, sizeof(text)), 9);
    assert_memory_equal(text, "two three", 9);
    assert_int_equal(spool_length(&spool), 0);
    assert_int_equal(spool_take(&spool, text, sizeof(text)), 0);
    spool_close(&spool);
    spool_close(&spool);
    assert_int_equal(spool.fd, -1);
}

/* What was taken leaves its room to what comes. */
static void test_room_is_used_again(void **state)
{
    (void)state;
    struct spool spool = {.fd = -1};
    static char block[100000];
    for (int i = 0; i < 50; i++) {
        memset(block, 'a' + i % 26, sizeof(block));
        assert_int_equal(spool_append(&spool, block, sizeof(block)), 0);
        assert_int_equal(spool_take(&spool, block, sizeof(block)), sizeof(block));
        assert_int_equal(block[0], 'a' + i % 26);
        assert_int_equal(block[sizeof(block) - 1], 'a' + i % 26);
    }
    assert_int_equal(lseek(spool.fd, 0, SEEK_END), sizeof(block));
    spool_close(&spool);
}

static void test_nothing_has_a_name(void **state)
{
    (void)state;
    struct spool spool = {.fd = -1};
    assert_int_equal(spool_append(&spool, "x", 1), 0);
    DIR *list = opendir(directory);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));)
        assert_true(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    closedir(list);
    spool_close(&spool);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct spool spool = {.fd = -1};
    setenv("TMPDIR", "/no/such/directory", 1);
    assert_int_equal(spool_append(&spool, "x", 1), -ENOENT);
    assert_int_equal(spool_length(&spool), 0);
    setenv("TMPDIR", "relative", 1); /* then it is /tmp */
    assert_int_equal(spool_append(&spool, "x", 1), 0);
    spool_close(&spool);
    setenv("TMPDIR", directory, 1);
}

static void test_no_room(void **state)
{
    (void)state;
    struct spool spool = {.fd = -1};
    struct rlimit before, limit;
    static char block[9000];
    char text[8];
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(spool_append(&spool, "kept", 4), 0);
    limit = before;
    limit.rlim_cur = 8192;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = spool_append(&spool, block, sizeof(block));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, -EFBIG);
    assert_int_equal(spool_length(&spool), 4);
    assert_int_equal(spool_take(&spool, text, sizeof(text)), 4);
    assert_memory_equal(text, "kept", 4);
    assert_int_equal(spool_append(&spool, "more", 4), 0);
    assert_int_equal(ftruncate(spool.fd, 0), 0); /* somebody else's doing */
    assert_int_equal(spool_take(&spool, text, sizeof(text)), -EIO);
    spool_close(&spool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_room_is_used_again),
        cmocka_unit_test(test_nothing_has_a_name),
        cmocka_unit_test(test_no_directory),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
