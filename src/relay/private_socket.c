#include "relay/private_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

/* Requests wait in the queue of the pool, not here: this is room for all of its connections. */
#define BACKLOG 4096
#define NAME    "application.sock"

/* A short way to a file, however long that of its folder is. */
static struct endpoint endpoint_of(int fd, const char *rest)
{
    struct endpoint endpoint = {.length = sizeof(struct sockaddr_un)};
    struct sockaddr_un *address = (struct sockaddr_un *)&endpoint.address;
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d%s", fd, rest);
    return endpoint;
}

/* In the folder: 0 or a negative errno. */
static int make(struct private_socket *s, int folder)
{
    struct endpoint endpoint = endpoint_of(folder, "/" NAME);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0)
        return -errno;
    if (bind(s->listener, (const struct sockaddr *)&endpoint.address, endpoint.length) < 0)
        return -errno;
    s->file = openat(folder, NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = s->file < 0 ? errno : 0;
    unlinkat(folder, NAME, 0);
    if (error != 0 || listen(s->listener, BACKLOG) < 0)
        return error != 0 ? -error : -errno;
    s->endpoint = endpoint_of(s->file, "");
    return 0;
}

static int fail(const char *doing, const char *where, int rc, char *error, size_t error_size)
{
    const char *advice = access("/proc/self/fd", X_OK) == 0 ? "TMPDIR says where it is made"
                                                            : "/proc is not mounted, and it takes that";
    snprintf(error, error_size, "cannot make a private socket: %s %s: %s (%s)", doing, where, strerror(-rc),
             advice);
    return rc;
}

int private_socket_open(struct private_socket *s, char *error, size_t error_size)
{
    private_socket_close(s);
    char path[PATH_MAX];
    const char *parent = getenv("TMPDIR");
    if (!parent || parent[0] == '\0')
        parent = "/tmp";
    int length = snprintf(path, sizeof(path), "%s/fcgi-realip-XXXXXX", parent);
    if (length >= (int)sizeof(path))
        return fail("making a folder in", parent, -ENAMETOOLONG, error, error_size);
    if (!mkdtemp(path))
        return fail("making a folder in", parent, -errno, error, error_size);
    int folder = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = folder < 0 ? -errno : make(s, folder);
    if (rc < 0) {
        fail("in the folder", path, rc, error, error_size);
        private_socket_close(s);
    }
    if (folder >= 0)
        close(folder);
    rmdir(path);
    return rc;
}

void private_socket_refuse(struct private_socket *s)
{
    if (s->listener >= 0)
        close(s->listener);
    s->listener = -1;
}

void private_socket_close(struct private_socket *s)
{
    private_socket_refuse(s);
    if (s->file >= 0)
        close(s->file);
    s->file = -1;
}
