#include "relay/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct attempt {
    const struct endpoint *endpoint;
    char *error;
    size_t error_size;
};

static int fail(const struct attempt *attempt, const char *doing, const char *why)
{
    snprintf(attempt->error, attempt->error_size, "cannot listen on %s: %s: %s", attempt->endpoint->text,
             doing, why);
    return -1;
}

/* Holds the folder locked, so that of two starting processes only one looks, removes and binds at a time. */
static int lock_folder(const char *path)
{
    char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
    snprintf(copy, sizeof(copy), "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Does anybody accept on it? 1 yes, 0 no, or a negative errno. */
static int probe(const struct endpoint *endpoint)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->length);
    int error = errno;
    close(fd);
    if (rc == 0 || error == EAGAIN || error == EINPROGRESS)
        return 1;
    return error == ECONNREFUSED ? 0 : -error;
}

static int clear_the_way(const struct attempt *attempt, const char *path)
{
    struct stat info;
    if (lstat(path, &info) < 0)
        return errno == ENOENT ? 0 : fail(attempt, "looking at the path", strerror(errno));
    if (!S_ISSOCK(info.st_mode))
        return fail(attempt, "looking at the path",
                    "there is a file that is no socket; remove it or choose another path");
    int alive = probe(attempt->endpoint);
    if (alive > 0)
        return fail(attempt, "looking at the path",
                    "another process listens there; stop it or choose another path");
    if (alive < 0)
        return fail(attempt, "asking who listens there", strerror(-alive));
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(attempt, "removing the dead socket", strerror(errno));
    return 0;
}

static int bind_unix(struct listen_socket *s, const struct attempt *attempt,
                     const struct config_listen *config)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)&attempt->endpoint->address;
    const char *path = address->sun_path;
    /* The socket file is born with these rights less the umask, so it never has more than it is meant to
     * have. */
    if (fchmod(s->fd, config->mode) < 0)
        return fail(attempt, "setting the mode", strerror(errno));
    if (clear_the_way(attempt, path) < 0)
        return -1;
    if (bind(s->fd, (const struct sockaddr *)address, attempt->endpoint->length) < 0)
        return fail(attempt, "binding", strerror(errno));
    struct stat info;
    s->path = strdup(path);
    if (!s->path || lstat(path, &info) < 0)
        return fail(attempt, "binding", strerror(errno));
    s->device = info.st_dev;
    s->inode = info.st_ino;
    /* Nobody but root can give files away, and nobody else becomes another user either. */
    uid_t owner = config->owner != (uid_t)-1 || geteuid() != 0 ? config->owner : config->user;
    gid_t group = config->group != (gid_t)-1 || geteuid() != 0 ? config->group : config->users;
    if ((owner != (uid_t)-1 || group != (gid_t)-1) && lchown(path, owner, group) < 0)
        return fail(attempt, "setting the owner and group", strerror(errno));
    if (chmod(path, config->mode) < 0)
        return fail(attempt, "setting the mode", strerror(errno));
    return 0;
}

static int bind_path(struct listen_socket *s, const struct attempt *attempt,
                     const struct config_listen *config)
{
    int lock = lock_folder(((const struct sockaddr_un *)&attempt->endpoint->address)->sun_path);
    if (lock < 0)
        return fail(attempt, "opening and locking its folder", strerror(errno));
    int rc = bind_unix(s, attempt, config);
    if (rc == 0 && listen(s->fd, config->backlog) < 0)
        rc = fail(attempt, "listening", strerror(errno));
    close(lock);
    return rc;
}

static int bind_tcp(struct listen_socket *s, const struct attempt *attempt,
                    const struct config_listen *config)
{
    const struct sockaddr *address = (const struct sockaddr *)&attempt->endpoint->address;
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (address->sa_family == AF_INET6)
        setsockopt(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    if (bind(s->fd, address, attempt->endpoint->length) < 0)
        return fail(attempt, "binding", strerror(errno));
    if (listen(s->fd, config->backlog) < 0)
        return fail(attempt, "listening", strerror(errno));
    return 0;
}

int listen_open(struct listen_socket *s, const struct endpoint *endpoint, const struct config_listen *config,
                bool nonblocking, char *error, size_t error_size)
{
    const struct attempt attempt = {endpoint, error, error_size};
    int family = endpoint->address.ss_family;
    *s = (struct listen_socket){.fd = -1};
    s->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (s->fd < 0)
        return fail(&attempt, "making a socket", strerror(errno));
    return family == AF_UNIX ? bind_path(s, &attempt, config) : bind_tcp(s, &attempt, config);
}

int listen_take_over(struct listen_socket *s, int fd, const struct config_listen *config)
{
    struct sockaddr_un address;
    socklen_t len = sizeof(address);
    struct stat info;
    memset(&address, 0, sizeof(address));
    *s = (struct listen_socket){.fd = fd, .lent = true};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        (config && listen(fd, config->backlog) < 0))
        return -errno;
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -errno;
    if (address.sun_family != AF_UNIX || address.sun_path[0] != '/' || lstat(address.sun_path, &info) < 0)
        return 0; /* nothing that could be removed */
    s->path = strdup(address.sun_path);
    s->device = info.st_dev;
    s->inode = info.st_ino;
    return s->path ? 0 : -ENOMEM;
}

void listen_keep(struct listen_socket *s)
{
    s->lent = false;
}

void listen_close(struct listen_socket *s)
{
    struct stat info;
    if (s->path && !s->lent && lstat(s->path, &info) == 0 && info.st_dev == s->device &&
        info.st_ino == s->inode)
        unlink(s->path);
    if (s->fd >= 0)
        close(s->fd);
    free(s->path);
    *s = (struct listen_socket){.fd = -1};
}

void listen_disown(struct listen_socket *s)
{
    free(s->path);
    s->path = NULL;
}
