#include "realip/names.h"

#include <errno.h>
#include <stdlib.h>

/*
 * A name that is nothing to us must cost next to nothing, and nearly all are: three of its bytes and its
 * length select a slot, and the table is so sparse that the slot is mostly empty.
 */
#define SLOTS_FIRST 512
#define SPARSE      8 /* at least so many slots for each name */

struct name {
    char *text;
    uint32_t len;
    enum name_kind kind;
    uint16_t index;
};

struct name_table {
    char fold[256];
    struct name *slots;
    size_t nslots; /* a power of two */
    size_t count;
};

char names_fold(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return c;
    return '_';
}

struct name_table *names_new(void)
{
    struct name_table *table = calloc(1, sizeof *table);

    if (table == NULL)
        return NULL;
    for (unsigned c = 0; c < 256; c++)
        table->fold[c] = names_fold((char)c);
    table->nslots = SLOTS_FIRST;
    table->slots = calloc(table->nslots, sizeof *table->slots);
    if (table->slots == NULL) {
        free(table);
        return NULL;
    }
    return table;
}

void names_free(struct name_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->nslots; i++)
        free(table->slots[i].text);
    free(table->slots);
    free(table);
}

static inline char fold(const struct name_table *table, const char *text, size_t at)
{
    return table->fold[(unsigned char)text[at]];
}

/* The name has one byte at least. */
static inline size_t slot_of(const struct name_table *table, struct slice name)
{
    size_t hash = (size_t)(unsigned char)fold(table, name.data, name.len - 1) +
                  (size_t)(unsigned char)fold(table, name.data, name.len / 2) * 37 +
                  (size_t)(unsigned char)fold(table, name.data, name.len * 3 / 4) * 101 + name.len * 29;

    return hash & (table->nslots - 1);
}

/* The slot that holds the name, or the empty one where it belongs. */
static struct name *find_slot(const struct name_table *table, struct slice name)
{
    size_t i = slot_of(table, name);

    while (table->slots[i].text != NULL &&
           !slice_equal(name, (struct slice){table->slots[i].text, table->slots[i].len}))
        i = (i + 1) & (table->nslots - 1);
    return &table->slots[i];
}

static int grow(struct name_table *table)
{
    struct name *old = table->slots;
    size_t n = table->nslots;
    struct name *slots = calloc(n * 2, sizeof *slots);

    if (slots == NULL)
        return -ENOMEM;
    table->slots = slots;
    table->nslots = n * 2;
    for (size_t i = 0; i < n; i++) {
        if (old[i].text != NULL)
            *find_slot(table, (struct slice){old[i].text, old[i].len}) = old[i];
    }
    free(old);
    return 0;
}

int names_add(struct name_table *table, const char *name, enum name_kind kind, size_t index)
{
    size_t len = strlen(name);

    if (len == 0)
        return 0;
    if ((table->count + 1) * SPARSE > table->nslots && grow(table) < 0)
        return -ENOMEM;
    struct name *slot = find_slot(table, (struct slice){name, len});
    if (slot->text != NULL)
        return 0;
    char *text = malloc(len + 1);
    if (text == NULL)
        return -ENOMEM;
    memcpy(text, name, len + 1);
    *slot = (struct name){text, (uint32_t)len, kind, (uint16_t)index};
    table->count++;
    return 0;
}

/* How far a name is a folded one: -1 not at all, 0 when folded, 1 as it stands. */
static int compare(const struct name_table *table, const char *name, const char *folded, size_t len)
{
    int raw = 1;

    for (size_t i = 0; i < len; i++) {
        if (name[i] == folded[i])
            continue;
        if (fold(table, name, i) != folded[i])
            return -1;
        raw = 0;
    }
    return raw;
}

static struct name_match find_ours(const struct name_table *table, struct slice name)
{
    static const char prefix[] = "REALIP_";
    bool alias;

    if (name.len < sizeof prefix - 1 || fold(table, name.data, 2) != 'A' ||
        compare(table, name.data, prefix, sizeof prefix - 1) < 0)
        return (struct name_match){.kind = NAME_OTHER};
    alias = false;
    for (size_t i = 0; i < name.len; i++)
        alias = alias || fold(table, name.data, i) != name.data[i];
    return (struct name_match){.kind = NAME_REALIP, .alias = alias};
}

struct name_match names_find(const struct name_table *table, struct slice name)
{
    if (name.len == 0)
        return (struct name_match){.kind = NAME_OTHER};
    for (size_t i = slot_of(table, name); table->slots[i].text != NULL; i = (i + 1) & (table->nslots - 1)) {
        const struct name *slot = &table->slots[i];
        int same = slot->len == name.len ? compare(table, name.data, slot->text, name.len) : -1;

        if (same >= 0)
            return (struct name_match){slot->kind, slot->index, same == 0};
    }
    return find_ours(table, name);
}
