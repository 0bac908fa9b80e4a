/*
 * The sandbox: what a process that relays gives up for good, before it takes its first connection, so that
 * whoever gets the better of it gains little more than the connections that it has. A seccomp(2) filter takes
 * the system calls that a relay has no use for, landlock(7) all files but those that the configuration needs.
 *
 * Processes that start applications or CGI programs have none: what they start would be in it, too.
 */
#ifndef RELAY_SANDBOX_H
#define RELAY_SANDBOX_H

#include "config/reach.h"
#include "ops/log.h"

/* Made once, before the first process enters it; the same for all of them. Starts as {0}. */
struct sandbox {
    bool used; /* there is one */
    struct reach reach;
};

/* Whether there is to be one. Then a master is needed as well, for what is not allowed in it. */
bool sandbox_wanted(const struct config *config);

/* For what the configuration needs now. 0 or a negative errno; sandbox_free is due in either case. */
int sandbox_make(struct sandbox *sandbox, const struct config *config);

/*
 * This thread, and those that it starts from now on, are in it. Before there is any other. What the kernel
 * does not have is left out, which the log says at level info. 0, or -1 with the reason in the log.
 */
int sandbox_enter(const struct sandbox *sandbox, struct log *log);

/* Whether a process in it can go on with this configuration; else there are errors. */
bool sandbox_fits(const struct sandbox *sandbox, const struct config *config, struct messages *messages);

void sandbox_free(struct sandbox *sandbox);

/* ---- the two halves ---- */

/* AddressSanitizer looks for leaks at the end: as another process that traces this one, and reads its /proc.
 */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_LEAKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_LEAKS 1
#endif
#endif

/* A call that always fails with EPERM in it. */
struct sandbox_call {
    const char *name;
    int number;
};

extern const struct sandbox_call sandbox_calls[];
extern const size_t sandbox_ncalls;

/* Takes these, and others by their arguments: see sandbox_calls.c. 0 or a negative errno; missing: the system
 * has no such filters, or keeps them from us. */
int sandbox_drop_calls(bool *missing);

/* Landlock's version; 0: the kernel has none, or does not let us use it. */
int sandbox_landlock(void);

/* Takes all files that are out of reach. 0 or a negative errno. */
int sandbox_drop_files(const struct reach *reach);

#endif
