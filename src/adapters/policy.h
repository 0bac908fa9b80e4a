/*
 * A loaded configuration with the workspaces that its requests use in turn.
 *
 * Any number of threads may take and give back; each holds a workspace only while it decides, so there are
 * never more of them than threads that decide at the same moment.
 */
#ifndef ADAPTERS_POLICY_H
#define ADAPTERS_POLICY_H

#include <pthread.h>

#include "config/config.h"
#include "realip/rewrite.h"

/* A workspace, and the list of parameters to decide on. */
struct desk {
    struct desk *next; /* while nobody uses it */
    struct workspace *workspace;
    struct param params[REALIP_MAX_PARAMS];
    size_t nparams;                     /* this and the following: only the middleware's */
    uint32_t places[REALIP_MAX_PARAMS]; /* where the parameters stand among the request's strings */
    size_t nstrings;
};

struct fcgi_realip_policy {
    struct config *config;
    pthread_mutex_t mutex; /* guards free */
    struct desk *free;
};

/* NULL after an error, which is in messages unless memory was short. */
struct fcgi_realip_policy *adapter_policy_load(const char *path, struct messages *messages);

/* Copes with NULL. No desk is in use any more. */
void adapter_policy_free(struct fcgi_realip_policy *policy);

/* NULL when memory is short. */
struct desk *adapter_desk_take(struct fcgi_realip_policy *policy);
void adapter_desk_give(struct fcgi_realip_policy *policy, struct desk *desk);

/* The name of a symbol that the preload library exports, so that the other library knows of it. */
#define ADAPTER_PRELOAD_MARK "fcgi_realip_preloaded"

#endif
