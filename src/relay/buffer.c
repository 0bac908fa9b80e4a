#include "relay/buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

int buffer_reserve(struct buffer *buffer, size_t len)
{
    if (buffer->cap - buffer->start - buffer->len >= len)
        return 0;
    if (buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, buffer->len);
        buffer->start = 0;
        if (buffer->cap - buffer->len >= len)
            return 0;
    }
    if (len > SIZE_MAX / 4 - buffer->len)
        return -ENOMEM;
    size_t cap = buffer->cap ? buffer->cap : 1024;
    while (cap - buffer->len < len)
        cap *= 2;
    char *data = realloc(buffer->data, cap);
    if (!data)
        return -ENOMEM;
    buffer->data = data;
    buffer->cap = cap;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    if (buffer_reserve(buffer, len) < 0)
        return -ENOMEM;
    memcpy(buffer->data + buffer->start + buffer->len, data, len);
    buffer->len += len;
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    buffer->start += len;
    buffer->len -= len;
    if (buffer->len == 0)
        buffer_free(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->len = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

void gather_add(struct gather *gather, char *data, size_t len)
{
    if (len == 0)
        return;
    struct iovec *last = gather->count ? &gather->piece[gather->count - 1] : NULL;
    char *end = last ? (char *)last->iov_base + last->iov_len : NULL;
    if (last && (end == data || gather->count >= GATHER_MAX)) {
        if (end != data)
            memmove(end, data, len);
        last->iov_len += len;
    } else {
        gather->piece[gather->count++] = (struct iovec){data, len};
    }
    gather->bytes += len;
}

void gather_append(struct gather *gather, char *data, size_t len)
{
    gather->piece[gather->count++] = (struct iovec){data, len};
    gather->bytes += len;
}

void gather_extend(struct gather *gather, char *room, size_t size, char *data, size_t len)
{
    struct iovec *last = gather->count ? &gather->piece[gather->count - 1] : NULL;
    char *end = last ? (char *)last->iov_base + last->iov_len : NULL;
    if (!last || end <= room || (size_t)(end - room) + len > size) {
        gather_append(gather, data, len);
        return;
    }
    memcpy(end, data, len);
    last->iov_len += len;
    gather->bytes += len;
}

int buffer_append_gather(struct buffer *buffer, const struct gather *gather, size_t skip)
{
    if (buffer_reserve(buffer, gather->bytes - skip) < 0)
        return -ENOMEM;
    for (int i = 0; i < gather->count; i++) {
        size_t len = gather->piece[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        buffer_append(buffer, (char *)gather->piece[i].iov_base + skip, len - skip);
        skip = 0;
    }
    return 0;
}
