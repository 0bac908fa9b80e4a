#include "config/header.h"

#include <errno.h>
#include <stdlib.h>

char *header_make_param(const char *header)
{
    char *param = malloc(strlen("HTTP_") + strlen(header) + 1);
    if (param)
        policy_header_param(slice_of(header), param);
    return param;
}

struct policy *header_make_manager(void)
{
    struct policy *manager = policy_new();
    struct group *group = manager ? policy_add_group(manager, SLICE("all")) : NULL;
    if (group)
        group->accept = ACCEPT_PROTO | ACCEPT_PORT | ACCEPT_HOST;
    if (group && policy_compile(manager) == 0)
        return manager;
    policy_free(manager);
    return NULL;
}

int header_judge(const struct policy *manager, const char *header, const char **why)
{
    char *param = header_make_param(header);
    if (!param)
        return -ENOMEM;
    *why = NULL;
    switch (policy_match_name(manager, slice_of(param)).kind) {
    case NAME_HTTP_PROXY:
        *why =
            "clients send this header to redirect the application's own requests (httpoxy), and it is always "
            "dropped; name the header that holds the client's address";
        break;
    case NAME_X_FORWARDED_PROTO:
    case NAME_X_FORWARDED_PORT:
    case NAME_X_FORWARDED_HOST:
    case NAME_HTTP_HOST:
        *why = "this header holds no client's address; name the one that does, and see accept for this one";
        break;
    default:
        break;
    }
    free(param);
    return 0;
}
