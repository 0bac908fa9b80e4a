#include "cli/whoami_answer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/text.h"
#include "ops/json.h"
#include "realip/policy.h"

struct body {
    uint64_t length;
    uint32_t crc;
};

struct query {
    bool json;
    bool sized;
    bool bad_size;
    uint64_t size;
};

/* CRC-32 as in zip, PNG and zlib (reflected, polynomial 0xEDB88320), four bits at a time. */
static uint32_t crc32_add(uint32_t crc, const char *data, size_t len)
{
    static const uint32_t nibbles[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)data[i];
        crc = crc >> 4 ^ nibbles[crc & 15];
        crc = crc >> 4 ^ nibbles[crc & 15];
    }
    return ~crc;
}

static struct body read_body(const struct exchange *exchange)
{
    struct body body = {0};
    char buffer[16384];
    for (size_t len; (len = exchange->read(exchange->context, buffer, sizeof buffer)) > 0;) {
        body.length += len;
        body.crc = crc32_add(body.crc, buffer, len);
    }
    return body;
}

static struct param split_variable(const char *variable)
{
    struct slice text = slice_of(variable);
    const char *equals = memchr(text.data, '=', text.len);
    if (!equals)
        return (struct param){.name = text, .value = slice_part(text, text.len, text.len)};
    size_t at = (size_t)(equals - text.data);
    return (struct param){.name = slice_part(text, 0, at), .value = slice_part(text, at + 1, text.len)};
}

/* The first of that name; NULL if there is none. */
static const struct param *find_param(const struct param *params, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_equal(params[i].name, name))
            return &params[i];
    return NULL;
}

static void read_word(struct slice word, struct query *query)
{
    const struct slice size = SLICE("size=");
    if (slice_equal(word, SLICE("json")))
        query->json = true;
    if (word.len < size.len || !slice_equal(slice_part(word, 0, size.len), size))
        return;
    query->sized = true;
    query->bad_size = word.len == size.len || word.len > size.len + 15;
    query->size = 0;
    for (size_t i = size.len; i < word.len && !query->bad_size; i++) {
        query->bad_size = word.data[i] < '0' || word.data[i] > '9';
        query->size = query->size * 10 + (uint64_t)(word.data[i] - '0');
    }
}

static struct query read_query(const struct param *params, size_t n)
{
    struct query query = {0};
    const struct param *param = find_param(params, n, SLICE("QUERY_STRING"));
    if (!param)
        return query;
    size_t start = 0;
    for (size_t i = 0; i <= param->value.len; i++) {
        if (i < param->value.len && param->value.data[i] != '&')
            continue;
        read_word(slice_part(param->value, start, i), &query);
        start = i + 1;
    }
    return query;
}

static void write_head(const struct exchange *exchange, const char *status, const char *type, uint64_t length)
{
    char head[256];
    int len = snprintf(head, sizeof head,
                       "Status: %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
                       "Cache-Control: no-store\r\n\r\n",
                       status, type, (unsigned long long)length);
    exchange->write(exchange->context, head, (size_t)len);
}

static void write_text(const struct exchange *exchange, const char *status, const char *type,
                       struct slice text)
{
    write_head(exchange, status, type, text.len);
    exchange->write(exchange->context, text.data, text.len);
}

static void write_bytes(const struct exchange *exchange, uint64_t size)
{
    enum { LINE = 16, LINES = 512 };
    char block[LINE * LINES + 1];
    write_head(exchange, "200 OK", "application/octet-stream", size);
    for (uint64_t number = 0; size > 0; number += LINES) {
        for (unsigned i = 0; i < LINES; i++)
            snprintf(block + i * LINE, LINE + 1, "%015llu\n", (unsigned long long)(number + i));
        size_t len = size < LINE * LINES ? (size_t)size : LINE * LINES;
        if (!exchange->write(exchange->context, block, len))
            return;
        size -= len;
    }
}

static void print_json(FILE *out, const struct param *params, size_t n, const struct body *body)
{
    struct json json = json_start(out);
    json_open(&json, '{');
    json_key(&json, SLICE("params"));
    json_open(&json, '{');
    for (size_t i = 0; i < n; i++) {
        if (find_param(params, i, params[i].name))
            continue;
        json_key(&json, params[i].name);
        json_string(&json, params[i].value);
    }
    json_close(&json, '}');
    json_key(&json, SLICE("pairs"));
    json_open(&json, '[');
    for (size_t i = 0; i < n; i++) {
        json_open(&json, '[');
        json_string(&json, params[i].name);
        json_string(&json, params[i].value);
        json_close(&json, ']');
    }
    json_close(&json, ']');
    char crc[9];
    snprintf(crc, sizeof crc, "%08x", (unsigned)body->crc);
    json_key(&json, SLICE("body_length"));
    json_number(&json, body->length);
    json_key(&json, SLICE("body_crc32"));
    json_string(&json, slice_of(crc));
    json_close(&json, '}');
    fputc('\n', out);
}

static void print_param(FILE *out, const struct param *param)
{
    text_escape(out, param->name);
    fputc('=', out);
    text_escape(out, param->value);
    fputc('\n', out);
}

static int compare_names(const void *left, const void *right)
{
    const struct param *a = *(const struct param *const *)left, *b = *(const struct param *const *)right;
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = memcmp(a->name.data, b->name.data, len);
    if (order)
        return order;
    if (a->name.len != b->name.len)
        return a->name.len < b->name.len ? -1 : 1;
    return a < b ? -1 : a > b; /* repeats stay in the order in which they came */
}

static bool tells_of_client(const struct policy *names, struct slice name)
{
    enum name_kind kind = policy_match_name(names, name).kind;
    return kind != NAME_OTHER && kind <= NAME_X_FORWARDED_HOST;
}

static int print_people(FILE *out, const struct param *params, size_t n, const struct body *body,
                        const struct policy *names)
{
    const struct param **sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted)
        return -1;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &params[i];
    qsort(sorted, n, sizeof *sorted, compare_names);

    const struct param *addr = find_param(params, n, SLICE("REMOTE_ADDR"));
    fputs(addr ? "You are " : "There is no REMOTE_ADDR", out);
    if (addr)
        text_escape(out, addr->value);
    fputs("\n\n", out);
    for (size_t i = 0; i < n; i++)
        if (tells_of_client(names, sorted[i]->name))
            print_param(out, sorted[i]);
    fprintf(out, "\nThe request's body: %llu bytes, CRC-32 %08x\n\nAll %zu parameters:\n",
            (unsigned long long)body->length, (unsigned)body->crc, n);
    for (size_t i = 0; i < n; i++) {
        fputs("  ", out);
        print_param(out, sorted[i]);
    }
    free(sorted);
    return 0;
}

static int answer(const struct exchange *exchange, const struct policy *names, const struct param *params,
                  size_t n)
{
    struct query query = read_query(params, n);
    struct body body = read_body(exchange);
    if (query.bad_size) {
        write_text(exchange, "400 Bad Request", "text/plain", SLICE("size= takes a number of bytes\n"));
        return 0;
    }
    if (query.sized) {
        write_bytes(exchange, query.size);
        return 0;
    }
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return -1;
    int error = 0;
    if (query.json)
        print_json(out, params, n, &body);
    else
        error = print_people(out, params, n, &body, names);
    if (fclose(out) == EOF)
        error = -1;
    if (!error)
        write_text(exchange, "200 OK", query.json ? "application/json" : "text/plain",
                   (struct slice){text, len});
    free(text);
    return error;
}

void whoami_answer(const struct exchange *exchange, const struct policy *names)
{
    size_t n = 0;
    while (exchange->environment[n])
        n++;
    struct param *params = calloc(n + 1, sizeof *params);
    for (size_t i = 0; params && i < n; i++)
        params[i] = split_variable(exchange->environment[i]);
    if (!params || answer(exchange, names, params, n) != 0)
        write_text(exchange, "500 Internal Server Error", "text/plain", SLICE("out of memory\n"));
    free(params);
}
