#include "fastcgi/record.h"

static uint16_t get16(const char *wire)
{
    return (uint16_t)((uint8_t)wire[0] << 8 | (uint8_t)wire[1]);
}

static void put16(char *wire, unsigned value)
{
    wire[0] = (char)(value >> 8);
    wire[1] = (char)value;
}

struct record record_decode(const char *wire)
{
    return (struct record){
        .version = (uint8_t)wire[0],
        .type = (uint8_t)wire[1],
        .id = get16(wire + 2),
        .content = get16(wire + 4),
        .padding = (uint8_t)wire[6],
    };
}

void record_encode(char *wire, uint8_t type, uint16_t id, uint16_t content, uint8_t padding)
{
    wire[0] = FCGI_VERSION_1;
    wire[1] = (char)type;
    put16(wire + 2, id);
    put16(wire + 4, content);
    wire[6] = (char)padding;
    wire[7] = 0;
}

void record_encode_begin(char *wire, uint16_t id, uint16_t role, bool keep)
{
    record_encode(wire, FCGI_BEGIN_REQUEST, id, 8, 0);
    memset(wire + RECORD_HEADER, 0, 8);
    put16(wire + RECORD_HEADER, role);
    wire[RECORD_HEADER + 2] = keep ? FCGI_KEEP_CONN : 0;
}

void record_encode_end(char *wire, uint16_t id, uint32_t app_status, uint8_t protocol_status)
{
    record_encode(wire, FCGI_END_REQUEST, id, 8, 0);
    memset(wire + RECORD_HEADER, 0, 8);
    put16(wire + RECORD_HEADER, app_status >> 16);
    put16(wire + RECORD_HEADER + 2, app_status & 0xffff);
    wire[RECORD_HEADER + 4] = (char)protocol_status;
}

void record_encode_unknown(char *wire, uint8_t type)
{
    record_encode(wire, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, 8, 0);
    memset(wire + RECORD_HEADER, 0, 8);
    wire[RECORD_HEADER] = (char)type;
}

struct record_begin record_decode_begin(const char *body)
{
    return (struct record_begin){.role = get16(body), .keep = (body[2] & FCGI_KEEP_CONN) != 0};
}

struct record_end record_decode_end(const char *body)
{
    return (struct record_end){
        .app_status = (uint32_t)get16(body) << 16 | get16(body + 2),
        .protocol_status = (uint8_t)body[4],
    };
}
