#include "relay/cgi_script.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A rename anywhere on the machine makes the kernel unsure of a "..". */
#define TRIES 16

/* ---- opening beneath ---- */

static int open_by_kernel(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

/* One step; a symbolic link could lead anywhere. */
static int open_step(int at, const char *name, bool inner)
{
    struct stat st;
    int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && S_ISLNK(st.st_mode))
        rc = -ELOOP;
    else if (rc == 0 && inner && !S_ISDIR(st.st_mode))
        rc = -ENOTDIR;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int open_by_steps(int root, const char *path)
{
    int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
    if (at < 0)
        return -errno;
    while (*path) {
        char name[NAME_MAX + 1];
        size_t len = strcspn(path, "/");
        bool inner = path[len] == '/';
        int next;
        if (len > NAME_MAX) {
            next = -ENAMETOOLONG;
        } else {
            memcpy(name, path, len);
            name[len] = '\0';
            next = strcmp(name, "..") == 0 ? -EXDEV : open_step(at, len > 0 ? name : ".", inner);
        }
        close(at);
        if (next < 0)
            return next;
        at = next;
        path += len + inner;
    }
    return at;
}

/* The directory of a cgi_root as it is now. */
struct place {
    int fd;
    bool by_steps;
};

static int open_beneath(const struct place *root, const char *path)
{
    return root->by_steps ? open_by_steps(root->fd, path) : open_by_kernel(root->fd, path);
}

/* ---- the root ---- */

static char *path_of(int fd)
{
    char link[32];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path));
    if (n < 0 || (size_t)n == sizeof(path)) {
        errno = n < 0 ? errno : ENAMETOOLONG;
        return NULL;
    }
    return strndup(path, (size_t)n);
}

static void strip_slashes(char *path)
{
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        path[--len] = '\0';
}

static int open_directory(const char *path)
{
    int fd = open(*path ? path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int cgi_root_open(struct cgi_root *root, const char *path)
{
    *root = (struct cgi_root){.path = strdup(path)};
    if (!root->path)
        return -ENOMEM;
    strip_slashes(root->path);
    int fd = open_directory(root->path);
    if (fd < 0)
        return fd;
    int probe = open_by_kernel(fd, ".");
    close(fd);
    if (probe >= 0)
        close(probe);
    /* EPERM: a filter of system calls that does not know this one. */
    root->by_steps = probe == -ENOSYS || probe == -EPERM;
    return 0;
}

void cgi_root_close(struct cgi_root *root)
{
    free(root->path);
    *root = (struct cgi_root){0};
}

/* ---- finding ---- */

static bool take_prefix(struct slice *path, const char *prefix)
{
    size_t len = strlen(prefix);
    if (path->len < len || memcmp(path->data, prefix, len) != 0 ||
        (path->len > len && path->data[len] != '/'))
        return false;
    *path = slice_part(*path, len, path->len);
    return true;
}

/* What the web server makes of PATH_INFO, PATH_TRANSLATED for one, must not lead upwards. */
static bool leads_upwards(const char *path, size_t len)
{
    for (size_t i = 0; i + 3 <= len; i++) {
        if (memcmp(path + i, "/..", 3) == 0 && (i + 3 == len || path[i + 3] == '/'))
            return true;
    }
    return false;
}

/* Opens the first part of the path that is no directory, if it is a file: `*used` bytes of it. */
static int open_first_file(const struct place *root, char *path, size_t len, size_t *used)
{
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/' || path[i - 1] == '/')
            continue;
        path[i] = '\0';
        int fd = open_beneath(root, path);
        path[i] = '/';
        if (fd < 0)
            return fd;
        struct stat st;
        int rc = fstat(fd, &st) < 0 ? -errno : 0;
        if (rc == 0 && S_ISREG(st.st_mode)) {
            *used = i;
            return fd;
        }
        close(fd);
        if (rc < 0 || !S_ISDIR(st.st_mode))
            return rc < 0 ? rc : -ENOTDIR;
    }
    return -ENAMETOOLONG;
}

/* The path by which the file can be run, and by which an interpreter can open it. */
static int name_file(int fd, char *out)
{
    struct stat st, named;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
    char *path = path_of(fd);
    if (!path)
        return errno == ENOENT ? -ENOTSUP : -errno; /* no /proc */
    size_t size = strlen(path) + 1;
    int rc = size > PATH_MAX ? -ENAMETOOLONG : 0;
    if (rc == 0)
        memcpy(out, path, size);
    free(path);
    /* Removed or replaced meanwhile. */
    if (rc == 0 && (stat(out, &named) < 0 || named.st_dev != st.st_dev || named.st_ino != st.st_ino))
        rc = -ENOENT;
    return rc;
}

/* By the path as the kernel has it, without symbolic links. */
static bool take_real_prefix(struct slice *path, int fd)
{
    char *real = path_of(fd);
    if (!real)
        return false;
    strip_slashes(real);
    bool taken = take_prefix(path, real);
    free(real);
    return taken;
}

static int find_in(const struct place *root, struct slice filename, struct slice rest, bool split,
                   struct cgi_script *script)
{
    char path[PATH_MAX];
    while (rest.len > 0 && rest.data[0] == '/')
        rest = slice_part(rest, 1, rest.len);
    if (rest.len == 0)
        return -EISDIR;
    size_t len = rest.len < sizeof(path) ? rest.len : sizeof(path) - 1;
    memcpy(path, rest.data, len);
    path[len] = '\0';
    int fd = len < rest.len ? -ENAMETOOLONG : open_beneath(root, path);
    if (split && (fd == -ENOTDIR || fd == -ENAMETOOLONG)) {
        size_t used = 0;
        fd = open_first_file(root, path, len, &used);
        script->extra = fd < 0 ? 0 : rest.len - used;
        if (leads_upwards(filename.data + filename.len - script->extra, script->extra)) {
            close(fd);
            return -EXDEV;
        }
    }
    if (fd < 0)
        return fd;
    int rc = name_file(fd, script->path);
    close(fd);
    return rc;
}

int cgi_script_find(const struct cgi_root *root, struct slice filename, bool split, struct cgi_script *script)
{
    struct slice rest = filename;
    script->extra = 0;
    if (memchr(rest.data, '\0', rest.len))
        return -ENOENT;
    const struct place place = {open_directory(root->path), root->by_steps};
    if (place.fd < 0)
        return place.fd;
    int rc = -EXDEV;
    if (take_prefix(&rest, root->path) || take_real_prefix(&rest, place.fd))
        rc = find_in(&place, filename, rest, split, script);
    close(place.fd);
    return rc;
}
