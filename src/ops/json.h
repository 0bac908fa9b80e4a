/*
 * JSON, written value by value. RFC 8259.
 *
 * The writer sets the commas; the caller opens and closes, and gives each member of an object its key first.
 */
#ifndef OPS_JSON_H
#define OPS_JSON_H

#include <stdio.h>

#include "base/slice.h"

struct json {
    FILE *out;
    bool comma; /* something stands before on this level */
};

struct json json_start(FILE *out);

void json_open(struct json *json, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket);

void json_key(struct json *json, struct slice key);

/*
 * Any bytes: quotes, backslashes and control characters (DEL too) are escaped, UTF-8 passes, and each byte
 * that is part of no valid UTF-8 sequence becomes \u00XX.
 */
void json_string(struct json *json, struct slice text);
void json_number(struct json *json, unsigned long long number);
void json_bool(struct json *json, bool truth);
void json_null(struct json *json);

#endif
