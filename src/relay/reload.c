#include "relay/reload.h"

#include <errno.h>

/* ---- what came of a load ---- */

void reload_log(struct log *log, const struct messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct message *message = &messages->list[i];
        log_write(log, message->error ? LOG_ERROR : LOG_WARNING, "%s",
                  message->text ? message->text : "out of memory");
    }
}

struct config *reload_admit(struct config *config, struct config *old, const struct sandbox *sandbox,
                            struct messages *messages)
{
    if (config && sandbox && !sandbox_fits(sandbox, config, messages)) {
        config_free(config);
        config = NULL;
    }
    if (config)
        config_keep_fixed(config, old, messages);
    return config;
}

/* The relay goes on with a configuration that has what is fixed of the old one. If it cannot, that is in the
 * log, and everything is as before. */
static bool change(struct reload *r, struct config *config)
{
    struct config *old = r->config;
    const struct share share = share_make(config, r->relay->share.count, r->relay->share.number);
    if (relay_change(r->relay, config, &share) < 0) {
        struct messages unheard = {0};
        config_keep_fixed(old, config, &unheard); /* back again */
        messages_free(&unheard);
        config_free(config);
        return false;
    }
    r->config = config;
    config_free(old);
    trust_watch_set(&r->watch, config);
    return true;
}

/* Of a worker's load the master has said what there is to say, if it could load the same. */
static void finish_all(struct reload *r, struct config *config, struct messages *messages)
{
    struct log *log = &r->relay->log;
    config = reload_admit(config, r->config, r->sandbox, messages);
    if (!config || !r->sandbox)
        reload_log(log, messages);
    if (!config || !change(r, config)) {
        log_write(log, LOG_ERROR, "%s: not reloaded; configuration %u stays in force", r->config->path,
                  r->relay->generation);
        return;
    }
    r->relay->generation++;
    log_write(log, LOG_INFO, "%s: reloaded; configuration %u is in force", config->path,
              r->relay->generation);
}

static void log_changes(const struct reload *r, const struct config *config)
{
    struct config_trust_file file;
    for (size_t i = 0; config_find_trust_file(config, i, r->config, &file); i++) {
        if (file.changed)
            log_write(&r->relay->log, LOG_INFO, "%s has changed: %zu addresses and blocks are in force",
                      file.path, file.entries);
    }
}

/* All workers do it, and one says so. */
static void finish_trust(struct reload *r, struct config *config, const struct messages *messages)
{
    bool talks = r->relay->share.number == 0;
    if (talks)
        reload_log(&r->relay->log, messages);
    if (!config)
        return;
    if (talks)
        log_changes(r, config);
    struct messages unheard = {0}; /* the last reload has said it all */
    config_keep_fixed(config, r->config, &unheard);
    messages_free(&unheard);
    change(r, config);
}

static void on_done(uv_async_t *async)
{
    struct reload *r = async->data;
    struct messages messages;
    if (!r->load)
        return;
    struct config *config = load_finish(r->load, &messages);
    r->load = NULL;
    if (r->relay->stopping)
        config_free(config);
    else if (r->what == LOAD_ALL)
        finish_all(r, config, &messages);
    else
        finish_trust(r, config, &messages);
    messages_free(&messages);
    enum load_what wanted = r->wanted;
    r->wanted = LOAD_NOTHING;
    reload_begin(r, wanted);
}

/* In the other thread. */
static void tell(void *async)
{
    uv_async_send(async);
}

/* ---- from outside ---- */

static void on_changed(struct trust_watch *watch)
{
    reload_begin((struct reload *)((char *)watch - offsetof(struct reload, watch)), LOAD_TRUST);
}

int reload_open(struct reload *r, struct relay *relay, struct config *config, const struct sandbox *sandbox)
{
    *r = (struct reload){.relay = relay, .config = config, .sandbox = sandbox};
    r->done.data = r;
    r->watch.changed = on_changed;
    int rc = trust_watch_open(&r->watch, relay->loop, &relay->log);
    if (rc == 0)
        rc = uv_async_init(relay->loop, &r->done, on_done);
    if (rc == 0)
        trust_watch_set(&r->watch, config);
    return rc;
}

void reload_begin(struct reload *r, enum load_what what)
{
    int error;
    if (what == LOAD_NOTHING || r->relay->stopping)
        return;
    if (r->load) {
        r->wanted = what > r->wanted ? what : r->wanted;
        return;
    }
    r->what = what;
    r->load = load_begin(r->config, what, tell, &r->done, &error);
    if (!r->load)
        log_write(&r->relay->log, LOG_ERROR, "cannot reload: no thread for it: %s; everything stays as it is",
                  uv_strerror(error));
}

void reload_close(struct reload *r)
{
    if (r->load && load_abandon(r->load))
        r->load = NULL;
    trust_watch_close(&r->watch);
    if (r->done.loop)
        uv_close((uv_handle_t *)&r->done, NULL);
}

void reload_free(struct reload *r)
{
    /* What a thread still reads is left to the end of the process, which is near. */
    if (!r->load)
        config_free(r->config);
}
