#include "config/header.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/values.h"

/* "HTTP_X_REAL_IP" -> "x-real-ip", into out. */
static void guess_header(struct slice param, char *out)
{
    static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t from = strlen("HTTP_");
    for (size_t i = from; i < param.len; i++) {
        const char *letter = memchr(upper, param.data[i], sizeof upper - 1);
        bool first = i == from || param.data[i - 1] == '_';
        char small = letter && !first ? (char)(param.data[i] - 'A' + 'a') : param.data[i];
        out[i - from] = param.data[i] == '_' ? '-' : small;
    }
    out[param.len - from] = '\0';
}

bool header_check_name(struct slice text, struct header_fault *fault)
{
    const char *why = NULL;
    if (!value_is_token(text))
        why = "not a header's name; write the name alone, as in X-Forwarded-For";
    else if (text.len > HEADER_MAX)
        why = "too long for a header's name; write one of at most 255 bytes";
    if (why) {
        snprintf(fault->why, sizeof fault->why, "%s", why);
        return false;
    }
    if (text.len <= 5 || memcmp(text.data, "HTTP_", 5) != 0)
        return true;
    char name[HEADER_MAX + 1];
    guess_header(text, name);
    snprintf(fault->why, sizeof fault->why, "a parameter's name; write the header's, %s", name);
    return false;
}

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
