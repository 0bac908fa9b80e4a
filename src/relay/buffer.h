/*
 * Bytes that must wait: a growable queue. Not thread-safe.
 */
#ifndef RELAY_BUFFER_H
#define RELAY_BUFFER_H

#include <sys/uio.h>

#include "base/slice.h"

/* Starts as {0}; holds memory only while it holds bytes, until buffer_free or buffer_consume empties it. */
struct buffer {
    char *data;
    size_t start; /* bytes [start, start + len) wait */
    size_t len;
    size_t cap;
};

/* Makes room for len more bytes. 0 or -ENOMEM. */
int buffer_reserve(struct buffer *buffer, size_t len);

/* Appends a copy. 0 or -ENOMEM (nothing is appended then). */
int buffer_append(struct buffer *buffer, const void *data, size_t len);

/* Takes len bytes off the front; frees the memory with the last one. */
void buffer_consume(struct buffer *buffer, size_t len);

/* Forgets the bytes and keeps the memory. */
void buffer_clear(struct buffer *buffer);

void buffer_free(struct buffer *buffer);

/* Pieces of memory that go out in one write. The memory belongs to somebody else. */
#define GATHER_MAX   64
#define GATHER_EXTRA 2 /* pieces of gather_append, however full it is */
struct gather {
    struct iovec piece[GATHER_MAX + GATHER_EXTRA];
    int count;
    size_t bytes;
};

/*
 * Adds a piece, glued to the last one if it lies right behind it. In a full gather the piece is moved down to
 * the end of the last one: so pieces of one buffer must come in ascending order, and what lies between them
 * be dead.
 */
void gather_add(struct gather *gather, char *data, size_t len);

/* Adds a piece behind all others, of any memory; at most GATHER_EXTRA times, and no gather_add afterwards. */
void gather_append(struct gather *gather, char *data, size_t len);

/*
 * As gather_append, but writes the bytes right behind the last piece if that lies in the `size` bytes at
 * `room`. The caller knows that len bytes there are dead.
 */
void gather_extend(struct gather *gather, char *room, size_t size, char *data, size_t len);

/* Makes it empty; to be called on a new one too, since an initialiser would write all of its kilobyte. */
static inline void gather_clear(struct gather *gather)
{
    gather->count = 0;
    gather->bytes = 0;
}

/* Appends all that the gather names, but for its first `skip` bytes. 0 or -ENOMEM. */
int buffer_append_gather(struct buffer *buffer, const struct gather *gather, size_t skip);

#endif
