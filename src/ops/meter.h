/*
 * What an answer is, told from the records that pass: its status and the size of its body.
 *
 * Of the records only the headers are read, and of STDOUT's content only the CGI header (RFC 3875
 * section 6.3). Pure: no I/O, no allocation.
 */
#ifndef OPS_METER_H
#define OPS_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "fastcgi/record.h"

/* Starts as {0}. */
struct meter {
    uint64_t body;    /* bytes of STDOUT behind the CGI header */
    unsigned status;  /* of the header Status, 0: none so far */
    bool located;     /* there is a header Location */
    bool in_body;     /* the CGI header is over */
    bool is_stdout;   /* the record that is passing */
    uint16_t content; /* bytes of it to come */
    uint16_t padding; /* likewise */
    uint8_t nhead;
    uint8_t nline;
    char head[RECORD_HEADER]; /* a record's header in the making */
    char line[18];            /* the beginning of the CGI header's line in the making */
};

/* The next bytes of the records, cut anywhere. */
void meter_take(struct meter *meter, const char *data, size_t len);

/* So many bytes of the running record's content pass unseen. */
void meter_skip(struct meter *meter, size_t len);

/* What a web server makes of it: Status; without one, 302 with a Location and 200 else. */
unsigned meter_status(const struct meter *meter);

#endif
