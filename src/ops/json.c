#include "ops/json.h"

#include "base/utf8.h"

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
