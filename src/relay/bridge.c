#include "relay/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/page.h"
#include "relay/access_log.h"
#include "relay/logs.h"
#include "relay/spool.h"

#define CHUNK        32768 /* bytes of the body in one record */
#define READS_A_TURN 16

/*
 * Standard input or output. Their flags are shared with the web server, and perhaps with others, so they stay
 * blocking; poll(2) is asked before each call, and sockets can be told not to wait.
 */
struct standard {
    struct watch watch; /* ready: perhaps; the kernel knows no such thing for files */
    bool is_socket, is_file;
};

struct bridge {
    uv_loop_t loop;
    struct metrics *metrics;
    struct relay relay;
    struct stream stream; /* to the front */
    struct scanner scanner;
    struct standard input, output;
    uint64_t body_left; /* bytes still to be read; UINT64_MAX: to the end of file */
    bool body_read;     /* all of it, or as much as anybody wants */
    bool body_sent;     /* its end, too */
    struct spool spool; /* what was read and could not be sent yet */
    struct buffer out;  /* what standard output did not take yet */
    bool written;       /* standard output has taken bytes */
    bool deaf;          /* the front takes no more of the request */
    bool ended;         /* END_REQUEST came */
    bool cut;           /* the front closed the connection, with or without it */
    bool paged;         /* there was no answer, so we made one */
    bool over;
    int status;
    char buffer[RELAY_BUFFER_SIZE];
};

static void finish(struct bridge *b, int status)
{
    if (!b->over)
        b->status = status;
    b->over = true;
    b->relay.ended = true;
}

static void give_up(struct bridge *b, const char *what, int error)
{
    log_write(&b->relay.log, LOG_ERROR, "%s: %s", what, strerror(error));
    finish(b, 1);
}

/* ---- standard input and output ---- */

static short ask(int fd, short events)
{
    struct pollfd asked = {.fd = fd, .events = events};
    return poll(&asked, 1, 0) > 0 ? asked.revents : 0;
}

/* Bytes, 0 at the end of file, -EAGAIN, or another negative errno. */
static ssize_t read_input(const struct bridge *b, char *data, size_t len)
{
    ssize_t n;
    do {
        if (b->input.is_socket)
            n = recv(STDIN_FILENO, data, len, MSG_DONTWAIT);
        else if (ask(STDIN_FILENO, POLLIN))
            n = read(STDIN_FILENO, data, len);
        else
            return -EAGAIN;
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Bytes, -EAGAIN, or another negative errno. What a pipe that is ready takes without waiting is PIPE_BUF. */
static ssize_t write_output(const struct bridge *b, const char *data, size_t len)
{
    ssize_t n;
    do {
        if (b->output.is_socket)
            n = send(STDOUT_FILENO, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (ask(STDOUT_FILENO, POLLOUT))
            n = write(STDOUT_FILENO, data, b->output.is_file || len < PIPE_BUF ? len : PIPE_BUF);
        else
            return -EAGAIN;
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int add_standard(struct bridge *b, struct standard *standard, int fd, void (*ready)(struct watch *))
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    standard->is_socket = S_ISSOCK(status.st_mode);
    standard->is_file = S_ISREG(status.st_mode);
    /* The number itself stays open to the end: nothing else must ever get it. */
    standard->watch = (struct watch){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .ready = ready};
    if (standard->watch.fd < 0)
        return -errno;
    int rc = poller_add(&b->relay.poller, &standard->watch);
    return rc == -EPERM ? 0 : rc; /* a file, or a device that never blocks */
}

/* ---- the answer ---- */

static void lose_output(struct bridge *b, int error)
{
    if (error == EPIPE || error == ECONNRESET)
        log_write(&b->relay.log, LOG_INFO, "the web server wants no more of the answer");
    else
        log_write(&b->relay.log, LOG_ERROR, "cannot write to standard output: %s", strerror(error));
    finish(b, 1);
}

/* How many bytes standard output took. */
static size_t put(struct bridge *b, const char *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write_output(b, data + done, len - done);
        if (n == -EAGAIN)
            break;
        if (n < 0) {
            lose_output(b, (int)-n);
            break;
        }
        b->written = true;
        done += (size_t)n;
    }
    return done;
}

static void write_answer(struct bridge *b, const char *data, size_t len)
{
    size_t done = b->out.len == 0 ? put(b, data, len) : 0;
    if (b->over || done == len)
        return;
    int rc = buffer_append(&b->out, data + done, len - done);
    if (rc == 0)
        rc = poller_want_write(&b->relay.poller, &b->output.watch, true);
    if (rc < 0)
        give_up(b, "cannot hold the answer back", -rc);
}

static void flush_answer(struct bridge *b)
{
    if (b->out.len == 0)
        return;
    size_t n = put(b, b->out.data + b->out.start, b->out.len);
    buffer_consume(&b->out, n);
    if (b->out.len == 0)
        poller_want_write(&b->relay.poller, &b->output.watch, false);
}

static void write_errors(struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(STDERR_FILENO, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads the log */
        text = slice_part(text, (size_t)n, text.len);
    }
}

static enum scan_verdict on_header(void *context, const struct record *record)
{
    (void)context;
    bool wanted =
        record->type == FCGI_STDOUT || record->type == FCGI_STDERR || record->type == FCGI_END_REQUEST;
    return wanted ? SCAN_TAKE : SCAN_SKIP;
}

static void on_pass(void *context, char *data, size_t len)
{
    (void)context, (void)data, (void)len;
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct bridge *b = context;
    if (record->type == FCGI_STDOUT && !b->over)
        write_answer(b, piece.data, piece.len);
    else if (record->type == FCGI_STDERR)
        write_errors(piece);
}

static bool on_complete(void *context, const struct record *record)
{
    struct bridge *b = context;
    b->ended = record->type == FCGI_END_REQUEST;
    return !b->ended && !b->over;
}

static const struct scanner_owner scanner_owner = {on_header, on_pass, on_take, on_complete};

static void take_answer(struct bridge *b)
{
    while (!b->over && !b->ended && !b->cut && b->out.len == 0 && b->stream.watch.readable) {
        ssize_t n = stream_receive(&b->stream, b->buffer, sizeof(b->buffer));
        if (n == -EAGAIN)
            return;
        if (n <= 0)
            b->cut = true;
        else
            scanner_feed(&b->scanner, b->buffer, (size_t)n, &scanner_owner, b);
    }
}

/* ---- the body ---- */

static void stop_sending(struct bridge *b)
{
    b->deaf = true;
    stream_drop_output(&b->stream);
}

static bool is_unwanted(const struct bridge *b)
{
    return b->ended || b->cut || b->deaf;
}

static void send_record(struct bridge *b, const char *data, size_t len)
{
    char head[RECORD_HEADER];
    record_encode(head, FCGI_STDIN, 1, (uint16_t)len, 0);
    struct gather gather;
    gather_clear(&gather);
    gather_append(&gather, head, sizeof(head));
    gather_append(&gather, (char *)data, len);
    if (stream_send(&b->relay.poller, &b->stream, &gather) < 0)
        stop_sending(b);
}

static void abort_body(struct bridge *b)
{
    if (b->body_left == UINT64_MAX)
        log_write(&b->relay.log, LOG_INFO, "the web server went away before the request's body ended");
    else
        log_write(&b->relay.log, LOG_INFO,
                  "the request's body ended %llu bytes before CONTENT_LENGTH: the client went away",
                  (unsigned long long)b->body_left);
    finish(b, 1);
}

/* Where no length says so, the web server's end of file does, unless it has gone altogether. */
static bool is_whole(const struct bridge *b)
{
    return b->body_left == UINT64_MAX && !(ask(STDOUT_FILENO, 0) & (POLLERR | POLLHUP));
}

/*
 * Reads a piece of the body and sends, keeps or forgets it: nobody may want it any more, but a web server
 * that shares one socket for both directions would lose the answer if it were left there. False: not now.
 */
static bool read_body(struct bridge *b)
{
    size_t size = b->body_left < CHUNK ? (size_t)b->body_left : CHUNK;
    ssize_t n = read_input(b, b->buffer, size);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        b->body_read = true;
        if (!is_unwanted(b) && (n < 0 || !is_whole(b)))
            abort_body(b);
        return !b->over;
    }
    if (b->body_left != UINT64_MAX)
        b->body_left -= (uint64_t)n;
    b->body_read = b->body_left == 0;
    if (is_unwanted(b))
        return true;
    if (spool_length(&b->spool) == 0 && b->stream.out.len == 0) {
        send_record(b, b->buffer, (size_t)n);
        return true;
    }
    int rc = spool_append(&b->spool, b->buffer, (size_t)n);
    if (rc < 0)
        give_up(b, "cannot keep the request's body in a temporary file", -rc);
    return rc == 0;
}

/* False: there is no room. */
static bool send_spooled(struct bridge *b)
{
    if (b->stream.out.len > 0)
        return false;
    ssize_t n = spool_take(&b->spool, b->buffer, CHUNK);
    if (n < 0)
        give_up(b, "cannot read the request's body back from a temporary file", (int)-n);
    else
        send_record(b, b->buffer, (size_t)n);
    return n > 0;
}

/* One step; false: no more now. */
static bool move_body(struct bridge *b)
{
    if (is_unwanted(b)) {
        b->body_read = b->body_read || b->input.is_file;
        return !b->body_read && read_body(b);
    }
    if (spool_length(&b->spool) > 0 && send_spooled(b))
        return true;
    if (!b->body_read) {
        /*
         * While the application takes no more, neither do we; but if the answer does not get off either, the
         * web server may be one that reads nothing before it has written the whole body.
         */
        bool room = b->stream.out.len == 0 && spool_length(&b->spool) == 0;
        return (room || b->out.len > 0) && read_body(b);
    }
    if (!b->body_sent && spool_length(&b->spool) == 0) {
        b->body_sent = true;
        send_record(b, "", 0);
    }
    return false;
}

static void give_body(struct bridge *b)
{
    int turn = 0;
    while (!b->over && turn < READS_A_TURN && move_body(b))
        turn++;
    if (turn == READS_A_TURN)
        poller_again(&b->relay.poller, &b->input.watch);
}

/* ---- together ---- */

static void end_if_done(struct bridge *b)
{
    if (b->over || !(b->ended || b->cut) || b->out.len > 0)
        return;
    if (!b->written && !b->paged) {
        char page[PAGE_MAX];
        b->paged = true;
        write_answer(b, page, page_format(page, 502));
    }
    if (!b->over && b->out.len == 0 && b->body_read)
        finish(b, b->written && (b->ended || b->paged) ? 0 : 1);
}

/* Lets everything move that can. */
static void pump(struct bridge *b)
{
    if (b->over)
        return;
    flush_answer(b);
    take_answer(b);
    give_body(b);
    end_if_done(b);
}

static void on_input(struct watch *watch)
{
    pump((struct bridge *)((char *)watch - offsetof(struct bridge, input.watch)));
}

static void on_output(struct watch *watch)
{
    struct bridge *b = (struct bridge *)((char *)watch - offsetof(struct bridge, output.watch));
    if (watch->gone && !b->over)
        lose_output(b, EPIPE);
    pump(b);
}

static void on_stream(struct watch *watch)
{
    struct bridge *b = (struct bridge *)((char *)watch - offsetof(struct bridge, stream.watch));
    bool progress;
    if (watch->want_write && watch->writable && stream_flush(&b->relay.poller, &b->stream, &progress) < 0)
        stop_sending(b);
    pump(b);
}

static void on_settled(struct stream *stream, int error)
{
    struct bridge *b = (struct bridge *)((char *)stream - offsetof(struct bridge, stream));
    if (error < 0) {
        stop_sending(b);
        poller_again(&b->relay.poller, &b->input.watch);
    }
}

/* ---- beginning and end ---- */

/* 0, or -EINVAL. Without a length there is a body only where a web server has to give its end. */
static int find_length(struct bridge *b)
{
    const char *text = getenv("CONTENT_LENGTH");
    if (!text || text[0] == '\0') {
        const char *coding = getenv("HTTP_TRANSFER_ENCODING");
        b->body_left = coding && coding[0] != '\0' ? UINT64_MAX : 0;
    } else {
        errno = 0;
        char *end;
        b->body_left = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || b->body_left == UINT64_MAX)
            return -EINVAL;
    }
    b->body_read = b->body_left == 0;
    return 0;
}

static int send_beginning(struct bridge *b, char *const *environment)
{
    struct buffer request = {0};
    int rc = bridge_encode(environment, &request);
    if (rc == 0) {
        struct gather gather;
        gather_clear(&gather);
        gather_append(&gather, request.data + request.start, request.len);
        rc = stream_send(&b->relay.poller, &b->stream, &gather);
    }
    buffer_free(&request);
    return rc;
}

/* 0, or a negative errno: nothing has been read or written then. */
static int begin(struct bridge *b, char *const *environment)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    b->stream.watch = (struct watch){.fd = pair[0], .ready = on_stream};
    b->stream.settled = on_settled;
    int rc = poller_add(&b->relay.poller, &b->stream.watch);
    if (rc == 0)
        rc = send_beginning(b, environment);
    if (rc == 0)
        rc = add_standard(b, &b->input, STDIN_FILENO, on_input);
    if (rc == 0)
        rc = add_standard(b, &b->output, STDOUT_FILENO, on_output);
    if (rc < 0) {
        close(pair[1]);
        return rc;
    }
    front_accept(&b->relay, pair[1]);
    poller_again(&b->relay.poller, &b->input.watch);
    return 0;
}

int bridge_run(const struct config *config, char *const *environment)
{
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->spool.fd = b->stream.watch.fd = b->input.watch.fd = b->output.watch.fd = -1;
    signal(SIGPIPE, SIG_IGN);
    b->metrics = metrics_new(1, 0);
    int rc = b->metrics ? uv_loop_init(&b->loop) : -ENOMEM;
    if (rc < 0) {
        metrics_free(b->metrics);
        free(b);
        return rc;
    }
    const struct share all = share_make(config, 1, 0);
    rc = relay_open(&b->relay, &b->loop, config, &all, b->metrics);
    b->relay.no_status = true;
    logs_open(&b->relay); /* if not, there is the web server's error log, on standard error */
    if (strcmp(config->log_access, "stdout") == 0)
        access_log_put(&b->relay, NULL); /* that is where the answer goes */
    /* Who reads the answer slowly is the web server's affair: it ends us when it has had enough. */
    b->relay.deadlines.lasts[DEADLINE_FRONT] = 0;
    if (rc == 0)
        rc = find_length(b);
    if (rc == 0)
        rc = begin(b, environment);
    if (rc == 0)
        relay_run(&b->relay);
    poller_close_fd(&b->relay.poller, &b->input.watch);
    poller_close_fd(&b->relay.poller, &b->output.watch);
    stream_close(&b->relay.poller, &b->stream);
    relay_close(&b->relay);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_loop_close(&b->loop);
    relay_free(&b->relay);
    spool_close(&b->spool);
    buffer_free(&b->out);
    metrics_free(b->metrics);
    int status = rc == 0 ? b->status : rc;
    free(b);
    return status;
}
