/*
 * A library that is preloaded into the shim and has its system calls fail, or move fewer bytes, when a test
 * says so: the file that FAULTS_CONTROL names says what and when, and counts. tests/support/faults.py has the
 * same in Python.
 *
 * Only calls through the dynamic linker are seen: those of the program and of its libraries, not the C
 * library's own. What goes through a ring counts as calls of send. It stands before AddressSanitizer's
 * library in the order of libraries, so that its checks are made on what comes through; the C library's calls
 * are left alone then.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* One a call and caller. 'calls', 'hits' and 'where' are the library's, the others the test's. */
struct fault {
    uint64_t calls; /* so far */
    uint64_t first; /* the call, from 1 on, that fails first */
    uint64_t times; /* how many fail; 0: none */
    uint64_t most;  /* bytes, entries of a ring, that such a call moves at most; 0: it fails with 'error' */
    int64_t error;  /* errno, or what the function returns instead; or FAULT_STOPS... */
    uint64_t hits;  /* how many have failed or were cut short */
    uint64_t where; /* the last one's caller, as an address in its file */
};

/* The process stands still (SIGSTOP) and then makes the call as if nothing had been. */
#define FAULT_STOPS (-1)
/* epoll_wait alone: the process makes the call and then stands still. */
#define FAULT_STOPS_BEHIND (-2)

/* Who calls. */
enum { CALLER_PROGRAM, CALLER_LIBUV, CALLERS };

struct fault_control {
    int64_t shift;          /* of the time of day, in seconds */
    struct fault faults[1]; /* in the order of fault_names, CALLERS for each */
};

/* clang-format off */
#define NAMES(X) \
    X(malloc) X(calloc) X(realloc) X(reallocarray) X(strdup) X(strndup) X(vasprintf) X(open_memstream) \
    X(open) X(open64) X(openat) X(fdopen) X(fstat) X(stat) X(lstat) X(readlink) X(realpath) X(access) \
    X(chmod) X(fchmod) X(lchown) X(rename) X(unlink) X(unlinkat) X(rmdir) X(mkdtemp) X(mkostemp) X(flock) \
    X(fcntl) X(fcntl64) X(ioctl) X(dup2) X(pipe2) X(socket) X(socketpair) X(bind) X(listen) X(accept4) X(connect) \
    X(shutdown) X(getsockname) X(getsockopt) X(setsockopt) X(recv) X(recvmsg) X(send) X(sendto) X(sendmsg) \
    X(read) X(readv) X(write) X(writev) X(pread) X(pwrite) X(splice) X(poll) X(epoll_create1) X(epoll_ctl) \
    X(epoll_wait) X(epoll_pwait) X(eventfd) X(eventfd_read) X(eventfd_write) X(signalfd) X(inotify_init1) \
    X(inotify_add_watch) X(fork) X(vfork) X(execve) X(waitpid) X(waitid) X(kill) X(chdir) X(setsid) X(prctl) \
    X(getrlimit) X(setrlimit) X(setuid) X(setgroups) X(setresuid) X(setresgid) X(pidfd_open) X(close_range) \
    X(pthread_create) X(getaddrinfo) X(io_uring_queue_init) X(io_uring_register) X(io_uring_submit)
/* clang-format on */

#define NUMBER(name) NUMBER_##name,
#define TEXT(name)   #name,

enum { NAMES(NUMBER) NUMBERS };

extern const char *const fault_names[]; /* ends with NULL */

extern struct fault_control *fault_control; /* NULL: nothing fails */

/* Counts the call; true: it fails, and errno says how. */
bool fault_fails(int number, const void *caller);

/* The same for one that moves bytes; or makes them fewer. */
bool fault_fails_or_cuts(int number, const void *caller, int fd, size_t *size);

/* The same for one that takes so many of something. */
bool fault_fails_or_takes(int number, const void *caller, unsigned *count);

/* Of the call that has just been made: shall the process stand still behind it? Says so once. */
bool fault_stops_behind(void);

/* What an epoll set was told of a descriptor. */
void fault_note_edge(int set, int operation, int fd, const struct epoll_event *event);

/*
 * A short read or EAGAIN says that there is no more, and that epoll will tell of what comes next. So it is
 * told to tell, as if the rest had come right behind.
 */
void fault_arm_again(int fd);

/* The function behind this library's; 'place' remembers it. */
void *fault_look_up(void **place, const char *name);

#endif
