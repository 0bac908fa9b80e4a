/*
 * The oracle's reading of addresses and lists.
 */
#include "oracle.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void **pieces;
static size_t npieces, pieces_cap;

void *oracle_alloc(size_t size)
{
    if (npieces == pieces_cap) {
        pieces_cap = pieces_cap * 2 + 1024;
        pieces = realloc(pieces, pieces_cap * sizeof(*pieces));
    }
    void *piece = malloc(size ? size : 1);
    if (!pieces || !piece)
        abort();
    return pieces[npieces++] = piece;
}

void oracle_reset(void)
{
    while (npieces)
        free(pieces[--npieces]);
    free(pieces);
    pieces = NULL;
    pieces_cap = 0;
}

struct slice oracle_copy(struct slice bytes)
{
    char *copy = oracle_alloc(bytes.len);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return (struct slice){copy, bytes.len};
}

const char *oracle_print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        abort();
    const char *copy = oracle_copy((struct slice){text, (size_t)len + 1}).data;
    free(text);
    return copy;
}

/* The bytes as a string, or NULL if a NUL is among them. */
static char *string_of(struct slice bytes)
{
    char *text = oracle_alloc(bytes.len + 1);
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    return strlen(text) == bytes.len ? text : NULL;
}

static const char *text_of_v4(const unsigned char *b)
{
    return oracle_print("%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
}

/* inet_ntop, but for IPv4-compatible addresses: RFC 5952 wants the dotted form only for known prefixes. */
static const char *text_of_v6(const unsigned char *b)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, b, text, sizeof(text));
    if (strchr(text, '.'))
        return oracle_print("::%x:%x", b[12] << 8 | b[13], b[14] << 8 | b[15]);
    return oracle_print("%s", text);
}

const char *oracle_address(struct slice text)
{
    const char *s = string_of(text);
    unsigned char b[16];
    if (!s)
        return NULL;
    if (inet_pton(AF_INET, s, b) == 1)
        return text_of_v4(b);
    if (inet_pton(AF_INET6, s, b) != 1)
        return NULL;
    if (memcmp(b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0)
        return text_of_v4(b + 12);
    return text_of_v6(b);
}

static bool read_port(const char *s, bool obfuscated, unsigned *port)
{
    size_t len = strlen(s);
    if (obfuscated && s[0] == '_' && len > 1 &&
        strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len) {
        *port = 0;
        return true;
    }
    if (len == 0 || len > 5 || s[0] == '0' || strspn(s, "0123456789") != len)
        return false;
    long value = atol(s);
    if (value < 1 || value > 65535)
        return false;
    *port = (unsigned)value;
    return true;
}

static const char *address_and_port(struct slice text, bool obfuscated, unsigned *port)
{
    char *s = string_of(text);
    if (!s)
        return NULL;
    *port = 0;
    const char *bare = oracle_address(text);
    if (bare)
        return bare;
    if (s[0] == '[') {
        char *close = strchr(s, ']');
        if (!close)
            return NULL;
        *close = '\0';
        if (!strchr(s, ':')) /* brackets are for IPv6 alone */
            return NULL;
        if (close[1] != '\0' && (close[1] != ':' || !read_port(close + 2, obfuscated, port)))
            return NULL;
        return oracle_address(slice_of(s + 1));
    }
    char *colon = strchr(s, ':');
    if (!colon || !read_port(colon + 1, obfuscated, port))
        return NULL;
    *colon = '\0';
    return oracle_address(slice_of(s));
}

const char *oracle_element(struct slice text, unsigned *port)
{
    return address_and_port(text, false, port);
}

const char *oracle_node(struct slice text, unsigned *port)
{
    return address_and_port(text, true, port);
}

const char *oracle_peer(struct slice text)
{
    char *s = string_of(text);
    if (!s || strpbrk(s, "\r\n"))
        return NULL;
    if (s[0] == '\0' || s[0] == '/' || s[0] == '@' || strcmp(s, "unix:") == 0 || strncmp(s, "unix:/", 6) == 0)
        return "unix:";
    size_t len = strlen(s);
    if (s[0] == '[') {
        if (s[len - 1] != ']' || !strchr(s, ':'))
            return NULL;
        s[len - 1] = '\0';
        s++;
    }
    char *zone = strchr(s, '%');
    if (zone) {
        if (zone[1] == '\0')
            return NULL;
        *zone = '\0';
        if (!strchr(s, ':')) /* zones are for IPv6 alone */
            return NULL;
    }
    return oracle_address(slice_of(s));
}

/* 4 or 16 bytes, 0 for a text that is neither. */
static int bytes_of(const char *address, unsigned char *b)
{
    if (inet_pton(AF_INET, address, b) == 1)
        return 4;
    return inet_pton(AF_INET6, address, b) == 1 ? 16 : 0;
}

bool oracle_is_private(const char *address)
{
    unsigned char b[16];
    switch (bytes_of(address, b)) {
    case 4:
        return b[0] == 10 || (b[0] == 172 && b[1] >= 16 && b[1] <= 31) || (b[0] == 192 && b[1] == 168) ||
               b[0] == 127 || (b[0] == 169 && b[1] == 254);
    case 16:
        return b[0] < 0x20 || b[0] > 0x3f;
    default:
        return false;
    }
}

static bool block_holds(const char *block, const char *address, int *bits)
{
    if (strcmp(block, "unix:") == 0) {
        *bits = 0;
        return strcmp(address, "unix:") == 0;
    }
    char base[64];
    unsigned char b[16], a[16];
    snprintf(base, sizeof(base), "%.*s", (int)strcspn(block, "/"), block);
    int len = bytes_of(base, b), skip = 0;
    const char *slash = strchr(block, '/');
    *bits = slash ? atoi(slash + 1) : len * 8;
    if (len == 16 && *bits >= 96 && memcmp(b, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) {
        skip = 12;
        len = 4;
        *bits -= 96;
    }
    if (bytes_of(address, a) != len)
        return false;
    for (int i = 0; i < *bits; i++)
        if (((b[skip + i / 8] ^ a[i / 8]) >> (7 - i % 8)) & 1)
            return false;
    return true;
}

int oracle_find(const struct oracle_block *blocks, size_t n, const char *address, int *bits)
{
    int best = -1, best_bits = -1;
    for (size_t i = 0; address && i < n; i++) {
        int found = 0;
        if (block_holds(blocks[i].text, address, &found) && found > best_bits) {
            best = blocks[i].payload;
            best_bits = found;
        }
    }
    *bits = best_bits;
    return best;
}

const char *oracle_fold(struct slice name)
{
    char *out = oracle_alloc(name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        out[i] = isalnum((unsigned char)name.data[i]) ? (char)toupper(name.data[i]) : '_';
    out[name.len] = '\0';
    return out;
}

struct slice oracle_last(const struct param *params, size_t n, const char *name)
{
    struct slice last = {NULL, 0};
    for (size_t i = 0; i < n; i++)
        if (slice_equal(params[i].name, slice_of(name)))
            last = params[i].value;
    return last;
}
