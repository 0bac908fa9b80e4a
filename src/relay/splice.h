/*
 * Which bytes of a stream of records are worth being spliced.
 */
#ifndef RELAY_SPLICE_H
#define RELAY_SPLICE_H

#include <limits.h>

#include "fastcgi/scanner.h"

/*
 * Records of so much content are; others are cheaper copied. Of those, only so much is read as to see the
 * next header, and the few records that end a request or its answer. What is left of a record before that is
 * spliced, unless it is so little that all of it fits a page.
 */
#define SPLICE_RECORD 16384
#define SPLICE_AHEAD  64
#define SPLICE_LEFT   (PIPE_BUF - 255 - SPLICE_AHEAD)

/*
 * How many bytes of content to splice now, and then to take off the scanner's record: all that is left of it,
 * for a byte that stays behind is a piece of memory of its own to the kernel. 0: no more than *size are to be
 * read, which becomes less where that is better.
 */
static inline size_t splice_plan(const struct scanner *scanner, size_t *size)
{
    if (!scanner_passes_much(scanner, SPLICE_RECORD))
        return 0;
    size_t left = scanner_passing(scanner);
    if (left > SPLICE_LEFT)
        return left;
    *size = scanner_left(scanner) + SPLICE_AHEAD;
    return 0;
}

#endif
