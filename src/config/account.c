#include "config/account.h"

#include <grp.h>
#include <pwd.h>

/* -1 means "leave it" to chown. */
#define ID_MAX (UINT32_MAX - 1)

#define NAME_SIZE 256

/* False if text is too long to be any name. */
static bool copy_name(struct slice text, char *out)
{
    if (text.len >= NAME_SIZE)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

const char *account_parse_user(struct slice text, uint64_t *id)
{
    char name[NAME_SIZE];
    if (!value_parse_number(text, id) && *id <= ID_MAX)
        return NULL;
    const struct passwd *user = copy_name(text, name) ? getpwnam(name) : NULL;
    if (!user)
        return "no such user on this machine; write the name or number of one";
    *id = user->pw_uid;
    return NULL;
}

const char *account_parse_group(struct slice text, uint64_t *id)
{
    char name[NAME_SIZE];
    if (!value_parse_number(text, id) && *id <= ID_MAX)
        return NULL;
    const struct group *group = copy_name(text, name) ? getgrnam(name) : NULL;
    if (!group)
        return "no such group on this machine; write the name or number of one";
    *id = group->gr_gid;
    return NULL;
}

int account_find_group(uid_t user, gid_t *group)
{
    const struct passwd *entry = getpwuid(user);
    if (!entry)
        return -1;
    *group = entry->pw_gid;
    return 0;
}

struct quote account_format_user(uint64_t id)
{
    const struct passwd *user = getpwuid((uid_t)id);
    return user ? value_quote(slice_of(user->pw_name)) : value_format_number(id);
}

struct quote account_format_group(uint64_t id)
{
    const struct group *group = getgrgid((gid_t)id);
    return group ? value_quote(slice_of(group->gr_name)) : value_format_number(id);
}
