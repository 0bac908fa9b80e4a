#include "relay/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A number, a line's end, and room to see that there is more. */
#define TEXT_SIZE 32

static int fail(const struct pid_file *file, const char *doing, const char *why, char *error,
                size_t error_size)
{
    snprintf(error, error_size, "cannot write pid_file %s: %s: %s", file->path, doing, why);
    return -1;
}

/* ---- reading ---- */

/* The number in the file, 0 if it is empty, or a negative errno. */
static pid_t read_number(int fd)
{
    char text[TEXT_SIZE];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    char *end = text;
    long number = text[0] >= '1' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
    end += *end == '\n';
    /* Something else, which may be precious. */
    if (end != text + n || number > INT32_MAX)
        return -EINVAL;
    return (pid_t)number;
}

pid_t pid_file_read(const char *path)
{
    /* Not to wait for the other end, should it be a pipe. */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno == ELOOP ? -EINVAL : -errno;
    pid_t pid = read_number(fd);
    if (pid > 0 && flock(fd, LOCK_SH | LOCK_NB) == 0)
        pid = 0; /* whoever wrote it has ended */
    close(fd);
    return pid;
}

/* ---- writing ---- */

static int make(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

int pid_file_open(struct pid_file *file, const char *path, char *error, size_t error_size)
{
    size_t size = strlen(path) + 32;
    *file = (struct pid_file){.fd = -1, .path = strdup(path), .temporary = malloc(size)};
    if (!file->path || !file->temporary) {
        snprintf(error, error_size, "cannot write pid_file %s: out of memory", path);
        return -1;
    }
    pid_t holder = pid_file_read(path);
    if (holder == -EINVAL)
        return fail(file, "looking at the path",
                    "there is a file that is no pid file; remove it or choose another path", error,
                    error_size);
    if (holder < 0)
        return fail(file, "looking at the path", strerror(-holder), error, error_size);
    snprintf(file->temporary, size, "%s.%ld", path, (long)getpid());
    file->fd = make(file->temporary);
    if (file->fd < 0 && errno == EEXIST) {
        /* Of one who had our number and was killed. */
        unlink(file->temporary);
        file->fd = make(file->temporary);
    }
    if (file->fd < 0)
        return fail(file, "making a file in its folder", strerror(errno), error, error_size);
    /* Whoever wants to signal us may read it, whatever the umask is. */
    if (fchmod(file->fd, 0644) < 0 || flock(file->fd, LOCK_EX | LOCK_NB) < 0)
        return fail(file, "locking it", strerror(errno), error, error_size);
    return 0;
}

int pid_file_publish(struct pid_file *file, pid_t *replaced, char *error, size_t error_size)
{
    *replaced = 0;
    if (file->fd < 0)
        return 0;
    if (dprintf(file->fd, "%ld\n", (long)getpid()) < 0)
        return fail(file, "writing", strerror(errno), error, error_size);
    pid_t holder = pid_file_read(file->path);
    *replaced = holder > 0 ? holder : 0;
    if (rename(file->temporary, file->path) < 0)
        return fail(file, "putting it in its place", strerror(errno), error, error_size);
    free(file->temporary);
    file->temporary = NULL;
    return 0;
}

/* ---- the end ---- */

void pid_file_disown(struct pid_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->temporary);
    *file = (struct pid_file){.fd = -1};
}

static bool is_ours(const struct pid_file *file)
{
    struct stat ours;
    struct stat there;
    return fstat(file->fd, &ours) == 0 && lstat(file->path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

void pid_file_close(struct pid_file *file)
{
    if (file->fd >= 0 && file->temporary)
        unlink(file->temporary);
    else if (file->fd >= 0 && is_ours(file))
        unlink(file->path);
    pid_file_disown(file);
}
