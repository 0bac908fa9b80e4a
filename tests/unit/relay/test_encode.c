/* Requests as the application gets them, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/encode.h"

#define BEGIN                                                                                                \
    "\1\1\1\2\0\10\0\0"                                                                                      \
    "\0\1\1\0\0\0\0\0"
#define END "\1\4\1\2\0\0\0\0"

struct fixture {
    char content[400000];
    size_t len;
    struct known known;
    struct edit edits[16];
    struct param added[4];
    struct rewrite rewrite;
    char out[800000];
    size_t out_len;
};

static struct fixture *fixture;

static void add(struct slice name, struct slice value)
{
    fixture->len += params_encode_pair(fixture->content + fixture->len, name, value);
}

static struct slice filled(size_t len, char byte)
{
    char *data = malloc(len ? len : 1);
    assert_non_null(data);
    memset(data, byte, len);
    return (struct slice){data, len};
}

/* All pairs are known. */
static void know_all(void)
{
    struct slice content = {fixture->content, fixture->len};
    struct known *known = &fixture->known;
    known->n = 0;
    for (const char *at = content.data; at != content.data + content.len; known->n++) {
        known->starts[known->n] = (uint32_t)(at - content.data);
        at = params_next(at, content.data + content.len, &known->params[known->n]);
        assert_non_null(at);
    }
}

static void encode_known(void)
{
    struct slice content = {fixture->content, fixture->len};
    fixture->rewrite.edits = fixture->edits;
    fixture->rewrite.added = fixture->added;
    const struct encode_request request = {0x102,   FCGI_RESPONDER,  true,
                                           content, &fixture->known, &fixture->rewrite};
    struct buffer scratch = {0};
    struct gather gather = {.count = 0};
    assert_int_equal(encode_request(&request, &scratch, &gather), 0);
    fixture->out_len = 0;
    for (int i = 0; i < gather.count; i++) {
        memcpy(fixture->out + fixture->out_len, gather.piece[i].iov_base, gather.piece[i].iov_len);
        fixture->out_len += gather.piece[i].iov_len;
    }
    assert_int_equal(fixture->out_len, gather.bytes);
    buffer_free(&scratch);
}

static void encode(void)
{
    know_all();
    encode_known();
}

#define assert_out(literal)                                                                                  \
    do {                                                                                                     \
        assert_int_equal(fixture->out_len, sizeof(literal) - 1);                                             \
        assert_memory_equal(fixture->out, literal, sizeof(literal) - 1);                                     \
    } while (0)

static void test_no_parameters(void **state)
{
    (void)state;
    encode();
    assert_out(BEGIN END);
}

static void test_edits_between_untouched_runs(void **state)
{
    (void)state;
    add(SLICE("A"), SLICE("1"));
    add(SLICE("B"), SLICE("22"));
    add(SLICE("C"), SLICE("3"));
    add(SLICE("D"), SLICE(""));
    fixture->edits[0] = (struct edit){1, false, SLICE("xyz")};
    fixture->edits[1] = (struct edit){2, true, {NULL, 0}};
    fixture->rewrite.nedits = 2;
    fixture->added[0] = (struct param){SLICE("E"), SLICE("5")};
    fixture->rewrite.nadded = 1;
    encode();
    assert_out(BEGIN "\1\4\1\2\0\21\0\0"
                     "\1\1A1"
                     "\1\3Bxyz"
                     "\1\0D"
                     "\1\1E5" END);
}

/* A gateway may spell a short length in four bytes: what is not edited keeps even that. */
static void test_untouched_pairs_keep_their_length_form(void **state)
{
    (void)state;
    static const char odd[] = "\200\0\0\1\1AB";
    memcpy(fixture->content, odd, sizeof(odd) - 1);
    fixture->len = sizeof(odd) - 1;
    add(SLICE("C"), SLICE("3"));
    fixture->edits[0] = (struct edit){1, false, SLICE("4")};
    fixture->rewrite.nedits = 1;
    encode();
    assert_out(BEGIN "\1\4\1\2\0\13\0\0"
                     "\200\0\0\1\1AB"
                     "\1\1C4" END);
}

/* What the policy cannot know is not in the list, and goes out all the same. */
static void test_unknown_pairs_pass(void **state)
{
    (void)state;
    add(SLICE("A"), SLICE("1"));
    add(SLICE("B"), SLICE("22"));
    add(SLICE("C"), SLICE("3"));
    encode();
    fixture->known.params[0] = fixture->known.params[1];
    fixture->known.starts[0] = fixture->known.starts[1];
    fixture->known.n = 1;
    fixture->edits[0] = (struct edit){0, false, SLICE("xyz")};
    fixture->rewrite.nedits = 1;
    encode_known();
    assert_out(BEGIN "\1\4\1\2\0\16\0\0"
                     "\1\1A1"
                     "\1\3Bxyz"
                     "\1\1C3" END);
}

static void test_value_crosses_the_length_form(void **state)
{
    (void)state;
    struct slice v127 = filled(127, 'v');
    struct slice v128 = filled(128, 'w');
    add(SLICE("A"), v127);
    fixture->edits[0] = (struct edit){0, false, v128};
    fixture->rewrite.nedits = 1;
    encode();
    const char *at = fixture->out + RECORD_FIXED;
    assert_memory_equal(at,
                        "\1\4\1\2\0\206\0\0"
                        "\1\200\0\0\200"
                        "A",
                        14);
    assert_memory_equal(at + 14, v128.data, 128);
    assert_memory_equal(at + 14 + 128, END, sizeof(END) - 1);
    free((char *)v127.data);
    free((char *)v128.data);
}

/* Walks the records and gives their content back; checks that each ends on a pair boundary if it must. */
static size_t collect(char *content, bool boundaries, unsigned *records)
{
    size_t len = 0;
    *records = 0;
    for (size_t at = RECORD_FIXED; at < fixture->out_len;) {
        struct record r = record_decode(fixture->out + at);
        assert_int_equal(r.type, FCGI_PARAMS);
        assert_int_equal(r.id, 0x102);
        assert_int_equal(r.padding, 0);
        at += RECORD_HEADER;
        struct param list[64];
        size_t n;
        if (boundaries)
            assert_int_equal(params_decode((struct slice){fixture->out + at, r.content}, list, 64, &n),
                             PARAMS_OK);
        memcpy(content + len, fixture->out + at, r.content);
        len += r.content;
        at += r.content;
        (*records)++;
        if (r.content == 0)
            assert_int_equal(at, fixture->out_len);
    }
    return len;
}

static void test_several_records_end_on_pair_boundaries(void **state)
{
    (void)state;
    static char content[400000];
    for (int i = 0; i < 12; i++) {
        struct slice value = filled(20000, (char)('a' + i));
        add(SLICE("NAME"), value);
        free((char *)value.data);
    }
    fixture->edits[0] = (struct edit){3, false, SLICE("short")};
    fixture->edits[1] = (struct edit){7, true, {NULL, 0}};
    fixture->rewrite.nedits = 2;
    fixture->added[0] = (struct param){SLICE("LAST"), SLICE("one")};
    fixture->rewrite.nadded = 1;
    encode();
    unsigned records;
    size_t len = collect(content, true, &records);
    struct param got[64];
    size_t n;
    assert_int_equal(params_decode((struct slice){content, len}, got, 64, &n), PARAMS_OK);
    assert_int_equal(n, 12);
    assert_int_equal(records, 5);
    assert_true(slice_equal(got[3].value, SLICE("short")));
    assert_int_equal(got[7].value.data[0], 'i');
    assert_true(slice_equal(got[11].name, SLICE("LAST")));
}

static void test_a_pair_that_no_record_holds_is_split(void **state)
{
    (void)state;
    static char content[400000];
    struct slice big = filled(150000, 'x');
    add(SLICE("A"), SLICE("1"));
    add(SLICE("BIG"), big);
    add(SLICE("C"), SLICE("3"));
    encode();
    unsigned records;
    size_t len = collect(content, false, &records);
    assert_int_equal(len, fixture->len);
    assert_memory_equal(content, fixture->content, len);
    /* A alone; BIG in three; the empty one. C shares the last piece's record. */
    assert_int_equal(records, 5);
    free((char *)big.data);
}

/* Exactly full, and one byte more. */
static void test_the_edge_of_one_record(void **state)
{
    (void)state;
    static char content[400000];
    unsigned records;
    struct slice value = filled(65535 - 6, 'x');
    add(SLICE("A"), value);
    encode();
    assert_int_equal(collect(content, true, &records), 65535);
    assert_int_equal(records, 2);
    fixture->added[0] = (struct param){SLICE(""), SLICE("")};
    fixture->rewrite.nadded = 1;
    encode();
    assert_int_equal(collect(content, true, &records), 65537);
    assert_int_equal(records, 3);
    free((char *)value.data);
}

static int setup(void **state)
{
    (void)state;
    fixture = calloc(1, sizeof(*fixture));
    return fixture ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(fixture);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_parameters),
        TEST(test_edits_between_untouched_runs),
        TEST(test_untouched_pairs_keep_their_length_form),
        TEST(test_unknown_pairs_pass),
        TEST(test_value_crosses_the_length_form),
        TEST(test_several_records_end_on_pair_boundaries),
        TEST(test_a_pair_that_no_record_holds_is_split),
        TEST(test_the_edge_of_one_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
