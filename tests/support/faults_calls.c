/*
 * The functions of the preload library that stand before the C library's.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <liburing.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IOV_MOST 64

#define CALLER __builtin_return_address(0)

/* next: the function that this one stands before. */
#define NEXT(type, name, parameters)                                                                         \
    static void *place;                                                                                      \
    void *found = fault_look_up(&place, #name);                                                              \
    type(*next) parameters;                                                                                  \
    memcpy(&next, &found, sizeof(next))

#define CALL(type, failure, name, parameters, arguments)                                                     \
    type name parameters                                                                                     \
    {                                                                                                        \
        NEXT(type, name, parameters);                                                                        \
        return fault_fails(NUMBER_##name, CALLER) ? (type)(failure) : next arguments;                        \
    }

/* One that moves bytes to or from a descriptor. */
#define MOVE(name, parameters, fd, size, arguments)                                                          \
    ssize_t name parameters                                                                                  \
    {                                                                                                        \
        NEXT(ssize_t, name, parameters);                                                                     \
        return fault_fails_or_cuts(NUMBER_##name, CALLER, fd, &(size)) ? -1 : next arguments;                \
    }

/* ---- memory ---- */

CALL(void *, NULL, malloc, (size_t size), (size))
CALL(void *, NULL, calloc, (size_t count, size_t size), (count, size))
CALL(void *, NULL, realloc, (void *old, size_t size), (old, size))
CALL(void *, NULL, reallocarray, (void *old, size_t count, size_t size), (old, count, size))
CALL(char *, NULL, strdup, (const char *text), (text))
CALL(char *, NULL, strndup, (const char *text, size_t most), (text, most))
CALL(int, -1, vasprintf, (char **text, const char *format, va_list list), (text, format, list))
CALL(FILE *, NULL, open_memstream, (char **text, size_t *size), (text, size))

/* ---- files ---- */

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(list, int) : 0;
}

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        NEXT(int, name, (const char *, int, ...));                                                           \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = mode_of(flags, list);                                                                  \
        va_end(list);                                                                                        \
        return fault_fails(NUMBER_##name, CALLER) ? -1 : next(path, flags, mode);                            \
    }

OPEN(open)
OPEN(open64)

int openat(int folder, const char *path, int flags, ...)
{
    NEXT(int, openat, (int, const char *, int, ...));
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    return fault_fails(NUMBER_openat, CALLER) ? -1 : next(folder, path, flags, mode);
}

CALL(FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode))
CALL(int, -1, fstat, (int fd, struct stat *status), (fd, status))
CALL(int, -1, stat, (const char *path, struct stat *status), (path, status))
CALL(int, -1, lstat, (const char *path, struct stat *status), (path, status))
CALL(ssize_t, -1, readlink, (const char *path, char *text, size_t size), (path, text, size))
CALL(char *, NULL, realpath, (const char *path, char *text), (path, text))
CALL(int, -1, access, (const char *path, int mode), (path, mode))
CALL(int, -1, chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
CALL(int, -1, lchown, (const char *path, uid_t user, gid_t group), (path, user, group))
CALL(int, -1, rename, (const char *old, const char *new), (old, new))
CALL(int, -1, unlink, (const char *path), (path))
CALL(int, -1, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
CALL(int, -1, rmdir, (const char *path), (path))
CALL(char *, NULL, mkdtemp, (char *path), (path))
CALL(int, -1, mkostemp, (char *path, int flags), (path, flags))
CALL(int, -1, flock, (int fd, int operation), (fd, operation))

/* ---- descriptors ---- */

#define CONTROL(name, type)                                                                                  \
    int name(int fd, type operation, ...)                                                                    \
    {                                                                                                        \
        NEXT(int, name, (int, type, ...));                                                                   \
        va_list list;                                                                                        \
        va_start(list, operation);                                                                           \
        void *argument = va_arg(list, void *);                                                               \
        va_end(list);                                                                                        \
        return fault_fails(NUMBER_##name, CALLER) ? -1 : next(fd, operation, argument);                      \
    }

CONTROL(fcntl, int)
CONTROL(fcntl64, int)
CONTROL(ioctl, unsigned long)
CALL(int, -1, dup2, (int fd, int to), (fd, to))
CALL(int, -1, pipe2, (int fds[2], int flags), (fds, flags))
CALL(int, -1, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
CALL(int, -1, epoll_create1, (int flags), (flags))

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    NEXT(int, epoll_ctl, (int, int, int, struct epoll_event *));
    if (fault_fails(NUMBER_epoll_ctl, CALLER))
        return -1;
    int rc = next(set, operation, fd, event);
    if (rc == 0)
        fault_note_edge(set, operation, fd, event);
    return rc;
}

int epoll_wait(int set, struct epoll_event *events, int count, int timeout)
{
    NEXT(int, epoll_wait, (int, struct epoll_event *, int, int));
    if (fault_fails(NUMBER_epoll_wait, CALLER))
        return -1;
    int n = next(set, events, count, timeout);
    if (fault_stops_behind())
        raise(SIGSTOP);
    return n;
}

CALL(int, -1, epoll_pwait,
     (int set, struct epoll_event *events, int count, int timeout, const sigset_t *mask),
     (set, events, count, timeout, mask))
CALL(int, -1, eventfd, (unsigned value, int flags), (value, flags))
CALL(int, -1, eventfd_read, (int fd, eventfd_t *value), (fd, value))
CALL(int, -1, eventfd_write, (int fd, eventfd_t value), (fd, value))
CALL(int, -1, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
CALL(int, -1, inotify_init1, (int flags), (flags))
CALL(int, -1, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))

/* ---- sockets ---- */

CALL(int, -1, socket, (int family, int type, int protocol), (family, type, protocol))
CALL(int, -1, socketpair, (int family, int type, int protocol, int fds[2]), (family, type, protocol, fds))
CALL(int, -1, bind, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
CALL(int, -1, listen, (int fd, int backlog), (fd, backlog))
CALL(int, -1, accept4, (int fd, __SOCKADDR_ARG address, socklen_t *size, int flags),
     (fd, address, size, flags))
CALL(int, -1, connect, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
CALL(int, -1, shutdown, (int fd, int how), (fd, how))
CALL(int, -1, getsockname, (int fd, __SOCKADDR_ARG address, socklen_t *size), (fd, address, size))
CALL(int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size))
CALL(int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size))
MOVE(recv, (int fd, void *data, size_t size, int flags), fd, size, (fd, data, size, flags))
MOVE(send, (int fd, const void *data, size_t size, int flags), fd, size, (fd, data, size, flags))
MOVE(sendto,
     (int fd, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG address, socklen_t length), fd,
     size, (fd, data, size, flags, address, length))
MOVE(read, (int fd, void *data, size_t size), fd, size, (fd, data, size))
MOVE(write, (int fd, const void *data, size_t size), fd, size, (fd, data, size))
MOVE(pread, (int fd, void *data, size_t size, off_t at), fd, size, (fd, data, size, at))
MOVE(pwrite, (int fd, const void *data, size_t size, off_t at), fd, size, (fd, data, size, at))

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags)
{
    NEXT(ssize_t, splice, (int, off64_t *, int, off64_t *, size_t, unsigned));
    size_t wanted = size;
    bool failed = fault_fails_or_cuts(NUMBER_splice, CALLER, out, &size);
    int error = errno;
    if (size < wanted || (failed && error == EAGAIN))
        fault_arm_again(in);
    errno = error;
    return failed ? -1 : next(in, in_at, out, out_at, size, flags);
}

static size_t length_of(const struct iovec *parts, size_t count)
{
    size_t size = 0;
    while (count-- > 0)
        size += parts++->iov_len;
    return size;
}

/* The parts that hold the first 'size' bytes, in 'cut', which has room for IOV_MOST; their number. */
static int cut_parts(struct iovec *cut, const struct iovec *parts, size_t count, size_t size)
{
    size_t n = 0;
    while (n < count && n < IOV_MOST && size > 0) {
        cut[n] = parts[n];
        if (cut[n].iov_len > size)
            cut[n].iov_len = size;
        size -= cut[n++].iov_len;
    }
    return (int)n;
}

#define PARTS(name)                                                                                          \
    ssize_t name(int fd, const struct iovec *parts, int count)                                               \
    {                                                                                                        \
        NEXT(ssize_t, name, (int, const struct iovec *, int));                                               \
        struct iovec cut[IOV_MOST];                                                                          \
        size_t whole = length_of(parts, (size_t)count), size = whole;                                        \
        if (fault_fails_or_cuts(NUMBER_##name, CALLER, fd, &size))                                           \
            return -1;                                                                                       \
        if (size == whole)                                                                                   \
            return next(fd, parts, count);                                                                   \
        return next(fd, cut, cut_parts(cut, parts, (size_t)count, size));                                    \
    }

PARTS(readv)
PARTS(writev)

#define MESSAGE(name, type)                                                                                  \
    ssize_t name(int fd, type *message, int flags)                                                           \
    {                                                                                                        \
        NEXT(ssize_t, name, (int, type *, int));                                                             \
        struct iovec cut[IOV_MOST];                                                                          \
        struct msghdr changed = *message;                                                                    \
        size_t whole = length_of(message->msg_iov, message->msg_iovlen), size = whole;                       \
        if (fault_fails_or_cuts(NUMBER_##name, CALLER, fd, &size))                                           \
            return -1;                                                                                       \
        if (size == whole)                                                                                   \
            return next(fd, message, flags);                                                                 \
        changed.msg_iov = cut;                                                                               \
        changed.msg_iovlen = (size_t)cut_parts(cut, message->msg_iov, message->msg_iovlen, size);            \
        return next(fd, &changed, flags);                                                                    \
    }

MESSAGE(sendmsg, const struct msghdr)
MESSAGE(recvmsg, struct msghdr)

/* ---- rings ---- */

#define RING_MOST 64

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    NEXT(int, io_uring_queue_init, (unsigned, struct io_uring *, unsigned));
    return fault_fails(NUMBER_io_uring_queue_init, CALLER) ? -errno : next(entries, ring, flags);
}

/* A send that fails sends nothing, and its error takes the place of that result. */
static int spoil(struct io_uring_sqe *entry, const void *caller)
{
    size_t size = entry->len;
    if (entry->opcode != IORING_OP_SEND)
        return 0;
    int error = fault_fails_or_cuts(NUMBER_send, caller, entry->fd, &size) ? errno : 0;
    entry->len = error != 0 ? 0 : (unsigned)size;
    return error;
}

static void put_errors(struct io_uring *ring, const uint64_t *which, const int *errors, unsigned count)
{
    struct io_uring_cqe *result;
    unsigned head;
    io_uring_for_each_cqe(ring, head, result)
    {
        for (unsigned i = 0; i < count; i++) {
            if (errors[i] != 0 && which[i] == result->user_data)
                result->res = -errors[i];
        }
    }
}

int io_uring_submit(struct io_uring *ring)
{
    NEXT(int, io_uring_submit, (struct io_uring *));
    uint64_t which[RING_MOST];
    int errors[RING_MOST];
    unsigned tail = ring->sq.sqe_tail, count = tail - ring->sq.sqe_head;
    unsigned mask = *ring->sq.kring_mask;
    if (fault_fails_or_takes(NUMBER_io_uring_submit, CALLER, &count))
        return -errno;
    count = count < RING_MOST ? count : RING_MOST;
    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *entry = &ring->sq.sqes[(ring->sq.sqe_head + i) & mask];
        which[i] = entry->user_data;
        errors[i] = spoil(entry, CALLER);
    }
    ring->sq.sqe_tail = ring->sq.sqe_head + count;
    int rc = next(ring);
    ring->sq.sqe_tail = tail;
    put_errors(ring, which, errors, count);
    return rc;
}

/* ---- processes and threads ---- */

CALL(pid_t, -1, fork, (void), ())
CALL(int, -1, execve, (const char *path, char *const *arguments, char *const *variables),
     (path, arguments, variables))
CALL(int, -1, kill, (pid_t pid, int number), (pid, number))
CALL(int, -1, chdir, (const char *path), (path))
CALL(pid_t, -1, setsid, (void), ())
CALL(int, -1, getrlimit, (__rlimit_resource_t what, struct rlimit *limit), (what, limit))
CALL(int, -1, setrlimit, (__rlimit_resource_t what, const struct rlimit *limit), (what, limit))
CALL(int, -1, setuid, (uid_t user), (user))
CALL(int, -1, setgroups, (size_t count, const gid_t *list), (count, list))
CALL(int, -1, setresuid, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
CALL(int, -1, setresgid, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))

/* One that does not wait is not interrupted. */
pid_t waitpid(pid_t pid, int *status, int options)
{
    NEXT(pid_t, waitpid, (pid_t, int *, int));
    return !(options & WNOHANG) && fault_fails(NUMBER_waitpid, CALLER) ? -1 : next(pid, status, options);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    NEXT(int, waitid, (idtype_t, id_t, siginfo_t *, int));
    return !(options & WNOHANG) && fault_fails(NUMBER_waitid, CALLER) ? -1 : next(type, id, info, options);
}

#if defined(__x86_64__)
/* It returns twice to its caller, so nothing of ours may be on the stack when the true one is entered. */
__attribute__((used)) static void *enter_vfork(const void *caller)
{
    static void *place;
    void *found = fault_look_up(&place, "vfork");
    return fault_fails(NUMBER_vfork, caller) ? NULL : found;
}

__attribute__((naked)) pid_t vfork(void)
{
    __asm__("movq (%rsp), %rdi\n\t"
            "subq $8, %rsp\n\t"
            "call enter_vfork\n\t"
            "addq $8, %rsp\n\t"
            "testq %rax, %rax\n\t"
            "jz 1f\n\t"
            "jmp *%rax\n"
            "1:\tmovl $-1, %eax\n\t"
            "ret");
}
#endif

int prctl(int option, ...)
{
    NEXT(int, prctl, (int, ...));
    unsigned long arguments[4];
    va_list list;
    va_start(list, option);
    for (size_t i = 0; i < 4; i++)
        arguments[i] = va_arg(list, unsigned long);
    va_end(list);
    return fault_fails(NUMBER_prctl, CALLER)
               ? -1
               : next(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}

/* Those that the C library has no function for. */
long syscall(long number, ...)
{
    NEXT(long, syscall, (long, ...));
    long a[6];
    va_list list;
    va_start(list, number);
    for (size_t i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if ((number == SYS_pidfd_open && fault_fails(NUMBER_pidfd_open, CALLER)) ||
        (number == SYS_close_range && fault_fails(NUMBER_close_range, CALLER)) ||
        (number == SYS_io_uring_register && fault_fails(NUMBER_io_uring_register, CALLER)))
        return -1;
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument)
{
    NEXT(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *));
    return fault_fails(NUMBER_pthread_create, CALLER) ? errno : next(thread, attributes, start, argument);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    NEXT(int, getaddrinfo, (const char *, const char *, const struct addrinfo *, struct addrinfo **));
    return fault_fails(NUMBER_getaddrinfo, CALLER) ? errno : next(node, service, hints, result);
}

/* ---- the time of day ---- */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    NEXT(int, clock_gettime, (clockid_t, struct timespec *));
    int rc = next(clock, now);
    if (rc == 0 && fault_control != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += fault_control->shift;
    return rc;
}

time_t time(time_t *now)
{
    struct timespec found = {0};
    clock_gettime(CLOCK_REALTIME, &found);
    if (now != NULL)
        *now = found.tv_sec;
    return found.tv_sec;
}
