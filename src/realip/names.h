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
    uint32_t thirds;      /* what the third byte of a known name may be, see names_may_know */
    uint32_t endings[64]; /* by length: what the last byte may be */
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

/* The bit of a byte: the same in both cases of a letter; several bytes share each. */
static inline unsigned names_bit(char c)
{
    return (unsigned char)c & 31;
}

/*
 * False: the name is nothing to us. Nearly all are told so by their third byte, which is also what a REALIP_
 * name is known by, the others by their length and last byte. Where a known name has a "_", which many bytes
 * fold to, all bits are set.
 */
static inline bool names_may_know(const struct name_table *table, struct slice name)
{
    if (name.len < 3)
        return name.len > 0;
    unsigned third = names_bit(name.data[2]);
    if (third == names_bit('A'))
        return true;
    return (table->thirds >> third & 1) != 0 &&
           (table->endings[name.len % 64] >> names_bit(name.data[name.len - 1]) & 1) != 0;
}

/* What a name is that names_may_know. */
struct name_match names_find(const struct name_table *table, struct slice name);

#endif
