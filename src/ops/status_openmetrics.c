/*
 * OpenMetrics 1.0 text, and the format of Prometheus that it grew out of ("classic", 0.0.4), which names
 * counters in its comments by their samples' names, and knows no units.
 */
#include <inttypes.h>

#include "base/utf8.h"
#include "ops/status.h"

#define PREFIX "fcgi_realip_"

/* One bucket for each time that the latencies' buckets double: from 64 microseconds to 67 seconds. */
#define FIRST_DOUBLING 6
#define LAST_DOUBLING  26

struct exposition {
    FILE *out;
    bool classic;
};

static void begin_family(const struct exposition *e, const char *name, const char *type, const char *unit,
                         const char *help)
{
    const char *suffix = e->classic && strcmp(type, "counter") == 0 ? "_total" : "";
    fprintf(e->out, "# TYPE " PREFIX "%s%s %s\n", name, suffix, type);
    if (unit && !e->classic)
        fprintf(e->out, "# UNIT " PREFIX "%s %s\n", name, unit);
    fprintf(e->out, "# HELP " PREFIX "%s%s %s\n", name, suffix, help);
}

static void write_gauge(const struct exposition *e, const char *name, const char *unit, const char *help,
                        uint64_t value)
{
    begin_family(e, name, "gauge", unit, help);
    fprintf(e->out, PREFIX "%s %" PRIu64 "\n", name, value);
}

static void write_counter(const struct exposition *e, const char *name, const char *help, uint64_t value)
{
    begin_family(e, name, "counter", NULL, help);
    fprintf(e->out, PREFIX "%s_total %" PRIu64 "\n", name, value);
}

/* With one label, of words that need no escape. */
static void write_labelled(const struct exposition *e, const char *name, const char *label, const char *word,
                           uint64_t value)
{
    fprintf(e->out, PREFIX "%s_total{%s=\"%s\"} %" PRIu64 "\n", name, label, word, value);
}

/* A label's value: escaped, and UTF-8 whatever it was. */
static void write_label(FILE *out, const char *text)
{
    struct slice rest = slice_of(text);
    while (rest.len > 0) {
        size_t len = utf8_length((const unsigned char *)rest.data, rest.len);
        if (rest.data[0] == '\\' || rest.data[0] == '"')
            fprintf(out, "\\%c", rest.data[0]);
        else if (rest.data[0] == '\n')
            fputs("\\n", out);
        else if (len == 0)
            fputs("\357\277\275", out);
        else
            fwrite(rest.data, 1, len, out);
        rest = slice_part(rest, len > 0 ? len : 1, rest.len);
    }
}

static void write_process(const struct exposition *e, const struct status *status)
{
    uint64_t living = 0;
    for (uint64_t i = 0; i < status->metrics->count; i++)
        living += status->metrics->slots[i].pid != 0;
    begin_family(e, "build_info", "gauge", NULL, "The version, in a label.");
    fprintf(e->out, PREFIX "build_info{version=\"%s\"} 1\n", FCGI_REALIP_VERSION);
    write_gauge(e, "start_time_seconds", "seconds", "When the server was started, in seconds since 1970.",
                status->metrics->started);
    write_gauge(e, "config_generation", NULL, "How many configurations have been in use.",
                status->generation);
    write_gauge(e, "workers", NULL, "Processes that serve requests.", living);
}

static void write_requests(const struct exposition *e, const struct status *status)
{
    const struct metrics_counters *total = &status->total;
    begin_family(e, "requests", "counter", NULL, "Requests that have ended, by what became of them.");
    for (int i = OUTCOME_ANSWERED; i <= OUTCOME_BROKEN; i++)
        write_labelled(e, "requests", "outcome", metrics_outcome_word((enum metrics_outcome)i),
                       total->outcomes[i]);
    begin_family(e, "refusals", "counter", NULL, "Answers of the shim's own, by status.");
    for (int i = 0; i < METRICS_STATUSES; i++)
        fprintf(e->out, PREFIX "refusals_total{status=\"%d\"} %" PRIu64 "\n", metrics_statuses[i],
                total->refusals[i]);
    begin_family(e, "decisions", "counter", NULL, "Decisions on who the client is, by reason.");
    for (int i = 0; i < REASON_COUNT; i++)
        write_labelled(e, "decisions", "reason", reason_word((enum reason)i), total->decisions[i]);
    write_counter(e, "status_pages", "Requests answered with the status, which count as nothing else.",
                  total->outcomes[OUTCOME_STATUS]);
    write_gauge(e, "requests_in_flight", NULL, "Requests that are running.", status->now.requests);
}

static void write_connections(const struct exposition *e, const struct status *status)
{
    const struct metrics_counters *total = &status->total;
    write_gauge(e, "web_server_connections", NULL, "Open connections of the web server.", status->now.fronts);
    write_counter(e, "web_server_connects", "Connections accepted from the web server.", total->fronts);
    write_gauge(e, "application_connections", NULL, "Open connections to the application.",
                status->now.upstreams);
    write_counter(e, "application_connects", "Connections to the application that were begun.",
                  total->connects);
    write_counter(e, "application_connect_failures", "Connections to the application that were not made.",
                  total->connect_failures);
    write_counter(e, "application_reuses", "Requests sent on a kept connection to the application.",
                  total->reuses);
    write_counter(e, "application_retries", "Requests sent to the application once more.", total->retries);
    write_gauge(e, "queue_length", NULL, "Requests that wait for a connection to the application.",
                status->now.waiting);
    write_counter(e, "queue_waits", "Requests that had to wait for a connection to the application.",
                  total->waits);
    write_counter(e, "queue_overflows", "Requests refused because the queue was full.", total->overflows);
    begin_family(e, "time_outs", "counter", NULL, "Time limits that were reached.");
    for (int i = 0; i < TIMEOUT_COUNT; i++)
        write_labelled(e, "time_outs", "limit", metrics_timeout_word((enum metrics_timeout)i),
                       total->timeouts[i]);
}

static void write_traffic(const struct exposition *e, const struct metrics_counters *total)
{
    const struct {
        const char *peer, *direction;
        uint64_t bytes;
    } traffic[] = {{"web_server", "from", total->from_front},
                   {"web_server", "to", total->to_front},
                   {"application", "from", total->from_upstream},
                   {"application", "to", total->to_upstream}};
    begin_family(e, "traffic_bytes", "counter", "bytes", "Bytes of FastCGI records, by whom and whereto.");
    for (size_t i = 0; i < sizeof traffic / sizeof *traffic; i++)
        fprintf(e->out, PREFIX "traffic_bytes_total{peer=\"%s\",direction=\"%s\"} %" PRIu64 "\n",
                traffic[i].peer, traffic[i].direction, traffic[i].bytes);
}

static void write_latency(const struct exposition *e, const struct metrics_counters *total)
{
    uint64_t count = 0;
    unsigned bucket = 0;
    begin_family(e, "request_duration_seconds", "histogram", "seconds",
                 "From the request's complete parameters to the end of the application's answer.");
    for (unsigned doubling = FIRST_DOUBLING; doubling <= LAST_DOUBLING; doubling++) {
        uint64_t end = (uint64_t)1 << doubling;
        while (metrics_bucket_end(bucket) <= end)
            count += total->latency[bucket++];
        fprintf(e->out, PREFIX "request_duration_seconds_bucket{le=\"%.9g\"} %" PRIu64 "\n",
                (double)end / 1e6, count);
    }
    while (bucket < LATENCY_BUCKETS)
        count += total->latency[bucket++];
    fprintf(e->out, PREFIX "request_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", count);
    fprintf(e->out, PREFIX "request_duration_seconds_count %" PRIu64 "\n", count);
    fprintf(e->out, PREFIX "request_duration_seconds_sum %" PRIu64 ".%06" PRIu64 "\n",
            total->latency_sum / 1000000, total->latency_sum % 1000000);
}

static void write_file(const struct exposition *e, const char *name, const struct status_file *file,
                       uint64_t value)
{
    fprintf(e->out, PREFIX "%s{group=\"", name);
    write_label(e->out, file->group);
    fputs("\",path=\"", e->out);
    write_label(e->out, file->path);
    fprintf(e->out, "\"} %" PRIu64 "\n", value);
}

static void write_files(const struct exposition *e, const struct status *status)
{
    if (status->nfiles == 0)
        return;
    begin_family(e, "trust_file_modified_timestamp_seconds", "gauge", "seconds",
                 "When the trust file was changed, in seconds since 1970.");
    for (size_t i = 0; i < status->nfiles; i++)
        write_file(e, "trust_file_modified_timestamp_seconds", &status->files[i], status->files[i].modified);
    begin_family(e, "trust_file_entries", "gauge", NULL, "Entries of the trust file.");
    for (size_t i = 0; i < status->nfiles; i++)
        write_file(e, "trust_file_entries", &status->files[i], status->files[i].entries);
}

void status_write_openmetrics(FILE *out, const struct status *status, bool classic)
{
    const struct exposition e = {out, classic};
    write_process(&e, status);
    write_requests(&e, status);
    write_connections(&e, status);
    write_traffic(&e, &status->total);
    write_latency(&e, &status->total);
    write_files(&e, status);
    fputs("# EOF\n", out);
}
