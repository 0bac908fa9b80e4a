/* Which file SCRIPT_FILENAME means, and that it is never one outside of cgi_root: found by the kernel, and
 * step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/cgi_script.h"

/*
 * base/                    base/outside.sh
 * base/root/               the root; base/link is a symbolic link to it
 *   a.sh  sub/b.sh  sub/dots..sh  pipe
 *   inside -> sub/b.sh     upwards -> sub/../a.sh      subdir -> sub
 *   escape -> ../outside.sh    absolute -> base/root/a.sh    away -> ..    loop -> loop
 */
struct tree {
    char base[64];
    struct cgi_root root;
};

static char *path_in(const struct tree *tree, const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", tree->base, name);
    return path;
}

static void make_file(const struct tree *tree, const char *name)
{
    int fd = open(path_in(tree, name), O_CREAT | O_WRONLY | O_EXCL, 0755);
    assert_true(fd >= 0);
    close(fd);
}

static void make_link(const struct tree *tree, const char *to, const char *name)
{
    assert_int_equal(symlink(to, path_in(tree, name)), 0);
}

static int set_up(void **state, bool by_steps)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    strcpy(tree->base, "/tmp/cgi-script-XXXXXX");
    assert_non_null(mkdtemp(tree->base));
    assert_int_equal(mkdir(path_in(tree, "root"), 0755), 0);
    assert_int_equal(mkdir(path_in(tree, "root/sub"), 0755), 0);
    make_file(tree, "outside.sh");
    make_file(tree, "root/a.sh");
    make_file(tree, "root/sub/b.sh");
    make_file(tree, "root/sub/dots..sh");
    assert_int_equal(mkfifo(path_in(tree, "root/pipe"), 0644), 0);
    make_link(tree, "root", "link");
    make_link(tree, "sub/b.sh", "root/inside");
    make_link(tree, "sub/../a.sh", "root/upwards");
    make_link(tree, "sub", "root/subdir");
    make_link(tree, "../outside.sh", "root/escape");
    make_link(tree, path_in(tree, "root/a.sh"), "root/absolute");
    make_link(tree, "..", "root/away");
    make_link(tree, "loop", "root/loop");
    assert_int_equal(cgi_root_open(&tree->root, path_in(tree, "root/")), 0);
    if (by_steps)
        tree->root.by_steps = true;
    *state = tree;
    return 0;
}

static int set_up_kernel(void **state)
{
    return set_up(state, false);
}

static int set_up_steps(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    static const char *const files[] = {"outside.sh",  "link",        "root/a.sh",     "root/sub/b.sh",
                                        "root/inside", "root/subdir", "root/upwards",  "root/sub/dots..sh",
                                        "root/escape", "root/away",   "root/absolute", "root/loop",
                                        "root/pipe"};
    struct tree *tree = *state;
    cgi_root_close(&tree->root);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(path_in(tree, files[i]));
    rmdir(path_in(tree, "root/sub"));
    rmdir(path_in(tree, "root"));
    assert_int_equal(rmdir(tree->base), 0);
    free(tree);
    return 0;
}

static int find(const struct tree *tree, const char *name, bool split, struct cgi_script *script)
{
    return cgi_script_find(&tree->root, slice_of(path_in(tree, name)), split, script);
}

/* name means file, with so many bytes of PATH_INFO behind it. */
static void assert_found(const struct tree *tree, const char *name, const char *file, size_t extra)
{
    struct cgi_script script;
    int rc = find(tree, name, true, &script);
    if (rc < 0)
        fail_msg("%s: %s", name, strerror(-rc));
    assert_string_equal(script.path, path_in(tree, file));
    assert_int_equal(script.extra, extra);
}

static void assert_not_found(const struct tree *tree, const char *name, int error)
{
    struct cgi_script script;
    for (int split = 0; split < 2; split++) {
        int rc = find(tree, name, split, &script);
        if (rc != -error)
            fail_msg("%s: %d, %s", name, rc, strerror(-rc));
    }
}

static void test_files(void **state)
{
    assert_found(*state, "root/a.sh", "root/a.sh", 0);
    assert_found(*state, "root//a.sh", "root/a.sh", 0);
    assert_found(*state, "root/./a.sh", "root/a.sh", 0);
    assert_found(*state, "root/sub/b.sh", "root/sub/b.sh", 0);
    assert_found(*state, "root/sub//b.sh", "root/sub/b.sh", 0);
    assert_found(*state, "root/sub/dots..sh", "root/sub/dots..sh", 0);
}

static void test_no_files(void **state)
{
    assert_not_found(*state, "root/none.sh", ENOENT);
    assert_not_found(*state, "root/none/a.sh", ENOENT);
    assert_not_found(*state, "root", EISDIR);
    assert_not_found(*state, "root/", EISDIR);
    assert_not_found(*state, "root/sub", EISDIR);
    assert_not_found(*state, "root/sub/", EISDIR);
    assert_not_found(*state, "root/pipe", ENXIO);
    assert_not_found(*state, "root/pipe/x", ENOTDIR);
    struct cgi_script script;
    assert_int_equal(find(*state, "root/a.sh/x", false, &script), -ENOTDIR);
    assert_int_equal(find(*state, "root/a.sh/", false, &script), -ENOTDIR);
}

static void test_outside(void **state)
{
    const struct tree *tree = *state;
    struct cgi_script script;
    assert_not_found(tree, "outside.sh", EXDEV);
    assert_not_found(tree, "root/../outside.sh", EXDEV);
    assert_not_found(tree, "root/sub/../../outside.sh", EXDEV);
    assert_not_found(tree, "root/..", EXDEV);
    assert_not_found(tree, "rootless/a.sh", EXDEV);
    assert_not_found(tree, "", EXDEV);
    assert_int_equal(cgi_script_find(&tree->root, SLICE("/bin/sh"), true, &script), -EXDEV);
    assert_int_equal(cgi_script_find(&tree->root, SLICE("a.sh"), true, &script), -EXDEV);
    assert_int_equal(cgi_script_find(&tree->root, SLICE(""), true, &script), -EXDEV);
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/root/a.sh", tree->base);
    path[len] = '\0';
    path[len + 1] = 'x';
    assert_int_equal(cgi_script_find(&tree->root, (struct slice){path, (size_t)len + 2}, true, &script),
                     -ENOENT);
}

static void test_links(void **state)
{
    const struct tree *tree = *state;
    if (tree->root.by_steps) {
        static const char *const links[] = {"root/inside",   "root/upwards",  "root/subdir/b.sh",
                                            "root/escape",   "root/absolute", "root/loop",
                                            "root/inside/x", "root/escape/x"};
        for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
            assert_not_found(tree, links[i], ELOOP);
        assert_not_found(tree, "root/sub/../a.sh", EXDEV);
        assert_not_found(tree, "root/away/outside.sh", ELOOP);
        return;
    }
    assert_found(tree, "root/inside", "root/sub/b.sh", 0);
    assert_found(tree, "root/upwards", "root/a.sh", 0);
    assert_found(tree, "root/subdir/b.sh", "root/sub/b.sh", 0);
    assert_found(tree, "root/sub/../a.sh", "root/a.sh", 0);
    assert_found(tree, "root/inside/x", "root/sub/b.sh", 2);
    assert_not_found(tree, "root/escape", EXDEV);
    assert_not_found(tree, "root/absolute", EXDEV);
    assert_not_found(tree, "root/away/outside.sh", EXDEV);
    assert_not_found(tree, "root/away/root/a.sh", EXDEV);
    assert_not_found(tree, "root/escape/x", EXDEV);
    assert_not_found(tree, "root/loop", ELOOP);
}

static void test_path_info(void **state)
{
    const struct tree *tree = *state;
    assert_found(tree, "root/a.sh/", "root/a.sh", 1);
    assert_found(tree, "root/a.sh/x", "root/a.sh", 2);
    assert_found(tree, "root/a.sh//x//y/", "root/a.sh", 7);
    assert_found(tree, "root//sub//b.sh/x/y", "root/sub/b.sh", 4);
    assert_found(tree, "root/sub/b.sh/..x/x../...", "root/sub/b.sh", 12);
    assert_not_found(tree, "root/sub/none.sh/x", ENOENT);
    /* Behind the script, too, nothing leads upwards. */
    struct cgi_script script;
    assert_int_equal(find(tree, "root/a.sh/..", true, &script), -EXDEV);
    assert_int_equal(find(tree, "root/a.sh/x/../../y", true, &script), -EXDEV);
}

/* More than a path may have: only what is the script's is asked of the kernel. */
static void test_long_path_info(void **state)
{
    const struct tree *tree = *state;
    struct cgi_script script;
    char path[3 * PATH_MAX];
    size_t len = (size_t)snprintf(path, sizeof(path), "%s/root/sub/b.sh", tree->base);
    size_t script_len = len;
    for (; len + 4 < sizeof(path); len += 4)
        memcpy(path + len, "/abc", 4);
    struct slice text = {path, len};
    assert_int_equal(cgi_script_find(&tree->root, text, true, &script), 0);
    assert_string_equal(script.path, path_in(tree, "root/sub/b.sh"));
    assert_int_equal(script.extra, len - script_len);
    assert_int_equal(cgi_script_find(&tree->root, text, false, &script), -ENAMETOOLONG);
    memset(path + script_len, 'x', len - script_len);
    assert_int_equal(cgi_script_find(&tree->root, text, true, &script), -ENAMETOOLONG);
}

/* A root that is a symbolic link goes by both names. */
static void test_root_behind_a_link(void **state)
{
    const struct tree *tree = *state;
    struct cgi_root root;
    struct cgi_script script;
    assert_int_equal(cgi_root_open(&root, path_in(tree, "link")), 0);
    root.by_steps = tree->root.by_steps;
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "link/a.sh")), true, &script), 0);
    assert_string_equal(script.path, path_in(tree, "root/a.sh"));
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "root/a.sh")), true, &script), 0);
    assert_string_equal(script.path, path_in(tree, "root/a.sh"));
    cgi_root_close(&root);
}

static void test_slash_as_root(void **state)
{
    const struct tree *tree = *state;
    struct cgi_root root;
    struct cgi_script script;
    assert_int_equal(cgi_root_open(&root, "/"), 0);
    root.by_steps = tree->root.by_steps;
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "root/a.sh/x")), true, &script), 0);
    assert_string_equal(script.path, path_in(tree, "root/a.sh"));
    assert_int_equal(script.extra, 2);
    assert_int_equal(cgi_script_find(&root, SLICE("/"), true, &script), -EISDIR);
    cgi_root_close(&root);
}

/* A new version of the programs is put in the place of the old one, or a link is turned to it. */
static void test_root_that_is_replaced(void **state)
{
    const struct tree *tree = *state;
    struct cgi_root root;
    struct cgi_script script;
    assert_int_equal(cgi_root_open(&root, path_in(tree, "link")), 0);
    root.by_steps = tree->root.by_steps;
    assert_int_equal(mkdir(path_in(tree, "new"), 0755), 0);
    make_file(tree, "new/c.sh");
    assert_int_equal(unlink(path_in(tree, "link")), 0);
    make_link(tree, "new", "link");
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "link/c.sh")), true, &script), 0);
    assert_string_equal(script.path, path_in(tree, "new/c.sh"));
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "new/c.sh")), true, &script), 0);
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "link/a.sh")), true, &script), -ENOENT);
    assert_int_equal(cgi_script_find(&root, slice_of(path_in(tree, "root/a.sh")), true, &script), -EXDEV);
    cgi_root_close(&root);

    assert_int_equal(rename(path_in(tree, "root"), path_in(tree, "old")), 0);
    assert_not_found(tree, "root/a.sh", ENOENT);
    assert_int_equal(rename(path_in(tree, "new"), path_in(tree, "root")), 0);
    assert_found(tree, "root/c.sh", "root/c.sh", 0);
    assert_not_found(tree, "root/a.sh", ENOENT);
    assert_int_equal(unlink(path_in(tree, "root/c.sh")), 0);
    assert_int_equal(rename(path_in(tree, "old"), path_in(tree, "root")), 0);
}

static void test_no_root(void **state)
{
    const struct tree *tree = *state;
    struct cgi_root root;
    assert_int_equal(cgi_root_open(&root, path_in(tree, "none")), -ENOENT);
    cgi_root_close(&root);
    assert_int_equal(cgi_root_open(&root, path_in(tree, "outside.sh")), -ENOTDIR);
    cgi_root_close(&root);
    cgi_root_close(&root);
}

#define BOTH_WAYS(test)                                                                                      \
    cmocka_unit_test_setup_teardown(test, set_up_kernel, tear_down),                                         \
        cmocka_unit_test_setup_teardown(test, set_up_steps, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(test_files),
        BOTH_WAYS(test_no_files),
        BOTH_WAYS(test_outside),
        BOTH_WAYS(test_links),
        BOTH_WAYS(test_path_info),
        BOTH_WAYS(test_long_path_info),
        BOTH_WAYS(test_root_behind_a_link),
        BOTH_WAYS(test_slash_as_root),
        BOTH_WAYS(test_root_that_is_replaced),
        BOTH_WAYS(test_no_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
