/*
 * bench-load-http: sends HTTP requests on kept connections, on one thread, and looks at every answer.
 *
 * What bench-load is for a relay, for a whole chain behind a web server. Each connection has one request
 * under way: GET, with the X-Forwarded-For that bench_forwarded gives. An answer counts as right if its
 * status is 200 and its body is "Hello, ADDRESS\n" and not a byte more, with the address that the application
 * should have seen. Prints what bench-load prints. Exit status: 0, 1 if any answer was wrong, 2 for bad
 * usage.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench.h"
#include "latency.h"

#define STALL_MS   10000
#define ERRORS_MAX 1000
#define ANSWER_MAX 4096 /* head and body; a longer one is wrong */

static const char usage[] =
    "usage: bench-load-http [option]... ADDRESS\n"
    "  -n N     requests (default 10000)\n"
    "  -c N     connections (default 1)\n"
    "  -u PATH  what is asked for (default /)\n"
    "  -e WHO   REMOTE_ADDR that the application should see: client (default), peer,\n"
    "           which is 127.0.0.1\n"
    "  -g       gate: as bench-load's\n";

struct connection {
    int fd;
    unsigned variant;
    bool busy;
    uint64_t began;
    size_t have; /* bytes of the answer */
    char answer[ANSWER_MAX + 1];
};

static struct {
    struct bench_address target;
    uint64_t requests;
    unsigned connections;
    bool peer, gate;
    const char *path;
} options = {.requests = 10000, .connections = 1, .path = "/"};

static struct {
    char *request, body[48];
    size_t request_len, body_len;
} variants[BENCH_VARIANTS];

static struct {
    uint64_t started, done, errors, limit;
    struct latency latency;
} run;

static struct connection *connections;
static unsigned busy;
static int poll_fd = -1;

static void make_variant(unsigned variant)
{
    static const char format[] =
        "GET %s HTTP/1.1\r\nHost: www.example.com\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nCookie: session=4f1c9ad2b7e8430fa1d26c05\r\n"
        "X-Forwarded-Proto: https\r\nX-Forwarded-For: %s\r\n\r\n";
    char *forwarded = bench_forwarded(variant, 0), client[16];
    int n = asprintf(&variants[variant].request, format, options.path, forwarded);

    if (n < 0)
        bench_die("bench-load-http: request");
    free(forwarded);
    bench_client(variant, client);
    variants[variant].request_len = (size_t)n;
    variants[variant].body_len = (size_t)snprintf(variants[variant].body, sizeof(variants[variant].body),
                                                  "Hello, %s\n", options.peer ? "127.0.0.1" : client);
}

static void open_connection(struct connection *c)
{
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    c->fd = socket(options.target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (const struct sockaddr *)&options.target.address, options.target.length) < 0)
        bench_die("bench-load-http: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        bench_die("bench-load-http: epoll_ctl");
}

static void close_connection(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
}

/* A request is far smaller than a socket's buffer, which is empty: it goes out as a whole. */
static void start_request(struct connection *c)
{
    c->variant = (unsigned)(run.started++ % BENCH_VARIANTS);
    c->began = bench_now();
    c->have = 0;
    c->busy = true;
    busy++;
    if (c->fd < 0)
        open_connection(c);
    if (send(c->fd, variants[c->variant].request, variants[c->variant].request_len, MSG_NOSIGNAL) !=
        (ssize_t)variants[c->variant].request_len)
        bench_die("bench-load-http: send");
}

/* what: why the answer is wrong, or NULL. */
static void finish_request(struct connection *c, const char *what, bool keep)
{
    run.done++;
    if (what == NULL)
        latency_add(&run.latency, bench_now() - c->began);
    else if (++run.errors <= 5)
        fprintf(stderr, "bench-load-http: %s: %.*s\n", what, (int)c->have, c->answer);
    if (what != NULL || !keep)
        close_connection(c);
    c->busy = false;
    busy--;
    if (run.errors < ERRORS_MAX && run.started < run.limit)
        start_request(c);
}

/* A header's value, or NULL. The answer ends with a NUL, its head with the empty line at end. */
static const char *find_header(const char *answer, const char *end, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strstr(answer, "\r\n"); line != NULL && line < end;
         line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
            return line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
    return NULL;
}

/* Joins the chunks of a body in place. Its length; -1: more is to come, -2: it makes no sense. */
static long join_chunks(char *body, size_t *used)
{
    const char *at = body;
    char *out = body;

    for (;;) {
        char *end = NULL;
        size_t size = strtoul(at, &end, 16), left = strlen(at);

        if (strstr(at, "\r\n") == NULL || left < (size_t)(end - at) + 2 + size + 2)
            return -1;
        if (end == at || memcmp(end, "\r\n", 2) != 0 || memcmp(end + 2 + size, "\r\n", 2) != 0)
            return -2;
        at = end + 2;
        memmove(out, at, size);
        out += size;
        at += size + 2;
        if (size == 0)
            break;
    }
    *used = (size_t)(at - body);
    return out - body;
}

/* Takes the body out of a complete answer, whose head has an end. As join_chunks. */
static long take_body(const struct connection *c, const char *end, char *body)
{
    const char *length = find_header(c->answer, end, "Content-Length");
    const char *coding = find_header(c->answer, end, "Transfer-Encoding");
    size_t have = c->have - (size_t)(end + 4 - c->answer), used = 0;
    long n = -2;

    memcpy(body, end + 4, have + 1);
    if (length != NULL) {
        used = strtoul(length, NULL, 10);
        n = have < used ? -1 : (long)used;
    } else if (coding != NULL && strncasecmp(coding, "chunked", 7) == 0) {
        n = join_chunks(body, &used);
    }
    return n >= 0 && used != have ? -2 : n;
}

/* Looks whether the answer is complete, and then at what it says. */
static void look_at_answer(struct connection *c)
{
    const char *end = strstr(c->answer, "\r\n\r\n"), *connection;
    char body[ANSWER_MAX + 1];
    long n = end == NULL ? -1 : take_body(c, end, body);

    if (strlen(c->answer) != c->have) {
        finish_request(c, "a NUL in the answer", false);
    } else if (n == -1) {
        if (c->have == ANSWER_MAX)
            finish_request(c, "too long an answer", false);
    } else if (n < 0) {
        finish_request(c, "an answer of unclear length", false);
    } else if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0) {
        finish_request(c, "another status than 200", false);
    } else if ((size_t)n != variants[c->variant].body_len ||
               memcmp(body, variants[c->variant].body, (size_t)n) != 0) {
        finish_request(c, "another page", false);
    } else {
        connection = find_header(c->answer, end, "Connection");
        finish_request(c, NULL, connection == NULL || strncasecmp(connection, "close", 5) != 0);
    }
}

static void on_event(struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->have, ANSWER_MAX - c->have, 0);

    if (!c->busy) { /* a kept connection that is closed between requests is opened again by the next */
        if (n > 0)
            run.errors++;
        close_connection(c);
        return;
    }
    if (n <= 0) {
        finish_request(c, n < 0 ? strerror(errno) : "closed before the answer's end", false);
        return;
    }
    c->have += (size_t)n;
    c->answer[c->have] = '\0';
    look_at_answer(c);
}

static bool run_load(uint64_t limit)
{
    struct epoll_event events[256];

    memset(&run, 0, sizeof(run));
    run.limit = limit;
    for (unsigned i = 0; i < options.connections && run.started < limit; i++)
        start_request(&connections[i]);
    while (busy > 0) {
        int n = epoll_wait(poll_fd, events, (int)(sizeof(events) / sizeof(events[0])), STALL_MS);

        if (n == 0) {
            fprintf(stderr, "bench-load-http: %u requests without an answer for %d s\n", busy,
                    STALL_MS / 1000);
            run.errors += busy;
            return false;
        }
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr);
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
        alive = run_load(options.connections);
        errors = run.errors;
        puts("ready");
        fflush(stdout);
        wait_for_line();
    }
    began = bench_now();
    if (alive)
        run_load(options.requests);
    run.errors += errors;
    latency_print(&run.latency, run.done, run.errors, bench_now() - began);
    if (options.gate)
        wait_for_line();
    return run.errors == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "n:c:u:e:g")) != -1) {
        if (option == 'n')
            options.requests = bench_parse_number("-n", optarg, 1ULL << 40);
        else if (option == 'c')
            options.connections = (unsigned)bench_parse_number("-c", optarg, 100000);
        else if (option == 'u')
            options.path = optarg;
        else if (option == 'e')
            options.peer = strcmp(optarg, "peer") == 0;
        else if (option == 'g')
            options.gate = true;
        else
            argc = 0;
    }
    if (optind + 1 != argc || options.connections == 0) {
        fputs(usage, stderr);
        return 2;
    }
    options.target = bench_parse_address(argv[optind]);
    for (unsigned i = 0; i < BENCH_VARIANTS; i++)
        make_variant(i);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc(options.connections, sizeof(*connections));
    if (poll_fd < 0 || connections == NULL)
        bench_die("bench-load-http: start");
    for (unsigned i = 0; i < options.connections; i++)
        connections[i].fd = -1;
    return run_gated();
}
