/*
 * A library that is preloaded into the shim and does, in a process that is in a sandbox, what somebody would
 * do who has got the better of it: when the first connection is accepted. What comes of each attempt is a
 * line in the file that INTRUDER names: its name and 0 or the errno. The file is opened beforehand, and
 * INTRUDER_FILE is one of those to be read.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int report = -1;
static struct io_uring *ring; /* the shim's */

__attribute__((constructor)) static void open_report(void)
{
    const char *path = getenv("INTRUDER");
    if (path)
        report = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void tell(const char *what, long rc)
{
    char line[100];
    int n = snprintf(line, sizeof line, "%s %d\n", what, rc < 0 ? errno : 0);
    if (write(report, line, (size_t)n) < 0)
        abort();
}

static struct io_uring_sqe *next_entry(void)
{
    return ring ? io_uring_get_sqe(ring) : NULL;
}

/* What comes of the entry that has been prepared. */
static void tell_result(const char *what)
{
    struct io_uring_cqe *result;
    if (io_uring_submit(ring) != 1 || io_uring_wait_cqe(ring, &result) < 0)
        abort();
    errno = -result->res;
    tell(what, result->res);
    io_uring_cqe_seen(ring, result);
}

/* The ring that there is, to whose entries no filter of system calls applies. */
static void try_ring(const char *path)
{
    struct io_uring_sqe *entry = next_entry();
    int pair[2];
    if (!entry)
        return;
    io_uring_prep_openat(entry, AT_FDCWD, path, O_RDONLY, 0);
    tell_result("open a file by io_uring");
    io_uring_prep_accept(next_entry(), 0, NULL, NULL, 0);
    tell_result("serve by io_uring");
    io_uring_prep_nop(next_entry());
    tell_result("do nothing by io_uring");
    tell("widen io_uring",
         syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_PERSONALITY, NULL, 0));
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        abort();
    io_uring_prep_send(next_entry(), pair[0], "x", 1, 0);
    tell_result("send by io_uring");
}

static void try_everything(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    const char *path = getenv("INTRUDER_FILE");
    tell("read a file", open("/etc/passwd", O_RDONLY));
    tell("read a folder", open("/", O_RDONLY | O_DIRECTORY));
    tell("change the configuration", open(path, O_WRONLY));
    tell("read the configuration", open(path, O_RDONLY));
    tell("start a program", execl("/bin/true", "true", NULL));
    tell("become another user", setuid(0));
    tell("signal the master", kill(getppid(), 0));
    tell("trace the master", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    tell("remove a file", unlink(path));
    tell("serve", listen(socket(AF_INET, SOCK_STREAM, 0), 1));
    tell("serve on a port", bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&any, sizeof any));
    tell("read packets", socket(AF_PACKET, SOCK_RAW, 0));
    tell("use io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    try_ring(path);
    tell("end", 0);
}

int io_uring_queue_init(unsigned entries, struct io_uring *made, unsigned flags)
{
    void *found = dlsym(RTLD_NEXT, "io_uring_queue_init");
    int (*next)(unsigned, struct io_uring *, unsigned);
    memcpy(&next, &found, sizeof next);
    int rc = next(entries, made, flags);
    ring = rc == 0 ? made : NULL;
    return rc;
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *length, int flags)
{
    static int (*next)(int, __SOCKADDR_ARG, socklen_t *, int);
    if (!next) {
        void *found = dlsym(RTLD_NEXT, "accept4");
        memcpy(&next, &found, sizeof next);
        if (report >= 0 && prctl(PR_GET_SECCOMP) == 2)
            try_everything();
    }
    return next(fd, address, length, flags);
}
