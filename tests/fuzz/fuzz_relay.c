/*
 * The whole relay, from the bytes of web servers to those of applications and back, in one process.
 *
 * The input is a script: chunks from web servers and from applications, whole and cut records, closings,
 * pauses and time that passes. Each side of the relay is a socket pair whose other end the script plays.
 * After every step relay_model.h says what must hold. In the end all leave, nothing may be left, and a
 * request that comes then is answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "files.h"
#include "relay/destination.h"
#include "relay/front.h"
#include "relay_model.h"

#define STEPS      160
#define TURNS_MOST 2000
#define CAP        2 /* connections to the application, where they are kept */

struct end {
    int fd; /* -1: closed by us, or by the relay */
    bool paused;
    unsigned id; /* of the request that a web server sends */
};

static struct {
    uv_loop_t loop;
    struct relay relay;
    struct metrics *metrics;
    struct model model;
    struct end fronts[MODEL_ENDS], apps[MODEL_ENDS];
    size_t front[2]; /* the two web servers that the script speaks for; MODEL_ENDS: none */
    bool kept;       /* connections to the application */
    bool narrow;     /* sockets hold little */
    bool refusing;   /* the application takes no connections */
} now;

/* ---- the relay ---- */

#define BASICS                                                                                               \
    "[listen]\naddress = unix:/nowhere\n[proxy a]\ntrust = 10.0.0.0/8\n"                                     \
    "[limits]\nrequests = 3\nparams_size = 4k\n[upstream]\naddress = unix:/nowhere\nqueue = 2\n"

static struct config *load(const char *text)
{
    struct messages messages = {0};
    struct config *config = config_load(files_write(slice_of(text)), &messages);
    messages_print(&messages, stderr);
    FUZZ_CHECK(config, "the configuration does not load");
    messages_free(&messages);
    return config;
}

static const struct config *config_of(bool kept)
{
    static struct config *configs[2];
    if (!configs[kept])
        configs[kept] = load(kept ? BASICS "connections = 2\nkeepalive = yes\n" : BASICS);
    return configs[kept];
}

/* One end for the relay; the other is ours. */
static int open_pair(struct end *end)
{
    int pair[2];
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
    for (int i = 0; now.narrow && i < 2; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &(int){4608}, sizeof(int));
    *end = (struct end){.fd = pair[1], .id = 1};
    return pair[0];
}

static int dial(void *dialled)
{
    (void)dialled;
    if (now.refusing || now.model.napps == MODEL_ENDS)
        return -ECONNREFUSED;
    return open_pair(&now.apps[now.model.napps++]);
}

static void open_relay(void)
{
    const struct config *config = config_of(now.kept);
    const struct share all = share_make(config, 1, 0);
    static int nowhere = -1;
    if (nowhere < 0)
        nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_CHECK(uv_loop_init(&now.loop) == 0, "uv_loop_init");
    now.metrics = metrics_new(1, 0);
    FUZZ_CHECK(now.metrics, "no memory");
    FUZZ_CHECK(relay_open(&now.relay, &now.loop, config, &all, now.metrics) == 0, "relay_open");
    log_close(&now.relay.log);
    log_open_fd(&now.relay.log, LOG_ERROR, nowhere);
    now.relay.destination->target.dial = dial;
}

static void close_relay(void)
{
    relay_close(&now.relay);
    uv_run(&now.loop, UV_RUN_DEFAULT);
    FUZZ_CHECK(uv_loop_close(&now.loop) == 0, "a handle is left");
    relay_free(&now.relay);
    metrics_free(now.metrics);
}

/* ---- what the script plays ---- */

static void close_end(struct end *end)
{
    if (end->fd >= 0)
        close(end->fd);
    end->fd = -1;
}

/* Reads all there is. */
static bool drain(struct end *end, struct model_end *seen)
{
    char bytes[16384];
    bool any = false;
    while (end->fd >= 0 && !end->paused) {
        ssize_t n = recv(end->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n > 0)
            model_got(seen, bytes, (size_t)n);
        else
            close_end(end);
        any = true;
    }
    return any;
}

static bool drain_all(void)
{
    bool any = false;
    for (size_t i = 0; i < now.model.nfronts; i++)
        any = drain(&now.fronts[i], &now.model.fronts[i]) || any;
    for (size_t i = 0; i < now.model.napps; i++)
        any = drain(&now.apps[i], &now.model.apps[i]) || any;
    return any;
}

/* Until nothing moves any more. */
static void settle(void)
{
    int turns = 0, calm = 0;
    bool any = false;
    while (calm < 2) {
        FUZZ_CHECK(turns++ < TURNS_MOST, "the relay does not come to rest");
        poller_turn(&now.relay.poller, 0);
        bool moved = drain_all();
        any = any || moved;
        calm = moved || now.relay.poller.again ? 0 : calm + 1;
    }
    if (any)
        model_check(&now.model);
    size_t open = 0;
    for (size_t i = 0; i < now.model.napps; i++)
        open += now.apps[i].fd >= 0 && !now.apps[i].paused;
    FUZZ_CHECK(!now.kept || open <= CAP, "more connections to the application than are allowed");
}

/* As much as the socket takes. */
static void write_to(struct end *end, struct model_end *seen, struct slice bytes)
{
    if (end->fd < 0)
        return;
    ssize_t n = send(end->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    if (n > 0)
        model_sent(seen, bytes.data, (size_t)n);
}

static void write_record(struct end *end, struct model_end *seen, unsigned type, unsigned id,
                         struct slice content)
{
    static char wire[RECORD_HEADER + RECORD_CONTENT + 7];
    uint8_t padding = content.len % 8 == 3 ? 5 : 0;
    record_encode(wire, (uint8_t)type, (uint16_t)id, (uint16_t)content.len, padding);
    if (content.len > 0)
        memcpy(wire + RECORD_HEADER, content.data, content.len);
    memset(wire + RECORD_HEADER + content.len, 'p', padding);
    write_to(end, seen, (struct slice){wire, RECORD_HEADER + content.len + padding});
}

/* So many bytes that say where they are. */
static struct slice filler(size_t len)
{
    static char text[RECORD_CONTENT];
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + (i / 251 + i) % 26);
    return (struct slice){text, len};
}

/* ---- web servers ---- */

/* The number of the web server's connection, opened if need be; MODEL_ENDS: there were enough. */
static size_t front_of(unsigned who)
{
    size_t at = now.front[who];
    if (at < MODEL_ENDS && now.fronts[at].fd >= 0)
        return at;
    if (now.model.nfronts == MODEL_ENDS)
        return MODEL_ENDS;
    at = now.front[who] = now.model.nfronts++;
    front_accept(&now.relay, open_pair(&now.fronts[at]));
    return at;
}

static void send_begin(size_t at, unsigned how)
{
    static const uint16_t roles[] = {FCGI_RESPONDER, FCGI_FILTER, FCGI_AUTHORIZER, FCGI_RESPONDER};
    char wire[RECORD_FIXED];
    now.fronts[at].id = 1 + how % 4;
    record_encode_begin(wire, (uint16_t)now.fronts[at].id, roles[how / 4 % 4], how / 16 % 2);
    write_to(&now.fronts[at], &now.model.fronts[at], (struct slice){wire, sizeof(wire)});
}

static void send_params(size_t at, unsigned how)
{
    char content[512], tag = (char)('A' + how / 2 % 16);
    size_t len = 0;
    const struct param pairs[] = {
        {SLICE("REQUEST_METHOD"), how % 2 ? SLICE("GET") : SLICE("POST")},
        {SLICE("TAG"), {&tag, 1}},
        {SLICE("REMOTE_ADDR"), how / 32 % 2 ? SLICE("10.0.0.1") : SLICE("203.0.113.7")},
        {SLICE("HTTP_X_FORWARDED_FOR"), SLICE("192.0.2.6, 198.51.100.9")},
        {SLICE("LAST"), SLICE("")},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        len += params_encode_pair(content + len, pairs[i].name, pairs[i].value);
    struct end *end = &now.fronts[at];
    write_record(end, &now.model.fronts[at], FCGI_PARAMS, end->id, (struct slice){content, len});
    if (how < 128)
        write_record(end, &now.model.fronts[at], FCGI_PARAMS, end->id, filler(0));
}

static void play_front(struct fuzz_input *in, unsigned what, unsigned who, unsigned how)
{
    size_t at = front_of(who);
    if (at == MODEL_ENDS)
        return;
    struct end *end = &now.fronts[at];
    struct model_end *seen = &now.model.fronts[at];
    switch (what) {
    case 0:
        write_to(end, seen, fuzz_bytes(in, fuzz_byte(in)));
        break;
    case 1:
        send_begin(at, fuzz_byte(in));
        break;
    case 2:
        send_params(at, fuzz_byte(in));
        break;
    case 3:
        write_record(end, seen, FCGI_STDIN, end->id, filler(fuzz_byte(in) * (how % 2 ? 257u : 1u)));
        break;
    case 4:
        write_record(end, seen, FCGI_STDIN, end->id, filler(0));
        break;
    case 5:
        write_record(end, seen, FCGI_DATA, end->id, filler(how * 9));
        break;
    case 6:
        write_record(end, seen, FCGI_ABORT_REQUEST, end->id, filler(0));
        break;
    case 7:
        send_begin(at, how % 2 ? 16 : 0);
        send_params(at, fuzz_byte(in) % 64);
        write_record(end, seen, FCGI_STDIN, end->id, filler(0));
        break;
    default:
        if (how % 2)
            shutdown(end->fd, SHUT_WR);
        else
            close_end(end);
    }
}

/* ---- applications ---- */

/* The number of a connection that is open, counted from the newest; MODEL_ENDS: there is none. */
static size_t app_of(unsigned who)
{
    for (size_t i = now.model.napps; i-- > 0;)
        if (now.apps[i].fd >= 0 && who-- == 0)
            return i;
    return MODEL_ENDS;
}

static void send_end(size_t at, unsigned status)
{
    char wire[RECORD_FIXED];
    record_encode_end(wire, (uint16_t)model_last_id(&now.model.apps[at]), status, status == 255);
    write_to(&now.apps[at], &now.model.apps[at], (struct slice){wire, sizeof(wire)});
}

static void play_app(struct fuzz_input *in, unsigned what, unsigned who, unsigned how)
{
    size_t at = app_of(who);
    if (at == MODEL_ENDS)
        return;
    struct end *end = &now.apps[at];
    struct model_end *seen = &now.model.apps[at];
    unsigned id = model_last_id(seen);
    switch (what) {
    case 0:
        write_to(end, seen, fuzz_bytes(in, fuzz_byte(in)));
        break;
    case 1:
        write_record(end, seen, how % 4 == 3 ? FCGI_STDERR : FCGI_STDOUT, id,
                     filler(fuzz_byte(in) * (how % 2 ? 257u : 1u)));
        break;
    case 2:
        send_end(at, fuzz_byte(in));
        break;
    case 3:
        write_record(end, seen, FCGI_STDOUT, id, filler(30 + how));
        send_end(at, 0);
        break;
    default:
        if (how % 4 == 0)
            now.refusing = !now.refusing;
        else if (how % 2)
            shutdown(end->fd, SHUT_WR);
        else
            close_end(end);
    }
}

/* ---- the script ---- */

static void pass_time(unsigned how)
{
    static const uint64_t times[] = {19, 20, 250, 5000, 10000, 15000, 60000, 3600000};
    deadlines_expire(&now.relay.deadlines, now.relay.poller.waited + times[how % 8]);
}

static void toggle_pause(unsigned who, unsigned how)
{
    size_t at = how % 2 ? app_of(who) : now.front[who];
    struct end *ends = how % 2 ? now.apps : now.fronts;
    if (at < MODEL_ENDS)
        ends[at].paused = !ends[at].paused;
}

static void play(struct fuzz_input *in)
{
    unsigned op = fuzz_byte(in), what = op % 16, who = op / 16 % 2, how = op / 32;
    if (what < 9)
        play_front(in, what, who, how);
    else if (what < 14)
        play_app(in, what - 9, who, how);
    else if (what == 14)
        pass_time(how);
    else
        toggle_pause(who, how);
    if (how < 6) /* else what comes next comes in the same turn */
        settle();
}

static void end_all(void)
{
    now.refusing = false;
    for (size_t i = 0; i < MODEL_ENDS; i++)
        now.fronts[i].paused = now.apps[i].paused = false;
    settle();
    for (size_t i = 0; i < now.model.nfronts; i++)
        close_end(&now.fronts[i]);
    for (size_t i = 0; i < now.model.napps; i++)
        close_end(&now.apps[i]);
    settle();
    pass_time(7); /* fronts that are not looked at for a moment */
    settle();
    FUZZ_CHECK(!now.relay.fronts, "a connection is left that nobody holds");
    FUZZ_CHECK(now.relay.requests == 0, "a request is left that nobody waits for");
    FUZZ_CHECK(now.relay.destination->target.connections == 0, "a connection to nobody is left");
}

/* Whatever has been: the next one is served. */
static void serve_another(void)
{
    if (now.model.nfronts == MODEL_ENDS || now.model.napps == MODEL_ENDS)
        return;
    now.front[0] = MODEL_ENDS;
    size_t at = front_of(0), app = now.model.napps;
    play_front(&(struct fuzz_input){"\1", 1}, 7, 0, 0);
    settle();
    FUZZ_CHECK(now.model.napps == app + 1 && now.apps[app].fd >= 0, "no application is asked");
    play_app(&(struct fuzz_input){NULL, 0}, 3, 0, 0);
    settle();
    FUZZ_CHECK(model_count_ends(&now.model.fronts[at]) == 1, "a request is not answered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = fuzz_input_new(data, size);
    unsigned how = fuzz_byte(&in);
    signal(SIGPIPE, SIG_IGN); /* as serve does: splice(2) knows no MSG_NOSIGNAL */
    now.kept = how % 2;
    now.narrow = how / 2 % 2;
    now.refusing = false;
    now.front[0] = now.front[1] = MODEL_ENDS;
    open_relay();
    for (int step = 0; step < STEPS && in.left > 0; step++)
        play(&in);
    end_all();
    serve_another();
    for (size_t i = 0; i < MODEL_ENDS; i++) {
        if (i < now.model.nfronts)
            close_end(&now.fronts[i]);
        if (i < now.model.napps)
            close_end(&now.apps[i]);
    }
    close_relay();
    model_free(&now.model);
    return 0;
}
