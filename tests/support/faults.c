/*
 * The part of the preload library that reads what a test wants, counts and decides; the functions that stand
 * before the C library's are in faults_calls.c.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EDGES 65536

const char *const fault_names[] = {NAMES(TEXT) NULL};

struct fault_control *fault_control;
static struct range {
    uintptr_t base, start, end;
} program, libuv, exempt, libseccomp;

/* ---- set-up ---- */

static void note_range(struct range *range, const struct dl_phdr_info *info)
{
    range->base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            range->start = info->dlpi_addr + part->p_vaddr;
            range->end = range->start + part->p_memsz;
        }
    }
}

static bool holds(const struct range *range, uintptr_t address)
{
    return address >= range->start && address < range->end;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (program.base == 0)
        program.base = info->dlpi_addr; /* it comes first */
    if (strstr(info->dlpi_name, "/libuv.so") != NULL)
        note_range(&libuv, info);
    /* Version 2.5 takes memory for granted and crashes without: before the process serves anybody. */
    if (strstr(info->dlpi_name, "/libseccomp.so") != NULL)
        note_range(&libseccomp, info);
    /* The sanitizers' own work in the C library has to succeed. */
    if (strstr(info->dlpi_name, "/libc.so") != NULL && dlsym(RTLD_DEFAULT, "__asan_init") != NULL)
        note_range(&exempt, info);
    return 0;
}

__attribute__((constructor)) static void set_up(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    size_t size = sizeof(*fault_control) + sizeof(struct fault) * NUMBERS * CALLERS;
    if (path == NULL)
        return;
    dl_iterate_phdr(note_object, NULL);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        abort();
    syscall(SYS_close, fd);
    fault_control = map;
}

/* ---- edges ---- */

/* What an epoll set was last told of a descriptor. */
static struct edge {
    int set; /* + 1; 0: nothing */
    struct epoll_event event;
} edges[EDGES];

void fault_note_edge(int set, int operation, int fd, const struct epoll_event *event)
{
    if (fault_control == NULL || fd < 0 || fd >= EDGES)
        return;
    edges[fd].set = operation == EPOLL_CTL_DEL ? 0 : set + 1;
    if (operation != EPOLL_CTL_DEL)
        edges[fd].event = *event;
}

void fault_arm_again(int fd)
{
    struct stat status;
    if (fd < 0 || fd >= EDGES || edges[fd].set == 0 || !(edges[fd].event.events & EPOLLET) ||
        syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) != 0)
        return;
    syscall(SYS_epoll_ctl, edges[fd].set - 1, EPOLL_CTL_MOD, fd, &edges[fd].event);
}

/* ---- shall it fail? ---- */

static bool behind;

bool fault_stops_behind(void)
{
    bool stops = behind;
    behind = false;
    return stops;
}

/* Counts the call. The fault, if it is one. */
static const struct fault *find(int number, const void *caller)
{
    uintptr_t address = (uintptr_t)caller;
    if (fault_control == NULL || holds(&exempt, address) || holds(&libseccomp, address))
        return NULL;
    bool uv = holds(&libuv, address);
    struct fault *fault = &fault_control->faults[number * CALLERS + (uv ? CALLER_LIBUV : CALLER_PROGRAM)];
    uint64_t n = __atomic_add_fetch(&fault->calls, 1, __ATOMIC_SEQ_CST);
    uint64_t times = __atomic_load_n(&fault->times, __ATOMIC_SEQ_CST);
    if (times == 0 || n < fault->first || n - fault->first >= times)
        return NULL;
    fault->where = address - (uv ? libuv.base : program.base);
    __atomic_add_fetch(&fault->hits, 1, __ATOMIC_SEQ_CST);
    if (fault->error == FAULT_STOPS)
        raise(SIGSTOP);
    behind = fault->error == FAULT_STOPS_BEHIND;
    return fault->error == FAULT_STOPS || behind ? NULL : fault;
}

bool fault_fails(int number, const void *caller)
{
    const struct fault *fault = find(number, caller);
    if (fault == NULL || fault->most > 0)
        return false;
    errno = (int)fault->error;
    return true;
}

/* Pipes take up to PIPE_BUF bytes as a whole, descriptors of other kinds all that they move. */
static bool can_be_short(int fd, size_t size)
{
    struct stat status;
    if (syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) != 0)
        return false;
    return S_ISSOCK(status.st_mode) || S_ISREG(status.st_mode) ||
           (S_ISFIFO(status.st_mode) && size > PIPE_BUF);
}

bool fault_fails_or_cuts(int number, const void *caller, int fd, size_t *size)
{
    const struct fault *fault = find(number, caller);
    if (fault == NULL)
        return false;
    if (fault->most > 0) {
        if (*size > fault->most && can_be_short(fd, *size)) {
            *size = fault->most;
            fault_arm_again(fd);
        }
        return false;
    }
    if (fault->error == EAGAIN)
        fault_arm_again(fd);
    errno = (int)fault->error;
    return true;
}

bool fault_fails_or_takes(int number, const void *caller, unsigned *count)
{
    const struct fault *fault = find(number, caller);
    if (fault == NULL)
        return false;
    if (fault->most == 0) {
        errno = (int)fault->error;
        return true;
    }
    if (*count > fault->most)
        *count = (unsigned)fault->most;
    return false;
}

void *fault_look_up(void **place, const char *name)
{
    void *found = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, name);
        if (found == NULL)
            abort();
        __atomic_store_n(place, found, __ATOMIC_RELEASE);
    }
    return found;
}
