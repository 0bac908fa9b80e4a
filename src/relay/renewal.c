#include "relay/renewal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "relay/logs.h"
#include "relay/reload.h"

int renewal_open(struct renewal *r, struct config *config)
{
    *r = (struct renewal){.config = config, .generation = 1};
    r->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return r->done < 0 ? -errno : 0;
}

/* In the other thread. */
static void on_loaded(void *eventfd)
{
    eventfd_write(*(int *)eventfd, 1);
}

void renewal_begin(struct renewal *r, struct log *log)
{
    int error;
    if (r->load) {
        r->again = true;
        return;
    }
    r->load = load_begin(r->config, LOAD_ALL, on_loaded, &r->done, &error);
    if (!r->load)
        log_write(log, LOG_ERROR, "cannot reload: no thread for it: %s; everything stays as it is",
                  uv_strerror(error));
}

static bool take_over(struct renewal *r, struct config *config, struct messages *messages, struct log *log)
{
    struct config *old = r->config;
    config = reload_admit(config, old, r->sandbox, messages);
    reload_log(log, messages);
    if (!config) {
        log_write(log, LOG_ERROR, "%s: not reloaded; configuration %u stays in force", old->path,
                  r->generation);
        return false;
    }
    if (strcmp(config->log_error, old->log_error) != 0)
        logs_move(log, config);
    log->level = (enum log_level)config->log_level;
    r->config = config;
    r->generation++;
    config_free(old);
    return true;
}

bool renewal_finish(struct renewal *r, struct log *log, bool wanted)
{
    struct messages messages;
    eventfd_t unused;
    bool changed = false;
    if (!r->load || eventfd_read(r->done, &unused) < 0)
        return false;
    struct config *config = load_finish(r->load, &messages);
    r->load = NULL;
    if (wanted)
        changed = take_over(r, config, &messages, log);
    else
        config_free(config);
    messages_free(&messages);
    if (r->again && wanted)
        renewal_begin(r, log);
    r->again = false;
    return changed;
}

void renewal_close(struct renewal *r)
{
    /* What a thread still reads is left to the end of the process, which is near. */
    if (!r->load || load_abandon(r->load))
        config_free(r->config);
    if (r->done >= 0)
        close(r->done);
    r->done = -1;
}
