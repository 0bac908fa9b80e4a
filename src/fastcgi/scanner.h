/*
 * A stream of records cut anywhere by the socket, walked record by record without copying content.
 *
 * The scanner keeps at most one header between two chunks. Of each record its owner says what becomes of it:
 * it passes as it is (its bytes are handed back as ranges of the chunk), is skipped, or is taken (its content
 * is handed over in pieces). Padding that passes is overwritten with zeros; padding is left out altogether
 * where a receiver is known to stumble over it: behind an empty record, and where it would reach beyond
 * 65,535 bytes. FastCGI specification 3.3. No I/O, no allocation; not thread-safe.
 */
#ifndef FASTCGI_SCANNER_H
#define FASTCGI_SCANNER_H

#include "fastcgi/record.h"

enum scan_verdict {
    SCAN_PASS,
    SCAN_SKIP,
    SCAN_TAKE,
    SCAN_FAIL, /* the stream makes no sense: scanner_feed stops */
};

struct scanner_owner {
    /* A header is complete. */
    enum scan_verdict (*header)(void *owner, const struct record *record);
    /* Bytes that pass, in order; they lie in the chunk or in the scanner, until the next scanner_feed. */
    void (*pass)(void *owner, char *data, size_t len);
    /* A piece of the content of a record that is taken. */
    void (*take)(void *owner, const struct record *record, struct slice piece);
    /* A record is complete, padding included. False: stop here. */
    bool (*complete)(void *owner, const struct record *record);
};

/* Starts as {0}. */
struct scanner {
    /* Two, since one that was passed must stay while the next one begins at the end of the same chunk. */
    char head[2][RECORD_HEADER];
    uint8_t turn; /* the head being collected */
    uint8_t have; /* bytes of it; RECORD_HEADER: inside a record */
    uint8_t verdict;
    bool strip; /* padding of the current record is left out */
    uint16_t content_left;
    uint16_t pass_id; /* the request id that passing records get; 0: they keep theirs */
    uint8_t padding_left;
    struct record record;
};

/*
 * Walks len bytes at data (which it may change: reserved bytes, ids and padding). Returns how many it
 * consumed: len, or fewer after complete() said stop; -1 after header() said SCAN_FAIL.
 */
ptrdiff_t scanner_feed(struct scanner *scanner, char *data, size_t len, const struct scanner_owner *owner,
                       void *context);

/* True between two records. */
static inline bool scanner_at_boundary(const struct scanner *scanner)
{
    return scanner->have == 0;
}

/* Content of the current record that is still to come, in bytes, if the record passes; else 0. */
static inline size_t scanner_passing(const struct scanner *scanner)
{
    return scanner->have == RECORD_HEADER && scanner->verdict == SCAN_PASS ? scanner->content_left : 0;
}

/* So many bytes of it have passed another way. If the record is complete with them, its owner is not told:
 * see scanner_at_boundary. */
static inline void scanner_bypass(struct scanner *scanner, size_t len)
{
    scanner->content_left = (uint16_t)(scanner->content_left - len);
    if (scanner->content_left == 0 && scanner->padding_left == 0)
        scanner->have = 0;
}

/* Bytes of the current record that are still to come, padding included. */
static inline size_t scanner_left(const struct scanner *scanner)
{
    return (size_t)scanner->content_left + scanner->padding_left;
}

/* Did the last header say that so much passes? Then the next one may say the same. */
static inline bool scanner_passes_much(const struct scanner *scanner, size_t much)
{
    return scanner->verdict == SCAN_PASS && scanner->record.content >= much;
}

#endif
