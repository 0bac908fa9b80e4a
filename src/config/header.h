/*
 * Header names that a group may read, and those that it may not.
 */
#ifndef CONFIG_HEADER_H
#define CONFIG_HEADER_H

#include "realip/policy.h"

#define HEADER_MAX 255 /* bytes of a name */

struct header_fault {
    char why[HEADER_MAX + 64]; /* "WHY; WHAT TO DO" */
};

/* Whether the text can be a header's name at all; if not, *fault says why. */
bool header_check_name(struct slice text, struct header_fault *fault);

/*
 * A policy that accepts everything from a proxy with the default header: its names are all those that the
 * shim may manage by itself. NULL when memory is short; the caller ends it with policy_free.
 */
struct policy *header_make_manager(void);

/* "X-Real-IP" as the parameter "HTTP_X_REAL_IP"; malloc'ed, NULL when memory is short. */
char *header_make_param(const char *header);

/*
 * *why is NULL, or why the header is none for a group, with what to write instead: static text. manager: of
 * header_make_manager. 0, or -ENOMEM.
 */
int header_judge(const struct policy *manager, const char *header, const char **why);

#endif
