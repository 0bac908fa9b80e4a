#include "relay/inherit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_LISTEN_FD 3 /* SD_LISTEN_FDS_START */
#define MOST_LISTEN_FDS 1024

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static bool is_listener(int fd)
{
    int family = socket_option(fd, SO_DOMAIN);
    return socket_option(fd, SO_ACCEPTCONN) == 1 && socket_option(fd, SO_TYPE) == SOCK_STREAM &&
           (family == AF_UNIX || family == AF_INET || family == AF_INET6);
}

/* A positive decimal number up to `most`; 0 if the text is none. */
static long parse_number(const char *text, long most)
{
    char *end;
    errno = 0;
    long value = text && *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
    return value > 0 && errno == 0 && *end == '\0' && value <= most ? value : 0;
}

int inherit_find(struct inherited *inherited, char *error, size_t error_size)
{
    *inherited = (struct inherited){0, 0};
    if (is_listener(0)) {
        inherited->count = 1;
        return 0;
    }
    const char *count = getenv("LISTEN_FDS");
    if (!count || parse_number(getenv("LISTEN_PID"), INT32_MAX) != (long)getpid())
        return 0; /* none, or meant for the process that started us */
    inherited->first = FIRST_LISTEN_FD;
    inherited->count = (int)parse_number(count, MOST_LISTEN_FDS);
    for (int fd = FIRST_LISTEN_FD; fd < FIRST_LISTEN_FD + inherited->count; fd++)
        if (!is_listener(fd)) {
            snprintf(error, error_size,
                     "cannot use the sockets of LISTEN_FDS=%s: descriptor %d is no listening stream socket",
                     count, fd);
            return -1;
        }
    if (inherited->count == 0) {
        snprintf(error, error_size, "cannot use the sockets of LISTEN_FDS=%s: not a number from 1 to %d",
                 count, MOST_LISTEN_FDS);
        return -1;
    }
    return 0;
}

static void name_tcp(const struct sockaddr_storage *address, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(text, size, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(text, size, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}

static void name_unix(const struct sockaddr_un *address, socklen_t len, char *text, size_t size)
{
    size_t path =
        len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
    if (path > 0 && address->sun_path[0] == '\0')
        snprintf(text, size, "unix:@%.*s", (int)(path - 1), address->sun_path + 1);
    else
        snprintf(text, size, "unix:%.*s", (int)path, address->sun_path);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

int inherit_adopt(struct listen_socket *s, int fd, const struct config_listen *config, char *text,
                  size_t text_size, char *error, size_t error_size)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof(address));
    socklen_t len = sizeof(address);
    *s = (struct listen_socket){.fd = fd};
    snprintf(text, text_size, "descriptor %d", fd);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        snprintf(error, error_size, "cannot listen on inherited descriptor %d: asking for its address: %s",
                 fd, strerror(errno));
        return -1;
    }
    bool tcp = address.ss_family == AF_INET || address.ss_family == AF_INET6;
    if (tcp)
        name_tcp(&address, text, text_size);
    else
        name_unix((const struct sockaddr_un *)&address, len, text, text_size);
    if (tcp && !is_loopback(&address) && !config->allowed_clients) {
        snprintf(error, error_size,
                 "cannot listen on inherited %s: other machines can reach it, and whoever can may run any "
                 "script; list the "
                 "web servers in [listen] allowed_clients",
                 text);
        return -1;
    }
    /* The flag is of the socket, so other processes on it see it too; those that share it with us are shims.
     */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        snprintf(error, error_size, "cannot listen on inherited %s: making it non-blocking: %s", text,
                 strerror(errno));
        return -1;
    }
    return 0;
}

void inherit_forget(void)
{
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}
