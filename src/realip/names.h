/*
 * Parameter names that mean something: folded name -> kind. Part of policy.h; filled by policy_compile,
 * from then on only read.
 */
#ifndef REALIP_NAMES_H
#define REALIP_NAMES_H

#include "realip/policy.h"

struct known_name; /* private to names.c */

struct name_table {
    char fold[256];
    uint32_t endings[64]; /* by length: how the names in the table end, see names_may_know */
    struct known_name *names;
    uint16_t *slots;
    size_t nslots; /* a power of two */
    size_t count, cap;
};

/* Upper case, every byte outside A-Z 0-9 becomes '_'. */
char names_fold(char c);

/* NULL when memory is short. */
struct name_table *names_new(void);
void names_free(struct name_table *table);

/* Adds a folded name, which is copied; one that is there already keeps its meaning. 0, or -ENOMEM. */
int names_add(struct name_table *table, const char *name, enum name_kind kind, size_t index);

/*
 * False: the name is nothing to us. Nearly all are told so by their length and last byte alone, and by not
 * being a REALIP_ name by their third. A letter has one bit in both cases, of which several bytes share each;
 * where a known name ends in "_", which many bytes fold to, all bits are set.
 */
static inline bool names_may_know(const struct name_table *table, struct slice name)
{
    if (name.len < 3)
        return name.len > 0;
    return (name.data[2] | 0x20) == 'a' ||
           (table->endings[name.len % 64] >> (name.data[name.len - 1] & 31) & 1) != 0;
}

/* What a name is that names_may_know. */
struct name_match names_find(const struct name_table *table, struct slice name);

#endif
