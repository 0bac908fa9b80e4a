/*
 * Parameter names that mean something: folded name -> kind. Part of policy.h; filled by policy_compile,
 * from then on only read.
 */
#ifndef REALIP_NAMES_H
#define REALIP_NAMES_H

#include "realip/policy.h"

/* Upper case, every byte outside A-Z 0-9 becomes '_'. */
char names_fold(char c);

/* NULL when memory is short. */
struct name_table *names_new(void);
void names_free(struct name_table *table);

/* Adds a folded name, which is copied; one that is there already keeps its meaning. 0, or -ENOMEM. */
int names_add(struct name_table *table, const char *name, enum name_kind kind, size_t index);

struct name_match names_find(const struct name_table *table, struct slice name);

#endif
