/*
 * A trust file. What it gives are blocks without bits behind the prefix, each of which means itself when it
 * is written out; and the ends of its lines, blanks around them and comments change nothing.
 *
 * Host names have the addresses of the unit tests; nothing is asked of the network. Input: the file.
 */
#include "../unit/config/names.h"

#include "config/trust.h"
#include "files.h"
#include "realip/address.h"

struct blocks {
    struct cidr *list;
    size_t n, room;
    size_t errors;
};

static int collect(void *user, const struct cidr *block)
{
    struct blocks *blocks = user;
    if (blocks->n == blocks->room) {
        blocks->room = blocks->room * 2 + 16;
        blocks->list = realloc(blocks->list, blocks->room * sizeof(*blocks->list));
        FUZZ_CHECK(blocks->list, "no memory");
    }
    blocks->list[blocks->n++] = *block;
    return 0;
}

static struct blocks read_file(struct slice text)
{
    struct blocks blocks = {0};
    struct messages messages = {0};
    struct memory memory = {0};
    const struct trust_list list = {.add = collect,
                                    .user = &blocks,
                                    .trusting = true,
                                    .key = "trust",
                                    .memory = &memory,
                                    .messages = &messages,
                                    .file = "fuzz.ini",
                                    .line = 4};
    trust_add_file(&list, files_write(text), SLICE("list"));
    blocks.errors = messages.errors;
    FUZZ_CHECK(blocks.n > 0 || blocks.errors > 0, "an empty list without an error");
    messages_free(&messages);
    memory_free(&memory);
    return blocks;
}

static void check_block(const struct cidr *block)
{
    char text[ADDRESS_TEXT_MAX + 8];
    struct cidr again;
    bool host_bits = true;
    if (block->first.kind == ADDRESS_UNIX)
        return;
    size_t len = address_format(&block->first, text);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "/%u", (unsigned)block->bits);
    FUZZ_CHECK(cidr_parse((struct slice){text, len}, &again, &host_bits), "a block that is none");
    FUZZ_CHECK(!host_bits, "bits behind the prefix");
    FUZZ_CHECK(again.bits == block->bits && address_equal(&again.first, &block->first), "another block");
}

/* Of a file with errors nothing is used. */
static bool same_blocks(const struct blocks *a, const struct blocks *b)
{
    if (a->errors > 0 || b->errors > 0)
        return a->errors > 0 && b->errors > 0;
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->list[i].bits != b->list[i].bits || a->list[i].first.kind != b->list[i].first.kind ||
            a->list[i].first.hi != b->list[i].first.hi || a->list[i].first.lo != b->list[i].first.lo)
            return false;
    return true;
}

/* The same lines with blanks before, a comment behind, and other ends; free it. */
static struct slice dress_up(struct slice text)
{
    static const char before[] = " \t", behind[] = " # x\r\n";
    char *out = fuzz_alloc((text.len + 1) * (sizeof(before) + sizeof(behind)));
    size_t len = 0;
    bool fresh = true;
    for (size_t i = 0; i < text.len; i++) {
        /* A mark of the byte order is one only where the file begins. */
        bool mark = i == 0 && text.len >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0;
        for (size_t k = 0; mark && k < 3; k++)
            out[len++] = text.data[i++];
        for (size_t k = 0; fresh && k < sizeof(before) - 1; k++)
            out[len++] = before[k];
        fresh = i < text.len && text.data[i] == '\n';
        if (fresh && i > 0 && text.data[i - 1] == '\r')
            len--;
        for (size_t k = 0; fresh && k < sizeof(behind) - 1; k++)
            out[len++] = behind[k];
        if (!fresh && i < text.len)
            out[len++] = text.data[i];
    }
    return (struct slice){out, len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct blocks plain = read_file(text);
    for (size_t i = 0; i < plain.n; i++)
        check_block(&plain.list[i]);
    struct slice dressed = dress_up(text);
    struct blocks other = read_file(dressed);
    FUZZ_CHECK(same_blocks(&plain, &other), "blanks, comments and ends of lines change the list");
    free((char *)(uintptr_t)dressed.data);
    free(plain.list);
    free(other.list);
    return 0;
}
