/*
 * Status and size of answers, told from records: however they are cut, and whatever else passes.
 */
#include "realip_cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "ops/meter.h"

/* Records in the making. */
struct wire {
    char data[200000];
    size_t len;
};

static void add(struct wire *wire, uint8_t type, const char *content, size_t len, uint8_t padding)
{
    record_encode(wire->data + wire->len, type, 7, (uint16_t)len, padding);
    wire->len += RECORD_HEADER;
    if (len > 0)
        memcpy(wire->data + wire->len, content, len);
    memset(wire->data + wire->len + len, 0, padding);
    wire->len += len + padding;
}

static void add_text(struct wire *wire, uint8_t type, const char *text)
{
    add(wire, type, text, strlen(text), (uint8_t)(strlen(text) % 8));
}

static void check(const struct meter *meter, unsigned status, uint64_t body)
{
    assert_int_equal(meter_status(meter), status);
    assert_int_equal(meter->body, body);
}

struct row {
    const char *text;
    unsigned status;
    uint64_t body;
};

static const struct row rows[] = {
    {"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nbody!", 404, 5},
    {"Content-Type: text/plain\r\nStatus: 503\r\n\r\n", 503, 0},
    {"Content-Type: text/plain\r\n\r\nStatus: 404\r\n\r\n", 200, 15},
    {"Content-Type: text/plain\n\nbody", 200, 4},
    {"STATUS:\t201\n\n\n", 201, 1},
    {"Status:301\r\nLocation: /x\r\n\r\n", 301, 0},
    {"Location: http://x/\r\n\r\n", 302, 0},
    {"Location: /x\r\nStatus: 307 Other\r\n\r\n", 307, 0},
    {"X-Location: /x\r\nX-Status: 404\r\n\r\nx", 200, 1},
    {"X-Long-Header-Name-That-Does-Not-Fit: Status: 404\r\n\r\nx", 200, 1},
    {"Status: 40\r\n\r\n", 200, 0},
    {"Status: 4040\r\n\r\n", 200, 0},
    {"Status: 099\r\n\r\n", 200, 0},
    {"Status: none\r\n\r\n", 200, 0},
    {"Status: 404", 200, 0}, /* a line that has not ended says nothing yet */
    {"\r\nbody", 200, 4},
    {"\nbody", 200, 4},
    {"Status: 500\r\n\r\n\r\n\r\n", 500, 4},
    {"no header at all", 200, 0},
    {"", 200, 0},
};

static void make(struct wire *wire, const struct row *row, size_t record)
{
    size_t len = strlen(row->text);
    wire->len = 0;
    add_text(wire, FCGI_STDERR, "Status: 599\r\n\r\nnot the answer");
    for (size_t at = 0; at < len; at += record) {
        size_t n = len - at < record ? len - at : record;
        add(wire, FCGI_STDOUT, row->text + at, n, (uint8_t)(at % 9));
        if (at == 0)
            add_text(wire, FCGI_STDERR, "in between");
    }
    add(wire, FCGI_STDOUT, NULL, 0, 0);
    record_encode_end(wire->data + wire->len, 7, 0, 0);
    wire->len += RECORD_FIXED;
}

static void test_rows_however_they_are_cut(void **state)
{
    (void)state;
    static struct wire wire;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t record = 1; record < 20; record += 3) {
            make(&wire, &rows[i], record);
            struct meter whole = {0};
            meter_take(&whole, wire.data, wire.len);
            check(&whole, rows[i].status, rows[i].body);
            for (size_t piece = 1; piece < 12; piece++) {
                struct meter meter = {0};
                for (size_t at = 0; at < wire.len; at += piece)
                    meter_take(&meter, wire.data + at, wire.len - at < piece ? wire.len - at : piece);
                check(&meter, rows[i].status, rows[i].body);
            }
        }
    }
}

static void test_large(void **state)
{
    (void)state;
    static struct wire wire;
    static char content[65535];
    struct meter meter = {0};
    memset(content, '\n', sizeof content);
    memcpy(content, "Status: 200 OK\n", 15); /* and an empty line */
    wire.len = 0;
    add(&wire, FCGI_STDOUT, content, sizeof content, 255);
    add(&wire, FCGI_STDOUT, content, sizeof content, 0);
    meter_take(&meter, wire.data, wire.len);
    check(&meter, 200, 2 * sizeof content - 16);
}

/* Content that passes unseen counts as if it had been seen. */
static void test_skip(void **state)
{
    (void)state;
    static struct wire wire;
    static char content[60000];
    wire.len = 0;
    memcpy(content, "Status: 206\n\n", 13);
    add(&wire, FCGI_STDOUT, content, sizeof content, 5);
    add_text(&wire, FCGI_STDERR, "stderr is no body");
    add_text(&wire, FCGI_STDOUT, "end");
    struct meter meter = {0};
    meter_take(&meter, wire.data, 1000);
    meter_skip(&meter, 50000);
    meter_take(&meter, wire.data + 51000, wire.len - 51000);
    check(&meter, 206, sizeof content - 13 + 3);

    /* Never more than the record has. */
    meter = (struct meter){0};
    meter_take(&meter, wire.data, RECORD_HEADER + 13);
    meter_skip(&meter, SIZE_MAX);
    check(&meter, 206, sizeof content - 13);
    assert_int_equal(meter.content, 0);

    /* Of STDERR nothing counts. */
    wire.len = 0;
    add_text(&wire, FCGI_STDERR, "0123456789");
    add_text(&wire, FCGI_STDOUT, "Status: 404\n\nx");
    meter = (struct meter){0};
    meter_take(&meter, wire.data, RECORD_HEADER + 2);
    meter_skip(&meter, 8);
    meter_take(&meter, wire.data + RECORD_HEADER + 10, wire.len - RECORD_HEADER - 10);
    check(&meter, 404, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_however_they_are_cut),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_skip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
