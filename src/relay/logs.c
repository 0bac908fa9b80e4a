#include "relay/logs.h"

#include <signal.h>

#include "relay/access_log.h"

/* How long lines wait that were not taken, in ms. */
#define RETRY_MS 1000

/* ---- the error log ---- */

int logs_move(struct log *log, const struct config *config)
{
    struct log next;
    int rc = log_open(&next, (enum log_level)config->log_level, config->log_error);
    if (rc < 0) {
        log_close(&next);
        log_write(log, LOG_ERROR, "cannot open the error log %s: %s", config->log_error, strerror(-rc));
        return rc;
    }
    next.sink.waits = log->sink.waits;
    log_close(log);
    *log = next;
    return 0;
}

void logs_reopen_error(struct log *log, const struct config *config)
{
    int rc = log_reopen(log);
    if (rc < 0)
        log_write(log, LOG_ERROR, "cannot reopen the error log %s: %s; it goes on in the old file",
                  config->log_error, strerror(-rc));
}

static int judge_file(const char *kind, const char *path, char *error, size_t error_size)
{
    struct sink sink;
    if (path[0] != '/')
        return 0;
    int rc = sink_open_path(&sink, path, 0);
    if (rc == 0)
        sink_close(&sink);
    else
        snprintf(error, error_size, "cannot open the %s log %s: %s", kind, path, strerror(-rc));
    return rc < 0 ? -1 : 0;
}

int logs_judge(const struct config *config, char *error, size_t error_size)
{
    if (judge_file("error", config->log_error, error, error_size) < 0)
        return -1;
    return judge_file("access", config->log_access, error, error_size);
}

/* ---- of a relay ---- */

static void on_retry(uv_timer_t *timer)
{
    struct relay *relay = timer->data;
    access_log_flush(relay);
    log_flush(&relay->log);
}

void logs_retry_later(struct relay *relay)
{
    if (!uv_is_active((uv_handle_t *)&relay->logs_timer))
        uv_timer_start(&relay->logs_timer, on_retry, RETRY_MS, 0);
}

static void on_error_waits(struct sink *sink)
{
    logs_retry_later((struct relay *)((char *)sink - offsetof(struct relay, log.sink)));
}

void logs_begin(struct relay *relay)
{
    /* At a limit of a file's size (ulimit -f) writing fails, as on a full disk; it must not be the end. */
    signal(SIGXFSZ, SIG_IGN);
    uv_timer_init(relay->loop, &relay->logs_timer);
    relay->logs_timer.data = relay;
    log_open(&relay->log, (enum log_level)relay->config->log_level, NULL);
    relay->log.sink.waits = on_error_waits;
}

/* Logs the reason. */
static int make_access(struct relay *relay, const struct config *config, struct access_log **access)
{
    int rc = access_log_make(access, relay, config);
    if (rc < 0)
        log_write(&relay->log, LOG_ERROR, "cannot open the access log %s: %s", config->log_access,
                  strerror(-rc));
    return rc;
}

int logs_open(struct relay *relay)
{
    struct access_log *access;
    int error = logs_move(&relay->log, relay->config);
    if (make_access(relay, relay->config, &access) < 0)
        return -1;
    access_log_put(relay, access);
    return error < 0 ? -1 : 0;
}

int logs_change(struct relay *relay, const struct config *config)
{
    const struct config *old = relay->config;
    bool other = strcmp(config->log_access, old->log_access) != 0;
    struct access_log *access = NULL;
    if (other && make_access(relay, config, &access) < 0)
        return -1;
    if (strcmp(config->log_error, old->log_error) != 0 && logs_move(&relay->log, config) < 0) {
        access_log_free(access);
        return -1;
    }
    if (other)
        access_log_put(relay, access);
    else
        access_log_set_format(relay, config);
    return 0;
}

void logs_reopen(struct relay *relay)
{
    logs_reopen_error(&relay->log, relay->config);
    int rc = access_log_reopen(relay);
    if (rc < 0)
        log_write(&relay->log, LOG_ERROR, "cannot reopen the access log %s: %s; it goes on in the old file",
                  relay->config->log_access, strerror(-rc));
}

void logs_stop(struct relay *relay)
{
    relay->log.sink.waits = NULL;
    if (relay->access)
        relay->access->sink.waits = NULL;
    uv_close((uv_handle_t *)&relay->logs_timer, NULL);
}

void logs_close(struct relay *relay)
{
    access_log_put(relay, NULL);
    log_close(&relay->log);
}
