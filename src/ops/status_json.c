#include "ops/json.h"
#include "ops/status.h"

static void write_member(struct json *json, const char *name, uint64_t value)
{
    json_key(json, slice_of(name));
    json_number(json, value);
}

static void open_list(struct json *json, const char *name, char bracket)
{
    json_key(json, slice_of(name));
    json_open(json, bracket);
}

static void write_text(struct json *json, const char *name, struct slice text)
{
    json_key(json, slice_of(name));
    json_string(json, text);
}

static void write_values(struct json *json, const struct status *status)
{
    struct status_value values[STATUS_VALUES];
    size_t n = status_list_values(status, values);
    const char *section = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!section || strcmp(section, values[i].section) != 0) {
            if (section)
                json_close(json, '}');
            section = values[i].section;
            open_list(json, section, '{');
        }
        write_member(json, values[i].name, values[i].value);
    }
    json_close(json, '}');
}

static void write_refused(struct json *json, const struct status *status)
{
    open_list(json, "refused", '[');
    for (size_t i = 0; i < status->nrefused; i++) {
        const struct metrics_refused *entry = &status->refused[i];
        char client[ADDRESS_TEXT_MAX];
        json_open(json, '{');
        write_text(json, "client", (struct slice){client, address_format(&entry->client, client)});
        write_text(json, "peer", (struct slice){entry->peer, entry->peer_len});
        write_member(json, "count", entry->count);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void write_files(struct json *json, const struct status *status)
{
    open_list(json, "trust_files", '[');
    for (size_t i = 0; i < status->nfiles; i++) {
        const struct status_file *file = &status->files[i];
        json_open(json, '{');
        write_text(json, "group", slice_of(file->group));
        write_text(json, "path", slice_of(file->path));
        write_member(json, "entries", file->entries);
        write_member(json, "modified", file->modified);
        write_member(json, "age", status_find_age(status, file->modified));
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void write_workers(struct json *json, const struct status *status)
{
    open_list(json, "workers", '[');
    for (uint64_t i = 0; i < status->metrics->count; i++) {
        const struct metrics_slot *slot = &status->metrics->slots[i];
        json_open(json, '{');
        write_member(json, "number", i);
        write_member(json, "pid", slot->pid);
        write_member(json, "uptime", slot->pid ? status_find_age(status, slot->started) : 0);
        write_member(json, "generation", slot->generation);
        write_member(json, "requests", metrics_count_requests(&slot->counters));
        write_member(json, "in_flight", slot->now.requests);
        write_member(json, "queue", slot->now.waiting);
        write_member(json, "connections", slot->now.fronts);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void status_write_json(FILE *out, const struct status *status)
{
    struct json json = json_start(out);
    json_open(&json, '{');
    write_text(&json, "name", SLICE("fcgi-realip"));
    write_text(&json, "version", SLICE(FCGI_REALIP_VERSION));
    write_member(&json, "pid", status->metrics->pid);
    write_member(&json, "time", status->time);
    write_member(&json, "started", status->metrics->started);
    write_member(&json, "uptime", status_find_age(status, status->metrics->started));
    write_member(&json, "generation", status->generation);
    write_values(&json, status);
    open_list(&json, "history", '[');
    for (size_t i = 0; i < STATUS_SECONDS; i++)
        json_number(&json, status->ended[i]);
    json_close(&json, ']');
    write_refused(&json, status);
    write_files(&json, status);
    write_workers(&json, status);
    json_close(&json, '}');
    fputc('\n', out);
}
