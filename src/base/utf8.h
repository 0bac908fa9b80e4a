/*
 * UTF-8: which bytes are text.
 *
 * Pure and thread-safe.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* How many bytes the valid UTF-8 sequence at text has (Unicode, table 3-7), or 0. len is 1 at least. */
static inline size_t utf8_length(const unsigned char *text, size_t len)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t need;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        need = 2;
    else if (first >= 0xe0 && first <= 0xef)
        need = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        need = 4;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    if (first == 0xed)
        high = 0x9f;
    if (first == 0xf0)
        low = 0x90;
    if (first == 0xf4)
        high = 0x8f;
    if (len < need || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return need;
}

#endif
