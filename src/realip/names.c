#include "realip/names.h"

#include <errno.h>
#include <stdlib.h>

/* Three bytes and the length of a name select a slot, and the table is so sparse that the slot is mostly
 * empty. */
#define SLOTS_FIRST 512
#define SPARSE      8 /* at least so many slots for each name */
#define EMPTY       UINT16_MAX

struct known_name {
    char *text;
    uint32_t len;
    enum name_kind kind;
    uint16_t index;
};

char names_fold(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return c;
    return '_';
}

static uint16_t *new_slots(size_t n)
{
    uint16_t *slots = malloc(n * sizeof *slots);

    for (size_t i = 0; slots != NULL && i < n; i++)
        slots[i] = EMPTY;
    return slots;
}

struct name_table *names_new(void)
{
    struct name_table *table = calloc(1, sizeof *table);

    if (table == NULL)
        return NULL;
    for (unsigned c = 0; c < 256; c++)
        table->fold[c] = names_fold((char)c);
    table->nslots = SLOTS_FIRST;
    table->slots = new_slots(table->nslots);
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
    for (size_t i = 0; i < table->count; i++)
        free(table->names[i].text);
    free(table->names);
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

static struct slice text_of(const struct known_name *name)
{
    return (struct slice){name->text, name->len};
}

/* The slot that holds the name, or the empty one where it belongs. */
static uint16_t *find_slot(const struct name_table *table, struct slice name)
{
    size_t i = slot_of(table, name);

    while (table->slots[i] != EMPTY && !slice_equal(name, text_of(&table->names[table->slots[i]])))
        i = (i + 1) & (table->nslots - 1);
    return &table->slots[i];
}

/* Room for one name more. 0, or -ENOMEM. */
static int grow(struct name_table *table)
{
    if (table->count == table->cap) {
        size_t cap = table->cap == 0 ? 32 : table->cap * 2;
        struct known_name *names = realloc(table->names, cap * sizeof *names);

        if (names == NULL)
            return -ENOMEM;
        table->names = names;
        table->cap = cap;
    }
    if ((table->count + 1) * SPARSE <= table->nslots)
        return 0;
    uint16_t *slots = new_slots(table->nslots * 2);
    if (slots == NULL)
        return -ENOMEM;
    free(table->slots);
    table->slots = slots;
    table->nslots *= 2;
    for (size_t i = 0; i < table->count; i++)
        *find_slot(table, text_of(&table->names[i])) = (uint16_t)i;
    return 0;
}

static uint32_t bits_of(char folded)
{
    return folded == '_' ? UINT32_MAX : UINT32_C(1) << names_bit(folded);
}

int names_add(struct name_table *table, const char *name, enum name_kind kind, size_t index)
{
    struct slice text = slice_of(name);

    if (text.len == 0 || *find_slot(table, text) != EMPTY)
        return 0;
    if (grow(table) < 0)
        return -ENOMEM;
    char *copy = malloc(text.len);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, text.data, text.len);
    *find_slot(table, text) = (uint16_t)table->count;
    if (text.len >= 3)
        table->thirds |= bits_of(text.data[2]);
    table->endings[text.len % 64] |= bits_of(text.data[text.len - 1]);
    table->names[table->count++] = (struct known_name){copy, (uint32_t)text.len, kind, (uint16_t)index};
    /* cppcheck-suppress memleak -- it is in the table */
    return 0;
}

/* How far a name is a folded one: -1 not at all, 0 when folded, 1 as it stands. */
static int compare(const struct name_table *table, const char *name, const char *folded, size_t len)
{
    if (memcmp(name, folded, len) == 0)
        return 1;
    for (size_t i = 0; i < len; i++) {
        if (fold(table, name, i) != folded[i])
            return -1;
    }
    return 0;
}

static struct name_match find_ours(const struct name_table *table, struct slice name)
{
    static const char prefix[] = "REALIP_";
    bool alias = false;

    if (name.len < sizeof prefix - 1 || compare(table, name.data, prefix, sizeof prefix - 1) < 0)
        return (struct name_match){.kind = NAME_OTHER};
    for (size_t i = 0; i < name.len; i++)
        alias = alias || fold(table, name.data, i) != name.data[i];
    return (struct name_match){.kind = NAME_REALIP, .alias = alias};
}

struct name_match names_find(const struct name_table *table, struct slice name)
{
    for (size_t i = slot_of(table, name); table->slots[i] != EMPTY; i = (i + 1) & (table->nslots - 1)) {
        const struct known_name *known = &table->names[table->slots[i]];
        int same = known->len == name.len ? compare(table, name.data, known->text, name.len) : -1;

        if (same >= 0)
            return (struct name_match){known->kind, known->index, same == 0};
    }
    return find_ours(table, name);
}
