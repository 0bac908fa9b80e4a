#include "relay/privileges.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct groups {
    gid_t *list;
    int count;
};

struct attempt {
    uid_t user;
    char *error;
    size_t error_size;
};

static int fail(const struct attempt *attempt, const char *doing, const char *why)
{
    const struct passwd *entry = getpwuid(attempt->user);
    char number[16];
    snprintf(number, sizeof(number), "%lu", (unsigned long)attempt->user);
    snprintf(attempt->error, attempt->error_size, "cannot become user %s: %s: %s",
             entry ? entry->pw_name : number, doing, why);
    return -1;
}

int privileges_forbid_new(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* ---- groups ---- */

/* Those that the user has with `group` as the first; a user without an entry has that one alone. False
 * without memory; groups->list is to be freed in either case. */
static bool find_groups(uid_t user, gid_t group, struct groups *groups)
{
    const struct passwd *entry = getpwuid(user);
    int count = 0;
    if (entry)
        getgrouplist(entry->pw_name, group, NULL, &count);
    groups->list = calloc((size_t)count + 1, sizeof(*groups->list));
    if (!groups->list)
        return false;
    groups->list[0] = group;
    groups->count = 1;
    if (!entry)
        return true;
    bool whole = getgrouplist(entry->pw_name, group, groups->list, &count) >= 0;
    groups->count = count;
    return whole;
}

static bool has(const gid_t *list, int count, gid_t group)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == group)
            return true;
    }
    return false;
}

/* Has the process these groups and no others? */
static bool are_in_force(const struct groups *groups)
{
    int count = getgroups(0, NULL);
    gid_t *now = count < 0 ? NULL : calloc((size_t)count + 1, sizeof(*now));
    if (!now)
        return false;
    bool same = getgroups(count, now) == count;
    for (int i = 0; same && i < count; i++)
        same = has(groups->list, groups->count, now[i]);
    for (int i = 0; same && i < groups->count; i++)
        same = has(now, count, groups->list[i]);
    free(now);
    return same;
}

/* ---- proof ---- */

static bool is_user(uid_t user)
{
    uid_t real;
    uid_t effective;
    uid_t saved;
    return getresuid(&real, &effective, &saved) == 0 && real == user && effective == user && saved == user;
}

static bool is_group(gid_t group)
{
    gid_t real;
    gid_t effective;
    gid_t saved;
    return getresgid(&real, &effective, &saved) == 0 && real == group && effective == group && saved == group;
}

/* A launcher can have the kernel keep them across a change of user (capabilities(7), securebits). */
static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, sets) < 0)
        return true;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (sets[i].effective != 0 || sets[i].permitted != 0)
            return true;
    }
    return false;
}

/* NULL, or what is left of the old privileges. */
static const char *find_rest(uid_t user, gid_t group, const struct groups *groups)
{
    if (!is_user(user))
        return "the process is still somebody else";
    if (!is_group(group))
        return "the process still has another group";
    if (!are_in_force(groups))
        return "the supplementary groups are not those of the user";
    if (user == 0)
        return NULL;
    if (setuid(0) == 0 || seteuid(0) == 0)
        return "it could become root again";
    if (has_capabilities())
        return "it has kept capabilities";
    return NULL;
}

int privileges_drop(uid_t user, gid_t group, char *error, size_t error_size)
{
    const struct attempt attempt = {user, error, error_size};
    struct groups groups = {0};
    const char *rest;
    int rc = -1;
    if (!find_groups(user, group, &groups))
        fail(&attempt, "looking up its groups", "out of memory");
    else if (setgroups((size_t)groups.count, groups.list) < 0)
        fail(&attempt, "setting the supplementary groups", strerror(errno));
    else if (setresgid(group, group, group) < 0)
        fail(&attempt, "setting the group", strerror(errno));
    else if (setresuid(user, user, user) < 0)
        fail(&attempt, "setting the user", strerror(errno));
    else if ((rest = find_rest(user, group, &groups)))
        fail(&attempt, "making sure of it", rest);
    else
        rc = 0;
    free(groups.list);
    return rc;
}
