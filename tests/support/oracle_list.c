/*
 * The oracle's reading of list headers: X-Forwarded-For and its kin, and Forwarded.
 */
#include "oracle.h"

#include <ctype.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.len && is_blank(s.data[0]))
        s = slice_part(s, 1, s.len);
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\0' || s.data[i] == '\r' || s.data[i] == '\n')
            return true;
    return false;
}

/* RFC 9110, section 5.6.2 */
#define TOKEN "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static bool is_made_of(struct slice s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\0' || !strchr(chars, s.data[i]))
            return false;
    return true;
}

/* Is the quote at i escaped, that is: an odd number of backslashes before it? */
static bool is_escaped(struct slice s, size_t i)
{
    size_t slashes = 0;
    while (slashes < i && s.data[i - 1 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 1;
}

/* Do the quotes of the text match? An escaped quote may stand inside quotes only. */
static bool is_balanced(struct slice s)
{
    bool inside = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] != '"')
            continue;
        if (!is_escaped(s, i))
            inside = !inside;
        else if (!inside)
            return false;
    }
    return !inside;
}

/* Where the next `c` outside quotes is, from `from` on; s.len: nowhere. */
static size_t find_outside(struct slice s, size_t from, char c)
{
    bool inside = false;
    for (size_t i = from; i < s.len; i++) {
        if (s.data[i] == '"' && !(inside && is_escaped(s, i)))
            inside = !inside;
        else if (s.data[i] == c && !inside)
            return i;
    }
    return s.len;
}

/*
 * The value of one pair: a quoted string, its escapes undone, or bare characters. data NULL: neither.
 */
static struct slice pair_value(struct slice raw)
{
    struct slice none = {NULL, 0};
    if (raw.len == 0)
        return none;
    if (raw.data[0] != '"')
        return is_made_of(raw, TOKEN ":[]") ? raw : none;
    char *out = oracle_alloc(raw.len);
    size_t len = 0;
    for (size_t i = 1; i < raw.len; i++) {
        if (raw.data[i] == '"')
            return i == raw.len - 1 ? (struct slice){out, len} : none;
        if (raw.data[i] == '\\' && ++i == raw.len)
            return none;
        if (iscntrl((unsigned char)raw.data[i]) && raw.data[i] != '\t')
            return none;
        out[len++] = raw.data[i];
    }
    return none;
}

/* for= and proto= of one Forwarded element whose quotes match; both stay NULL if it is malformed. */
static void read_forwarded(struct slice element, struct oracle_item *item)
{
    struct slice found_for = {NULL, 0}, proto = {NULL, 0};
    size_t nfor = 0, nproto = 0;
    for (size_t at = 0; at <= element.len;) {
        size_t end = find_outside(element, at, ';');
        struct slice pair = trim(slice_part(element, at, end));
        at = end + 1;
        if (pair.len == 0)
            continue;
        const char *equals = memchr(pair.data, '=', pair.len);
        if (!equals || equals == pair.data)
            return;
        size_t name_len = (size_t)(equals - pair.data);
        if (!is_made_of(slice_part(pair, 0, name_len), TOKEN))
            return;
        struct slice value = pair_value(slice_part(pair, name_len + 1, pair.len));
        if (!value.data)
            return;
        if (name_len == 3 && strncasecmp(pair.data, "for", 3) == 0) {
            found_for = value;
            nfor++;
        }
        if (name_len == 5 && strncasecmp(pair.data, "proto", 5) == 0) {
            proto = value;
            nproto++;
        }
    }
    if (nfor != 1)
        return;
    item->well_formed = true;
    item->address = oracle_node(found_for, &item->port);
    item->proto = nproto > 1 ? SLICE("") : proto;
}

static void add_item(struct oracle_list *list, struct slice copy, size_t base, size_t start, size_t end)
{
    struct slice text = trim(slice_part(copy, start, end));
    if (text.len == 0)
        return;
    struct oracle_item item = {.start = base + (size_t)(text.data - copy.data)};
    item.end = item.start + text.len;
    if (!has_control(text)) {
        if (!list->forwarded)
            item.address = oracle_element(text, &item.port);
        else if (is_balanced(text))
            read_forwarded(text, &item);
    }
    list->items[list->nitems++] = item;
}

/*
 * Elements of one copy of Forwarded. The last one is the shortest text behind a comma whose quotes match; if
 * there is none, all that is left is one malformed element. Then the same for what stands before it.
 */
static void split_forwarded(struct oracle_list *list, struct slice copy, size_t base)
{
    size_t first = list->nitems, end = copy.len;
    for (bool more = true; more;) {
        size_t start = end;
        while (start > 0 && !(copy.data[start - 1] == ',' && is_balanced(slice_part(copy, start, end))))
            start--;
        add_item(list, copy, base, start, end);
        more = start > 0;
        end = more ? start - 1 : 0;
    }
    for (size_t i = first, j = list->nitems; i + 1 < j; i++) {
        struct oracle_item swap = list->items[i];
        list->items[i] = list->items[--j];
        list->items[j] = swap;
    }
}

static void split_plain(struct oracle_list *list, struct slice copy, size_t base)
{
    for (size_t start = 0; start <= copy.len;) {
        size_t end = start;
        while (end < copy.len && copy.data[end] != ',')
            end++;
        add_item(list, copy, base, start, end);
        start = end + 1;
    }
}

struct oracle_list oracle_read_list(const char *name, bool forwarded, const struct param *params, size_t n)
{
    struct oracle_list list = {.param = name, .forwarded = forwarded};
    size_t room = 0;
    for (size_t i = 0; i < n; i++)
        room += params[i].value.len + 2;
    char *joined = oracle_alloc(room);
    list.items = oracle_alloc(room * sizeof(*list.items));
    list.joined.data = joined;
    for (size_t i = 0; i < n; i++) {
        if (!slice_equal(params[i].name, slice_of(name)))
            continue;
        list.present = true;
        list.copies++;
        struct slice copy = params[i].value;
        if (trim(copy).len == 0)
            continue;
        if (list.joined.len) {
            memcpy(joined + list.joined.len, ", ", 2);
            list.joined.len += 2;
        }
        memcpy(joined + list.joined.len, copy.data, copy.len);
        if (forwarded)
            split_forwarded(&list, copy, list.joined.len);
        else
            split_plain(&list, copy, list.joined.len);
        list.joined.len += copy.len;
    }
    list.unread = list.client = list.nitems;
    return list;
}
