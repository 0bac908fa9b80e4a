#include "ops/access.h"

#include "ops/escape.h"

/* A line in the making. Everything that is put has a bound, and all of them together fit. */
struct pen {
    char *out;
    size_t at;
};

static void put(struct pen *pen, const char *text)
{
    size_t length = strlen(text);
    memcpy(pen->out + pen->at, text, length);
    pen->at += length;
}

static void put_number(struct pen *pen, uint64_t number)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(pen->out + pen->at, digits + n, sizeof digits - n);
    pen->at += sizeof digits - n;
}

static void put_padded(struct pen *pen, uint64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        pen->out[pen->at + (size_t)i] = (char)('0' + number % 10);
    pen->at += (size_t)digits;
}

/* Seconds with six decimals, or `never`. */
static void put_duration(struct pen *pen, uint64_t us, const char *never)
{
    if (us == ACCESS_NEVER) {
        put(pen, never);
        return;
    }
    put_number(pen, us / 1000000);
    put(pen, ".");
    put_padded(pen, us % 1000000, 6);
}

static void put_text(struct pen *pen, struct slice text, enum escape how, size_t most)
{
    pen->at += escape_text(text, how, pen->out + pen->at, most);
}

static void put_end(struct pen *pen, struct slice text, enum escape how, size_t most)
{
    pen->at += escape_end(text, how, pen->out + pen->at, most);
}

static void put_second(struct pen *pen, struct access_clock *clock, time_t second, bool utc,
                       const char *format)
{
    if (clock->length == 0 || clock->second != second) {
        struct tm parts = {0};
        clock->second = second;
        if (utc ? gmtime_r(&second, &parts) : localtime_r(&second, &parts))
            clock->length = strftime(clock->text, sizeof clock->text, format, &parts);
    }
    memcpy(pen->out + pen->at, clock->text, clock->length);
    pen->at += clock->length;
}

/* ---- combined ---- */

/* Something that stands between blanks: a dash if it is not there. */
static void put_word(struct pen *pen, struct slice text, size_t most)
{
    if (text.len == 0)
        put(pen, "-");
    else
        put_text(pen, text, ESCAPE_WORD, most);
}

/* In double quotes, likewise. */
static void put_quoted(struct pen *pen, struct slice text, size_t most)
{
    put(pen, " \"");
    if (!text.data)
        put(pen, "-");
    else
        put_text(pen, text, ESCAPE_TEXT, most);
    put(pen, "\"");
}

static void put_request_line(struct pen *pen, const struct access_entry *entry)
{
    put(pen, " \"");
    if (entry->method.len == 0 && entry->uri.len == 0) {
        put(pen, "-");
    } else {
        put_word(pen, entry->method, ACCESS_METHOD_MAX);
        put(pen, " ");
        put_word(pen, entry->uri, ACCESS_URI_MAX);
        if (entry->protocol.len > 0)
            put(pen, " ");
        put_text(pen, entry->protocol, ESCAPE_WORD, ACCESS_METHOD_MAX);
    }
    put(pen, "\"");
}

/* Up to the user agent it is what Apache's LogFormat "combined" makes. */
static void put_combined(struct pen *pen, struct access_clock *clock, const struct access_entry *entry)
{
    put_word(pen, entry->client, ACCESS_WORD_MAX);
    put(pen, " - ");
    put_word(pen, entry->user, ACCESS_WORD_MAX);
    put(pen, " [");
    put_second(pen, clock, entry->time.tv_sec, false, "%d/%b/%Y:%H:%M:%S %z");
    put(pen, "]");
    put_request_line(pen, entry);
    put(pen, " ");
    put_number(pen, entry->status);
    put(pen, " ");
    if (entry->bytes == 0)
        put(pen, "-");
    else
        put_number(pen, entry->bytes);
    put_quoted(pen, entry->referer, ACCESS_REFERER_MAX);
    put_quoted(pen, entry->agent, ACCESS_AGENT_MAX);

    put(pen, " ");
    put(pen, entry->reason ? entry->reason : "-");
    put(pen, " ");
    put(pen, entry->outcome);
    put(pen, " ");
    put_duration(pen, entry->total, "-");
    put(pen, " ");
    put_duration(pen, entry->first, "-");
    put(pen, " ");
    put_duration(pen, entry->queue, "-");
    put_quoted(pen, entry->peer, ACCESS_WORD_MAX);
    put(pen, " \"");
    if (entry->chain.data)
        put_end(pen, entry->chain, ESCAPE_TEXT, ACCESS_CHAIN_MAX);
    else
        put(pen, "-");
    put(pen, "\"\n");
}

/* ---- JSON ---- */

/* key: with its quotes, colon and the comma before it. */
static void put_member(struct pen *pen, const char *key, struct slice text, size_t most, bool end)
{
    put(pen, key);
    if (!text.data) {
        put(pen, "null");
        return;
    }
    put(pen, "\"");
    if (end)
        put_end(pen, text, ESCAPE_JSON, most);
    else
        put_text(pen, text, ESCAPE_JSON, most);
    put(pen, "\"");
}

static void put_json(struct pen *pen, struct access_clock *clock, const struct access_entry *entry)
{
    put(pen, "{\"time\":\"");
    put_second(pen, clock, entry->time.tv_sec, true, "%Y-%m-%dT%H:%M:%S.");
    put_padded(pen, (uint64_t)entry->time.tv_nsec / 1000000, 3);
    put(pen, "Z\"");
    put_member(pen, ",\"client\":", entry->client, ACCESS_WORD_MAX, false);
    put_member(pen, ",\"user\":", entry->user, ACCESS_WORD_MAX, false);
    put_member(pen, ",\"method\":", entry->method, ACCESS_METHOD_MAX, false);
    put_member(pen, ",\"uri\":", entry->uri, ACCESS_URI_MAX, false);
    put_member(pen, ",\"protocol\":", entry->protocol, ACCESS_METHOD_MAX, false);
    put(pen, ",\"status\":");
    put_number(pen, entry->status);
    put(pen, ",\"bytes\":");
    put_number(pen, entry->bytes);
    put_member(pen, ",\"referer\":", entry->referer, ACCESS_REFERER_MAX, false);
    put_member(pen, ",\"agent\":", entry->agent, ACCESS_AGENT_MAX, false);
    put_member(pen, ",\"reason\":", entry->reason ? slice_of(entry->reason) : (struct slice){0},
               ACCESS_WORD_MAX, false);
    put_member(pen, ",\"outcome\":", slice_of(entry->outcome), ACCESS_WORD_MAX, false);
    put(pen, ",\"total\":");
    put_duration(pen, entry->total, "null");
    put(pen, ",\"first\":");
    put_duration(pen, entry->first, "null");
    put(pen, ",\"queue\":");
    put_duration(pen, entry->queue, "null");
    put_member(pen, ",\"peer\":", entry->peer, ACCESS_WORD_MAX, false);
    put_member(pen, ",\"header\":", entry->header, ACCESS_WORD_MAX, false);
    put_member(pen, ",\"chain\":", entry->chain, ACCESS_CHAIN_MAX, true);
    put(pen, "}\n");
}

size_t access_format(enum access_format format, struct access_clock *clock, const struct access_entry *entry,
                     char *out)
{
    struct pen pen = {.out = out};
    if (format == ACCESS_JSON)
        put_json(&pen, clock, entry);
    else
        put_combined(&pen, clock, entry);
    return pen.at;
}
