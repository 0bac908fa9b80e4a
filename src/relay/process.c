#include "relay/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
/* Descriptors looked at one by one. */
#define CLOSE_MAX 65536

/* ---- limits ---- */

/* What programs get; rlim_max 0: ours has not been changed. */
static struct rlimit first_files, first_core;

void process_set_limits(bool core_dumps)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        first_files = limit;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (!core_dumps && getrlimit(RLIMIT_CORE, &limit) == 0) {
        first_core = limit;
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
}

/* In a child that is to run a program: 0 or -1. */
static int reset_limits(void)
{
    if (first_files.rlim_max > 0 && setrlimit(RLIMIT_NOFILE, &first_files) < 0)
        return -1;
    return first_core.rlim_max > 0 ? setrlimit(RLIMIT_CORE, &first_core) : 0;
}

/* ---- starting ---- */

/* What the child tells, in memory that it shares with us until it runs the program. */
struct report {
    enum process_step step;
    int error;
};

/* Signals that are not as programs expect them: asked for once, since asking takes as long as all the rest.
 */
static sigset_t changed_signals;

static void find_changed_signals(void)
{
    sigemptyset(&changed_signals);
    for (int i = 1; i < NSIG; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            sigaddset(&changed_signals, i);
    }
    /* We ignore it ourselves, sooner or later. */
    sigaddset(&changed_signals, SIGPIPE);

    /* A launcher that ignores its children's ends has us ignore those of ours: pids would be reused unasked.
     */
    struct sigaction action;
    if (sigaction(SIGCHLD, NULL, &action) == 0 &&
        (action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT))) {
        action.sa_handler = action.sa_handler == SIG_IGN ? SIG_DFL : action.sa_handler;
        action.sa_flags &= ~SA_NOCLDWAIT;
        sigaction(SIGCHLD, &action, NULL);
    }
}

/* exec does it for handlers only, and the mask ends before that. */
static void default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++) {
        if (sigismember(&changed_signals, i) == 1)
            sigaction(i, &action, NULL);
    }
}

/* One that stands where another goes, below `end`, makes room first. */
static int make_room(int fd, int place, int end)
{
    return fd >= end || fd == place ? fd : fcntl(fd, F_DUPFD_CLOEXEC, end);
}

/* A descriptor that is its own target must lose close-on-exec. */
static int place_descriptor(int fd, int place)
{
    return fd == place ? fcntl(place, F_SETFD, 0) : dup2(fd, place);
}

/* Puts the descriptors where the program expects them. */
static int place_descriptors(const struct process_plan *plan)
{
    int from[3];
    int end = 3 + (int)plan->nmore;
    for (int i = 0; i < 3; i++) {
        from[i] = make_room(plan->fds[i], i, end);
        if (from[i] < 0)
            return -1;
    }
    for (int i = 3; i < end; i++) {
        plan->more[i - 3] = make_room(plan->more[i - 3], i, end);
        if (plan->more[i - 3] < 0)
            return -1;
    }
    for (int i = 0; i < end; i++) {
        if (place_descriptor(i < 3 ? from[i] : plan->more[i - 3], i) < 0)
            return -1;
    }
    return 0;
}

/* Ours are close-on-exec, those that a launcher left open may not be. */
static void close_the_rest(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0)
        return;
#endif
    /* A kernel before 5.9, or a sandbox that does not know the call. */
    struct rlimit limit;
    int end =
        getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < CLOSE_MAX ? (int)limit.rlim_cur : CLOSE_MAX;
    for (int fd = first; fd < end; fd++)
        close(fd);
}

/*
 * In the child, on our memory: writes nothing but the report and what the plan allows. Never inlined, so that
 * its variables have places of their own: for a compiler, nothing of process_spawn's is needed any more on
 * the way to _exit.
 */
__attribute__((noinline)) static void run(const struct process_plan *plan, pid_t parent,
                                          volatile struct report *report)
{
    report->step = PROCESS_START;
    if (!plan->joins)
        setsid();
    /* The parent may have died before this took effect. */
    if (plan->parent_death != 0 && (prctl(PR_SET_PDEATHSIG, plan->parent_death) < 0 || getppid() != parent))
        return;
    if (place_descriptors(plan) < 0)
        return;
    close_the_rest(3 + (int)plan->nmore);
    /* There are programs that close all descriptors that they could have, or that stop working above 1024. */
    if (reset_limits() < 0)
        return;
    default_signals();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    report->step = PROCESS_DIRECTORY;
    if (plan->directory && chdir(plan->directory) < 0)
        return;
    report->step = PROCESS_EXEC;
    if (plan->in_child)
        plan->in_child(plan->user);
    execve(plan->file, plan->arguments, plan->variables);
}

/*
 * Not uv_spawn, which cannot set a parent-death signal between fork and exec. And not fork: its cost grows
 * with our memory, which holds the trust lists and the connections.
 *
 * The child borrows our memory and this thread's stack until it has started the program. No signal may run a
 * handler of ours in it. What it reports is volatile, or the compiler may keep it from us: nothing that it
 * knows of reads it between the child's writing and its end.
 */
pid_t process_spawn(const struct process_plan *plan, enum process_step *failed)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_changed_signals);
    volatile struct report report = {.error = 0};
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): see above */
    if (pid == 0) {
        run(plan, parent, &report); /* NOLINT(clang-analyzer-unix.Vfork): returns only to end */
        report.error = errno;
        _exit(127);
    }
    int error = pid < 0 ? errno : report.error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && error == 0)
        return pid;
    *failed = pid < 0 ? PROCESS_START : report.step;
    if (pid > 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    return -error;
}

/* ---- finding ---- */

/* 0 or a negative errno. */
static int check_candidate(const char *directory, size_t length, const char *name, char *path, size_t size)
{
    struct stat found;
    size_t total = length + 1 + strlen(name) + 1;
    /* Where we happen to work is no place to take programs from. */
    if (length == 0 || directory[0] != '/' || total > size)
        return -ENOENT;
    memcpy(path, directory, length);
    path[length] = '/';
    memcpy(path + length + 1, name, total - length - 1);
    if (stat(path, &found) < 0 || access(path, X_OK) < 0)
        return -errno;
    return S_ISREG(found.st_mode) ? 0 : -EACCES;
}

int process_find(const char *name, char *path, size_t size)
{
    size_t length = strlen(name);
    if (strchr(name, '/')) {
        if (length + 1 > size)
            return -ENAMETOOLONG;
        memcpy(path, name, length + 1);
        return 0;
    }
    if (length == 0)
        return -ENOENT;
    const char *rest = getenv("PATH");
    int found = -ENOENT;
    for (rest = rest ? rest : DEFAULT_PATH;; rest++) {
        size_t part = strcspn(rest, ":");
        int rc = check_candidate(rest, part, name, path, size);
        if (rc == 0)
            return 0;
        if (rc == -EACCES)
            found = rc;
        rest += part;
        if (*rest == '\0')
            return found;
    }
}

/* ---- the end ---- */

static struct process *of_watch(struct watch *watch)
{
    return (struct process *)((char *)watch - offsetof(struct process, watch));
}

/* As waitpid(2) would have it. */
static int status_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

static void on_ready(struct watch *watch)
{
    struct process *process = of_watch(watch);
    siginfo_t info = {.si_pid = 0};
    watch->readable = false;
    if (process->over || waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0)
        return;
    process->over = true;
    process->ended(process, status_of(&info));
}

static int open_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int process_watch(struct poller *poller, struct process *process, pid_t pid)
{
    process->poller = poller;
    process->pid = pid;
    process->over = false;
    process->watch.ready = on_ready;
    process->watch.fd = open_pidfd(pid);
    int rc = process->watch.fd < 0 ? process->watch.fd : poller_add(poller, &process->watch);
    if (rc < 0)
        process_reap(process);
    return rc;
}

void process_signal(const struct process *process, int number)
{
    if (process->pid > 0)
        kill(-process->pid, number);
}

void process_reap(struct process *process)
{
    if (process->pid <= 0)
        return;
    poller_close_fd(process->poller, &process->watch);
    int options = 0;
    if (!process->over) {
        process_signal(process, SIGKILL);
        /* One that has become another user's would be waited for as long as it likes. */
        options = kill(process->pid, SIGKILL) < 0 && errno == EPERM ? WNOHANG : 0;
    }
    while (waitpid(process->pid, NULL, options) < 0 && errno == EINTR)
        continue;
    process->pid = 0;
}

char *process_describe(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exited with status %d", WEXITSTATUS(status));
    return out;
}
