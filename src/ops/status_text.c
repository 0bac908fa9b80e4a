#include <inttypes.h>

#include "ops/log.h"
#include "ops/status.h"

/* The shortest text of a peer's that is cut. */
#define PEER_TEXT (4 * METRICS_PEER + 1)
#define PATH_TEXT 1024

static bool is_known(const struct status_value *value, const char *name)
{
    return strcmp(value->name, name) == 0;
}

/* In the unit that the name speaks of. */
static void write_value(FILE *out, const struct status_value *value)
{
    char text[STATUS_SHORT];
    bool latency = strcmp(value->section, "latency_us") == 0 && !is_known(value, "count");
    if (latency)
        status_format_time(text, value->value);
    else if (is_known(value, "bytes_from") || is_known(value, "bytes_to"))
        status_format_bytes(text, value->value);
    else
        snprintf(text, sizeof text, "%" PRIu64, value->value);
    fprintf(out, "  %-18s %s\n", value->name, text);
}

static void write_values(FILE *out, const struct status *status)
{
    struct status_value values[STATUS_VALUES];
    size_t n = status_list_values(status, values);
    const char *section = "";
    for (size_t i = 0; i < n; i++) {
        if (strcmp(section, values[i].section) != 0) {
            section = values[i].section;
            bool latency = strcmp(section, "latency_us") == 0;
            fprintf(out, "\n%s\n", latency ? "latency" : section);
        }
        write_value(out, &values[i]);
    }
}

static void write_refused(FILE *out, const struct status *status)
{
    if (status->nrefused > 0)
        fputs("\nrefused\n", out);
    for (size_t i = 0; i < status->nrefused; i++) {
        const struct metrics_refused *entry = &status->refused[i];
        char client[ADDRESS_TEXT_MAX], peer[PEER_TEXT];
        size_t length = address_format(&entry->client, client);
        struct slice sent = {entry->peer, entry->peer_len};
        fprintf(out, "  %-18" PRIu64 " client %.*s, peer \"%s\"\n", entry->count, (int)length, client,
                log_escape(sent, peer, sizeof peer));
    }
}

static void write_files(FILE *out, const struct status *status)
{
    if (status->nfiles > 0)
        fputs("\ntrust_files\n", out);
    for (size_t i = 0; i < status->nfiles; i++) {
        const struct status_file *file = &status->files[i];
        char path[PATH_TEXT], age[STATUS_SHORT];
        status_format_age(age, status_find_age(status, file->modified));
        fprintf(out, "  %-18s %s: entries %" PRIu64 ", age %s\n", file->group,
                log_escape(slice_of(file->path), path, sizeof path), file->entries, age);
    }
}

static void write_workers(FILE *out, const struct status *status)
{
    fputs("\nworkers\n", out);
    for (uint64_t i = 0; i < status->metrics->count; i++) {
        const struct metrics_slot *slot = &status->metrics->slots[i];
        char age[STATUS_SHORT];
        status_format_age(age, status_find_age(status, slot->started));
        fprintf(out, "  %-18" PRIu64 " ", i);
        if (slot->pid == 0)
            fputs("does not run", out);
        else
            fprintf(out, "pid %" PRIu64 ", up %s, configuration %" PRIu64, slot->pid, age, slot->generation);
        fprintf(out, ", requests %" PRIu64 ", in flight %" PRIu64 ", queue %" PRIu64 "\n",
                metrics_count_requests(&slot->counters), slot->now.requests, slot->now.waiting);
    }
}

void status_write_text(FILE *out, const struct status *status)
{
    const struct metrics *metrics = status->metrics;
    char age[STATUS_SHORT];
    status_format_age(age, status_find_age(status, metrics->started));
    fprintf(out, "fcgi-realip %s, pid %" PRIu64 ", up %s, configuration %" PRIu64 "\n", FCGI_REALIP_VERSION,
            metrics->pid, age, status->generation);
    write_values(out, status);
    write_refused(out, status);
    write_files(out, status);
    write_workers(out, status);
}
