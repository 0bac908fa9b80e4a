#include "ops/escape.h"

#include "base/utf8.h"

#define DOTS 3

/* The longest piece: \u00HH. */
#define PIECE_MAX 6

static const char digits[] = "0123456789abcdef";

/* A piece of the text, escaped. */
struct piece {
    char out[PIECE_MAX];
    size_t length;
    size_t used; /* bytes of the text */
};

static void escape_byte(struct piece *piece, unsigned char c, const char *prefix)
{
    size_t length = strlen(prefix);
    memcpy(piece->out, prefix, length);
    piece->out[length] = digits[c >> 4];
    piece->out[length + 1] = digits[c & 15];
    piece->length = length + 2;
    piece->used = 1;
}

static void pass(struct piece *piece, const unsigned char *data, size_t length)
{
    memcpy(piece->out, data, length);
    piece->length = piece->used = length;
}

static void take_json(struct piece *piece, const unsigned char *data, size_t left)
{
    size_t length = utf8_length(data, left);
    /* U+0080 to U+009F are control characters, too. */
    bool control = data[0] < 0x20 || data[0] == 0x7f || (length == 2 && data[0] == 0xc2 && data[1] < 0xa0);
    if (*data == '"' || *data == '\\') {
        piece->out[0] = '\\';
        piece->out[1] = (char)*data;
        piece->length = 2;
        piece->used = 1;
    } else if (length == 2 && control) {
        escape_byte(piece, data[1], "\\u00");
        piece->used = 2;
    } else if (length == 0 || control) {
        escape_byte(piece, *data, "\\u00");
    } else {
        pass(piece, data, length);
    }
}

static void take(struct piece *piece, const unsigned char *data, size_t left, enum escape how)
{
    if (how == ESCAPE_JSON) {
        take_json(piece, data, left);
        return;
    }
    unsigned char c = *data;
    bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && !(c == ' ' && how == ESCAPE_WORD) &&
                 !(c == '\'' && how == ESCAPE_SHELL);
    if (plain)
        pass(piece, data, 1);
    else
        escape_byte(piece, c, "\\x");
}

size_t escape_measure(struct slice text, enum escape how)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t length = 0;
    struct piece piece;
    for (size_t i = 0; i < text.len; i += piece.used) {
        take(&piece, data + i, text.len - i, how);
        length += piece.length;
    }
    return length;
}

size_t escape_text(struct slice text, enum escape how, char *out, size_t size)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t dots = size < DOTS ? size : DOTS;
    size_t at = 0;
    size_t cut = 0; /* where the dots go, should the text not fit */
    struct piece piece;
    for (size_t i = 0; i < text.len; i += piece.used) {
        take(&piece, data + i, text.len - i, how);
        if (piece.length > size - at) {
            memcpy(out + cut, "...", dots);
            return cut + dots;
        }
        memcpy(out + at, piece.out, piece.length);
        at += piece.length;
        if (at + dots <= size)
            cut = at;
    }
    return at;
}

size_t escape_end(struct slice text, enum escape how, char *out, size_t size)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t dots = size < DOTS ? size : DOTS;
    size_t left = escape_measure(text, how);
    if (left <= size)
        return escape_text(text, how, out, size);
    struct piece piece;
    size_t from = 0;
    for (; left > size - dots; from += piece.used) {
        take(&piece, data + from, text.len - from, how);
        left -= piece.length;
    }
    memcpy(out, "...", dots);
    return dots + escape_text(slice_part(text, from, text.len), how, out + dots, size - dots);
}
