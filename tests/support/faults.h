/*
 * What the test and the preload library share: a file that both map. tests/support/faults.py has it in
 * Python.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdint.h>

/* One a call and caller. All in one processor's byte order; only 'calls', 'hits' and 'where' are the
 * library's. */
struct fault {
    uint64_t calls; /* so far */
    uint64_t first; /* the call, from 1 on, that fails first */
    uint64_t times; /* how many fail; 0: none */
    uint64_t most;  /* bytes that such a call moves at most; 0: it fails with 'error' */
    int64_t error;  /* errno, or what the function returns instead */
    uint64_t hits;  /* how many have failed or were cut short */
    uint64_t where; /* the last one's caller, as an address in its file */
};

/* Who calls. */
enum { CALLER_PROGRAM, CALLER_LIBUV, CALLERS };

struct control {
    int64_t shift;          /* of the time of day, in seconds */
    struct fault faults[1]; /* in the order of fault_names, CALLERS for each */
};

#endif
