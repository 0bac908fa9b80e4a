/*
 * Programs that the shim starts: how they begin, how their end is noticed, how they are made to end.
 *
 * process_spawn blocks until the program runs or could not be run, and is thread-safe; the rest belongs to
 * the loop. Signals that are ignored, and handled, are to be so before the first program is started.
 */
#ifndef RELAY_PROCESS_H
#define RELAY_PROCESS_H

#include <sys/types.h>

#include "relay/poller.h"

struct process_plan {
    const char *file;       /* a path with a slash in it; a relative one is seen from directory */
    char *const *arguments; /* argv */
    char *const *variables; /* the whole environment */
    const char *directory;  /* to work in, NULL: ours */
    int fds[3];             /* its descriptors 0, 1 and 2. May be any of ours, and the same ones */
    int *more;              /* its next ones, overwritten; it gets no others */
    size_t nmore;
    int parent_death; /* the signal that it gets if the thread that starts it dies, 0: none */
    bool joins;       /* it stays in our session and process group */
    /* Called in the new process, which shares our memory: it may only write, and only to what is for it. */
    void (*in_child)(void *user);
    void *user;
};

/*
 * Raises the limit of open files as far as it goes, and lowers that of core dumps to nothing unless
 * core_dumps, for us alone: programs get those that we were started with. Once, before the first of them.
 */
void process_set_limits(bool core_dumps);

/* What of starting a program failed. */
enum process_step { PROCESS_START, PROCESS_DIRECTORY, PROCESS_EXEC };

/*
 * Starts a program as the leader of a process group (and session) of its own, unless it joins ours, with
 * default signals and an empty mask. Its pid, or a negative errno and *failed. Close-on-exec descriptors of
 * ours stay ours.
 */
pid_t process_spawn(const struct process_plan *plan, enum process_step *failed);

/*
 * Where PATH (or "/usr/local/bin:/usr/bin:/bin") has the program; a name with a slash as it is, unlooked at.
 * Parts of PATH that are not absolute are passed over. 0, or a negative errno: -ENOENT, or -EACCES if there
 * is but one that may not be executed, or -ENAMETOOLONG. Reads the environment.
 */
int process_find(const char *name, char *path, size_t size);

/*
 * A process that was started, until it is reaped: as long as its pid cannot be anybody else's, and its group
 * can be signalled safely. Starts as {.watch.fd = -1}.
 */
struct process {
    struct watch watch; /* of the pidfd */
    struct poller *poller;
    pid_t pid; /* 0: none, or reaped */
    bool over; /* it has ended, what it started may live on */
    /* It has ended; status as waitpid(2) has it. */
    void (*ended)(struct process *process, int status);
};

/* Watches a process just spawned; ended is called once, from the loop. 0 or a negative errno: then it is
 * killed and reaped. */
int process_watch(struct poller *poller, struct process *process, pid_t pid);

/* Sends a signal to its whole group: the program and what it has started. Fine if it is reaped. */
void process_signal(const struct process *process, int number);

/* Lets go of it; one that has not ended is killed, with its group, and waited for, unless it cannot be killed
 * since it has become another user's. Fine to call twice. Its memory must last until the round of events is
 * over: poller_bury(&process->watch) sees to that. */
void process_reap(struct process *process);

/* "exited with status 3", "was ended by signal 11 (Segmentation fault)". Returns out. */
char *process_describe(int status, char *out, size_t size);

#endif
