#include "relay/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Not every file system knows files without a name. */
static int open_named(const char *directory)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/fcgi-realip.XXXXXX", directory);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

static int open_file(void)
{
    const char *directory = getenv("TMPDIR");
    if (!directory || directory[0] != '/')
        directory = "/tmp";
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : open_named(directory);
}

int spool_append(struct spool *spool, const char *data, size_t len)
{
    if (spool->fd < 0) {
        int fd = open_file();
        if (fd < 0)
            return fd;
        spool->fd = fd;
    }
    if (spool->read == spool->written)
        spool->read = spool->written = 0;
    uint64_t at = spool->written;
    while (len > 0) {
        ssize_t n = pwrite(spool->fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        data += n;
        len -= (size_t)n;
        at += (uint64_t)n;
    }
    spool->written = at;
    return 0;
}

ssize_t spool_take(struct spool *spool, char *data, size_t len)
{
    if (len > spool_length(spool))
        len = (size_t)spool_length(spool);
    if (len == 0)
        return 0;
    ssize_t n;
    do
        n = pread(spool->fd, data, len, (off_t)spool->read);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : -EIO; /* somebody has cut the file */
    spool->read += (uint64_t)n;
    return n;
}

void spool_close(struct spool *spool)
{
    if (spool->fd >= 0)
        close(spool->fd);
    *spool = (struct spool){.fd = -1};
}
