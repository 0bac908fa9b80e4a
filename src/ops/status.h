/*
 * The status of a running shim, and how it is shown: text, JSON, for Prometheus, as a page.
 *
 * status_gather makes one picture of what all processes have counted. The rest is pure: a picture in, bytes
 * out; whatever fails to be written shows at the stream. Not one byte of a peer's reaches the output
 * unescaped.
 */
#ifndef OPS_STATUS_H
#define OPS_STATUS_H

#include <stdio.h>

#include "ops/metrics.h"

/* Seconds of the history that are whole, the last of them just over. */
#define STATUS_SECONDS 60

/* How many of the refused are shown. */
#define STATUS_REFUSED 10

struct status_file {
    const char *path;
    const char *group; /* the [proxy NAME] that trusts its entries */
    uint64_t entries;
    uint64_t modified; /* wall clock, in seconds */
};

struct status {
    uint64_t time;                 /* wall clock, in seconds */
    const struct metrics *metrics; /* for the processes one by one */
    uint64_t generation;           /* of the configuration: the newest that a process has */
    struct metrics_counters total; /* of all processes, the ended ones too */
    struct metrics_gauges now;
    uint64_t ended[STATUS_SECONDS]; /* requests, a second; the oldest first */
    struct metrics_refused refused[STATUS_REFUSED];
    size_t nrefused;
    const struct status_file *files;
    size_t nfiles;
};

/*
 * time: wall clock, in seconds; now: of the clock of metrics_count_end, in microseconds. files are the
 * caller's, as the metrics, and must live as long as the picture.
 */
void status_gather(struct status *status, const struct metrics *metrics, uint64_t time, uint64_t now);

enum status_format {
    STATUS_TEXT,
    STATUS_JSON,
    STATUS_OPENMETRICS,
    STATUS_PROMETHEUS, /* the same in Prometheus's own format of before, for who does not ask for the new one
                        */
    STATUS_HTML,
};

/* What the query asks for: "", "json", "prometheus", "html"; what is none of them gets text. accept: the
 * request's header, data NULL if it has none. */
enum status_format status_choose(struct slice query, struct slice accept);

/* A whole CGI response (RFC 3875 section 6). */
void status_answer(FILE *out, enum status_format format, const struct status *status);

void status_write_text(FILE *out, const struct status *status);
void status_write_json(FILE *out, const struct status *status);
void status_write_openmetrics(FILE *out, const struct status *status, bool classic);
void status_write_html(FILE *out, const struct status *status);

/* The lines of the response's header that bind a browser: what it may load and run for the page. */
void status_write_html_policy(FILE *out);

/* ---- what the formats share ---- */

/* A number that has a name; the names are those of the JSON, as "requests.answered". */
struct status_value {
    const char *section, *name;
    uint64_t value;
};

#define STATUS_VALUES 80 /* more than there are */

/* All numbers that stand for themselves, in their order; returns how many. The names live on. */
size_t status_list_values(const struct status *status, struct status_value *values);

/* The rank of a latency, for status_list_values and Prometheus alike. */
struct status_rank {
    const char *name;
    unsigned permille;
};
#define STATUS_RANKS 5
extern const struct status_rank status_ranks[STATUS_RANKS];

/* Age in seconds; 0 for what lies ahead. */
uint64_t status_find_age(const struct status *status, uint64_t since);

/* For people; each writes at most STATUS_SHORT bytes with the NUL at its end. */
#define STATUS_SHORT 32
void status_format_bytes(char *out, uint64_t bytes);  /* "12.3 MB" */
void status_format_time(char *out, uint64_t us);      /* "1.23 ms" */
void status_format_age(char *out, uint64_t seconds);  /* "3 d 4 h" */
void status_format_rate(char *out, uint64_t ten);     /* "12.3": a second, of those in ten seconds */
void status_format_count(char *out, uint64_t number); /* "12 345", with no-break spaces */

#endif
