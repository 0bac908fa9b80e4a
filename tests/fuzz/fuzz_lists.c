/*
 * One header's elements, read from the right without a copy, against the oracle, which copies and splits from
 * the left; and every address text against inet_pton.
 *
 * Input: bit 0 of the first byte: Forwarded; then copies of the header, a form feed between them.
 */
#include "fuzz.h"
#include "oracle.h"
#include "realip/address.h"
#include "realip/forwarded.h"
#include "realip/list.h"

#define COPIES 16

static bool same_address(bool is_one, const struct address *address, const char *text)
{
    char got[ADDRESS_TEXT_MAX];
    if (!is_one || !text)
        return !is_one && !text;
    return slice_equal((struct slice){got, address_format(address, got)}, slice_of(text));
}

static void check_item(struct slice element, bool forwarded, const struct oracle_item *want)
{
    struct address address;
    uint16_t port = 0;
    bool is_one;
    if (forwarded) {
        struct forwarded parsed;
        bool well_formed = forwarded_parse(element, &parsed);
        FUZZ_CHECK(well_formed == want->well_formed, "a Forwarded element: malformed or not");
        is_one = well_formed && address_parse_node(parsed.node, &address, &port);
        if (well_formed)
            FUZZ_CHECK((parsed.proto.data == NULL) == (want->proto.data == NULL) &&
                           slice_equal(parsed.proto, want->proto),
                       "another proto=");
    } else {
        is_one = !slice_has_control(element) && address_parse_element(element, &address, &port);
    }
    FUZZ_CHECK(same_address(is_one, &address, want->address), "another address");
    FUZZ_CHECK(!is_one || port == want->port, "another port");
}

/* The copies from the right, as the walk takes them. */
static void check_list(const struct param *copies, size_t n, const struct oracle_list *want, bool forwarded)
{
    size_t unread = want->nitems;
    for (size_t i = n; i-- > 0;) {
        size_t at = copies[i].value.len;
        size_t before = at;
        struct slice element;
        while (forwarded ? forwarded_previous(copies[i].value, &at, &element)
                         : list_previous(copies[i].value, &at, &element)) {
            FUZZ_CHECK(unread > 0, "more elements than there are");
            const struct oracle_item *item = &want->items[--unread];
            struct slice text = slice_part(want->joined, item->start, item->end);
            FUZZ_CHECK(slice_equal(element, text), "another element");
            FUZZ_CHECK(element.data == copies[i].value.data + at && at < before, "stands elsewhere");
            before = at;
            check_item(element, forwarded, item);
        }
    }
    FUZZ_CHECK(unread == 0, "an element was not found");
}

static void check_texts(struct slice text)
{
    struct address address = {ADDRESS_NONE, 0, 0};
    uint16_t port = 0;
    unsigned want_port = 0;
    const char *want = oracle_element(text, &want_port);
    bool is_one = address_parse_element(text, &address, &port);
    FUZZ_CHECK(same_address(is_one, &address, want), "an element that is another address");
    FUZZ_CHECK(!is_one || port == want_port, "an element with another port");
    want = oracle_peer(text);
    address = address_parse_peer(text);
    FUZZ_CHECK(same_address(address.kind != ADDRESS_NONE, &address, want), "another peer");
    want = oracle_address(text);
    is_one = address_parse(text, &address);
    FUZZ_CHECK(same_address(is_one, &address, want), "another bare address");
    if (is_one)
        FUZZ_CHECK(address_is_private(&address) == oracle_is_private(want), "private or not");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_new(data, size);
    bool forwarded = fuzz_byte(&input) & 1;
    struct param copies[COPIES];
    size_t n = 0;
    check_texts(oracle_copy((struct slice){input.at, input.left}));
    do {
        const char *end = n + 1 < COPIES ? memchr(input.at, '\f', input.left) : NULL;
        struct slice copy = fuzz_bytes(&input, end ? (size_t)(end - input.at) : input.left);
        fuzz_byte(&input);
        copies[n++] = (struct param){SLICE("H"), oracle_copy(copy)};
    } while (input.left > 0);
    const struct oracle_list want = oracle_read_list("H", forwarded, copies, n);
    check_list(copies, n, &want, forwarded);
    oracle_reset();
    return 0;
}
