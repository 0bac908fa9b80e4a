/*
 * FastCGI records: the 8-byte header, and the few records that the shim writes itself.
 *
 * FastCGI specification 3.3, 5.1, 5.5, 8. No I/O, no state.
 */
#ifndef FASTCGI_RECORD_H
#define FASTCGI_RECORD_H

#include <fastcgi.h>
#include <stdint.h>

#include "base/slice.h"

#define RECORD_HEADER  FCGI_HEADER_LEN
#define RECORD_CONTENT 65535 /* the most content that one record holds */

struct record {
    uint8_t version;
    uint8_t type;
    uint16_t id;
    uint16_t content; /* bytes */
    uint8_t padding;  /* bytes */
};

/* Reads the RECORD_HEADER bytes at wire. Any bytes are a header; whether it makes sense is the caller's
 * question. */
struct record record_decode(const char *wire);

/* Writes a header: version 1, reserved byte 0. */
void record_encode(char *wire, uint8_t type, uint16_t id, uint16_t content, uint8_t padding);

/* Whole records without padding; each is RECORD_HEADER + 8 bytes. */
#define RECORD_FIXED (RECORD_HEADER + 8)
void record_encode_begin(char *wire, uint16_t id, uint16_t role, bool keep);
void record_encode_end(char *wire, uint16_t id, uint32_t app_status, uint8_t protocol_status);
void record_encode_unknown(char *wire, uint8_t type);

/* The body of a BEGIN_REQUEST or END_REQUEST: 8 bytes. */
struct record_begin {
    uint16_t role;
    bool keep;
};
struct record_end {
    uint32_t app_status;
    uint8_t protocol_status;
};
struct record_begin record_decode_begin(const char *body);
struct record_end record_decode_end(const char *body);

#endif
