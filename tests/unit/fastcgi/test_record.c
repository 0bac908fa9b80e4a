#include "realip_cmocka.h"

#include "fastcgi/record.h"

static void test_header_bytes(void **state)
{
    char wire[RECORD_HEADER];

    (void)state;
    memset(wire, 0x55, sizeof wire);
    record_encode(wire, FCGI_STDOUT, 0x1234, 0xfedc, 7);
    assert_memory_equal(wire, "\x01\x06\x12\x34\xfe\xdc\x07\x00", sizeof wire);
    record_encode(wire, FCGI_STDIN, 1, 0, 0);
    assert_memory_equal(wire, "\x01\x05\x00\x01\x00\x00\x00\x00", sizeof wire);
    record_encode(wire, FCGI_PARAMS, 65535, RECORD_CONTENT, 255);
    assert_memory_equal(wire, "\x01\x04\xff\xff\xff\xff\xff\x00", sizeof wire);
}

static void test_any_bytes_are_a_header(void **state)
{
    struct record record = record_decode("\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7");

    (void)state;
    assert_int_equal(record.version, 0xfe);
    assert_int_equal(record.type, 0xfd);
    assert_int_equal(record.id, 0xfcfb);
    assert_int_equal(record.content, 0xfaf9);
    assert_int_equal(record.padding, 0xf8);
    record = record_decode("\x01\x04\x00\x01\x00\x80\x03\x00");
    assert_int_equal(record.version, 1);
    assert_int_equal(record.type, FCGI_PARAMS);
    assert_int_equal(record.id, 1);
    assert_int_equal(record.content, 128);
    assert_int_equal(record.padding, 3);
}

static void test_begin(void **state)
{
    char wire[RECORD_FIXED];
    struct record_begin begin;

    (void)state;
    memset(wire, 0x55, sizeof wire);
    record_encode_begin(wire, 3, FCGI_RESPONDER, true);
    assert_memory_equal(wire, "\x01\x01\x00\x03\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00",
                        sizeof wire);
    begin = record_decode_begin(wire + RECORD_HEADER);
    assert_int_equal(begin.role, FCGI_RESPONDER);
    assert_true(begin.keep);
    record_encode_begin(wire, 0x102, 0x8003, false);
    assert_memory_equal(wire, "\x01\x01\x01\x02\x00\x08\x00\x00\x80\x03\x00\x00\x00\x00\x00\x00",
                        sizeof wire);
    begin = record_decode_begin(wire + RECORD_HEADER);
    assert_int_equal(begin.role, 0x8003);
    assert_false(begin.keep);
    /* only the lowest flag is KEEP_CONN */
    begin = record_decode_begin("\x00\x01\xfe\x00\x00\x00\x00\x00");
    assert_false(begin.keep);
    begin = record_decode_begin("\x00\x01\xff\x00\x00\x00\x00\x00");
    assert_true(begin.keep);
}

static void test_end(void **state)
{
    char wire[RECORD_FIXED];
    struct record_end end;

    (void)state;
    memset(wire, 0x55, sizeof wire);
    record_encode_end(wire, 0xff01, 0x89abcdef, FCGI_CANT_MPX_CONN);
    assert_memory_equal(wire, "\x01\x03\xff\x01\x00\x08\x00\x00\x89\xab\xcd\xef\x01\x00\x00\x00",
                        sizeof wire);
    end = record_decode_end(wire + RECORD_HEADER);
    assert_true(end.app_status == 0x89abcdef);
    assert_int_equal(end.protocol_status, FCGI_CANT_MPX_CONN);
    end = record_decode_end("\x00\x00\x00\x02\xff\x00\x00\x00");
    assert_true(end.app_status == 2);
    assert_int_equal(end.protocol_status, 255);
}

static void test_unknown(void **state)
{
    char wire[RECORD_FIXED];

    (void)state;
    memset(wire, 0x55, sizeof wire);
    record_encode_unknown(wire, 200);
    assert_memory_equal(wire, "\x01\x0b\x00\x00\x00\x08\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x00",
                        sizeof wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_bytes), cmocka_unit_test(test_any_bytes_are_a_header),
        cmocka_unit_test(test_begin),        cmocka_unit_test(test_end),
        cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
