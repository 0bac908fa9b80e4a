/*
 * Errors and warnings found while reading a configuration, kept until all are found.
 */
#ifndef CONFIG_MESSAGES_H
#define CONFIG_MESSAGES_H

#include <stdbool.h>
#include <stdio.h>

struct message {
    bool error;     /* else a warning */
    char *text;     /* "FILE:LINE: what is wrong", no newline; malloc'ed */
    unsigned order; /* line of the configuration file that it belongs to, 0: to the whole file */
    size_t arrival; /* for messages_sort */
};

struct messages {
    struct message *list;
    size_t count;
    size_t errors;
    unsigned within; /* while a file is read that this line of the configuration names: that line; else 0 */
};

/*
 * Starts empty as {0}. Line 0: the file alone is to blame. Without memory for the text the error is still
 * counted.
 */
void messages_add(struct messages *messages, bool error, const char *file, unsigned line, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));

/*
 * Puts the messages from index `from` on into the order of the configuration's lines; those of one line stay
 * as they were.
 */
void messages_sort(struct messages *messages, size_t from);

/* One line each, "fcgi-realip: error: FILE:LINE: ..." or "fcgi-realip: warning: ...". */
void messages_print(const struct messages *messages, FILE *out);

void messages_free(struct messages *messages);

#endif
