#include "ops/decision_line.h"

#include <stdio.h>

#include "ops/escape.h"

#define PEER_MAX 200

/* ', ="": what a parameter takes besides its name and value. */
#define PARAM_AROUND 5

/* ---- writing ---- */

static void put(struct decision_line *line, struct slice text)
{
    size_t room = sizeof line->text - line->len;
    size_t len = text.len < room ? text.len : room;
    if (len > 0)
        memcpy(line->text + line->len, text.data, len);
    line->len += len;
}

/* In double quotes; the end is what counts. */
static void put_quoted(struct decision_line *line, struct slice text, size_t most)
{
    size_t room = sizeof line->text - line->len;
    if (room < 2)
        return;
    if (most > room - 2)
        most = room - 2;
    if (text.len > most + 1) /* and no work for what is not shown */
        text = slice_part(text, text.len - most - 1, text.len);
    put(line, SLICE("\""));
    line->len += escape_end(text, ESCAPE_SHELL, line->text + line->len, most);
    put(line, SLICE("\""));
}

void decision_line_begin(struct decision_line *line, const struct decision_words *words)
{
    char head[64];
    if (words->refused)
        snprintf(head, sizeof head, "refused a request with %d", words->refused);
    else
        snprintf(head, sizeof head, "%s the client", words->changed ? "changed" : "kept");
    line->len = 0;
    put(line, slice_of(head));
    put(line, SLICE(": peer "));
    if (words->peer.data)
        put_quoted(line, words->peer, PEER_MAX);
    else
        put(line, SLICE("none"));
    put(line, SLICE(", client "));
    put(line, words->client.len > 0 ? words->client : SLICE("none"));
    put(line, SLICE(", "));
    put(line, words->reason);
}

size_t decision_line_measure(struct slice name, struct slice value, size_t most)
{
    size_t around = PARAM_AROUND + name.len;
    return around + (value.len > most ? value.len : escape_measure(value, ESCAPE_SHELL));
}

bool decision_line_add(struct decision_line *line, struct slice name, struct slice value, size_t most)
{
    size_t around = PARAM_AROUND + name.len;
    if (most < around + 3)
        return false;
    put(line, SLICE(", "));
    put(line, name);
    put(line, SLICE("="));
    put_quoted(line, value, most - around);
    return true;
}

void decision_line_add_secret(struct decision_line *line, struct slice name, struct slice group)
{
    put(line, SLICE(", "));
    put(line, name);
    put(line, group.len > 0 ? SLICE(" right for ") : SLICE(" wrong"));
    put(line, group);
}

/* ---- reading ---- */

static bool skip(struct slice *rest, struct slice text)
{
    if (rest->len < text.len || memcmp(rest->data, text.data, text.len) != 0)
        return false;
    *rest = slice_part(*rest, text.len, rest->len);
    return true;
}

/* Up to one of the bytes in `ends`, or the end. */
static struct slice read_until(struct slice *rest, const char *ends)
{
    size_t len = 0;
    while (len < rest->len && !memchr(ends, rest->data[len], strlen(ends)))
        len++;
    struct slice text = slice_part(*rest, 0, len);
    *rest = slice_part(*rest, len, rest->len);
    return text;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Undoes the escapes; false if there are others than ours. */
static bool unescape(struct decision_reader *reader, struct slice text, struct slice *out)
{
    out->data = reader->room;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (byte == '\\') {
            int high = i + 3 < text.len && text.data[i + 1] == 'x' ? hex_value(text.data[i + 2]) : -1;
            int low = high >= 0 ? hex_value(text.data[i + 3]) : -1;
            if (low < 0)
                return false;
            byte = (char)(high << 4 | low);
            i += 3;
        }
        *reader->room++ = byte;
    }
    out->len = (size_t)(reader->room - out->data);
    return true;
}

static bool read_quoted(struct decision_reader *reader, struct slice *out)
{
    if (!skip(&reader->rest, SLICE("\"")))
        return false;
    struct slice text = read_until(&reader->rest, "\"");
    return skip(&reader->rest, SLICE("\"")) && unescape(reader, text, out);
}

/* The beginning up to "peer ". What a log writes before it is its own, and has nothing of the kind. */
static bool find_verdict(struct slice *rest, struct decision_words *words)
{
    static const struct slice changed = {"changed the client: peer ", 25},
                              kept = {"kept the client: peer ", 22};
    static const struct slice refused = {"refused a request with ", 23};
    for (; rest->len > 0; *rest = slice_part(*rest, 1, rest->len)) {
        if (skip(rest, kept))
            return true;
        if (skip(rest, changed)) {
            words->changed = true;
            return true;
        }
        if (!skip(rest, refused))
            continue;
        for (struct slice digits = read_until(rest, ":"); digits.len > 0 && digits.len <= 3;
             digits = slice_part(digits, 1, digits.len))
            words->refused = 10 * words->refused + (digits.data[0] - '0');
        return skip(rest, SLICE(": peer "));
    }
    return false;
}

bool decision_read(struct decision_reader *reader, struct slice line, char *room,
                   struct decision_words *words)
{
    *words = (struct decision_words){0};
    *reader = (struct decision_reader){line, room};
    if (!find_verdict(&reader->rest, words))
        return false;
    if (!skip(&reader->rest, SLICE("none")) && !read_quoted(reader, &words->peer))
        return false;
    if (!skip(&reader->rest, SLICE(", client ")))
        return false;
    words->client = read_until(&reader->rest, ",");
    if (slice_equal(words->client, SLICE("none")))
        words->client = SLICE("");
    if (!skip(&reader->rest, SLICE(", ")))
        return false;
    words->reason = read_until(&reader->rest, ",\r\n ");
    return words->reason.len > 0;
}

int decision_read_item(struct decision_reader *reader, struct decision_item *item)
{
    struct slice *rest = &reader->rest;
    if (!skip(rest, SLICE(", "))) {
        while (skip(rest, SLICE("\n")) || skip(rest, SLICE("\r")) || skip(rest, SLICE(" ")))
            continue;
        return rest->len > 0 ? -1 : 0;
    }
    *item = (struct decision_item){.kind = DECISION_PARAM, .name = read_until(rest, "= ")};
    if (item->name.len == 0)
        return -1;
    if (skip(rest, SLICE("=")))
        return read_quoted(reader, &item->value) ? 1 : -1;
    if (skip(rest, SLICE(" wrong"))) {
        item->kind = DECISION_WRONG;
        return 1;
    }
    if (!skip(rest, SLICE(" right for ")))
        return -1;
    item->kind = DECISION_RIGHT;
    item->value = read_until(rest, ",\r\n ");
    return item->value.len > 0 ? 1 : -1;
}
