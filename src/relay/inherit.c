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

/* A descriptor's number, cut off *text; -1: there is none. */
static int cut_descriptor(char **text)
{
    long fd = strtol(*text, text, 10);
    return fd > 2 && fd <= INT32_MAX && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0 ? (int)fd : -1;
}

/* "WORD FRONTS own" or "WORD FRONTS lent"; LISTEN_PID is ours. */
static void find_handover(struct inherited *inherited)
{
    char *text = getenv("FCGI_REALIP_HANDOVER");
    if (!text)
        return;
    inherited->word = cut_descriptor(&text);
    inherited->fronts = cut_descriptor(&text);
    inherited->own = strcmp(text, " own") == 0;
}

int inherit_find(struct inherited *inherited, char *error, size_t error_size)
{
    *inherited = (struct inherited){.word = -1, .fronts = -1};
    bool ours = parse_number(getenv("LISTEN_PID"), INT32_MAX) == (long)getpid();
    if (ours)
        find_handover(inherited);
    if (inherited->word < 0 && is_listener(0)) {
        inherited->count = 1;
        return 0;
    }
    const char *count = getenv("LISTEN_FDS");
    if (!count || !ours)
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

/* False: it has none. */
static bool find_address(int fd, struct sockaddr_storage *address, socklen_t *len)
{
    memset(address, 0, sizeof(*address));
    *len = sizeof(*address);
    return getsockname(fd, (struct sockaddr *)address, len) == 0;
}

void inherit_name(int fd, char *text, size_t text_size)
{
    struct sockaddr_storage address;
    socklen_t len;
    snprintf(text, text_size, "descriptor %d", fd);
    if (!find_address(fd, &address, &len))
        return;
    if (address.ss_family == AF_UNIX)
        name_unix((const struct sockaddr_un *)&address, len, text, text_size);
    else
        name_tcp(&address, text, text_size);
}

/* Of a path the kernel gives no more bytes than it has. */
static bool same_path(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    return strcmp(((const struct sockaddr_un *)a)->sun_path, ((const struct sockaddr_un *)b)->sun_path) == 0;
}

int inherit_match(const struct inherited *inherited, const struct endpoint *endpoint)
{
    for (int fd = inherited->first; fd < inherited->first + inherited->count; fd++) {
        struct sockaddr_storage address;
        socklen_t len;
        if (!find_address(fd, &address, &len) || address.ss_family != endpoint->address.ss_family)
            continue;
        if (address.ss_family == AF_UNIX
                ? same_path(&address, &endpoint->address)
                : len == endpoint->length && memcmp(&address, &endpoint->address, len) == 0)
            return fd;
    }
    return -1;
}

int inherit_adopt(struct listen_socket *s, int fd, const struct config_listen *config, char *text,
                  size_t text_size, char *error, size_t error_size)
{
    struct sockaddr_storage address;
    socklen_t len;
    *s = (struct listen_socket){.fd = fd};
    inherit_name(fd, text, text_size);
    if (!find_address(fd, &address, &len)) {
        snprintf(error, error_size, "cannot listen on inherited descriptor %d: asking for its address: %s",
                 fd, strerror(errno));
        return -1;
    }
    bool tcp = address.ss_family == AF_INET || address.ss_family == AF_INET6;
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
    unsetenv("FCGI_REALIP_HANDOVER");
}
