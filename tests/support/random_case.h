/*
 * Random policies and requests, drawn from small pools so that everything meets everything.
 *
 * Case number c of a run with seed s is always the same. Eight cases in a row share a policy and its
 * workspace.
 */
#ifndef SUPPORT_RANDOM_CASE_H
#define SUPPORT_RANDOM_CASE_H

#include <stdio.h>

#include "oracle.h"
#include "realip/workspace.h"

struct random_source {
    uint64_t state;
    const struct oracle_policy
        *near; /* addresses are also drawn from its trusted blocks; NULL: they are not */
};
struct random_source random_source_new(uint64_t seed, uint64_t number);
uint64_t random_next(struct random_source *source);
/* 0 to n - 1. */
unsigned random_below(struct random_source *source, unsigned n);
/* True once in n. */
bool random_once_in(struct random_source *source, unsigned n);
/* One element of an array. */
#define RANDOM_PICK(source, array)                                                                           \
    ((array)[random_below(source, (unsigned)(sizeof(array) / sizeof(*(array))))])

/* How a run is set up: SEED, CASES and FIRST in the environment, else a fresh seed and `cases`. */
struct random_run {
    uint64_t seed, first, cases;
};
struct random_run random_run_new(const char *what, uint64_t cases);

#define RANDOM_CASES_A_POLICY 8
#define RANDOM_MAX_BLOCKS     24

struct random_policy {
    struct policy *policy;
    struct workspace *workspace;
    struct oracle_policy oracle;
    struct oracle_block trust[RANDOM_MAX_BLOCKS], access[RANDOM_MAX_BLOCKS];
    bool one_header;    /* all groups read the same one */
    bool all_recursive; /* no group has another select */
    bool has_secret;    /* some group has a require_param */
};

void random_policy_make(struct random_policy *made, struct random_source *source);
void random_policy_free(struct random_policy *made);

struct random_request {
    struct param *params;
    size_t n;
};

/* Lives until oracle_reset. */
struct random_request random_request_make(const struct random_policy *policy, struct random_source *source);

/* The text of one element, good or bad. */
struct slice random_element(struct random_source *source, bool forwarded);

void random_print_policy(const struct random_policy *policy, FILE *out);
void random_print_params(const char *title, const struct param *params, size_t n, FILE *out);
void random_print_slice(struct slice text, FILE *out);

#endif
