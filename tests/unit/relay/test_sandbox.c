/*
 * What is left to a process in the sandbox. Each case is a child that enters it, tries, and says what went
 * otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/sandbox.h"

#define INI      "conf/realip.ini"
#define LOG_FILE "logs/error.log"

static char folder[256];
static int report; /* of the child */

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    char path[512];
    snprintf(folder, sizeof folder, "/tmp/realip-unit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(mkdir("conf", 0755) | mkdir("logs", 0755) | mkdir("other", 0755), 0);
    snprintf(path, sizeof path, "[log]\nerror = %s/" LOG_FILE "\n[upstream]\naddress = 127.0.0.1:9\n",
             folder);
    write_file(INI, path);
    write_file("other/file", "x");
    write_file(LOG_FILE, "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *const files[] = {INI, "conf/next", "other/file", LOG_FILE, "logs/error.log.1"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    rmdir("conf");
    rmdir("logs");
    rmdir("other");
    assert_int_equal(chdir("/"), 0);
    return rmdir(folder);
}

/* What goes otherwise, a line each, the last one cut where there is no more room. */
static void say(const char *format, ...)
{
    char line[200];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (write(report, line, (size_t)n) != n)
        _exit(3);
}

static void expect(const char *what, long rc, int error)
{
    int got = rc < 0 ? errno : 0;
    if (got != error)
        say("%s: %s instead of %s\n", what, strerror(got), strerror(error));
    if (rc > 2 && error != 0)
        close((int)rc);
}

/* valgrind itself makes calls that are forbidden. */
static bool under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

static void in_sandbox(void (*tried)(void))
{
    struct messages messages = {0};
    struct sandbox sandbox = {0};
    struct log log;
    int ends[2];
    char said[4096] = "";
    if (under_valgrind())
        skip();
    struct config *config = config_load(INI, &messages);
    assert_non_null(config);
    assert_true(sandbox_wanted(config));
    assert_int_equal(sandbox_make(&sandbox, config), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        report = ends[1];
        log_open(&log, LOG_WARNING, NULL);
        if (sandbox_enter(&sandbox, &log) < 0)
            say("it was not entered\n");
        else
            tried();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof said - 1); /* a pipe's lines come together: each is one write */
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (n > 0)
        n += read(ends[0], said + n, sizeof said - 1 - (size_t)n);
    close(ends[0]);
    assert_string_equal(said, "");
    assert_int_equal(status, 0);
    sandbox_free(&sandbox);
    config_free(config);
    messages_free(&messages);
}

/* ---- calls ---- */

static void try_listed(void)
{
    if (prctl(PR_GET_SECCOMP) != 2) {
        say("no filter\n"); /* then nothing is tried: a call might do what it says */
        return;
    }
    for (size_t i = 0; i < sandbox_ncalls; i++) {
        if (sandbox_calls[i].number >= 0)
            expect(sandbox_calls[i].name, syscall(sandbox_calls[i].number, -1, -1, -1, -1, -1, -1), EPERM);
    }
}

static void test_listed_calls(void **state)
{
    (void)state;
    in_sandbox(try_listed);
}

/* That they are listed at all. */
static void test_what_is_listed(void **state)
{
    (void)state;
    static const char *const names[] = {
        "execve",         "execveat",    "process_vm_writev", "pidfd_getfd",
        "kill",           "setuid",      "setgroups",         "capset",
        "chroot",         "linkat",      "symlinkat",         "renameat2",
        "unlinkat",       "mkdirat",     "mknodat",           "fchmodat",
        "fchownat",       "truncate",    "open_by_handle_at", "mount",
        "umount2",        "pivot_root",  "move_mount",        "setns",
        "unshare",        "init_module", "finit_module",      "kexec_load",
        "reboot",         "bpf",         "perf_event_open",   "userfaultfd",
        "keyctl",         "add_key",     "clock_settime",     "personality",
        "io_uring_setup", "listen",      "io_uring_register", "memfd_create",
        "seccomp",
#ifndef SANDBOX_LEAKS
        "ptrace",
#endif
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t at = 0;
        while (at < sandbox_ncalls && strcmp(sandbox_calls[at].name, names[i]) != 0)
            at++;
        if (at == sandbox_ncalls)
            fail_msg("%s is not listed", names[i]);
    }
}

static void *run(void *argument)
{
    return argument;
}

static void try_processes(void)
{
    pthread_t thread;
    expect("kill", kill(getppid(), 0), EPERM);
    expect("signal to another", syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM);
    expect("signal to oneself", syscall(SYS_tgkill, getpid(), getpid(), 0), 0);
    errno = pthread_create(&thread, NULL, run, NULL);
    expect("thread", errno == 0 ? pthread_join(thread, NULL) : -1, 0);
    expect("program", execl("/bin/true", "true", NULL), EPERM);
#ifndef SANDBOX_LEAKS
    expect("clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
    expect("clone3", syscall(SYS_clone3, NULL, 0), ENOSYS);
    expect("fork", fork(), EPERM);
#endif
}

static void test_processes(void **state)
{
    (void)state;
    in_sandbox(try_processes);
}

static void try_sockets(void)
{
    expect("unix", socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    expect("IPv4", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 0);
    expect("IPv4 datagrams", socket(AF_INET, SOCK_DGRAM, 0), 0);
    expect("netlink", socket(AF_NETLINK, SOCK_RAW, 0), 0);
    expect("raw IPv4", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP), EPERM);
    expect("raw IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), EPERM);
    expect("packets", socket(AF_PACKET, SOCK_RAW, 0), EPERM);
    expect("vsock", socket(AF_VSOCK, SOCK_STREAM, 0), EPERM);
    expect("kernel crypto", socket(AF_ALG, SOCK_SEQPACKET, 0), EPERM);
    expect("a family to come", socket(200, SOCK_STREAM, 0), EPERM);
}

static void test_sockets(void **state)
{
    (void)state;
    in_sandbox(try_sockets);
}

static void try_code(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    expect("memory", data == MAP_FAILED ? -1 : 0, 0);
    expect("to run what was written", mprotect(data, 4096, PROT_READ | PROT_EXEC), EPERM);
    expect("to write what runs",
           (long)(intptr_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0), EPERM);
}

static void test_code(void **state)
{
    (void)state;
    in_sandbox(try_code);
}

/* ---- files ---- */

static void try_files(void)
{
    expect("the configuration", open(INI, O_RDONLY), 0);
    expect("to write it", open(INI, O_WRONLY), EACCES);
    expect("to make a file beside it", open("conf/next", O_WRONLY | O_CREAT, 0600), EACCES);
    expect("to empty a log", open(LOG_FILE, O_WRONLY | O_TRUNC), sandbox_landlock() < 3 ? 0 : EACCES);
    expect("a log", open(LOG_FILE, O_WRONLY | O_APPEND | O_CREAT, 0640), 0);
    expect("the next log", open("logs/error.log.1", O_WRONLY | O_APPEND | O_CREAT, 0640), 0);
    expect("another file", open("other/file", O_RDONLY), EACCES);
    expect("a file of the system", open("/etc/passwd", O_RDONLY), EACCES);
    expect("a folder", open("/", O_RDONLY | O_DIRECTORY), EACCES);
    expect("a device", open("/dev/null", O_WRONLY), EACCES);
}

static void test_files(void **state)
{
    (void)state;
    if (sandbox_landlock() == 0)
        skip();
    in_sandbox(try_files);
}

static void try_server(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    expect("a port", bind(fd, (struct sockaddr *)&any, sizeof any), EACCES);
}

static void test_server(void **state)
{
    (void)state;
    if (sandbox_landlock() < 4)
        skip();
    in_sandbox(try_server);
}

/* ---- whose it is ---- */

static bool is_wanted(const char *text)
{
    struct messages messages = {0};
    write_file(INI, text);
    struct config *config = config_load(INI, &messages);
    assert_non_null(config);
    bool wanted = sandbox_wanted(config);
    config_free(config);
    messages_free(&messages);
    return wanted;
}

static void test_wanted(void **state)
{
    (void)state;
    assert_true(is_wanted("[upstream]\naddress = unix:/run/x\n"));
    assert_true(is_wanted("[upstream]\naddress = unix:/run/x\n[process]\nworkers = 4\n"));
    assert_false(is_wanted("[upstream]\naddress = unix:/run/x\n[process]\nsandbox = no\n"));
    assert_false(is_wanted("[upstream]\ncommand = /bin/true\n"));
    assert_false(is_wanted("[upstream]\ncgi = /bin/true\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_listed_calls, setup, teardown),
        cmocka_unit_test(test_what_is_listed),
        cmocka_unit_test_setup_teardown(test_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sockets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wanted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
