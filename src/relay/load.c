#include "relay/load.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "relay/logs.h"
#include "relay/service.h"

/* In ns. */
#define PATIENCE 1000000000u

struct load {
    uv_thread_t thread;
    enum load_what what;
    const struct config *old;
    struct config *config; /* what came of it */
    struct messages messages;
    uv_mutex_t mutex; /* for the rest */
    uv_cond_t ended;
    bool over;
    void (*done)(void *user); /* NULL: nobody waits for it any more */
    void *user;
};

/* What is refused at the start is refused later, too. */
static void judge(struct load *load)
{
    char error[SERVICE_ERROR_MAX];
    if (!load->config || (service_judge_cgi_root(load->config, error, sizeof(error)) == 0 &&
                          logs_judge(load->config, error, sizeof(error)) == 0))
        return;
    messages_add(&load->messages, true, load->config->path, 0, "%s", error);
    config_free(load->config);
    load->config = NULL;
}

static void work(void *argument)
{
    struct load *load = argument;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are for the thread that we come from */
    load->config = load->what == LOAD_ALL ? config_load_again(load->old, &load->messages)
                                          : config_load_trust(load->old, &load->messages);
    if (load->what == LOAD_ALL)
        judge(load);
    uv_mutex_lock(&load->mutex);
    load->over = true;
    if (load->done)
        load->done(load->user);
    uv_cond_signal(&load->ended);
    uv_mutex_unlock(&load->mutex);
}

static void free_load(struct load *load)
{
    messages_free(&load->messages);
    config_free(load->config);
    uv_cond_destroy(&load->ended);
    uv_mutex_destroy(&load->mutex);
    free(load);
}

static struct load *make_load(void)
{
    struct load *load = calloc(1, sizeof(*load));
    if (!load || uv_mutex_init(&load->mutex) < 0) {
        free(load);
        return NULL;
    }
    if (uv_cond_init(&load->ended) == 0)
        return load;
    uv_mutex_destroy(&load->mutex);
    free(load);
    return NULL;
}

struct load *load_begin(const struct config *old, enum load_what what, void (*done)(void *user), void *user,
                        int *error)
{
    struct load *load = make_load();
    if (!load) {
        *error = UV_ENOMEM;
        return NULL;
    }
    load->what = what;
    load->old = old;
    load->done = done;
    load->user = user;
    *error = uv_thread_create(&load->thread, work, load);
    if (*error == 0)
        return load;
    free_load(load);
    return NULL;
}

struct config *load_finish(struct load *load, struct messages *messages)
{
    uv_thread_join(&load->thread);
    struct config *config = load->config;
    *messages = load->messages;
    load->config = NULL;
    load->messages = (struct messages){0};
    free_load(load);
    return config;
}

bool load_abandon(struct load *load)
{
    int rc = 0;
    uv_mutex_lock(&load->mutex);
    load->done = NULL;
    while (!load->over && rc == 0)
        rc = uv_cond_timedwait(&load->ended, &load->mutex, PATIENCE);
    bool over = load->over;
    uv_mutex_unlock(&load->mutex);
    if (!over)
        return false;
    uv_thread_join(&load->thread);
    free_load(load);
    return true;
}
