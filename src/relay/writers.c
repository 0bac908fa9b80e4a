#include "relay/writers.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */

/* ---- groups ---- */

struct judge {
    uid_t user;
    uid_t owner; /* of the directory being looked at */
    struct writers *found;
};

static bool may_write(const struct judge *judge, uid_t user)
{
    return user == 0 || user == judge->user || user == judge->owner;
}

static int find(const struct judge *judge, const char *path, const char *who, const char *remedy)
{
    struct writers *found = judge->found;
    snprintf(found->path, sizeof(found->path), "%s", path);
    snprintf(found->who, sizeof(found->who), "%s", who);
    found->remedy = remedy;
    return 1;
}

static int find_member(const struct judge *judge, const char *path, const char *member, const char *group)
{
    char who[sizeof(judge->found->who)];
    snprintf(who, sizeof(who), "%.120s, by the group %.120s,", member, group);
    return find(judge, path, who, "chmod g-w");
}

/* Those who have it as their first group are not in its list. */
static int judge_first_groups(const struct judge *judge, const char *path, gid_t group, const char *name)
{
    int rc = 0;
    setpwent();
    for (const struct passwd *entry; rc == 0 && (entry = getpwent());) {
        if (entry->pw_gid == group && !may_write(judge, entry->pw_uid))
            rc = find_member(judge, path, entry->pw_name, name);
    }
    endpwent();
    return rc;
}

static int judge_group(const struct judge *judge, const char *path, gid_t group)
{
    char name[128];
    if (group == 0)
        return 0;
    const struct group *entry = getgrgid(group);
    if (!entry) {
        snprintf(name, sizeof(name), "whoever is in the group %lu, which has no name here,",
                 (unsigned long)group);
        return find(judge, path, name, "chmod g-w");
    }
    snprintf(name, sizeof(name), "%s", entry->gr_name);
    for (char **member = entry->gr_mem; *member; member++) {
        const struct passwd *user = getpwnam(*member);
        if (user && !may_write(judge, user->pw_uid))
            return find_member(judge, path, user->pw_name, name);
    }
    return judge_first_groups(judge, path, group, name);
}

/* ---- access control lists ---- */

/* As the kernel hands them out: acl(5); little-endian. */
#define ACL_ATTRIBUTE "system.posix_acl_access"
#define ACL_HEADER    4
#define ACL_ENTRY     8
#define ACL_BYTES_MAX 4096
#define ACL_WRITE     2
enum { ACL_USER = 0x02, ACL_OWNING_GROUP = 0x04, ACL_GROUP = 0x08 };

static unsigned load(const unsigned char *bytes, size_t count)
{
    unsigned value = 0;
    for (size_t i = count; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static int judge_entry(const struct judge *judge, const char *path, gid_t group, const unsigned char *entry)
{
    unsigned id = load(entry + 4, 4);
    if (!(load(entry + 2, 2) & ACL_WRITE))
        return 0;
    switch (load(entry, 2)) {
    case ACL_USER:
        return may_write(judge, id)
                   ? 0
                   : find(judge, path, "another user, by an access control list,", "setfacl -b");
    case ACL_OWNING_GROUP:
        return judge_group(judge, path, group);
    case ACL_GROUP:
        return judge_group(judge, path, id);
    default:
        return 0;
    }
}

/* Users by name and groups, of a directory whose mode says that there may be some. */
static int judge_list(const struct judge *judge, const char *path, gid_t group)
{
    unsigned char bytes[ACL_BYTES_MAX];
    ssize_t length = getxattr(path, ACL_ATTRIBUTE, bytes, sizeof(bytes));
    if (length < 0 && errno == ERANGE)
        return find(judge, path, "whoever its long access control list names", "setfacl -b");
    if (length < 0) /* most have none */
        return judge_group(judge, path, group);
    int rc = 0;
    for (size_t at = ACL_HEADER; rc == 0 && at + ACL_ENTRY <= (size_t)length; at += ACL_ENTRY)
        rc = judge_entry(judge, path, group, bytes + at);
    if (rc > 0)
        judge->found->remedy = "setfacl -b";
    return rc;
}

/* ---- the way ---- */

static int judge_directory(struct judge *judge, const char *path, const struct stat *st, bool last)
{
    if ((st->st_mode & S_ISVTX) && !last)
        return 0;
    judge->owner = st->st_uid;
    if (st->st_mode & S_IWOTH)
        return find(judge, path, "every user of this machine", "chmod o-w");
    /* With an access control list these bits are the most that it gives to anybody. */
    return st->st_mode & S_IWGRP ? judge_list(judge, path, st->st_gid) : 0;
}

/* The path that is looked at: `at` has been, `rest` has not. */
struct way {
    char at[PATH_MAX];
    char rest[PATH_MAX];
    int links;
};

/* Takes the next name out of the rest; false at the end. */
static bool next_name(struct way *way, char *name, size_t size)
{
    size_t skip = strspn(way->rest, "/");
    size_t len = strcspn(way->rest + skip, "/");
    snprintf(name, size, "%.*s", (int)len, way->rest + skip);
    memmove(way->rest, way->rest + skip + len, strlen(way->rest + skip + len) + 1);
    return len > 0;
}

/* Puts what the link says in front of the rest. */
static int follow(struct way *way, const char *link)
{
    char target[PATH_MAX];
    char rest[PATH_MAX];
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length < 0)
        return -errno;
    target[length] = '\0';
    if (++way->links > LINKS_MAX)
        return -ELOOP;
    memcpy(rest, way->rest, sizeof(rest));
    if (snprintf(way->rest, sizeof(way->rest), "%s/%s", target, rest) >= (int)sizeof(way->rest))
        return -ENAMETOOLONG;
    if (target[0] == '/')
        way->at[0] = '\0';
    return 0;
}

static int step(struct judge *judge, struct way *way, const char *name)
{
    struct stat st;
    size_t length = strlen(way->at);
    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(way->at, '/');
        if (slash)
            *slash = '\0';
        return 0;
    }
    if (snprintf(way->at + length, sizeof(way->at) - length, "/%s", name) >= (int)(sizeof(way->at) - length))
        return -ENAMETOOLONG;
    if (lstat(way->at, &st) < 0)
        return -errno;
    if (!S_ISLNK(st.st_mode))
        return judge_directory(judge, way->at, &st, way->rest[strspn(way->rest, "/")] == '\0');
    char link[PATH_MAX];
    memcpy(link, way->at, sizeof(link));
    way->at[length] = '\0';
    return follow(way, link);
}

int writers_find(const char *path, uid_t user, struct writers *found)
{
    struct judge judge = {.user = user, .found = found};
    struct way way = {.links = 0};
    struct stat st;
    char name[NAME_MAX + 1];
    if (snprintf(way.rest, sizeof(way.rest), "%s", path) >= (int)sizeof(way.rest))
        return -ENAMETOOLONG;
    if (stat("/", &st) < 0)
        return -errno;
    int rc = judge_directory(&judge, "/", &st, path[strspn(path, "/")] == '\0');
    while (rc == 0 && next_name(&way, name, sizeof(name)))
        rc = step(&judge, &way, name);
    return rc;
}
