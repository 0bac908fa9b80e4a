/*
 * bench-load: sends FastCGI requests as nginx does, on one thread, and looks at every answer.
 *
 * Each connection has one request under way. An answer counts as right if it is complete (END_REQUEST with
 * both statuses 0), its STDOUT is of the wanted length, nothing else came, and its first line names the
 * REMOTE_ADDR that the application should have seen. Neighbouring requests have different clients, so that an
 * answer that went to the wrong connection is an error too.
 *
 * Prints one line of JSON; latencies are in microseconds from before connect (or send) to the end of the
 * answer. Exit status: 0, 1 if any answer was wrong, 2 for bad usage.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"
#include "latency.h"

#define STALL_MS   10000 /* nothing at all for so long: the relay hangs */
#define ERRORS_MAX 1000  /* a run with so many wrong answers ends early */

static const char usage[] =
    "usage: bench-load [option]... ADDRESS\n"
    "  -n N      requests (default 10000)\n"
    "  -s N      seconds instead\n"
    "  -c N      connections (default 1)\n"
    "  -r        reconnect for each request, without KEEP_CONN, as nginx does by default\n"
    "  -b BYTES  body of each request (default 0: GET)\n"
    "  -l BYTES  length of each answer's STDOUT (default 1024)\n"
    "  -e WHO    REMOTE_ADDR that the application should see: client (default), peer\n"
    "  -p BYTES  length of X-Forwarded-For: forged addresses are piled up left of the true ones\n"
    "  -f PATH   another SCRIPT_FILENAME\n"
    "  -g        gate: warm up with one request a connection, print \"ready\", wait for a line, run, wait "
    "again\n"
    "  -w N      requests at a time while warming up (default: all at once)\n";

struct connection {
    int fd; /* -1: closed, to be opened */
    unsigned variant;
    uint64_t began; /* bench_now */
    size_t sent;    /* bytes of the request */
    bool want_out;  /* EPOLLOUT is asked for */
    uint8_t header[WIRE_HEADER];
    size_t have;             /* bytes of it */
    size_t content, padding; /* bytes of the record still to come */
    char first[80];          /* the beginning of STDOUT */
    size_t first_len;
    size_t length; /* of STDOUT so far */
    uint8_t end[8];
    size_t end_have;
    bool ended, busy;
};

static struct {
    struct bench_address target;
    uint64_t requests, seconds;
    unsigned connections, window;
    bool reconnect, peer, gate;
    size_t body, length, forwarded;
    const char *script;
} options = {.requests = 10000, .connections = 1, .length = 1024, .window = UINT_MAX};

static struct {
    uint8_t *bytes;
    size_t len;
    char answer[48]; /* the first line that the answer must have */
    size_t answer_len;
} variants[BENCH_VARIANTS];

static struct {
    uint64_t started, done, errors;
    uint64_t until;         /* bench_now; 0: a number of requests instead */
    uint64_t limit;         /* of requests */
    bool spread;            /* the next request goes out on the next connection, not on the same */
    struct latency latency; /* of right answers */
} run;

static struct connection *connections;
static unsigned busy, unopened; /* connections with a request; those whose connect could not be started */
static int poll_fd = -1;
static uint8_t *body_bytes; /* STDIN records, the empty one included */
static size_t body_len;
static uint8_t buffer[1 << 16];

/* BEGIN_REQUEST, PARAMS padded to 8 bytes as nginx does, empty PARAMS. */
static void make_variant(unsigned variant)
{
    char *forwarded = bench_forwarded(variant, options.forwarded);
    size_t extra = strlen(forwarded) + (options.script != NULL ? strlen(options.script) : 0);
    uint8_t *bytes = calloc(1, BENCH_PARAMS_MAX + extra + 64), *params = bytes + 3 * WIRE_HEADER;
    char address[16];
    size_t len;
    uint8_t padding;

    if (bytes == NULL || extra > 60000)
        bench_die("bench-load: parameters");
    len = bench_params(params, variant, forwarded, options.script, options.body);
    free(forwarded);
    padding = (uint8_t)(-len & 7);
    bench_put_header(bytes, WIRE_BEGIN, 8, 0);
    bytes[WIRE_HEADER + 1] = WIRE_RESPONDER;
    bytes[WIRE_HEADER + 2] = options.reconnect ? 0 : WIRE_KEEP_CONN;
    bench_put_header(bytes + 2 * WIRE_HEADER, WIRE_PARAMS, (uint16_t)len, padding);
    bench_put_header(params + len + padding, WIRE_PARAMS, 0, 0);
    variants[variant].bytes = bytes;
    variants[variant].len = 4 * WIRE_HEADER + len + padding;
    (options.peer ? bench_peer : bench_client)(variant, address);
    variants[variant].answer_len = (size_t)snprintf(
        variants[variant].answer, sizeof(variants[variant].answer), BENCH_ANSWER "%s\r\n", address);
}

static void complain(const struct connection *c, const char *what)
{
    if (run.errors <= 5)
        fprintf(stderr, "bench-load: %s (%zu bytes of STDOUT, \"%.*s\")\n", what, c->length,
                (int)strcspn(c->first, "\r\n"), c->first);
}

static void close_connection(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->want_out = false;
}

static void start_request(struct connection *c);

/* what: why the answer is wrong, or NULL. */
static void finish_request(struct connection *c, const char *what)
{
    uint64_t time = bench_now();

    run.done++;
    if (what != NULL) {
        run.errors++;
        complain(c, what);
    } else {
        latency_add(&run.latency, time - c->began);
    }
    if (what != NULL || options.reconnect)
        close_connection(c);
    c->busy = false;
    busy--;
    if (run.errors < ERRORS_MAX && (run.until != 0 ? time < run.until : run.started < run.limit))
        start_request(run.spread ? &connections[run.started] : c);
}

static void ask_for(struct connection *c, bool out)
{
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0U), .data.ptr = c};

    if (c->want_out == out)
        return;
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0)
        bench_die("bench-load: epoll_ctl");
    c->want_out = out;
}

static void send_request(struct connection *c)
{
    size_t head = variants[c->variant].len;

    while (c->sent < head + body_len) {
        struct iovec parts[2] = {{variants[c->variant].bytes, head}, {body_bytes, body_len}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t n;

        if (c->sent < head) {
            parts[0].iov_base = variants[c->variant].bytes + c->sent;
            parts[0].iov_len = head - c->sent;
        } else {
            parts[0].iov_base = body_bytes + (c->sent - head);
            parts[0].iov_len = body_len - (c->sent - head);
            message.msg_iovlen = 1;
        }
        n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN)
                ask_for(c, true);
            else
                finish_request(c, strerror(errno));
            return;
        }
        c->sent += (size_t)n;
    }
    ask_for(c, false);
}

/* False: no connection could be begun now (a unix listener's queue is full); to be tried again. */
static bool open_connection(struct connection *c)
{
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int fd = socket(options.target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        bench_die("bench-load: socket");
    if (options.target.address.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)&options.target.address, options.target.length) < 0) {
        if (errno == EAGAIN) {
            close(fd);
            return false;
        }
        if (errno != EINPROGRESS)
            bench_die("bench-load: connect");
    }
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        bench_die("bench-load: epoll_ctl");
    c->fd = fd;
    return true;
}

static void open_and_send(struct connection *c)
{
    if (c->fd < 0 && !open_connection(c))
        unopened++;
    else
        send_request(c);
}

static void start_request(struct connection *c)
{
    c->variant = (unsigned)(run.started++ % BENCH_VARIANTS);
    c->began = bench_now();
    c->sent = c->have = c->content = c->padding = c->first_len = c->length = c->end_have = 0;
    c->first[0] = '\0';
    c->ended = false;
    c->busy = true;
    busy++;
    open_and_send(c);
}

static const char *judge(const struct connection *c)
{
    static const uint8_t fine[5];

    if (memcmp(c->end, fine, sizeof(fine)) != 0)
        return "END_REQUEST with another status than 0";
    if (c->length != options.length)
        return "STDOUT of another length";
    if (c->first_len < variants[c->variant].answer_len ||
        memcmp(c->first, variants[c->variant].answer, variants[c->variant].answer_len) != 0)
        return "the application saw another REMOTE_ADDR";
    if (c->sent != variants[c->variant].len + body_len)
        return "an answer before the request was sent";
    return NULL;
}

static void take_content(struct connection *c, const uint8_t *bytes, size_t n)
{
    if (c->header[1] == WIRE_END) {
        memcpy(c->end + c->end_have, bytes, n);
        c->end_have += n;
        return;
    }
    c->length += n;
    if (c->first_len < sizeof(c->first) - 1) {
        size_t room = sizeof(c->first) - 1 - c->first_len;

        room = n < room ? n : room;
        memcpy(c->first + c->first_len, bytes, room);
        c->first_len += room;
        c->first[c->first_len] = '\0';
    }
}

/* The header of a record is complete; what is wrong with it, or NULL. */
static const char *begin_record(struct connection *c)
{
    const uint8_t *h = c->header;

    c->have = 0;
    c->content = (size_t)h[4] << 8 | h[5];
    c->padding = h[6];
    if (c->ended)
        return "bytes behind END_REQUEST";
    if (h[0] != 1 || h[2] != 0 || h[3] != 1 || (h[1] != WIRE_STDOUT && h[1] != WIRE_END))
        return "an unexpected record";
    if (h[1] == WIRE_END && c->content != sizeof(c->end))
        return "END_REQUEST of another length";
    c->ended = h[1] == WIRE_END;
    return NULL;
}

static void take_bytes(struct connection *c, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t n = c->content > 0 ? c->content : c->padding;

        n = n > 0 ? n : sizeof(c->header) - c->have;
        n = len < n ? len : n;
        if (c->content > 0) {
            take_content(c, bytes, n);
            c->content -= n;
        } else if (c->padding > 0) {
            c->padding -= n;
        } else {
            const char *what;

            memcpy(c->header + c->have, bytes, n);
            c->have += n;
            what = c->have == sizeof(c->header) ? begin_record(c) : NULL;
            if (what != NULL) {
                finish_request(c, what);
                return;
            }
        }
        bytes += n;
        len -= n;
    }
    if (c->ended && c->content == 0 && c->padding == 0)
        finish_request(c, judge(c));
}

static void on_event(struct connection *c, uint32_t events)
{
    ssize_t n;

    if (c->fd < 0)
        return;
    if ((events & EPOLLOUT) != 0 && c->busy) {
        send_request(c);
        if (!c->busy || c->fd < 0)
            return;
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    n = recv(c->fd, buffer, sizeof(buffer), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (!c->busy) { /* a kept connection that is closed between requests is opened again by the next */
        if (n > 0)
            run.errors++;
        close_connection(c);
    } else if (n > 0) {
        take_bytes(c, buffer, (size_t)n);
    } else {
        finish_request(c, n == 0 ? "closed before END_REQUEST" : strerror(errno));
    }
}

static void try_unopened(void)
{
    unopened = 0;
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].busy && connections[i].fd < 0)
            open_and_send(&connections[i]);
}

/* Runs until limit requests are answered, or so many seconds are over. False: the other side hangs. */
static bool run_load(uint64_t limit, uint64_t seconds, bool spread)
{
    struct epoll_event events[256];
    unsigned first = spread && options.window < options.connections ? options.window : options.connections;

    memset(&run, 0, sizeof(run));
    run.limit = limit;
    run.spread = spread;
    run.until = seconds > 0 ? bench_now() + seconds * 1000000000U : 0;
    for (unsigned i = 0; i < first && (run.until != 0 || run.started < limit); i++)
        start_request(&connections[i]);
    while (busy > 0) {
        int n = epoll_wait(poll_fd, events, (int)(sizeof(events) / sizeof(events[0])),
                           unopened > 0 ? 1 : STALL_MS);

        if (n == 0 && unopened == 0) {
            fprintf(stderr, "bench-load: %u requests without an answer for %d s\n", busy, STALL_MS / 1000);
            run.errors += busy;
            return false;
        }
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
        if (unopened > 0)
            try_unopened();
    }
    return true;
}

static void wait_for_line(void)
{
    char byte = 0;

    while (read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n')
        continue;
}

static int run_gated(void)
{
    uint64_t began, errors = 0;
    bool alive = true;

    if (options.gate) {
        alive = run_load(options.connections, 0, true);
        errors = run.errors;
        puts("ready");
        fflush(stdout);
        wait_for_line();
    }
    began = bench_now();
    if (alive)
        run_load(options.requests, options.seconds, false);
    run.errors += errors;
    latency_print(&run.latency, run.done, run.errors, bench_now() - began);
    if (options.gate)
        wait_for_line();
    return run.errors == 0 ? 0 : 1;
}

static void read_options(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "n:s:c:rb:l:e:p:f:gw:")) != -1) {
        switch (option) {
        case 'n':
            options.requests = bench_parse_number("-n", optarg, 1ULL << 40);
            break;
        case 's':
            options.seconds = bench_parse_number("-s", optarg, 86400);
            break;
        case 'c':
            options.connections = (unsigned)bench_parse_number("-c", optarg, 100000);
            break;
        case 'r':
            options.reconnect = true;
            break;
        case 'b':
            options.body = (size_t)bench_parse_number("-b", optarg, 1U << 30);
            break;
        case 'l':
            options.length = (size_t)bench_parse_number("-l", optarg, 1U << 30);
            break;
        case 'e':
            options.peer = strcmp(optarg, "peer") == 0;
            if (!options.peer && strcmp(optarg, "client") != 0)
                bench_die("-e %s: client or peer", optarg);
            break;
        case 'p':
            options.forwarded = (size_t)bench_parse_number("-p", optarg, 50000);
            break;
        case 'w':
            options.window = (unsigned)bench_parse_number("-w", optarg, UINT_MAX);
            break;
        case 'f':
            options.script = optarg;
            break;
        case 'g':
            options.gate = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind + 1 != argc || options.connections == 0 || options.window == 0) {
        fputs(usage, stderr);
        exit(2);
    }
    options.target = bench_parse_address(argv[optind]);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    body_bytes = bench_body(options.body, &body_len);
    for (unsigned i = 0; i < BENCH_VARIANTS; i++)
        make_variant(i);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(options.connections, sizeof(*connections));
    if (poll_fd < 0 || connections == NULL)
        bench_die("bench-load: start");
    for (unsigned i = 0; i < options.connections; i++)
        connections[i].fd = -1;
    return run_gated();
}
