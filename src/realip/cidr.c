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
 * A range reaches from its start to the next one's; payload -1 where no block is. The last one has no end.
 * `lo` of the start is kept apart: it is only looked at where `hi` alone does not decide. An IPv4 start is
 * all in `hi`.
 */
struct range {
    uint64_t hi;
    int payload;
};

/*
 * Cuts the span of some ranges' starts into equal buckets, about as many as there are ranges, so that few are
 * left to search in each, however many there are. A bucket that still has many, because the ranges lie close
 * together, is a node of its own.
 */
struct node {
    uint64_t base;       /* key of the first start */
    uint64_t hi;         /* with low_half: of all starts */
    uint32_t first, end; /* the ranges */
    uint32_t nbuckets;
    uint32_t buckets; /* offset of the first bucket; one more follows the last, for its end */
    uint8_t shift;    /* bucket of a key: (key - base) >> shift */
    bool low_half;    /* the key is the lower half of an address, else the upper one */
};

#define BUCKET_NODE 0x80000000U /* in a bucket: the rest is a node; else the position of its first range */
#define BUCKET_MANY 8           /* more ranges in a bucket make a node of it */

struct table {
    struct range *ranges;
    uint64_t *lo;
    struct node *nodes; /* the first one is the root; none if there are no ranges */
    size_t nnodes, nodes_cap;
    uint32_t *buckets;
    size_t nbuckets, buckets_cap;
};

struct cidr_set {
    struct entries v4, v6; /* empty after compiling */
    struct table table4, table6;
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

static void free_table(struct table *table)
{
    free(table->ranges);
    free(table->lo);
    free(table->nodes);
    free(table->buckets);
}

void cidr_set_free(struct cidr_set *set)
{
    if (set == NULL)
        return;
    free(set->v4.list);
    free(set->v6.list);
    free_table(&set->table4);
    free_table(&set->table6);
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
    bool v4 = block->first.kind == ADDRESS_V4;
    entries->list[entries->count] = (struct entry){
        .hi = v4 ? block->first.lo : block->first.hi,
        .lo = v4 ? 0 : block->first.lo,
        .payload = payload,
        .order = (uint32_t)entries->count,
        .bits = block->bits,
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
    struct table *table;
    size_t count; /* of ranges */
};

static void start_range(struct sweep *sweep, uint64_t hi, uint64_t lo, int payload)
{
    struct range *ranges = sweep->table->ranges;
    size_t n = sweep->count;

    /* What begins where another range begins ends that one before it held anything. */
    if (n > 0 && ranges[n - 1].hi == hi && sweep->table->lo[n - 1] == lo)
        n--;
    if (n == 0 || ranges[n - 1].payload != payload) {
        ranges[n] = (struct range){hi, payload};
        sweep->table->lo[n++] = lo;
    }
    sweep->count = n;
}

/* The address behind one; false behind the last of all. */
static bool step_up(enum address_kind kind, uint64_t *hi, uint64_t *lo)
{
    if (kind == ADDRESS_V4)
        return (*hi)++ < UINT32_MAX;
    if (++*lo == 0)
        ++*hi;
    return (*hi | *lo) != 0;
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
        if (step_up(sweep->kind, &hi, &lo))
            start_range(sweep, hi, lo, top > 0 ? sweep->open[top - 1].payload : -1);
    }
}

static void open_block(struct sweep *sweep, const struct entry *entry)
{
    uint64_t hi, lo;
    unsigned top = sweep->nopen++;

    start_range(sweep, entry->hi, entry->lo, entry->payload);
    mask_of(sweep->kind, entry->bits, &hi, &lo);
    if (sweep->kind == ADDRESS_V4) {
        sweep->open[top].hi = entry->hi | (~lo & UINT32_MAX);
        sweep->open[top].lo = 0;
    } else {
        sweep->open[top].hi = entry->hi | ~hi;
        sweep->open[top].lo = entry->lo | ~lo;
    }
    sweep->open[top].payload = entry->payload;
}

/* Sorts the blocks and lays them out as ranges; gives how many. */
static size_t lay_out(struct entries *entries, enum address_kind kind, struct table *table)
{
    struct sweep sweep = {.kind = kind, .nopen = 0, .table = table, .count = 0};
    const struct entry *previous = NULL;

    qsort(entries->list, entries->count, sizeof *entries->list, compare_entries);
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->list[i];

        if (previous != NULL && previous->hi == entry->hi && previous->lo == entry->lo &&
            previous->bits == entry->bits)
            continue;
        previous = entry;
        close_blocks(&sweep, entry);
        open_block(&sweep, entry);
    }
    close_blocks(&sweep, NULL);
    free(entries->list);
    *entries = (struct entries){NULL, 0, 0};
    return sweep.count;
}

/* Room for n more buckets; their offset, or -ENOMEM. */
static long reserve_buckets(struct table *table, size_t n)
{
    size_t need = table->nbuckets + n, offset = table->nbuckets;

    if (need > table->buckets_cap) {
        size_t cap = need > table->buckets_cap * 2 ? need : table->buckets_cap * 2;
        uint32_t *buckets = realloc(table->buckets, cap * sizeof *buckets);

        if (buckets == NULL)
            return -ENOMEM;
        table->buckets = buckets;
        table->buckets_cap = cap;
    }
    table->nbuckets = need;
    return (long)offset;
}

static uint64_t key_of(const struct table *table, const struct node *node, uint32_t position)
{
    return node->low_half ? table->lo[position] : table->ranges[position].hi;
}

/* Adds the node of the ranges [first, end), its buckets still without nodes. 0, or -ENOMEM. */
static int add_node(struct table *table, uint32_t first, uint32_t end)
{
    struct node node = {.hi = table->ranges[first].hi, .first = first, .end = end};

    if (table->nnodes == table->nodes_cap) {
        size_t cap = table->nodes_cap == 0 ? 4 : table->nodes_cap * 2;
        struct node *nodes = realloc(table->nodes, cap * sizeof *nodes);

        if (nodes == NULL)
            return -ENOMEM;
        table->nodes = nodes;
        table->nodes_cap = cap;
    }
    node.low_half = table->ranges[end - 1].hi == node.hi;
    node.base = key_of(table, &node, first);
    uint64_t span = key_of(table, &node, end - 1) - node.base;
    while (span >> node.shift > end - first)
        node.shift++;
    node.nbuckets = (uint32_t)(span >> node.shift) + 1;
    long offset = reserve_buckets(table, (size_t)node.nbuckets + 1);
    if (offset < 0)
        return -ENOMEM;
    node.buckets = (uint32_t)offset;
    uint32_t *buckets = table->buckets + offset;
    uint32_t bucket = 0;
    for (uint32_t i = first; i < end; i++) {
        while (bucket <= (key_of(table, &node, i) - node.base) >> node.shift)
            buckets[bucket++] = i;
    }
    buckets[bucket] = end;
    table->nodes[table->nnodes++] = node;
    return 0;
}

/*
 * The table is built breadth first: nodes that are added while going through their parents come up later. A
 * node has its ranges in two buckets at least, so the depth is bounded by the bits of an address.
 */
static int build_nodes(struct table *table, size_t count)
{
    if (add_node(table, 0, (uint32_t)count) < 0)
        return -ENOMEM;
    for (size_t n = 0; n < table->nnodes; n++) {
        uint32_t buckets = table->nodes[n].buckets;
        uint32_t behind = buckets + table->nodes[n].nbuckets;

        for (uint32_t i = buckets; i < behind; i++) {
            /* The next bucket is still a plain position: it is looked at later. */
            uint32_t first = table->buckets[i], end = table->buckets[i + 1];

            if (end - first <= BUCKET_MANY)
                continue;
            if (add_node(table, first, end) < 0)
                return -ENOMEM;
            table->buckets[i] = BUCKET_NODE | (uint32_t)(table->nnodes - 1);
        }
    }
    return 0;
}

static int compile_table(struct table *table, struct entries *entries, enum address_kind kind)
{
    size_t most = entries->count * 2; /* a block starts one range and ends in the start of another */

    if (most == 0)
        return 0;
    table->ranges = calloc(most, sizeof *table->ranges);
    table->lo = calloc(most, sizeof *table->lo);
    if (table->ranges == NULL || table->lo == NULL)
        return -ENOMEM;
    return build_nodes(table, lay_out(entries, kind, table));
}

int cidr_set_compile(struct cidr_set *set)
{
    int result = compile_table(&set->table4, &set->v4, ADDRESS_V4);

    return result < 0 ? result : compile_table(&set->table6, &set->v6, ADDRESS_V6);
}

static uint32_t first_of(const struct table *table, uint32_t bucket)
{
    return (bucket & BUCKET_NODE) != 0 ? table->nodes[bucket & ~BUCKET_NODE].first : bucket;
}

/* How many ranges start up to the address: the last of those holds it. */
static uint32_t count_starts(const struct table *table, uint64_t hi, uint64_t lo)
{
    const struct node *node = table->nodes;

    for (;;) {
        if (node->low_half && hi != node->hi)
            return hi < node->hi ? node->first : node->end;
        uint64_t key = node->low_half ? lo : hi;
        if (key < node->base)
            return node->first;
        uint64_t place = (key - node->base) >> node->shift;
        if (place >= node->nbuckets)
            return node->end;
        const uint32_t *bucket = &table->buckets[node->buckets + place];
        if ((bucket[0] & BUCKET_NODE) == 0) {
            uint32_t at = bucket[0], end = first_of(table, bucket[1]);

            while (at < end &&
                   (table->ranges[at].hi < hi || (table->ranges[at].hi == hi && table->lo[at] <= lo)))
                at++;
            return at;
        }
        node = &table->nodes[bucket[0] & ~BUCKET_NODE];
    }
}

static int find_in(const struct table *table, uint64_t hi, uint64_t lo)
{
    if (table->nnodes == 0)
        return -1;
    uint32_t n = count_starts(table, hi, lo);
    return n > 0 ? table->ranges[n - 1].payload : -1;
}

int cidr_set_find(const struct cidr_set *set, const struct address *address)
{
    switch (address->kind) {
    case ADDRESS_V4:
        return find_in(&set->table4, address->lo, 0);
    case ADDRESS_V6:
        return find_in(&set->table6, address->hi, address->lo);
    case ADDRESS_UNIX:
        return set->unix_payload;
    case ADDRESS_NONE:
        break;
    }
    return -1;
}
