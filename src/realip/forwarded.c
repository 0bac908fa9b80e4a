#include "realip/forwarded.h"

#include "realip/list.h"

/* How many backslashes stand directly before an offset. */
static size_t count_backslashes(struct slice value, size_t at)
{
    size_t n = 0;

    while (n < at && value.data[at - 1 - n] == '\\')
        n++;
    return n;
}

/*
 * From the quote at *at leftwards to the one that opens the string, where *at then is. False if the quote at
 * *at closes nothing.
 */
static bool skip_quoted(struct slice value, size_t *at)
{
    size_t i = *at;

    if (count_backslashes(value, i) % 2 == 1)
        return false;
    while (i > 0) {
        if (value.data[--i] != '"')
            continue;
        size_t backslashes = count_backslashes(value, i);

        if (backslashes % 2 == 0) {
            *at = i;
            return true;
        }
        i -= backslashes;
    }
    return false;
}

bool forwarded_previous(struct slice value, size_t *at, struct slice *element)
{
    size_t end = *at;

    while (end > 0 && (value.data[end - 1] == ',' || list_is_space(value.data[end - 1])))
        end--;
    size_t start = end;
    while (start > 0 && value.data[start - 1] != ',') {
        start--;
        if (value.data[start] == '"' && !skip_quoted(value, &start))
            start = 0;
    }
    while (start < end && list_is_space(value.data[start]))
        start++;
    *at = start;
    if (start == end)
        return false;
    *element = slice_part(value, start, end);
    return true;
}

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_value_char(char c)
{
    return is_token_char(c) || c == ':' || c == '[' || c == ']';
}

/* Leaves escapes as they are where the text is longer than the buffer. */
static struct slice undo_escapes(struct slice quoted, char *text)
{
    size_t n = 0;

    if (quoted.len > FORWARDED_TEXT_MAX || quoted.len == 0 || memchr(quoted.data, '\\', quoted.len) == NULL)
        return quoted;
    for (size_t i = 0; i < quoted.len; i++) {
        i += quoted.data[i] == '\\';
        text[n++] = quoted.data[i];
    }
    return (struct slice){text, n};
}

/* Reads a quoted string from the quote at *at; *at is then behind its end. *inside is what the quotes hold.
 */
static bool scan_quoted(struct slice element, size_t *at, struct slice *inside)
{
    size_t i = *at + 1;

    for (; i < element.len && element.data[i] != '"'; i++) {
        i += element.data[i] == '\\';
        if (i >= element.len || ((unsigned char)element.data[i] < ' ' && element.data[i] != '\t') ||
            element.data[i] == 0x7f)
            return false;
    }
    if (i >= element.len)
        return false;
    *inside = slice_part(element, *at + 1, i);
    *at = i + 1;
    return true;
}

static bool scan_token(struct slice element, size_t *at, bool (*is_char)(char), struct slice *token)
{
    size_t i = *at;

    while (i < element.len && is_char(element.data[i]))
        i++;
    *token = slice_part(element, *at, i);
    *at = i;
    return token->len > 0;
}

static void skip_space(struct slice element, size_t *at)
{
    while (*at < element.len && list_is_space(element.data[*at]))
        ++*at;
}

/* Names are the same in any case (RFC 7239 section 4). */
static bool is_named(struct slice name, struct slice lower)
{
    if (name.len != lower.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if ((name.data[i] | 0x20) != lower.data[i])
            return false;
    }
    return true;
}

/* One "name=value" at *at, which is then behind it. */
static bool scan_pair(struct slice element, size_t *at, struct slice *name, struct slice *value, bool *quoted)
{
    if (!scan_token(element, at, is_token_char, name) || *at == element.len || element.data[*at] != '=')
        return false;
    ++*at;
    *quoted = *at < element.len && element.data[*at] == '"';
    if (*quoted)
        return scan_quoted(element, at, value);
    return scan_token(element, at, is_value_char, value);
}

bool forwarded_parse(struct slice element, struct forwarded *out)
{
    size_t at = 0;

    out->node = out->proto = (struct slice){NULL, 0};
    while (at < element.len) {
        struct slice name, value;
        bool quoted;

        skip_space(element, &at);
        if (at < element.len && element.data[at] != ';') {
            if (!scan_pair(element, &at, &name, &value, &quoted))
                return false;
            if (is_named(name, SLICE("for"))) {
                if (out->node.data != NULL)
                    return false;
                out->node = quoted ? undo_escapes(value, out->node_text) : value;
            } else if (is_named(name, SLICE("proto"))) {
                value = quoted ? undo_escapes(value, out->proto_text) : value;
                out->proto = out->proto.data != NULL ? SLICE("") : value;
            }
            skip_space(element, &at);
        }
        if (at < element.len && element.data[at++] != ';')
            return false;
    }
    return out->node.data != NULL;
}
