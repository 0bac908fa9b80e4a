/*
 * bench-responder: the smallest FastCGI application that is still honest, on one thread.
 *
 * It reads whole requests (parameters, body), and answers the REMOTE_ADDR that it was given, then filler up
 * to the wanted size, as STDOUT, empty STDOUT and END_REQUEST in one write. It keeps the connection if the
 * request says so. What it does not like (a REMOTE_ADDR that is missing or there twice, a body that is not
 * CONTENT_LENGTH bytes) it answers in the place of the address, so that the load generator sees an error.
 * At TERM it prints {"requests":N,"connections":N}: how far a relay shared its connections.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

#define RECORD_MAX 65528
#define HEAD_MAX   128 /* content of the answer that differs from request to request, filler included */
#define PARAMS_MAX (1U << 20)

struct connection {
    int fd;
    uint8_t header[WIRE_HEADER]; /* of the record being read */
    size_t have;                 /* bytes of it */
    size_t content, padding;     /* bytes of the record still to come */
    bool begun, keep;            /* a request is under way; it wants the connection kept */
    uint8_t begin[8];
    size_t begin_have;
    uint8_t *params;
    size_t params_len, params_cap;
    uint64_t body;
    uint8_t id[2];   /* of the request; each may have another */
    uint8_t *answer; /* the connection's own copy of the whole answer */
    size_t sent;     /* bytes of it, while answering */
    bool answering;
};

static struct {
    uint8_t *bytes; /* the whole answer, but for its ids and its head */
    size_t len;
} answer;

static int poll_fd = -1;
static uint64_t requests, connections;
static volatile sig_atomic_t stop;
static uint8_t buffer[1 << 16];

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void connection_close(struct connection *c)
{
    close(c->fd);
    free(c->params);
    free(c->answer);
    free(c);
}

static void make_answer(size_t size)
{
    size_t records = (size + RECORD_MAX - 1) / RECORD_MAX, at = 0, left = size;

    answer.len = size + (records + 2) * WIRE_HEADER + 8;
    answer.bytes = calloc(1, answer.len);
    if (answer.bytes == NULL)
        bench_die("answer of %zu bytes", size);
    while (left > 0) {
        size_t content = left < RECORD_MAX ? left : RECORD_MAX;

        bench_put_header(answer.bytes + at, WIRE_STDOUT, (uint16_t)content, 0);
        memset(answer.bytes + at + WIRE_HEADER, 'x', content);
        at += WIRE_HEADER + content;
        left -= content;
    }
    bench_put_header(answer.bytes + at, WIRE_STDOUT, 0, 0);
    bench_put_header(answer.bytes + at + WIRE_HEADER, WIRE_END, 8, 0);
}

/* Decodes a pair's length; false if it reaches behind the end. */
static bool take_length(const uint8_t *bytes, size_t len, size_t *at, size_t *value)
{
    if (*at >= len)
        return false;
    if (bytes[*at] < 128) {
        *value = bytes[(*at)++];
        return true;
    }
    if (len - *at < 4)
        return false;
    *value = (size_t)(bytes[*at] & 0x7f) << 24 | (size_t)bytes[*at + 1] << 16 | (size_t)bytes[*at + 2] << 8 |
             bytes[*at + 3];
    *at += 4;
    return true;
}

/* What the answer's first line says: the one REMOTE_ADDR, or what is wrong. */
static const char *find_address(const struct connection *c, const char **text, size_t *text_len)
{
    const uint8_t *p = c->params;
    const char *wrong = "no-remote-addr";
    uint64_t length = 0;
    size_t at = 0, name, value;

    while (at < c->params_len) {
        if (!take_length(p, c->params_len, &at, &name) || !take_length(p, c->params_len, &at, &value) ||
            name > c->params_len - at || value > c->params_len - at - name)
            return "bad-params";
        if (name == 11 && memcmp(p + at, "REMOTE_ADDR", 11) == 0) {
            if (wrong == NULL)
                return "repeated-remote-addr";
            wrong = NULL;
            *text = (const char *)p + at + name;
            *text_len = value;
        } else if (name == 14 && memcmp(p + at, "CONTENT_LENGTH", 14) == 0) {
            for (size_t i = 0; i < value; i++)
                length = length * 10 + (uint64_t)(p[at + name + i] - '0');
        }
        at += name + value;
    }
    if (wrong == NULL && *text_len > 45)
        return "bad-remote-addr";
    return length != c->body ? "bad-body-length" : wrong;
}

/* False: the connection is gone. */
static bool send_answer(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};

    while (c->sent < answer.len) {
        ssize_t n = send(c->fd, c->answer + c->sent, answer.len - c->sent, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EAGAIN)
                return epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event) == 0;
            connection_close(c);
            return false;
        }
        c->sent += (size_t)n;
    }
    c->answering = false;
    requests++;
    if (!c->keep) {
        connection_close(c);
        return false;
    }
    return true;
}

/* Gives all records of the answer the request's id. */
static void set_id(struct connection *c)
{
    for (size_t at = 0; at < answer.len;) {
        uint8_t *header = c->answer + at;

        header[2] = c->id[0];
        header[3] = c->id[1];
        at += WIRE_HEADER + ((size_t)header[4] << 8 | header[5]) + header[6];
    }
}

/* The request is complete. False: the connection is gone. */
static bool answer_request(struct connection *c)
{
    static const char rest[] = "\r\nContent-Type: text/plain\r\n\r\n";
    const char *text = NULL;
    size_t len = 0, n = sizeof(BENCH_ANSWER) - 1;
    const char *wrong = find_address(c, &text, &len);
    uint8_t *line = c->answer + WIRE_HEADER;

    if (wrong != NULL) {
        text = wrong;
        len = strlen(wrong);
    }
    memcpy(c->answer, answer.bytes, WIRE_HEADER + HEAD_MAX);
    set_id(c);
    memcpy(line, BENCH_ANSWER, n);
    memcpy(line + n, text, len);
    memcpy(line + n + len, rest, sizeof(rest) - 1);
    c->begun = false;
    c->answering = true;
    c->sent = 0;
    return send_answer(c);
}

static bool keep_params(struct connection *c, const uint8_t *bytes, size_t n)
{
    if (c->params_len + n > c->params_cap) {
        size_t cap = c->params_len + n + 2048;
        uint8_t *grown = cap <= PARAMS_MAX ? realloc(c->params, cap) : NULL;

        if (grown == NULL)
            return false;
        c->params = grown;
        c->params_cap = cap;
    }
    memcpy(c->params + c->params_len, bytes, n);
    c->params_len += n;
    return true;
}

/* A record's header is complete. 1: go on, 0: the request is complete, -1: it makes no sense. */
static int begin_record(struct connection *c)
{
    uint8_t type = c->header[1];

    c->content = (size_t)c->header[4] << 8 | c->header[5];
    c->padding = c->header[6];
    if (type == WIRE_BEGIN) {
        if (c->begun || c->content != sizeof(c->begin))
            return -1;
        c->begun = true;
        memcpy(c->id, c->header + 2, sizeof(c->id));
        c->begin_have = 0;
        c->params_len = 0;
        c->body = 0;
        return 1;
    }
    if (!c->begun || c->header[0] != 1 || memcmp(c->header + 2, c->id, sizeof(c->id)) != 0 ||
        (type != WIRE_PARAMS && type != WIRE_STDIN))
        return -1;
    if (type == WIRE_STDIN && c->content == 0)
        return c->padding == 0 ? 0 : -1; /* libfcgi takes an end marker's padding for the next header */
    return 1;
}

static bool take_content(struct connection *c, const uint8_t *bytes, size_t n)
{
    switch (c->header[1]) {
    case WIRE_BEGIN:
        memcpy(c->begin + c->begin_have, bytes, n);
        c->begin_have += n;
        c->keep = c->begin_have > 2 && (c->begin[2] & WIRE_KEEP_CONN) != 0;
        return true;
    case WIRE_PARAMS:
        return keep_params(c, bytes, n);
    default:
        c->body += n;
        return true;
    }
}

/* False: the connection is gone. */
static bool take_bytes(struct connection *c, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        if (c->content > 0) {
            size_t n = len < c->content ? len : c->content;

            if (!take_content(c, bytes, n))
                break;
            bytes += n, len -= n, c->content -= n;
        } else if (c->padding > 0) {
            size_t n = len < c->padding ? len : c->padding;

            bytes += n, len -= n, c->padding -= n;
        } else {
            size_t n = sizeof(c->header) - c->have;
            int more = 1;

            n = len < n ? len : n;
            memcpy(c->header + c->have, bytes, n);
            bytes += n, len -= n, c->have += n;
            if (c->have < sizeof(c->header))
                return true;
            c->have = 0;
            more = begin_record(c);
            if (more == 0 && len == 0)
                return answer_request(c);
            if (more <= 0) /* bytes behind a request's end: nobody may send the next one before the answer */
                break;
        }
    }
    if (len == 0)
        return true;
    fprintf(stderr, "bench-responder: a request makes no sense: record type %u\n", c->header[1]);
    connection_close(c);
    return false;
}

static void on_event(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    ssize_t n;

    if (c->answering) {
        if ((events & (EPOLLHUP | EPOLLERR)) != 0)
            connection_close(c);
        else if (send_answer(c) && !c->answering)
            epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
        return;
    }
    n = recv(c->fd, buffer, sizeof(buffer), 0);
    if (n > 0)
        take_bytes(c, buffer, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        connection_close(c);
}

static void on_listener(int listener, bool tcp)
{
    const int on = 1;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct connection *c;
        struct epoll_event event = {.events = EPOLLIN};

        if (fd < 0)
            return;
        if (tcp)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c = calloc(1, sizeof(*c));
        if (c == NULL || (c->answer = malloc(answer.len)) == NULL)
            bench_die("bench-responder: accept");
        memcpy(c->answer, answer.bytes, answer.len);
        c->fd = fd;
        connections++;
        event.data.ptr = c;
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            bench_die("bench-responder: epoll_ctl");
    }
}

static int listen_on(const struct bench_address *address)
{
    const int on = 1;
    int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && address->address.ss_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address->address, address->length) < 0 ||
        listen(fd, 4096) < 0)
        bench_die("bench-responder: listen");
    return fd;
}

static void run(int listener, bool tcp)
{
    struct epoll_event events[256], event = {.events = EPOLLIN};
    sigset_t blocked, before;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &before);

    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        bench_die("bench-responder: epoll");
    while (!stop) {
        int n = epoll_pwait(poll_fd, events, (int)(sizeof(events) / sizeof(events[0])), -1, &before);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                on_listener(listener, tcp);
            else
                on_event(events[i].data.ptr, events[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct bench_address address;
    size_t size = 1024;
    int option;

    while ((option = getopt(argc, argv, "l:")) != -1) {
        if (option != 'l')
            return 2;
        size = (size_t)bench_parse_number("-l", optarg, 1U << 30);
    }
    if (optind + 1 != argc || size < HEAD_MAX) {
        fprintf(stderr, "usage: bench-responder [-l BYTES, at least %d] ADDRESS\n", HEAD_MAX);
        return 2;
    }
    address = bench_parse_address(argv[optind]);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    make_answer(size);
    run(listen_on(&address), address.address.ss_family != AF_UNIX);
    printf("{\"requests\":%llu,\"connections\":%llu}\n", (unsigned long long)requests,
           (unsigned long long)connections);
    return 0;
}
