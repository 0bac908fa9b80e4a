/*
 * Programs that are started: what they get, how their end is noticed, and that nothing of them is left.
 *
 * The program is this one itself, which then says into a file what it got, or does what is asked of it.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "relay/process.h"

extern char **environ;

static char self[PATH_MAX];
static char folder[64];
static size_t descriptors;

/* ---- the program that is started ---- */

static int report(const char *path)
{
    int open_ones = 0;
    struct stat found;
    for (int fd = 0; fd < 4096; fd++)
        open_ones += fstat(fd, &found) == 0;
    FILE *out = fopen(path, "w");
    if (!out)
        return 99;
    fprintf(out, "open %d:", open_ones);
    for (int fd = 0; fd < 3 || fd < open_ones; fd++)
        fprintf(out, " %llu", fstat(fd, &found) == 0 ? (unsigned long long)found.st_ino : 0);
    fprintf(out, "\nignored:");
    for (int i = 1; i < NSIG; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            fprintf(out, " %d", i);
    }
    fprintf(out, "\nblocked:");
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < NSIG; i++) {
        if (sigismember(&mask, i) == 1)
            fprintf(out, " %d", i);
    }
    int death = -1;
    prctl(PR_GET_PDEATHSIG, &death);
    char here[PATH_MAX];
    fprintf(out, "\nleader %d %d\ndeath %d\nin %s\n", getsid(0) == getpid(), getpgrp() == getpid(), death,
            getcwd(here, sizeof(here)) ? here : "?");
    return fclose(out) == 0 ? 0 : 98;
}

static void on_term(int number)
{
    (void)number;
    _exit(write(STDOUT_FILENO, "t", 1) == 1 ? 0 : 97);
}

/* Says "r" once it waits for a signal. TERM is told, or ignored. */
static int wait_for_signal(bool ignores)
{
    signal(SIGTERM, ignores ? SIG_IGN : on_term);
    if (write(STDOUT_FILENO, "r", 1) != 1)
        return 96;
    for (;;)
        pause();
}

static int act(char **argv)
{
    if (strcmp(argv[1], "report") == 0)
        return report(argv[2]);
    if (strcmp(argv[1], "exit") == 0)
        return (int)strtol(argv[2], NULL, 10);
    if (strcmp(argv[1], "die") == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        int number = (int)strtol(argv[2], NULL, 10);
        signal(number, SIG_DFL); /* sanitizers handle some */
        raise(number);
    }
    if (strcmp(argv[1], "wait") == 0)
        return wait_for_signal(false);
    if (strcmp(argv[1], "ignore") == 0)
        return wait_for_signal(true);
    if (strcmp(argv[1], "fork") == 0) /* both wait, or only the grandchild */
        return fork() == 0 || strcmp(argv[2], "both") == 0 ? wait_for_signal(false) : 0;
    return 95;
}

/* ---- starting it ---- */

static int setup(void **state)
{
    (void)state;
    if (open_loop() < 0)
        return -1;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-realip-process-XXXXXX");
    descriptors = count_descriptors();
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    bool zombies = waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD;
    bool left = count_descriptors() != descriptors;
    if (zombies || left)
        print_error("left behind: %s%s\n", zombies ? "processes " : "", left ? "descriptors" : "");
    return system(command) != 0 || close_loop() < 0 || zombies || left ? -1 : 0;
}

static char *in_folder(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Its descriptors are ours. arguments: behind the program's name. */
static struct process_plan plan_for(char **argv, const char *action, const char *argument)
{
    static char name[] = "a name of its own";
    static char *const variables[] = {NULL};
    argv[0] = name;
    argv[1] = (char *)action;
    argv[2] = (char *)argument;
    argv[3] = NULL;
    return (struct process_plan){
        .file = self, .arguments = argv, .variables = environ ? environ : variables, .fds = {0, 1, 2}};
}

static pid_t spawn_fine(const struct process_plan *plan)
{
    enum process_step failed = PROCESS_START;
    pid_t pid = process_spawn(plan, &failed);
    if (pid <= 0)
        print_error("step %d: %s\n", (int)failed, strerror((int)-pid));
    assert_true(pid > 0);
    return pid;
}

static int wait_status(pid_t pid)
{
    int status = -1;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    assert_int_equal(got, pid);
    return status;
}

static char *read_file(const char *path)
{
    char *text = calloc(1, 20000);
    FILE *file = fopen(path, "r");
    assert_non_null(text);
    assert_non_null(file);
    assert_true(fread(text, 1, 19999, file) > 0);
    fclose(file);
    return text;
}

/* What it reports; malloc'ed. */
static char *ask_report(struct process_plan *plan, char **argv)
{
    char *path = in_folder("report");
    argv[2] = path;
    remove(path);
    assert_int_equal(wait_status(spawn_fine(plan)), 0);
    return read_file(path);
}

static void check_line(const char *text, const char *line)
{
    if (!strstr(text, line))
        print_error("no \"%s\" in:\n%s", line, text);
    assert_non_null(strstr(text, line));
}

/*
 * valgrind makes a fork of vfork, so that the child cannot tell what went wrong; nor does it know pidfd_open.
 * There only what programs get is tested.
 */
static bool memory_is_shared(void)
{
    volatile int word = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        word = 1;
        _exit(0);
    }
    wait_status(pid);
    return word == 1;
}

static bool is_native;

#define NEED_NATIVE()                                                                                        \
    do {                                                                                                     \
        if (!is_native)                                                                                      \
            skip();                                                                                          \
    } while (0)

/* ---- what it gets ---- */

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_arguments_and_environment(void **state)
{
    (void)state;
    char *const arguments[] = {
        (char *)"sh",           (char *)"-c",       (char *)"printf '%s|' \"$0\" \"$@\"",
        (char *)"a name",       (char *)"",         (char *)"two words",
        (char *)"$HOME \\ \"'", (char *)"\xff\n\t", NULL};
    char *const variables[] = {(char *)"A=1", (char *)"B=",          (char *)"EMPTY",
                               (char *)"A=2", (char *)"C=x=y\n\xff", NULL};
    int out = open(in_folder("out"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(out >= 0);
    struct process_plan plan = {
        .file = "/bin/sh", .arguments = arguments, .variables = variables, .fds = {0, out, 2}};
    assert_int_equal(wait_status(spawn_fine(&plan)), 0);
    char *text = read_file(in_folder("out"));
    assert_string_equal(text, "a name||two words|$HOME \\ \"'|\xff\n\t|");
    free(text);

    char *const none[] = {(char *)"env", NULL};
    assert_int_equal(ftruncate(out, 0), 0);
    assert_int_equal(lseek(out, 0, SEEK_SET), 0);
    plan.file = "/usr/bin/env";
    plan.arguments = none;
    assert_int_equal(wait_status(spawn_fine(&plan)), 0);
    text = read_file(in_folder("out"));
    assert_string_equal(text, "A=1\nB=\nEMPTY\nA=2\nC=x=y\n\xff\n");
    free(text);
    close(out);
}

static void test_directory(void **state)
{
    (void)state;
    char *argv[4];
    char expected[PATH_MAX + 8];
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    struct process_plan plan = plan_for(argv, "report", NULL);
    char *text = ask_report(&plan, argv);
    snprintf(expected, sizeof(expected), "\nin %s\n", here);
    check_line(text, expected);
    free(text);

    plan.directory = "/";
    text = ask_report(&plan, argv);
    check_line(text, "\nin /\n");
    free(text);

    /* A relative path of a program is seen from there. */
    char link[PATH_MAX];
    snprintf(link, sizeof(link), "%s/program", folder);
    assert_int_equal(symlink(self, link), 0);
    plan.directory = folder;
    plan.file = "./program";
    text = ask_report(&plan, argv);
    snprintf(expected, sizeof(expected), "\nin %s\n", folder);
    check_line(text, expected);
    free(text);
    char now[PATH_MAX];
    assert_string_equal(getcwd(now, sizeof(now)), here);
}

static unsigned long long inode_of(int fd)
{
    struct stat found;
    assert_int_equal(fstat(fd, &found), 0);
    return (unsigned long long)found.st_ino;
}

/* Our descriptors 0, 1, 2 and two more are five different files. */
static void test_descriptors(void **state)
{
    (void)state;
    static const int rows[][3] = {
        {0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}, {0, 0, 0}, {1, 1, 1}, {2, 2, 2}, {0, 2, 2},
        {1, 1, 0}, {3, 4, 3}, {3, 3, 3}, {4, 0, 3}, {1, 3, 1}, {3, 1, 2}, {0, 3, 0}, {2, 3, 4},
    };
    char *argv[4];
    struct process_plan plan = plan_for(argv, "report", NULL);
    int saved[3];
    int files[5] = {0, 1, 2, -1, -1};
    unsigned long long inodes[5];
    for (int i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof(name), "f%d", i);
        int fd = open(in_folder(name), O_RDWR | O_CREAT, 0600); /* the program must not get these either */
        assert_true(fd > 2);
        inodes[i] = inode_of(fd);
        if (i > 2) {
            files[i] = fcntl(fd, i == 3 ? F_DUPFD_CLOEXEC : F_DUPFD, 100);
        } else {
            saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
            assert_int_equal(dup2(fd, i), i);
            assert_int_equal(fcntl(i, F_SETFD, FD_CLOEXEC), 0);
        }
        close(fd);
    }
    char *texts[COUNT(rows)];
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int j = 0; j < 3; j++)
            plan.fds[j] = files[rows[i][j]];
        texts[i] = ask_report(&plan, argv);
    }
    for (int i = 0; i < 5; i++) {
        if (i > 2)
            close(files[i]);
        else
            dup2(saved[i], i);
        if (i <= 2)
            close(saved[i]);
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        char expected[128];
        snprintf(expected, sizeof(expected), "open 3: %llu %llu %llu\n", inodes[rows[i][0]],
                 inodes[rows[i][1]], inodes[rows[i][2]]);
        check_line(texts[i], expected);
        free(texts[i]);
    }
}

/* Four files, wherever we have them, and wherever they are to go. */
static void test_more_descriptors(void **state)
{
    (void)state;
    static const int rows[][4] = {
        {3, 4, 5, 6},     {6, 5, 4, 3},         {4, 3, 6, 5}, {4, 5, 6, 3},
        {100, 3, 101, 4}, {101, 100, 100, 100}, {0, 1, 2, 0},
    };
    char *argv[4];
    int more[4];
    int files[4];
    int spare[8];
    size_t nspare = 0;
    struct process_plan plan = plan_for(argv, "report", NULL);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof(name), "m%d", i);
        int fd = open(in_folder(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        files[i] = fcntl(fd, F_DUPFD_CLOEXEC, 200);
        close(fd);
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned long long inodes[4];
        for (int j = 0; j < 4; j++) {
            more[j] = rows[i][j];
            if (more[j] > 2 && fcntl(more[j], F_GETFD) < 0) {
                assert_int_equal(dup3(files[j], more[j], O_CLOEXEC), more[j]);
                spare[nspare++] = more[j];
            }
            inodes[j] = inode_of(more[j]);
        }
        plan.more = more;
        plan.nmore = 4;
        char *text = ask_report(&plan, argv);
        char expected[160];
        snprintf(expected, sizeof(expected), "open 7: %llu %llu %llu %llu %llu %llu %llu\n", inode_of(0),
                 inode_of(1), inode_of(2), inodes[0], inodes[1], inodes[2], inodes[3]);
        check_line(text, expected);
        free(text);
        while (nspare > 0)
            close(spare[--nspare]);
    }
    for (int i = 0; i < 4; i++)
        close(files[i]);
}

/* main ignores HUP, PIPE and CHLD, and handles USR1. */
static void test_signals(void **state)
{
    (void)state;
    sigset_t blocked;
    sigset_t after;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGRTMAX);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    char *argv[4];
    struct process_plan plan = plan_for(argv, "report", NULL);
    char *text = ask_report(&plan, argv);
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &blocked, &after), 0);
    check_line(text, "\nignored:\nblocked:\n");
    free(text);
    for (int i = 1; i < NSIG; i++)
        check_number(sigismember(&after, i) == 1, i == SIGTERM || i == SIGRTMAX, strsignal(i));

    /* Ours are as they were, but that ends of children are no longer thrown away. */
    struct sigaction action;
    assert_int_equal(sigaction(SIGHUP, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_IGN);
    assert_int_equal(sigaction(SIGUSR1, NULL, &action), 0);
    assert_true(action.sa_handler == on_term);
    assert_int_equal(sigaction(SIGCHLD, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    assert_int_equal(action.sa_flags & SA_NOCLDWAIT, 0);
}

static void test_session_and_parent_death_signal(void **state)
{
    (void)state;
    char *argv[4];
    struct process_plan plan = plan_for(argv, "report", NULL);
    char *text = ask_report(&plan, argv);
    check_line(text, "\nleader 1 1\ndeath 0\n");
    free(text);
    plan.parent_death = SIGUSR2;
    text = ask_report(&plan, argv);
    char expected[32];
    snprintf(expected, sizeof(expected), "\nleader 1 1\ndeath %d\n", SIGUSR2);
    check_line(text, expected);
    free(text);
}

static void note_pid(void *user)
{
    *(pid_t *)user = getpid();
}

static void test_one_that_joins(void **state)
{
    (void)state;
    NEED_NATIVE();
    char *argv[4];
    pid_t noted = 0;
    struct process_plan plan = plan_for(argv, "exit", "0");
    plan.joins = true;
    plan.in_child = note_pid;
    plan.user = &noted;
    pid_t pid = spawn_fine(&plan);
    assert_int_equal(noted, pid);
    assert_int_equal(wait_status(pid), 0);
    argv[1] = (char *)"report";
    char *text = ask_report(&plan, argv);
    check_line(text, "\nleader 0 0\n");
    free(text);
}

/* ---- what does not work ---- */

struct failure {
    const char *file, *directory;
    enum process_step step;
    int error;
    int fds[3];
};

static void check_failure(const struct failure *failure, char *const *variables, const char *what)
{
    char *argv[4];
    struct process_plan plan = plan_for(argv, "exit", "0");
    plan.file = failure->file;
    plan.directory = failure->directory;
    plan.variables = variables;
    plan.parent_death = SIGKILL;
    memcpy(plan.fds, failure->fds, sizeof(plan.fds));
    enum process_step failed = (enum process_step)77;
    sigset_t before;
    sigset_t after;
    sigprocmask(SIG_SETMASK, NULL, &before);
    pid_t pid = process_spawn(&plan, &failed);
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i < NSIG; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    if (pid > 0)
        wait_status(pid);
    check_number(pid, -failure->error, what);
    check_number(failed, failure->step, what);
    check_number(waitpid(-1, NULL, WNOHANG), -1, what);
    assert_int_equal(errno, ECHILD);
}

static void test_failures(void **state)
{
    (void)state;
    NEED_NATIVE();
    char text[PATH_MAX], data[PATH_MAX], orphan[PATH_MAX], below[PATH_MAX];
    snprintf(text, sizeof(text), "%s/text", folder);
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(orphan, sizeof(orphan), "%s/orphan", folder);
    snprintf(below, sizeof(below), "%s/data/x", folder);
    write_file(text, "no program\n", 0755);
    write_file(data, "#!/bin/sh\n", 0644);
    write_file(orphan, "#!/nonexistent/interpreter\n", 0755);
    const struct failure rows[] = {
        {"/nonexistent/x", NULL, PROCESS_EXEC, ENOENT, {0, 1, 2}},
        {"./nonexistent", NULL, PROCESS_EXEC, ENOENT, {0, 1, 2}},
        {"", NULL, PROCESS_EXEC, ENOENT, {0, 1, 2}},
        {orphan, NULL, PROCESS_EXEC, ENOENT, {0, 1, 2}},
        {data, NULL, PROCESS_EXEC, EACCES, {0, 1, 2}},
        {folder, NULL, PROCESS_EXEC, EACCES, {0, 1, 2}},
        {text, NULL, PROCESS_EXEC, ENOEXEC, {0, 1, 2}},
        {below, NULL, PROCESS_EXEC, ENOTDIR, {0, 1, 2}},
        {"/bin/true", "/nonexistent", PROCESS_DIRECTORY, ENOENT, {0, 1, 2}},
        {"/bin/true", data, PROCESS_DIRECTORY, ENOTDIR, {0, 1, 2}},
        {"/bin/true", "", PROCESS_DIRECTORY, ENOENT, {0, 1, 2}},
        {"/bin/true", NULL, PROCESS_START, EBADF, {0, 1, -1}},
        {"/bin/true", NULL, PROCESS_START, EBADF, {999, 1, 2}},
        {"/nonexistent/x", "/nonexistent", PROCESS_START, EBADF, {0, 999, 2}},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_failure(&rows[i], environ, rows[i].file);

    /* One string is limited to 128 KiB. */
    char *big = malloc(140000);
    assert_non_null(big);
    memset(big, 'x', 139999);
    big[139999] = '\0';
    big[1] = '=';
    char *const variables[] = {big, NULL};
    check_failure(&(struct failure){"/bin/true", NULL, PROCESS_EXEC, E2BIG, {0, 1, 2}}, variables, "E2BIG");
    free(big);
}

/* ---- finding ---- */

static void test_find(void **state)
{
    (void)state;
    char expected[PATH_MAX];
    char path[PATH_MAX];
    char value[1024];
    static const char *const directories[] = {"a", "b", "c", "a/subject"};
    for (size_t i = 0; i < COUNT(directories); i++)
        assert_int_equal(mkdir(in_folder(directories[i]), 0755), 0);
    write_file(in_folder("b/both"), "", 0755);
    write_file(in_folder("c/both"), "", 0755);
    write_file(in_folder("c/late"), "", 0755);
    write_file(in_folder("a/data"), "", 0644);
    write_file(in_folder("b/locked"), "", 0644);
    write_file(in_folder("c/locked"), "", 0755);
    write_file(in_folder("here"), "", 0755);
    assert_int_equal(symlink("/nonexistent", in_folder("a/both")), 0);
    static const struct {
        const char *path; /* DIR stands for the folder */
        const char *name;
        const char *found; /* in the folder; NULL: not */
        int rc;
    } rows[] = {
        {"DIR/a:DIR/b:DIR/c", "both", "b/both", 0},
        {"DIR/c:DIR/b", "both", "c/both", 0},
        {"DIR/a:DIR/b:DIR/c", "late", "c/late", 0},
        {"DIR/a:DIR/b:DIR/c", "locked", "c/locked", 0},
        {"DIR/nonexistent:DIR/here:DIR/c/:", "late", "c//late", 0},
        {"DIR/a:DIR/b", "locked", NULL, -EACCES},
        {"DIR/a:DIR/b:DIR/nonexistent", "data", NULL, -EACCES},
        {"DIR/a", "subject", NULL, -EACCES},
        {"DIR/a:DIR/b", "nonexistent", NULL, -ENOENT},
        {"DIR/a", "", NULL, -ENOENT},
        /* We work in the folder. */
        {"", "here", NULL, -ENOENT},
        {":", "here", NULL, -ENOENT},
        {".:DIR/a", "here", NULL, -ENOENT},
        {"a:b", "both", NULL, -ENOENT},
        {":b:DIR/c", "both", "c/both", 0},
    };
    char *before = getenv("PATH") ? strdup(getenv("PATH")) : NULL;
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t at = 0;
        for (const char *from = rows[i].path; *from;) {
            bool marked = strncmp(from, "DIR", 3) == 0;
            at += (size_t)snprintf(value + at, sizeof(value) - at, "%.*s", marked ? 100 : 1,
                                   marked ? folder : from);
            from += marked ? 3 : 1;
        }
        value[at] = '\0';
        setenv("PATH", value, 1);
        check_number(process_find(rows[i].name, path, sizeof(path)), rows[i].rc, value);
        if (!rows[i].found)
            continue;
        snprintf(expected, sizeof(expected), "%s/%s", folder, rows[i].found);
        assert_string_equal(path, expected);
        /* Exactly enough room, and one byte less. */
        assert_int_equal(process_find(rows[i].name, path, strlen(expected) + 1), 0);
        assert_int_equal(process_find(rows[i].name, path, strlen(expected)), -ENOENT);
    }
    assert_int_equal(chdir(here), 0);

    setenv("PATH", folder, 1);
    assert_int_equal(process_find("x/y", path, sizeof(path)), 0);
    assert_string_equal(path, "x/y");
    assert_int_equal(process_find("/nonexistent", path, 13), 0);
    assert_string_equal(path, "/nonexistent");
    assert_int_equal(process_find("/nonexistent", path, 12), -ENAMETOOLONG);
    unsetenv("PATH");
    assert_int_equal(process_find("sh", path, sizeof(path)), 0);
    assert_true(strcmp(path, "/bin/sh") == 0 || strcmp(path, "/usr/bin/sh") == 0);
    if (before)
        setenv("PATH", before, 1);
    free(before);
}

/* ---- the end ---- */

static struct process watched;
static unsigned ends;
static int last_status;

static void on_ended(struct process *process, int status)
{
    assert_ptr_equal(process, &watched);
    assert_true(process->over);
    ends++;
    last_status = status;
}

static bool has_ended(void)
{
    return ends > 0;
}

static void watch(pid_t pid)
{
    watched = (struct process){.watch.fd = -1, .ended = on_ended};
    ends = 0;
    assert_int_equal(process_watch(&poller, &watched, pid), 0);
    assert_int_equal(watched.pid, pid);
}

/* A pipe whose reading end is ours; the writing end becomes what the program writes to. */
struct voice {
    int ours, its;
};

static struct voice make_voice(void)
{
    int ends_of_pipe[2];
    assert_int_equal(pipe2(ends_of_pipe, O_CLOEXEC), 0);
    return (struct voice){ends_of_pipe[0], ends_of_pipe[1]};
}

/* The next byte, or 0 once nobody has the pipe any more. */
static char hear(const struct voice *voice)
{
    struct pollfd poll_one = {.fd = voice->ours, .events = POLLIN};
    int rc;
    do
        rc = poll(&poll_one, 1, PATIENCE_MS);
    while (rc < 0 && errno == EINTR);
    assert_int_equal(rc, 1);
    char byte = 0;
    assert_true(read(voice->ours, &byte, 1) >= 0);
    return byte;
}

/* Starts the program with this action, and waits until it says that it waits, so many times. */
static pid_t spawn_waiting(const char *action, const char *argument, struct voice *voice, int times)
{
    char *argv[4];
    struct process_plan plan = plan_for(argv, action, argument);
    *voice = make_voice();
    plan.fds[1] = voice->its;
    plan.parent_death = SIGKILL;
    pid_t pid = spawn_fine(&plan);
    close(voice->its);
    for (int i = 0; i < times; i++)
        assert_int_equal(hear(voice), 'r');
    return pid;
}

static void test_ends(void **state)
{
    (void)state;
    NEED_NATIVE();
    static const struct {
        const char *action, *argument;
        int status;
        const char *text;
    } rows[] = {
        {"exit", "0", 0, "exited with status 0"},
        {"exit", "3", 3 << 8, "exited with status 3"},
        {"exit", "255", 255 << 8, "exited with status 255"},
        {"die", "15", 15, "was ended by signal 15 (Terminated)"},
        {"die", "9", 9, "was ended by signal 9 (Killed)"},
        {"die", "11", 11, "was ended by signal 11 (Segmentation fault)"},
        {"die", "1", 1, "was ended by signal 1 (Hangup)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *argv[4];
        struct process_plan plan = plan_for(argv, rows[i].action, rows[i].argument);
        pid_t pid = spawn_fine(&plan);
        /* One that has ended before it is watched is noticed all the same. */
        siginfo_t info;
        if (i % 2 == 0)
            assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        watch(pid);
        run_until(has_ended);
        assert_int_equal(last_status, rows[i].status);
        char text[80];
        assert_ptr_equal(process_describe(last_status, text, sizeof(text)), text);
        assert_string_equal(text, rows[i].text);
        /* Until it is reaped its pid is nobody else's. */
        assert_int_equal(kill(pid, 0), 0);
        run_for_now();
        assert_int_equal(ends, 1);
        process_reap(&watched);
        process_reap(&watched);
        assert_int_equal(kill(pid, 0), -1);
        assert_int_equal(watched.pid, 0);
        process_signal(&watched, SIGKILL);
    }
}

static void test_describe(void **state)
{
    (void)state;
    char text[80];
    assert_string_equal(process_describe(6 | 0x80, text, sizeof(text)), "was ended by signal 6 (Aborted)");
    assert_string_equal(process_describe(1 << 8, text, 10), "exited wi");
}

static void test_signal_is_of_the_group(void **state)
{
    (void)state;
    NEED_NATIVE();
    struct voice voice;
    watch(spawn_waiting("fork", "both", &voice, 2));
    process_signal(&watched, SIGTERM);
    assert_int_equal(hear(&voice), 't');
    assert_int_equal(hear(&voice), 't');
    assert_int_equal(hear(&voice), 0);
    run_until(has_ended);
    assert_int_equal(last_status, 0);
    process_reap(&watched);
    close(voice.ours);
}

/* The leader has ended; what it has started can still be reached. */
static void test_signal_after_the_end(void **state)
{
    (void)state;
    NEED_NATIVE();
    struct voice voice;
    watch(spawn_waiting("fork", "one", &voice, 1));
    run_until(has_ended);
    assert_int_equal(last_status, 0);
    process_signal(&watched, SIGTERM);
    assert_int_equal(hear(&voice), 't');
    assert_int_equal(hear(&voice), 0);
    process_reap(&watched);
    close(voice.ours);
}

static void test_reap_kills(void **state)
{
    (void)state;
    NEED_NATIVE();
    struct voice voice;
    watch(spawn_waiting("ignore", "", &voice, 1));
    pid_t pid = watched.pid;
    process_signal(&watched, SIGTERM);
    process_reap(&watched);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(hear(&voice), 0);
    close(voice.ours);
    run_for_now();
    assert_int_equal(ends, 0);

    watch(spawn_waiting("fork", "both", &voice, 2));
    process_reap(&watched);
    assert_int_equal(hear(&voice), 0);
    close(voice.ours);
    run_for_now();
    assert_int_equal(ends, 0);
}

/* A program that has become another user's, as suexec does, is not waited for. */
static void test_reap_of_another_users(void **state)
{
    (void)state;
    NEED_NATIVE();
    if (geteuid() != 0)
        skip();
    struct voice voice;
    pid_t pid = spawn_waiting("ignore", "", &voice, 1);
    watch(pid);
    if (setresuid(1, 1, 0) == 0) {
        process_reap(&watched);
        assert_int_equal(setresuid(0, 0, 0), 0);
        assert_int_equal(watched.pid, 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    } else {
        process_reap(&watched);
    }
    assert_int_equal(hear(&voice), 0);
    close(voice.ours);
    run_for_now();
    assert_int_equal(ends, 0);
}

/* One that has ended, but before the loop has noticed. */
static void test_reap_before_it_is_noticed(void **state)
{
    (void)state;
    NEED_NATIVE();
    char *argv[4];
    struct process_plan plan = plan_for(argv, "exit", "1");
    pid_t pid = spawn_fine(&plan);
    watch(pid);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    process_reap(&watched);
    run_for_now();
    assert_int_equal(ends, 0);
}

static void test_watch_fails(void **state)
{
    (void)state;
    NEED_NATIVE();
    struct voice voice;
    pid_t pid = spawn_waiting("ignore", "", &voice, 1);
    struct poller broken = {.epoll = -1};
    watched = (struct process){.watch.fd = -1, .ended = on_ended};
    assert_int_equal(process_watch(&broken, &watched, pid), -EBADF);
    assert_int_equal(watched.pid, 0);
    assert_int_equal(hear(&voice), 0);
    close(voice.ours);

    pid = spawn_waiting("ignore", "", &voice, 1);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = process_watch(&poller, &watched, pid);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(rc, -EMFILE);
    assert_int_equal(watched.pid, 0);
    assert_int_equal(hear(&voice), 0);
    close(voice.ours);
    process_reap(&watched);
}

/* A process between us and the program dies without a word; so does the program, or it gets what it asked
 * for. */
static void test_death_of_the_parent(void **state)
{
    (void)state;
    NEED_NATIVE();
    static const struct {
        const char *action;
        int number;
        const char *words;
    } rows[] = {{"ignore", SIGKILL, ""}, {"wait", SIGTERM, "t"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct voice voice = make_voice();
        pid_t between = fork();
        if (between == 0) {
            char *argv[4];
            struct process_plan plan = plan_for(argv, rows[i].action, "");
            plan.fds[1] = voice.its;
            plan.parent_death = rows[i].number;
            enum process_step failed;
            if (process_spawn(&plan, &failed) < 0)
                _exit(1);
            for (;;)
                pause();
        }
        assert_true(between > 0);
        close(voice.its);
        assert_int_equal(hear(&voice), 'r');
        kill(between, SIGKILL);
        assert_int_equal(wait_status(between), SIGKILL);
        for (const char *word = rows[i].words; *word; word++)
            assert_int_equal(hear(&voice), *word);
        assert_int_equal(hear(&voice), 0);
        close(voice.ours);
    }
}

/* ---- odd places ---- */

/* Where a sandbox does not know close_range, descriptors are closed one by one. */
static void test_without_close_range(void **state)
{
    (void)state;
    NEED_NATIVE();
#ifdef SYS_close_range
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {COUNT(filter), filter};
    char *argv[4];
    struct process_plan plan = plan_for(argv, "report", in_folder("report"));
    pid_t between = fork();
    if (between == 0) {
        enum process_step failed;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
            _exit(77);
        if (open("/dev/null", O_RDONLY) < 0 || dup2(0, 200) < 0)
            _exit(1);
        pid_t pid = process_spawn(&plan, &failed);
        int status = 0;
        _exit(pid < 0 || waitpid(pid, &status, 0) != pid || status != 0);
    }
    int status = wait_status(between);
    if (status == 77 << 8)
        skip();
    assert_int_equal(status, 0);
    char *text = read_file(in_folder("report"));
    check_line(text, "open 3: ");
    free(text);
#else
    skip();
#endif
}

static void *spawn_many(void *user)
{
    unsigned *wrong = user;
    for (int i = 0; i < 50; i++) {
        char *argv[4] = {(char *)"sh", (char *)"-c", (char *)"exit 7", NULL};
        char *const variables[] = {NULL};
        const struct process_plan plan = {.file = i % 2 ? "/bin/sh" : "/nonexistent/x",
                                          .arguments = argv,
                                          .variables = variables,
                                          .fds = {0, 1, 2},
                                          .parent_death = SIGKILL};
        enum process_step failed = PROCESS_START;
        pid_t pid = process_spawn(&plan, &failed);
        int status = -1;
        if (i % 2)
            *wrong += pid <= 0 || waitpid(pid, &status, 0) != pid || status != 7 << 8;
        else
            *wrong += pid != -ENOENT || failed != PROCESS_EXEC;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    NEED_NATIVE();
    pthread_t threads[3];
    unsigned wrong[3] = {0};
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, spawn_many, &wrong[i]), 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2)
        return act(argv);
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length <= 0)
        return 1;
    is_native = memory_is_shared();
    /* As a launcher may leave them. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGUSR1, on_term);
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_arguments_and_environment),
        TEST(test_directory),
        TEST(test_descriptors),
        TEST(test_more_descriptors),
        TEST(test_signals),
        TEST(test_session_and_parent_death_signal),
        TEST(test_one_that_joins),
        TEST(test_failures),
        TEST(test_find),
        TEST(test_ends),
        TEST(test_describe),
        TEST(test_signal_is_of_the_group),
        TEST(test_signal_after_the_end),
        TEST(test_reap_kills),
        TEST(test_reap_of_another_users),
        TEST(test_reap_before_it_is_noticed),
        TEST(test_watch_fails),
        TEST(test_death_of_the_parent),
        TEST(test_without_close_range),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
