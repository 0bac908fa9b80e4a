/*
 * Users and groups of this machine by name or number.
 *
 * Apart from the rest because <grp.h> has a struct group too. Not thread-safe, as getpwnam is not.
 */
#ifndef CONFIG_ACCOUNT_H
#define CONFIG_ACCOUNT_H

#include <sys/types.h>

#include "config/values.h"

/* The id of a name, or a number as it is. NULL, or what is wrong: "WHY; WHAT TO DO". */
const char *account_parse_user(struct slice text, uint64_t *id);
const char *account_parse_group(struct slice text, uint64_t *id);

/* The group that the list of users gives a user. 0, or -1: the user is not in it. */
int account_find_group(uid_t user, gid_t *group);

/* The name, or the number if there is none. */
struct quote account_format_user(uint64_t id);
struct quote account_format_group(uint64_t id);

#endif
