/*
 * Bytes that must wait, in whatever number: a queue in a temporary file that has no name. Not thread-safe.
 */
#ifndef RELAY_SPOOL_H
#define RELAY_SPOOL_H

#include <stdint.h>
#include <sys/types.h>

/* Starts as {.fd = -1}; there is a file from the first bytes on, until spool_close. */
struct spool {
    int fd;
    uint64_t read, written; /* bytes [read, written) of the file wait */
};

/* Appends all of it. 0 or a negative errno (-ENOSPC, ...), after which the spool holds what it held before.
 */
int spool_append(struct spool *spool, const char *data, size_t len);

/* Takes at most len bytes off the front. How many (0: it is empty), or a negative errno. */
ssize_t spool_take(struct spool *spool, char *data, size_t len);

/* Fine to call twice. */
void spool_close(struct spool *spool);

static inline uint64_t spool_length(const struct spool *spool)
{
    return spool->written - spool->read;
}

#endif
