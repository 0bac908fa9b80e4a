#include "relay/encode.h"

#include <errno.h>

/* Up to here a copy costs less than one more piece in the kernel's list. */
#define COPY_MAX 1024
/* Pieces left for the body that follows in the same write. */
#define PIECES_MAX (GATHER_MAX - 16)

/* Writes into memory that was reserved for the whole request; what has been written since `run` is not in the
 * gather yet. */
struct writer {
    char *run;
    char *at;
    struct gather *gather;
};

static void end_run(struct writer *w)
{
    gather_add(w->gather, w->run, (size_t)(w->at - w->run));
    w->run = w->at;
}

static void copy(struct writer *w, struct slice bytes)
{
    if (bytes.len > 0)
        memcpy(w->at, bytes.data, bytes.len);
    w->at += bytes.len;
}

static void put(struct writer *w, struct slice raw)
{
    if (raw.len > COPY_MAX && w->gather->count < PIECES_MAX) {
        end_run(w);
        gather_add(w->gather, (char *)raw.data, raw.len);
    } else {
        copy(w, raw);
    }
}

static void put_pair(struct writer *w, struct slice name, struct slice value)
{
    w->at += params_encode_lengths(w->at, name.len, value.len);
    copy(w, name);
    put(w, value);
}

static char *claim(struct writer *w, size_t len)
{
    char *at = w->at;
    w->at += len;
    return at;
}

static size_t rewritten_size(const struct encode_request *r)
{
    size_t size = r->content.len;
    for (size_t i = 0; i < r->rewrite->nedits; i++) {
        const struct edit *edit = &r->rewrite->edits[i];
        size -= known_raw(r->known, r->content, edit->index).len;
        if (!edit->drop)
            size += params_pair_size(r->known->params[edit->index].name, edit->value);
    }
    for (size_t i = 0; i < r->rewrite->nadded; i++)
        size += params_pair_size(r->rewrite->added[i].name, r->rewrite->added[i].value);
    return size;
}

/* The usual case: everything fits one record, untouched runs between two edits go as a whole. */
static void put_single(struct writer *w, const struct encode_request *r, size_t size)
{
    record_encode(claim(w, RECORD_HEADER), FCGI_PARAMS, r->id, (uint16_t)size, 0);
    size_t next = 0;
    for (size_t i = 0; i < r->rewrite->nedits; i++) {
        const struct edit *edit = &r->rewrite->edits[i];
        size_t start = r->known->starts[edit->index];
        put(w, slice_part(r->content, next, start));
        if (!edit->drop)
            put_pair(w, r->known->params[edit->index].name, edit->value);
        next = start + known_raw(r->known, r->content, edit->index).len;
    }
    put(w, slice_part(r->content, next, r->content.len));
    for (size_t i = 0; i < r->rewrite->nadded; i++)
        put_pair(w, r->rewrite->added[i].name, r->rewrite->added[i].value);
}

/* Several records, built one after the other in the scratch buffer. */
struct cutter {
    struct writer *w;
    uint16_t id;
    char *head; /* of the open record, NULL: none is open */
    size_t used;
};

static void cut_close(struct cutter *c)
{
    if (c->head)
        record_encode(c->head, FCGI_PARAMS, c->id, (uint16_t)c->used, 0);
    c->head = NULL;
    c->used = 0;
}

static void cut_bytes(struct cutter *c, struct slice bytes)
{
    while (bytes.len > 0) {
        if (c->used == RECORD_CONTENT)
            cut_close(c);
        if (!c->head)
            c->head = claim(c->w, RECORD_HEADER);
        size_t n = bytes.len < RECORD_CONTENT - c->used ? bytes.len : RECORD_CONTENT - c->used;
        copy(c->w, slice_part(bytes, 0, n));
        c->used += n;
        bytes = slice_part(bytes, n, bytes.len);
    }
}

static void cut_pair(struct cutter *c, struct slice name, struct slice value)
{
    char lengths[PARAMS_LENGTHS_MAX];
    if (c->used + params_pair_size(name, value) > RECORD_CONTENT)
        cut_close(c);
    cut_bytes(c, (struct slice){lengths, params_encode_lengths(lengths, name.len, value.len)});
    cut_bytes(c, name);
    cut_bytes(c, value);
}

static void put_several(struct writer *w, const struct encode_request *r)
{
    struct cutter c = {.w = w, .id = r->id};
    const struct edit *edit = r->rewrite->edits;
    const struct edit *last = edit + r->rewrite->nedits;
    const char *at = r->content.data, *end = at + r->content.len;
    struct param pair;
    /* It has been read before: each pair is whole. */
    for (const char *start = at; at != end && (at = params_next(at, end, &pair)) != NULL; start = at) {
        if (edit < last && r->content.data + r->known->starts[edit->index] == start) {
            if (!edit->drop)
                cut_pair(&c, pair.name, edit->value);
            edit++;
            continue;
        }
        struct slice raw = {start, (size_t)(at - start)};
        if (c.used + raw.len > RECORD_CONTENT)
            cut_close(&c);
        cut_bytes(&c, raw);
    }
    for (size_t i = 0; i < r->rewrite->nadded; i++)
        cut_pair(&c, r->rewrite->added[i].name, r->rewrite->added[i].value);
    cut_close(&c);
}

int encode_request(const struct encode_request *r, struct buffer *scratch, struct gather *gather)
{
    size_t size = rewritten_size(r);
    /* Pairs that do not fit a started record leave at most half of each record empty. */
    size_t records = 2 * (size / RECORD_CONTENT) + 2;
    buffer_clear(scratch);
    if (buffer_reserve(scratch, RECORD_FIXED + size + (records + 1) * RECORD_HEADER) < 0 ||
        scratch->data == NULL)
        return -ENOMEM;
    struct writer w = {scratch->data, scratch->data, gather};
    record_encode_begin(claim(&w, RECORD_FIXED), r->id, r->role, r->keep);
    if (size > RECORD_CONTENT)
        put_several(&w, r);
    else if (size > 0)
        put_single(&w, r, size);
    record_encode(claim(&w, RECORD_HEADER), FCGI_PARAMS, r->id, 0, 0);
    end_run(&w);
    scratch->len = (size_t)(w.at - scratch->data);
    return 0;
}
