#include "realip/cidr.h"

#include <errno.h>
#include <stdlib.h>

/* --- one block --- */

static uint64_t high_bits(unsigned n)
{
    return n == 0 ? 0 : ~UINT64_C(0) << (64 - n);
}

/* The mask of a prefix, for the two halves of an address. */
static void mask_of(enum address_kind kind, unsigned bits, uint64_t *hi, uint64_t *lo)
{
    if (kind == ADDRESS_V4) {
        *hi = 0;
        *lo = high_bits(bits) >> 32;
    } else {
        *hi = high_bits(bits < 64 ? bits : 64);
        *lo = high_bits(bits < 64 ? 0 : bits - 64);
    }
}

static bool parse_length(struct slice text, unsigned most, unsigned *bits)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 3 || (text.data[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *bits = value;
    return value <= most;
}

static bool parse_netmask(struct slice text, unsigned *bits)
{
    struct address mask;

    if (!address_parse_unmapped(text, &mask) || mask.kind != ADDRESS_V4)
        return false;
    uint32_t zeros = ~(uint32_t)mask.lo;
    if ((zeros & (zeros + 1)) != 0)
        return false;
    for (*bits = 32; zeros != 0; zeros >>= 1)
        --*bits;
    return true;
}

bool cidr_parse(struct slice text, struct cidr *out, bool *host_bits)
{
    struct address first;
    uint64_t hi, lo;
    const char *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - text.data) : text.len;

    if (!address_parse_unmapped(slice_part(text, 0, len), &first))
        return false;
    unsigned most = first.kind == ADDRESS_V4 ? 32 : 128;
    unsigned bits = most;
    if (slash != NULL) {
        struct slice rest = slice_part(text, len + 1, text.len);

        if (!parse_length(rest, most, &bits) && !(most == 32 && parse_netmask(rest, &bits)))
            return false;
    }
    if (first.kind == ADDRESS_V6 && bits >= 96 && first.hi == 0 && first.lo >> 32 == 0xffff) {
        first = (struct address){.kind = ADDRESS_V4, .lo = first.lo & 0xffffffff};
        bits -= 96;
    }
    mask_of(first.kind, bits, &hi, &lo);
    *host_bits = (first.hi & ~hi) != 0 || (first.lo & ~lo) != 0;
    first.hi &= hi;
    first.lo &= lo;
    out->first = first;
    out->bits = (uint8_t)bits;
    return true;
}

/* --- sets --- */

/* A block as it was added. */
struct entry {
    uint64_t hi, lo; /* its first address */
    int payload;
    uint32_t order; /* of adding */
    uint8_t bits;
};

struct entries {
    struct entry *list;
    size_t count, cap;
};

/*
 * A range reaches from its start to the next one's; payload -1 where no block is. The last one has no end,
 * and none of them lies below the first.
 */
struct range4 {
    uint32_t start;
    int payload;
};

struct range6 {
    uint64_t hi, lo;
    int payload;
};

/*
 * Cuts the span of the starts into equal buckets, about as many as there are ranges, and knows the first
 * range of each: what is left to search is a few ranges, however many there are.
 */
struct bucket_index {
    uint64_t base;    /* the first start */
    unsigned shift;   /* bucket of a key: (key - base) >> shift */
    size_t nbuckets;  /* 0: no ranges */
    uint32_t *firsts; /* nbuckets + 1: position of the first range of each bucket, then the count */
};

struct cidr_set {
    struct entries v4, v6; /* empty after compiling */
    struct range4 *ranges4;
    struct range6 *ranges6;
    struct bucket_index index4, index6;
    int unix_payload;
    size_t count;
};

struct cidr_set *cidr_set_new(void)
{
    struct cidr_set *set = calloc(1, sizeof *set);

    if (set != NULL)
        set->unix_payload = -1;
    return set;
}

void cidr_set_free(struct cidr_set *set)
{
    if (set == NULL)
        return;
    free(set->v4.list);
    free(set->v6.list);
    free(set->ranges4);
    free(set->ranges6);
    free(set->index4.firsts);
    free(set->index6.firsts);
    free(set);
}

size_t cidr_set_count(const struct cidr_set *set)
{
    return set->count;
}

int cidr_set_add(struct cidr_set *set, const struct cidr *block, int payload)
{
    struct entries *entries = block->first.kind == ADDRESS_V4 ? &set->v4 : &set->v6;

    if (block->first.kind == ADDRESS_UNIX) {
        if (set->unix_payload < 0)
            set->unix_payload = payload;
        set->count++;
        return 0;
    }
    if (entries->count == entries->cap) {
        size_t cap = entries->cap == 0 ? 16 : entries->cap * 2;
        struct entry *list = realloc(entries->list, cap * sizeof *list);

        if (list == NULL)
            return -ENOMEM;
        entries->list = list;
        entries->cap = cap;
    }
    entries->list[entries->count] = (struct entry){
        block->first.hi, block->first.lo, payload, (uint32_t)entries->count, block->bits,
    };
    entries->count++;
    set->count++;
    return 0;
}

/* By start, the larger block first, of equal ones the first that was added. */
static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;

    if (a->hi != b->hi)
        return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    if (a->bits != b->bits)
        return a->bits < b->bits ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Blocks nest or are disjoint; `open` holds those that reach over the place where the sweep stands. */
struct sweep {
    enum address_kind kind;
    struct {
        uint64_t hi, lo; /* the last address of the block */
        int payload;
    } open[129];
    unsigned nopen;
    struct range6 *ranges;
    size_t count;
};

static void start_range(struct sweep *sweep, uint64_t hi, uint64_t lo, int payload)
{
    struct range6 *ranges = sweep->ranges;
    size_t n = sweep->count;

    /* What begins where another range begins ends that one before it held anything. */
    if (n > 0 && ranges[n - 1].hi == hi && ranges[n - 1].lo == lo)
        n--;
    if (n == 0 || ranges[n - 1].payload != payload)
        ranges[n++] = (struct range6){hi, lo, payload};
    sweep->count = n;
}

/* Ends the open blocks that lie wholly before an address; all of them if there is none. */
static void close_blocks(struct sweep *sweep, const struct entry *next)
{
    while (sweep->nopen > 0) {
        unsigned top = sweep->nopen - 1;
        uint64_t hi = sweep->open[top].hi, lo = sweep->open[top].lo;

        if (next != NULL && (hi > next->hi || (hi == next->hi && lo >= next->lo)))
            break;
        sweep->nopen = top;
        if (sweep->kind == ADDRESS_V4 ? lo == UINT32_MAX : (hi & lo) == UINT64_MAX)
            continue; /* nothing comes behind the last address of all */
        hi += ++lo == 0;
        start_range(sweep, hi, lo, top > 0 ? sweep->open[top - 1].payload : -1);
    }
}

/* Sorts the blocks and lays them out as ranges; room for two ranges a block is enough. */
static size_t lay_out(struct entries *entries, enum address_kind kind, struct range6 *ranges)
{
    struct sweep sweep = {.kind = kind, .nopen = 0, .ranges = ranges, .count = 0};
    const struct entry *previous = NULL;

    qsort(entries->list, entries->count, sizeof *entries->list, compare_entries);
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->list[i];
        uint64_t hi, lo;

        if (previous != NULL && previous->hi == entry->hi && previous->lo == entry->lo &&
            previous->bits == entry->bits)
            continue;
        previous = entry;
        close_blocks(&sweep, entry);
        start_range(&sweep, entry->hi, entry->lo, entry->payload);
        mask_of(kind, entry->bits, &hi, &lo);
        unsigned top = sweep.nopen++;
        sweep.open[top].hi = kind == ADDRESS_V4 ? 0 : entry->hi | ~hi;
        sweep.open[top].lo = kind == ADDRESS_V4 ? entry->lo | (~lo & 0xffffffff) : entry->lo | ~lo;
        sweep.open[top].payload = entry->payload;
    }
    close_blocks(&sweep, NULL);
    free(entries->list);
    *entries = (struct entries){NULL, 0, 0};
    return sweep.count;
}

/* Prepares an index for count keys, the first and the last of which are given; the buckets are still to be
 * filled. */
static int index_prepare(struct bucket_index *index, size_t count, uint64_t first, uint64_t last)
{
    uint64_t span = last - first;
    unsigned shift = 0;

    while (span >> shift > count * 2)
        shift++;
    index->base = first;
    index->shift = shift;
    index->nbuckets = (size_t)(span >> shift) + 1;
    index->firsts = malloc((index->nbuckets + 1) * sizeof *index->firsts);
    return index->firsts != NULL ? 0 : -ENOMEM;
}

/* Keys come in order, one call each; *bucket is where the last one stopped, 0 at first. */
static void index_put(struct bucket_index *index, size_t *bucket, uint64_t key, size_t position)
{
    size_t place = (size_t)((key - index->base) >> index->shift);

    while (*bucket <= place)
        index->firsts[(*bucket)++] = (uint32_t)position;
}

static int compile_v4(struct cidr_set *set, const struct range6 *laid, size_t count)
{
    size_t bucket = 0;

    set->ranges4 = malloc(count * sizeof *set->ranges4);
    if (set->ranges4 == NULL || index_prepare(&set->index4, count, laid[0].lo, laid[count - 1].lo) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        set->ranges4[i] = (struct range4){(uint32_t)laid[i].lo, laid[i].payload};
        index_put(&set->index4, &bucket, laid[i].lo, i);
    }
    set->index4.firsts[bucket] = (uint32_t)count;
    return 0;
}

static int compile_v6(struct cidr_set *set, const struct range6 *laid, size_t count)
{
    size_t bucket = 0;

    set->ranges6 = malloc(count * sizeof *set->ranges6);
    if (set->ranges6 == NULL || index_prepare(&set->index6, count, laid[0].hi, laid[count - 1].hi) < 0)
        return -ENOMEM;
    memcpy(set->ranges6, laid, count * sizeof *laid);
    for (size_t i = 0; i < count; i++)
        index_put(&set->index6, &bucket, laid[i].hi, i);
    set->index6.firsts[bucket] = (uint32_t)count;
    return 0;
}

int cidr_set_compile(struct cidr_set *set)
{
    size_t most = set->v4.count > set->v6.count ? set->v4.count : set->v6.count;
    int result = 0;

    if (most == 0)
        return 0;
    struct range6 *laid = malloc(2 * most * sizeof *laid);
    if (laid == NULL)
        return -ENOMEM;
    if (set->v4.count > 0)
        result = compile_v4(set, laid, lay_out(&set->v4, ADDRESS_V4, laid));
    if (result == 0 && set->v6.count > 0)
        result = compile_v6(set, laid, lay_out(&set->v6, ADDRESS_V6, laid));
    free(laid);
    return result;
}

/* The ranges [*low, *high) among which the last start up to key must be, or directly before which. */
static bool index_find(const struct bucket_index *index, uint64_t key, size_t *low, size_t *high)
{
    if (index->nbuckets == 0 || key < index->base)
        return false;
    uint64_t place = (key - index->base) >> index->shift;
    if (place >= index->nbuckets)
        place = index->nbuckets - 1;
    *low = index->firsts[place];
    *high = index->firsts[place + 1];
    return true;
}

static int find_v4(const struct cidr_set *set, uint32_t key)
{
    size_t low, high;

    if (!index_find(&set->index4, key, &low, &high))
        return -1;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (set->ranges4[middle].start <= key)
            low = middle + 1;
        else
            high = middle;
    }
    return set->ranges4[low - 1].payload;
}

static int find_v6(const struct cidr_set *set, uint64_t hi, uint64_t lo)
{
    size_t low, high;

    if (!index_find(&set->index6, hi, &low, &high))
        return -1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct range6 *range = &set->ranges6[middle];

        if (range->hi < hi || (range->hi == hi && range->lo <= lo))
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? set->ranges6[low - 1].payload : -1;
}

int cidr_set_find(const struct cidr_set *set, const struct address *address)
{
    switch (address->kind) {
    case ADDRESS_V4:
        return find_v4(set, (uint32_t)address->lo);
    case ADDRESS_V6:
        return find_v6(set, address->hi, address->lo);
    case ADDRESS_UNIX:
        return set->unix_payload;
    case ADDRESS_NONE:
        break;
    }
    return -1;
}
