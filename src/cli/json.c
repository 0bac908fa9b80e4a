#include "cli/json.h"

#include <stdint.h>

struct json json_start(FILE *out)
{
    return (struct json){.out = out};
}

static void separate(struct json *json)
{
    if (json->comma)
        fputc(',', json->out);
    json->comma = true;
}

void json_open(struct json *json, char bracket)
{
    separate(json);
    fputc(bracket, json->out);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    fputc(bracket, json->out);
    json->comma = true;
}

/* How many bytes the valid UTF-8 sequence at text has (Unicode, table 3-7), or 0. len is 1 at least. */
static size_t utf8_length(const unsigned char *text, size_t len)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t need;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        need = 2;
    else if (first >= 0xe0 && first <= 0xef)
        need = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        need = 4;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    if (first == 0xed)
        high = 0x9f;
    if (first == 0xf0)
        low = 0x90;
    if (first == 0xf4)
        high = 0x8f;
    if (len < need || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return need;
}

static void write_string(FILE *out, struct slice text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    fputc('"', out);
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_length(data + i, text.len - i);
        if (data[i] == '"' || data[i] == '\\') {
            fputc('\\', out);
        } else if (len == 0 || data[i] < 0x20 || data[i] == 0x7f) {
            fprintf(out, "\\u%04x", data[i++]);
            continue;
        }
        fwrite(data + i, 1, len, out);
        i += len;
    }
    fputc('"', out);
}

void json_key(struct json *json, struct slice key)
{
    separate(json);
    write_string(json->out, key);
    fputc(':', json->out);
    json->comma = false;
}

void json_string(struct json *json, struct slice text)
{
    separate(json);
    write_string(json->out, text);
}

void json_number(struct json *json, unsigned long long number)
{
    separate(json);
    fprintf(json->out, "%llu", number);
}

void json_bool(struct json *json, bool truth)
{
    separate(json);
    fputs(truth ? "true" : "false", json->out);
}

void json_null(struct json *json)
{
    separate(json);
    fputs("null", json->out);
}
