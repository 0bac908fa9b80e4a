#include "config/share.h"

#include "config/settings.h"

unsigned share_part(unsigned total, unsigned count, unsigned number)
{
    return total / count + (number < total % count ? 1 : 0);
}

struct share share_make(const struct config *config, unsigned count, unsigned number)
{
    const struct config_upstream *upstream = &config->upstream;
    return (struct share){.count = count,
                          .number = number,
                          .connections = share_part(upstream->connections, count, number),
                          .queue = share_part(upstream->queue, count, number),
                          .processes = share_part(upstream->processes, count, number),
                          .max_processes = share_part(upstream->max_processes, count, number),
                          .requests = share_part(config->limit_requests, count, number)};
}

/* ---- is there a share for everybody? ---- */

struct build {
    struct config *config;
    unsigned workers; /* a reload changes them not */
    struct messages *messages;
};

static unsigned find_line(const struct build *build, const char *section, const char *key)
{
    return settings_find_line(build->config->source->given, slice_of(section), slice_of(key));
}

/* The line of the total is to blame if it is in the file, else that of workers. 0: there is no such total. */
static void check_total(const struct build *build, const char *section, const char *key, unsigned total)
{
    unsigned workers = build->workers;
    unsigned line = find_line(build, section, key);
    if (total == 0 || total >= workers)
        return;
    if (line > 0)
        messages_add(build->messages, true, build->config->path, line,
                     "%s = %u: less than one for each of the workers (%u), who share it; raise it, or lower "
                     "workers",
                     key, total, workers);
    else
        messages_add(build->messages, true, build->config->path, find_line(build, "process", "workers"),
                     "workers = %u: more than %s (%u), which they share; lower it, or raise %s in [%s]",
                     workers, key, total, key, section);
}

void build_shares(struct config *config, struct messages *messages)
{
    const struct config *old = config->source->old;
    const struct build build = {config, old ? old->workers : config->workers, messages};
    const struct config_upstream *upstream = &config->upstream;
    if (upstream->kind == UPSTREAM_CGI)
        check_total(&build, "upstream", "max_processes", upstream->max_processes);
    if (upstream->kind == UPSTREAM_COMMAND)
        check_total(&build, "upstream", "processes", upstream->processes);
    if (upstream->kind == UPSTREAM_ADDRESS ||
        (upstream->kind == UPSTREAM_COMMAND && upstream->connections != upstream->processes))
        check_total(&build, "upstream", "connections", upstream->connections);
    check_total(&build, "upstream", "queue", upstream->queue);
    check_total(&build, "limits", "requests", config->limit_requests);
}
