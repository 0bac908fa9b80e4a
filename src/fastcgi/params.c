#include "fastcgi/params.h"

#define SHORT_LENGTH 127 /* the most that fits one byte */

/* Reads a length; gives the byte behind it, or NULL if there are not enough. */
static const char *get_length(const char *p, const char *end, size_t *length)
{
    if (p == end)
        return NULL;
    unsigned first = (uint8_t)p[0];
    if (first <= SHORT_LENGTH) {
        *length = first;
        return p + 1;
    }
    if (end - p < 4)
        return NULL;
    *length = (size_t)(first & 0x7f) << 24 | (size_t)(uint8_t)p[1] << 16 | (size_t)(uint8_t)p[2] << 8 |
              (size_t)(uint8_t)p[3];
    return p + 4;
}

static char *put_length(char *p, size_t length)
{
    if (length > SHORT_LENGTH) {
        *p++ = (char)(length >> 24 | 0x80);
        *p++ = (char)(length >> 16);
        *p++ = (char)(length >> 8);
    }
    *p++ = (char)length;
    return p;
}

const char *params_decode_lengths(const char *p, const char *end, size_t *name_len, size_t *value_len)
{
    p = get_length(p, end, name_len);
    return p != NULL ? get_length(p, end, value_len) : NULL;
}

enum params_error params_decode(struct slice content, struct param *list, size_t cap, size_t *n)
{
    const char *p = content.data, *end = slice_end(content);

    for (*n = 0; p != end; ++*n) {
        struct param pair;

        p = params_next(p, end, &pair);
        if (p == NULL)
            return PARAMS_TRUNCATED;
        if (*n == cap)
            return PARAMS_TOO_MANY;
        list[*n] = pair;
    }
    return PARAMS_OK;
}

static size_t length_size(size_t length)
{
    return length > SHORT_LENGTH ? 4 : 1;
}

size_t params_pair_size(struct slice name, struct slice value)
{
    return length_size(name.len) + length_size(value.len) + name.len + value.len;
}

size_t params_encode_lengths(char *wire, size_t name_len, size_t value_len)
{
    char *p = put_length(wire, name_len);

    return (size_t)(put_length(p, value_len) - wire);
}

static char *put_text(char *p, struct slice text)
{
    /* An empty slice may point nowhere, which memcpy does not take. */
    if (text.len > 0)
        memcpy(p, text.data, text.len);
    return p + text.len;
}

size_t params_encode_pair(char *wire, struct slice name, struct slice value)
{
    char *p = wire + params_encode_lengths(wire, name.len, value.len);

    return (size_t)(put_text(put_text(p, name), value) - wire);
}
