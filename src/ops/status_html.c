/*
 * The page for people: a template, of which each element says in its data attributes which number of the JSON
 * it shows, and how. Here it is filled for the first time; where there is JavaScript, page/status.js goes on.
 *
 *   data-k="requests.total" data-f="count"   the text inside is this number in this form
 *   data-w="a.b" data-of="c.d"               the width is a.b in percent of c.d
 *   data-chart="history", data-peak=...      the bars of the history, the highest of its numbers
 *   data-list="workers"                      of a table: a row for each, by data-c and data-f of its columns
 */
#include <inttypes.h>
#include <time.h>

#include "base/utf8.h"
#include "ops/status.h"
#include "ops/status_parts.h"

#define NAME_MAX_LEN 40
#define COLUMNS      8

struct column {
    struct slice name, form, class;
};

struct filling {
    FILE *out;
    const struct status *status;
    struct status_value values[STATUS_VALUES];
    size_t nvalues;
    struct slice list; /* of the table that is being filled */
    struct column columns[COLUMNS];
    size_t ncolumns;
};

/* ---- text ---- */

/* Nothing that is markup, and nothing that is no text. */
static void write_text(FILE *out, struct slice text)
{
    while (text.len > 0) {
        unsigned char c = (unsigned char)text.data[0];
        size_t len = utf8_length((const unsigned char *)text.data, text.len);
        bool control = c < 0x20 || c == 0x7f || (len == 2 && c == 0xc2 && (unsigned char)text.data[1] < 0xa0);
        if (len == 0 || control || c == '\\') {
            fprintf(out, "\\x%02x", len == 2 ? (unsigned char)text.data[1] : c);
            len = len == 2 ? 2 : 1;
        } else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
            fprintf(out, "&#%u;", c);
        } else {
            fwrite(text.data, 1, len, out);
        }
        text = slice_part(text, len, text.len);
    }
}

static void write_clock(FILE *out, uint64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[STATUS_SHORT];
    if (gmtime_r(&when, &parts) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) > 0)
        fputs(text, out);
}

static void write_number(FILE *out, uint64_t value, struct slice form)
{
    static const struct {
        const char *name;
        void (*format)(char *out, uint64_t value);
    } forms[] = {{"count", status_format_count},
                 {"time", status_format_time},
                 {"age", status_format_age},
                 {"bytes", status_format_bytes},
                 {"rate", status_format_rate}};
    char text[STATUS_SHORT];
    snprintf(text, sizeof text, "%" PRIu64, value);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (slice_equal(form, slice_of(forms[i].name)))
            forms[i].format(text, value);
    }
    if (slice_equal(form, SLICE("clock")))
        write_clock(out, value);
    else
        fputs(text, out);
}

/* ---- numbers by name ---- */

static bool has_name(struct slice path, const char *section, const char *name)
{
    char text[NAME_MAX_LEN];
    int len = snprintf(text, sizeof text, "%s.%s", section, name);
    return slice_equal(path, (struct slice){text, (size_t)len});
}

static uint64_t find_value(const struct filling *filling, struct slice path)
{
    const struct metrics *metrics = filling->status->metrics;
    const struct status_value heads[] = {{"", "pid", metrics->pid},
                                         {"", "time", filling->status->time},
                                         {"", "generation", filling->status->generation},
                                         {"", "uptime", status_find_age(filling->status, metrics->started)}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        if (slice_equal(path, slice_of(heads[i].name)))
            return heads[i].value;
    }
    for (size_t i = 0; i < filling->nvalues; i++) {
        if (has_name(path, filling->values[i].section, filling->values[i].name))
            return filling->values[i].value;
    }
    return 0;
}

static void write_value(const struct filling *filling, struct slice path, struct slice form)
{
    if (slice_equal(path, SLICE("version")))
        write_text(filling->out, SLICE(FCGI_REALIP_VERSION));
    else
        write_number(filling->out, find_value(filling, path), form);
}

static void write_width(const struct filling *filling, struct slice path, struct slice of)
{
    uint64_t whole = find_value(filling, of), part = find_value(filling, path);
    uint64_t permille = whole == 0      ? 0
                        : part >= whole ? 1000
                                        : (uint64_t)(1000.0 * (double)part / (double)whole);
    fprintf(filling->out, " width=\"%" PRIu64 ".%" PRIu64 "\"", permille / 10, permille % 10);
}

/* ---- the history ---- */

static uint64_t find_peak(const struct status *status)
{
    uint64_t most = 0;
    for (size_t i = 0; i < STATUS_SECONDS; i++)
        most = status->ended[i] > most ? status->ended[i] : most;
    return most;
}

/* A bar for each second, ten units wide; the highest is a hundred high. */
static void write_chart(const struct filling *filling)
{
    uint64_t most = find_peak(filling->status);
    fputs(" d=\"", filling->out);
    for (size_t i = 0; i < STATUS_SECONDS; i++) {
        uint64_t value = filling->status->ended[i];
        if (value > 0)
            fprintf(filling->out, "M%zu 100v-%" PRIu64 "h8V100z", 10 * i + 1,
                    (100 * value + most - 1) / most);
    }
    fputc('"', filling->out);
}

/* ---- lists ---- */

static size_t count_rows(const struct filling *filling)
{
    if (slice_equal(filling->list, SLICE("refused")))
        return filling->status->nrefused;
    if (slice_equal(filling->list, SLICE("trust_files")))
        return filling->status->nfiles;
    return filling->status->metrics->count;
}

static void write_refused(FILE *out, const struct metrics_refused *entry, const struct column *column)
{
    char client[ADDRESS_TEXT_MAX];
    if (slice_equal(column->name, SLICE("client")))
        write_text(out, (struct slice){client, address_format(&entry->client, client)});
    else if (slice_equal(column->name, SLICE("peer")))
        write_text(out, (struct slice){entry->peer, entry->peer_len});
    else
        write_number(out, entry->count, column->form);
}

static void write_file(const struct filling *filling, const struct status_file *file,
                       const struct column *column)
{
    if (slice_equal(column->name, SLICE("group")))
        write_text(filling->out, slice_of(file->group));
    else if (slice_equal(column->name, SLICE("path")))
        write_text(filling->out, slice_of(file->path));
    else if (slice_equal(column->name, SLICE("entries")))
        write_number(filling->out, file->entries, column->form);
    else
        write_number(filling->out, status_find_age(filling->status, file->modified), column->form);
}

static void write_worker(const struct filling *filling, uint64_t number, const struct column *column)
{
    const struct metrics_slot *slot = &filling->status->metrics->slots[number];
    const struct status_value values[] = {
        {"", "number", number},
        {"", "pid", slot->pid},
        {"", "uptime", slot->pid ? status_find_age(filling->status, slot->started) : 0},
        {"", "generation", slot->generation},
        {"", "requests", metrics_count_requests(&slot->counters)},
        {"", "in_flight", slot->now.requests},
        {"", "queue", slot->now.waiting},
        {"", "connections", slot->now.fronts}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (slice_equal(column->name, slice_of(values[i].name)))
            write_number(filling->out, values[i].value, column->form);
    }
}

static void write_rows(const struct filling *filling)
{
    for (size_t row = 0; row < count_rows(filling); row++) {
        fputs("<tr>", filling->out);
        for (size_t i = 0; i < filling->ncolumns; i++) {
            const struct column *column = &filling->columns[i];
            fprintf(filling->out, "<td class=\"%.*s\">", (int)column->class.len, column->class.data);
            if (slice_equal(filling->list, SLICE("refused")))
                write_refused(filling->out, &filling->status->refused[row], column);
            else if (slice_equal(filling->list, SLICE("trust_files")))
                write_file(filling, &filling->status->files[row], column);
            else
                write_worker(filling, row, column);
            fputs("</td>", filling->out);
        }
        fputs("</tr>", filling->out);
    }
}

/* ---- the template ---- */

/* The value of a tag's attribute; data NULL: it has none of this name. */
static struct slice find_attribute(struct slice tag, const char *name)
{
    char start[NAME_MAX_LEN];
    size_t len = (size_t)snprintf(start, sizeof start, " %s=\"", name);
    const char *at = memmem(tag.data, tag.len, start, len);
    if (!at)
        return (struct slice){NULL, 0};
    at += len;
    const char *end = memchr(at, '"', (size_t)(tag.data + tag.len - at));
    return (struct slice){at, end ? (size_t)(end - at) : 0};
}

/* What the tag gets behind its attributes. */
static void write_attributes(const struct filling *filling, struct slice tag)
{
    struct slice width = find_attribute(tag, "data-w");
    if (width.data)
        write_width(filling, width, find_attribute(tag, "data-of"));
    if (find_attribute(tag, "data-chart").data)
        write_chart(filling);
}

/* What comes behind the tag. */
static void write_content(struct filling *filling, struct slice tag)
{
    struct slice form = find_attribute(tag, "data-f");
    struct slice value = find_attribute(tag, "data-k");
    struct slice list = find_attribute(tag, "data-list");
    struct slice column = find_attribute(tag, "data-c");
    if (value.data)
        write_value(filling, value, form);
    if (find_attribute(tag, "data-peak").data)
        write_number(filling->out, find_peak(filling->status), SLICE("count"));
    if (list.data) {
        filling->list = list;
        filling->ncolumns = 0;
    }
    if (column.data && filling->ncolumns < COLUMNS)
        filling->columns[filling->ncolumns++] = (struct column){column, form, find_attribute(tag, "class")};
    if (slice_equal(tag, SLICE("<tbody")) && filling->list.data) {
        write_rows(filling);
        filling->list = (struct slice){NULL, 0};
    }
    if (slice_equal(tag, SLICE("<style")))
        fwrite(status_part_css.data, 1, status_part_css.len, filling->out);
    if (slice_equal(tag, SLICE("<script")))
        fwrite(status_part_js.data, 1, status_part_js.len, filling->out);
}

void status_write_html(FILE *out, const struct status *status)
{
    struct filling filling = {.out = out, .status = status};
    filling.nvalues = status_list_values(status, filling.values);
    struct slice rest = {status_part_html.data, status_part_html.len};
    const char *start;
    while (rest.len > 0 && (start = memchr(rest.data, '<', rest.len)) != NULL) {
        size_t before = (size_t)(start - rest.data);
        const char *end = memchr(start, '>', rest.len - before);
        size_t tag = end ? (size_t)(end - start) : rest.len - before;
        fwrite(rest.data, 1, before + tag, out);
        write_attributes(&filling, (struct slice){start, tag});
        fputc('>', out);
        write_content(&filling, (struct slice){start, tag});
        rest = slice_part(rest, end ? before + tag + 1 : rest.len, rest.len);
    }
    fwrite(rest.data, 1, rest.len, out);
}

/* Base64 of a hash (RFC 4648 section 4). */
static void write_hash(FILE *out, const unsigned char *hash)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < STATUS_PART_HASH; i += 3) {
        bool last = i + 3 > STATUS_PART_HASH;
        uint32_t bits = (uint32_t)hash[i] << 16 | (uint32_t)hash[i + 1] << 8 | (last ? 0 : hash[i + 2]);
        fprintf(out, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                last ? '=' : digits[bits & 63]);
    }
}

void status_write_html_policy(FILE *out)
{
    fputs("Content-Security-Policy: default-src 'none'; style-src 'sha256-", out);
    write_hash(out, status_part_css.sha256);
    fputs("'; script-src 'sha256-", out);
    write_hash(out, status_part_js.sha256);
    fputs("'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
          "Referrer-Policy: no-referrer\r\n",
          out);
}
