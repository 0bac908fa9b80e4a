#include "relay/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* Connections accepted before others have their turn. */
#define ACCEPTS_A_TURN 64
/* The same, where the others are processes, too: enough for what is sent at the end of the turn to go out in
 * few system calls. */
#define SHARED_ACCEPTS_A_TURN 16

static uint64_t load64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static struct address address_of(const struct sockaddr_storage *socket_address)
{
    if (socket_address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)socket_address;
        return (struct address){ADDRESS_V4, 0, ntohl(v4->sin_addr.s_addr)};
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)socket_address;
    const unsigned char *bytes = v6->sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return (struct address){ADDRESS_V4, 0, load64(bytes + 8) & 0xffffffff};
    return (struct address){ADDRESS_V6, load64(bytes), load64(bytes + 8)};
}

/* Whoever may connect may choose the program that a PHP application runs; a unix socket's mode says who may.
 */
static bool allowed(struct relay *relay, const struct sockaddr_storage *peer)
{
    const struct cidr_set *set = relay->config->listen.allowed_clients;
    if (!set || peer->ss_family == AF_UNIX)
        return true;
    struct address address = address_of(peer);
    if (cidr_set_find(set, &address) >= 0)
        return true;
    char text[ADDRESS_TEXT_MAX];
    relay_log_limited(relay, client, LOG_WARNING,
                      "closed a connection from %.*s, which is not in [listen] allowed_clients",
                      (int)address_format(&address, text), text);
    return false;
}

static void rest(struct listener *l, int error)
{
    relay_log_limited(
        l->relay, accept, LOG_ERROR,
        "cannot accept a connection: %s; trying again in a moment (raise the limit of open files?)",
        strerror(error));
    poller_remove(&l->relay->poller, &l->watch);
    deadline_start(&l->relay->deadlines, &l->deadline, DEADLINE_REST);
}

/* False: no more connections now. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    socklen_t len = sizeof(peer);
    int fd = accept4(l->watch.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(l, errno);
        /* Anything else but "none left" is about that one connection, which is gone. */
        return errno == EINTR || errno == ECONNABORTED || errno == EPROTO;
    }
    if (!allowed(l->relay, &peer)) {
        close(fd);
        return true;
    }
    if (peer.ss_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    }
    /* Of those that stay, and those that may, each process gets its part: one at a time. */
    return front_accept(l->relay, fd) || !l->watch.shared;
}

static void on_ready(struct watch *watch)
{
    struct listener *l = (struct listener *)((char *)watch - offsetof(struct listener, watch));
    int most = watch->shared ? SHARED_ACCEPTS_A_TURN : ACCEPTS_A_TURN;
    for (int i = 0; i < most && watch->added && accept_one(l); i++)
        ;
}

int listener_start(struct listener *l, struct relay *relay)
{
    l->relay = relay;
    l->watch = (struct watch){
        .fd = l->socket.fd, .level = true, .shared = relay->config->workers > 1, .ready = on_ready};
    return poller_add(&relay->poller, &l->watch);
}

void listener_wake(struct listener *l)
{
    if (poller_add(&l->relay->poller, &l->watch) < 0)
        deadline_start(&l->relay->deadlines, &l->deadline, DEADLINE_REST);
}

void listener_step_back(struct listener *l)
{
    if (!l->watch.added)
        return;
    poller_remove(&l->relay->poller, &l->watch);
    listener_wake(l);
}

void listener_stop(struct listener *l)
{
    deadline_stop(&l->deadline);
    if (l->relay)
        poller_remove(&l->relay->poller, &l->watch);
    l->watch.fd = -1;
    listen_close(&l->socket);
}
