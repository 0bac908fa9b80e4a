#include "ops/status.h"

#include <inttypes.h>
#include <stdlib.h>

const struct status_rank status_ranks[STATUS_RANKS] = {
    {"p50", 500}, {"p90", 900}, {"p99", 990}, {"p999", 999}, {"max", 1000}};

/* ---- the picture ---- */

static void add_gauges(struct metrics_gauges *sum, const struct metrics_gauges *now)
{
    sum->requests += now->requests;
    sum->waiting += now->waiting;
    sum->fronts += now->fronts;
    sum->upstreams += now->upstreams;
}

/* The second that is not over yet is none of them. */
static void add_history(struct status *status, const struct metrics_history *history, uint64_t second)
{
    for (uint64_t i = 0; i < STATUS_SECONDS; i++) {
        uint64_t then = second - STATUS_SECONDS + i;
        if (then <= history->second && then + METRICS_SECONDS > history->second)
            status->ended[i] += history->ended[then % METRICS_SECONDS];
    }
}

static bool is_same(const struct metrics_refused *a, const struct metrics_refused *b)
{
    return a->hash == b->hash && a->client.kind == b->client.kind && a->client.hi == b->client.hi &&
           a->client.lo == b->client.lo && a->peer_len == b->peer_len &&
           memcmp(a->peer, b->peer, a->peer_len) == 0;
}

/* Into its place among those that were refused most. */
static void add_refused(struct status *status, const struct metrics_refused *found)
{
    size_t at = status->nrefused;
    if (at == STATUS_REFUSED && status->refused[at - 1].count >= found->count)
        return;
    if (at < STATUS_REFUSED)
        status->nrefused++;
    else
        at--;
    for (; at > 0 && status->refused[at - 1].count < found->count; at--)
        status->refused[at] = status->refused[at - 1];
    status->refused[at] = *found;
}

static int compare_hashes(const void *left, const void *right)
{
    uint64_t a = (*(const struct metrics_refused *const *)left)->hash;
    uint64_t b = (*(const struct metrics_refused *const *)right)->hash;
    return a < b ? -1 : a > b;
}

/* What several processes have refused is counted together. Without memory nobody is named. */
static void gather_refused(struct status *status)
{
    const struct metrics *metrics = status->metrics;
    size_t most = metrics->count * METRICS_REFUSED, n = 0;
    const struct metrics_refused **all = malloc(most * sizeof *all);
    if (!all)
        return;
    for (size_t i = 0; i < most; i++) {
        const struct metrics_refused *entry =
            &metrics->slots[i / METRICS_REFUSED].refused[i % METRICS_REFUSED];
        if (entry->count > 0)
            all[n++] = entry;
    }
    qsort(all, n, sizeof(*all), compare_hashes);
    for (size_t i = 0; i < n;) {
        struct metrics_refused sum = *all[i++];
        while (i < n && is_same(&sum, all[i]))
            sum.count += all[i++]->count;
        add_refused(status, &sum);
    }
    free(all);
}

void status_gather(struct status *status, const struct metrics *metrics, uint64_t time, uint64_t now)
{
    *status = (struct status){.time = time, .metrics = metrics};
    for (uint64_t i = 0; i < metrics->count; i++) {
        const struct metrics_slot *slot = &metrics->slots[i];
        metrics_sum(&status->total, &slot->counters);
        add_gauges(&status->now, &slot->now);
        if (slot->pid != 0 && slot->generation > status->generation)
            status->generation = slot->generation;
        add_history(status, &slot->history, now / 1000000);
    }
    gather_refused(status);
}

/* ---- its numbers ---- */

struct value_list {
    struct status_value *values;
    size_t count;
};

static void add(struct value_list *list, const char *section, const char *name, uint64_t value)
{
    list->values[list->count++] = (struct status_value){section, name, value};
}

static void add_requests(struct value_list *list, const struct status *status)
{
    uint64_t ten = 0;
    for (size_t i = STATUS_SECONDS - 10; i < STATUS_SECONDS; i++)
        ten += status->ended[i];
    add(list, "requests", "total", metrics_count_requests(&status->total));
    for (int i = OUTCOME_ANSWERED; i <= OUTCOME_BROKEN; i++)
        add(list, "requests", metrics_outcome_word((enum metrics_outcome)i), status->total.outcomes[i]);
    add(list, "requests", "in_flight", status->now.requests);
    add(list, "requests", "last_10_seconds", ten);
    add(list, "requests", "status_page", status->total.outcomes[OUTCOME_STATUS]);
}

/* The names of statuses are needed as text. */
static const char *const status_words[METRICS_STATUSES] = {"400", "403", "431", "502", "503", "504"};

static void add_latency(struct value_list *list, const struct metrics_counters *total)
{
    add(list, "latency_us", "count", metrics_count_answers(total));
    add(list, "latency_us", "sum", total->latency_sum);
    for (size_t i = 0; i < STATUS_RANKS; i++)
        add(list, "latency_us", status_ranks[i].name, metrics_find_latency(total, status_ranks[i].permille));
}

static void add_connections(struct value_list *list, const struct status *status)
{
    const struct metrics_counters *total = &status->total;
    add(list, "application", "connections", status->now.upstreams);
    add(list, "application", "connects", total->connects);
    add(list, "application", "connect_failures", total->connect_failures);
    add(list, "application", "reuses", total->reuses);
    add(list, "application", "retries", total->retries);
    add(list, "application", "bytes_to", total->to_upstream);
    add(list, "application", "bytes_from", total->from_upstream);
    add(list, "web_server", "connections", status->now.fronts);
    add(list, "web_server", "accepted", total->fronts);
    add(list, "web_server", "bytes_from", total->from_front);
    add(list, "web_server", "bytes_to", total->to_front);
    add(list, "queue", "length", status->now.waiting);
    add(list, "queue", "waits", total->waits);
    add(list, "queue", "overflows", total->overflows);
}

size_t status_list_values(const struct status *status, struct status_value *values)
{
    struct value_list list = {.values = values};
    add_requests(&list, status);
    for (size_t i = 0; i < METRICS_STATUSES; i++)
        add(&list, "refusals", status_words[i], status->total.refusals[i]);
    for (int i = 0; i < REASON_COUNT; i++)
        add(&list, "decisions", reason_word((enum reason)i), status->total.decisions[i]);
    add_latency(&list, &status->total);
    add_connections(&list, status);
    for (int i = 0; i < TIMEOUT_COUNT; i++)
        add(&list, "time_outs", metrics_timeout_word((enum metrics_timeout)i), status->total.timeouts[i]);
    return list.count;
}

uint64_t status_find_age(const struct status *status, uint64_t since)
{
    return status->time > since ? status->time - since : 0;
}

/* ---- for people ---- */

/* Three digits of a number of thousandths. */
static void format_scaled(char *out, uint64_t thousandths, const char *unit)
{
    if (thousandths < 9995)
        snprintf(out, STATUS_SHORT, "%" PRIu64 ".%02" PRIu64 " %s", (thousandths + 5) / 1000,
                 (thousandths + 5) / 10 % 100, unit);
    else if (thousandths < 99950)
        snprintf(out, STATUS_SHORT, "%" PRIu64 ".%" PRIu64 " %s", (thousandths + 50) / 1000,
                 (thousandths + 50) / 100 % 10, unit);
    else
        snprintf(out, STATUS_SHORT, "%" PRIu64 " %s", (thousandths + 500) / 1000, unit);
}

void status_format_bytes(char *out, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t thousandths = bytes;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(out, STATUS_SHORT, "%" PRIu64 " B", bytes);
        return;
    }
    for (; thousandths >= 999500; thousandths /= 1000)
        unit++;
    format_scaled(out, thousandths, units[unit]);
}

void status_format_time(char *out, uint64_t us)
{
    if (us < 1000)
        snprintf(out, STATUS_SHORT, "%" PRIu64 " \302\265s", us);
    else if (us < 999500)
        format_scaled(out, us, "ms");
    else
        format_scaled(out, us / 1000, "s");
}

void status_format_age(char *out, uint64_t seconds)
{
    uint64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (days > 0)
        snprintf(out, STATUS_SHORT, "%" PRIu64 " d %" PRIu64 " h", days, hours % 24);
    else if (hours > 0)
        snprintf(out, STATUS_SHORT, "%" PRIu64 " h %" PRIu64 " min", hours, minutes % 60);
    else if (minutes > 0)
        snprintf(out, STATUS_SHORT, "%" PRIu64 " min %" PRIu64 " s", minutes, seconds % 60);
    else
        snprintf(out, STATUS_SHORT, "%" PRIu64 " s", seconds);
}

void status_format_rate(char *out, uint64_t ten)
{
    snprintf(out, STATUS_SHORT, "%" PRIu64 ".%" PRIu64, ten / 10, ten % 10);
}

void status_format_count(char *out, uint64_t number)
{
    char digits[STATUS_SHORT];
    size_t n = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number), at = 0;
    /* 20 digits and 6 spaces of three bytes do not fit; no counter comes so far. */
    for (size_t i = 0; i < n && at + 4 < STATUS_SHORT; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            memcpy(out + at, "\342\200\257", 3);
            at += 3;
        }
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

/* ---- the answer ---- */

/* The first word of a query, up to "&" or "=". */
static struct slice first_word(struct slice query)
{
    size_t end = 0;
    while (end < query.len && query.data[end] != '&' && query.data[end] != '=')
        end++;
    return slice_part(query, 0, end);
}

static bool holds(struct slice text, struct slice part)
{
    return text.len > 0 && memmem(text.data, text.len, part.data, part.len) != NULL;
}

enum status_format status_choose(struct slice query, struct slice accept)
{
    struct slice word = first_word(query);
    if (slice_equal(word, SLICE("json")))
        return STATUS_JSON;
    if (slice_equal(word, SLICE("html")))
        return STATUS_HTML;
    if (!slice_equal(word, SLICE("prometheus")))
        return STATUS_TEXT;
    return accept.data && !holds(accept, SLICE("application/openmetrics-text")) ? STATUS_PROMETHEUS
                                                                                : STATUS_OPENMETRICS;
}

void status_answer(FILE *out, enum status_format format, const struct status *status)
{
    static const char *const types[] = {[STATUS_TEXT] = "text/plain; charset=utf-8",
                                        [STATUS_JSON] = "application/json",
                                        [STATUS_OPENMETRICS] =
                                            "application/openmetrics-text; version=1.0.0; charset=utf-8",
                                        [STATUS_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
                                        [STATUS_HTML] = "text/html; charset=utf-8"};
    fprintf(out, "Status: 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\n", types[format]);
    fputs("X-Content-Type-Options: nosniff\r\n", out);
    if (format == STATUS_HTML)
        status_write_html_policy(out);
    fputs("\r\n", out);
    switch (format) {
    case STATUS_TEXT:
        status_write_text(out, status);
        break;
    case STATUS_JSON:
        status_write_json(out, status);
        break;
    case STATUS_OPENMETRICS:
    case STATUS_PROMETHEUS:
        status_write_openmetrics(out, status, format == STATUS_PROMETHEUS);
        break;
    case STATUS_HTML:
        status_write_html(out, status);
        break;
    }
}
