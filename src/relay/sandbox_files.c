#include "relay/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of Landlock's later versions, which the header may not know: see landlock(7). */
#define FS_REFER        (1ULL << 13) /* 2 */
#define FS_TRUNCATE     (1ULL << 14) /* 3 */
#define FS_IOCTL_DEV    (1ULL << 15) /* 5 */
#define NET_BIND_TCP    (1ULL << 0)  /* 4 */
#define SCOPE_SIGNAL    (1ULL << 1)  /* 6 */
#define FS_OF_VERSION_1 ((1ULL << 13) - 1)

#define READ  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG)

/* The kernel's struct landlock_ruleset_attr as it has grown; all that an older one does not know must be 0.
 */
struct attributes {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

/*
 * Where the system's libraries look up names of hosts, users and groups: their settings, what they load for
 * it, and what stands in for them.
 */
static const char *const names_folders[] = {"/etc",           "/run", "/usr/lib", "/usr/lib64",
                                            "/usr/local/lib", "/lib", "/lib64",   "/var/lib/sss"};

int sandbox_landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? 0 : (int)version;
}

static struct attributes find_attributes(int version)
{
    struct attributes attributes = {.fs = FS_OF_VERSION_1};
    if (version >= 2)
        attributes.fs |= FS_REFER;
    if (version >= 3)
        attributes.fs |= FS_TRUNCATE;
    if (version >= 4)
        attributes.net = NET_BIND_TCP;
    if (version >= 5)
        attributes.fs |= FS_IOCTL_DEV;
    if (version >= 6)
        attributes.scoped = SCOPE_SIGNAL;
    return attributes;
}

/* A folder that is not there cannot be reached anyway. */
static int allow(int rules, const char *path, uint64_t what)
{
    int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -errno : 0;
    struct landlock_path_beneath_attr rule = {.allowed_access = what, .parent_fd = folder};
    long rc = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    close(folder);
    return rc < 0 ? -error : 0;
}

static int allow_all(int rules, const struct reach *reach)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < reach->nread; i++)
        rc = allow(rules, reach->read[i], READ);
    for (size_t i = 0; rc == 0 && i < reach->nwrite; i++)
        rc = allow(rules, reach->write[i], WRITE);
    for (size_t i = 0; rc == 0 && reach->names && i < sizeof names_folders / sizeof *names_folders; i++)
        rc = allow(rules, names_folders[i], READ);
#ifdef SANDBOX_LEAKS
    if (rc == 0)
        rc = allow(rules, "/proc", READ); /* what looks for leaks at the end reads maps there */
#endif
    return rc;
}

int sandbox_drop_files(const struct reach *reach)
{
    const struct attributes attributes = find_attributes(sandbox_landlock());
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (rules < 0)
        return -errno;
    int rc = allow_all(rules, reach);
    if (rc == 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0))
        rc = -errno;
    close(rules);
    return rc;
}
