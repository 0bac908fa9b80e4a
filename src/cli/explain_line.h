/*
 * A request taken from a line of the error log, for explain.
 */
#ifndef CLI_EXPLAIN_LINE_H
#define CLI_EXPLAIN_LINE_H

#include "config/config.h"
#include "ops/decision_line.h"
#include "realip/decide.h"

struct explain_line {
    struct decision_words words;
    char *room;                  /* malloc'ed: texts of words and items */
    struct decision_item *items; /* malloc'ed */
    size_t n;
};

/* NULL, or what is wrong with the text, which must live as long as the line. explain_line_free is due. */
const char *explain_line_read(struct explain_line *line, const char *text);
void explain_line_free(struct explain_line *line);

/*
 * The parameters that the line tells of, REMOTE_ADDR first, into params, which has room for line->n + 1;
 * returns how many. Secrets are taken from the configuration, or are wrong ones.
 */
size_t explain_line_params(const struct explain_line *line, const struct config *config,
                           struct param *params);

/* Warns on standard error if the decision is another one than the line tells. */
void explain_line_compare(const struct explain_line *line, const struct decision *decision);

#endif
