#include "adapters/policy.h"

#include <stdlib.h>

static void free_desk(struct desk *desk)
{
    if (desk == NULL)
        return;
    workspace_free(desk->workspace);
    free(desk);
}

struct fcgi_realip_policy *adapter_policy_load(const char *path, struct messages *messages)
{
    struct fcgi_realip_policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL)
        return NULL;
    if (pthread_mutex_init(&policy->mutex, NULL) != 0) {
        free(policy);
        return NULL;
    }
    policy->config = config_load(path, messages);
    if (policy->config == NULL) {
        adapter_policy_free(policy);
        return NULL;
    }
    return policy;
}

void adapter_policy_free(struct fcgi_realip_policy *policy)
{
    if (policy == NULL)
        return;
    while (policy->free != NULL) {
        struct desk *desk = policy->free;
        policy->free = desk->next;
        free_desk(desk);
    }
    pthread_mutex_destroy(&policy->mutex);
    config_free(policy->config);
    free(policy);
}

static struct desk *make_desk(const struct policy *policy)
{
    /* Not cleared: nearly all of it is never touched. */
    struct desk *desk = malloc(sizeof *desk);
    if (desk == NULL)
        return NULL;
    desk->next = NULL;
    desk->workspace = workspace_new(policy);
    if (desk->workspace == NULL) {
        free_desk(desk);
        return NULL;
    }
    return desk;
}

struct desk *adapter_desk_take(struct fcgi_realip_policy *policy)
{
    pthread_mutex_lock(&policy->mutex);
    struct desk *desk = policy->free;
    if (desk != NULL)
        policy->free = desk->next;
    pthread_mutex_unlock(&policy->mutex);
    return desk != NULL ? desk : make_desk(policy->config->policy);
}

void adapter_desk_give(struct fcgi_realip_policy *policy, struct desk *desk)
{
    pthread_mutex_lock(&policy->mutex);
    desk->next = policy->free;
    policy->free = desk;
    pthread_mutex_unlock(&policy->mutex);
}
