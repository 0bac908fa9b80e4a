#include <errno.h>

#include "relay/destination.h"
#include "relay/logs.h"

static void change_durations(struct relay *relay, const struct config *config)
{
    uint64_t lasts[DEADLINE_KINDS];
    relay_set_durations(lasts, config);
    for (int i = 0; i < DEADLINE_KINDS; i++)
        deadlines_change(&relay->deadlines, (enum deadline_kind)i, lasts[i]);
}

/* The destination that config wants: a new one, or the current one. 0 or a negative errno or UV_E* value. */
static int find_destination(struct relay *relay, const struct config *config, const struct share *share,
                            struct destination **next)
{
    *next = relay->destination;
    if (destination_fits(relay->destination, &config->upstream, share))
        return 0;
    int rc = destination_new(next, relay, &config->upstream, share);
    if (rc < 0 || destination_start(*next, &config->upstream) == 0)
        return rc;
    destination_retire(*next);
    return -ECANCELED;
}

static void go_to(struct relay *relay, struct destination *next, const struct share *share)
{
    struct destination *last = relay->destination;
    relay->destination = next;
    pool_change(&relay->pool, &next->target);
    destination_adjust(next, share);
    if (last == next)
        return;
    destination_retire(last);
    log_write(&relay->log, LOG_INFO, "requests go to %s from now on", next->target.name);
}

int relay_change(struct relay *relay, const struct config *config, const struct share *share)
{
    struct destination *next;
    struct workspace *workspace = workspace_new(config->policy);
    int rc = workspace ? find_destination(relay, config, share, &next) : -ENOMEM;
    if (rc == 0 && logs_change(relay, config) < 0) {
        if (next != relay->destination)
            destination_retire(next);
        rc = -ECANCELED;
    }
    if (rc < 0) {
        if (rc != -ECANCELED) /* that is explained already */
            log_write(&relay->log, LOG_ERROR, "cannot use the new configuration: %s", uv_strerror(rc));
        workspace_free(workspace);
        return rc;
    }
    workspace_free(relay->workspace);
    relay->workspace = workspace;
    relay->config = config;
    relay->share = *share;
    relay->log.level = (enum log_level)config->log_level;
    change_durations(relay, config);
    relay->pool.shared.config = &config->upstream;
    relay->pool.cap = share->connections;
    relay->pool.most_waiting = share->queue;
    go_to(relay, next, share);
    return 0;
}
