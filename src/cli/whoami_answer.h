/*
 * What whoami answers: the parameters it was given, for people or as JSON, what it read of the body, or a
 * number of bytes to download.
 *
 * QUERY_STRING chooses (words between `&`):
 *   (none)    text: the client's address and what else tells of the client, then all parameters, sorted
 *   json      {"params":{...},"pairs":[[NAME,VALUE],...],"body_length":N,"body_crc32":"xxxxxxxx"}: params has
 *             the first value of each name, pairs all of them as they came
 *   size=N    N bytes: lines of 15 digits that count from 0, cut off at N
 */
#ifndef CLI_WHOAMI_ANSWER_H
#define CLI_WHOAMI_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

struct policy;

/* One request, whatever carries it. */
struct exchange {
    char **environment;                                         /* "NAME=value", ends with NULL */
    size_t (*read)(void *context, char *buffer, size_t size);   /* of the body; 0: its end */
    bool (*write)(void *context, const char *data, size_t len); /* false: the reader is gone */
    void *context;
};

/*
 * Reads the body and writes a CGI response. names: any compiled policy; it says which parameters tell of the
 * client. Thread-safe. Without memory for the answer it is a 500.
 */
void whoami_answer(const struct exchange *exchange, const struct policy *names);

#endif
