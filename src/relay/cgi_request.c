#include "relay/cgi_request.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads of one connection before the others have their turn. */
#define READS_A_TURN 16

static struct cgi_request *of_stream(struct watch *watch)
{
    return (struct cgi_request *)((char *)watch - offsetof(struct cgi_request, stream.watch));
}

bool cgi_request_may_log(struct cgi_request *r, enum cgi_limit limit)
{
    unsigned suppressed;
    bool may = log_limit_pass(&r->cgi->limits[limit], uv_now(r->cgi->loop), &suppressed);
    if (may && suppressed > 0)
        log_write(r->cgi->log, LOG_WARNING, "%u more events like the next one were left out", suppressed);
    return may;
}

/* ---- starting ---- */

static int open_pipe(struct watch *ours, int end, int *theirs)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    ours->fd = ends[end];
    *theirs = ends[1 - end];
    return 0;
}

static int open_pipes(struct cgi_request *r)
{
    int rc = open_pipe(&r->input, 1, &r->start.fds[0]);
    if (rc == 0)
        rc = open_pipe(&r->output, 0, &r->start.fds[1]);
    if (rc == 0 && fcntl(r->output.fd, F_SETFL, O_NONBLOCK) < 0)
        rc = -errno;
    if (rc == 0)
        rc = error_pipe_open(r->cgi->poller, &r->errors, &r->start.fds[2]);
    /* What the program says at once must wait until its start is known here. */
    r->errors.paused = true;
    return rc;
}

static void close_their(struct cgi_request *r, int i)
{
    if (r->start.fds[i] >= 0)
        close(r->start.fds[i]);
    r->start.fds[i] = -1;
}

void cgi_request_close_pipes(struct cgi_request *r, bool output)
{
    cgi_body_close(r);
    error_pipe_close(&r->errors);
    if (!r->working)
        close_their(r, 2);
    if (output)
        poller_close_fd(r->cgi->poller, &r->output);
}

static enum cgi_limit limit_of(int status)
{
    switch (status) {
    case 403:
        return CGI_LIMIT_FORBIDDEN;
    case 404:
        return CGI_LIMIT_MISSING;
    case 431:
        return CGI_LIMIT_SIZE;
    case 503:
        return CGI_LIMIT_SHORTAGE;
    default:
        return CGI_LIMIT_FAILED;
    }
}

static void refuse(struct cgi_request *r, int status, const char *message)
{
    enum log_level level = status < 500 ? LOG_WARNING : LOG_ERROR;
    if (cgi_request_may_log(r, limit_of(status)))
        log_write(r->cgi->log, level, "refused a request with %d: %s", status,
                  message ? message : "out of memory");
    r->state = CGI_ENDS;
    cgi_request_close_pipes(r, true);
    cgi_answer_refuse(r, status);
}

static void on_run(uv_work_t *work)
{
    cgi_start_run(&((struct cgi_request *)((char *)work - offsetof(struct cgi_request, work)))->start);
}

/* The program runs; nobody may have waited for it. */
static void on_started(struct cgi_request *r)
{
    struct cgi *cgi = r->cgi;
    pid_t pid = r->start.pid;
    if (r->start.refused && cgi_request_may_log(r, CGI_LIMIT_REFUSED))
        log_write(cgi->log, LOG_WARNING,
                  "%s did not get the parameter %s: it could make another program of it; if that is meant, "
                  "give the shim this variable, and name it in [upstream] environment",
                  r->start.name, r->start.refused);
    cgi_answer_open(r);
    cgi_body_open(r);
    int rc = process_watch(cgi->poller, &r->process, pid);
    if (rc == 0 && r->state == CGI_STARTS)
        rc = poller_add(cgi->poller, &r->output);
    if (rc < 0) {
        process_reap(&r->process);
        if (r->state == CGI_STARTS)
            refuse(r, 503, strerror(-rc));
    } else if (r->state != CGI_STARTS) {
        cgi_request_terminate(r);
    } else {
        r->state = CGI_RUNS;
        error_pipe_resume(&r->errors);
        cgi_body_flush(r);
        if (r->stream.watch.readable)
            poller_again(cgi->poller, &r->stream.watch);
    }
}

static void on_worked(uv_work_t *work, int status)
{
    struct cgi_request *r = (struct cgi_request *)((char *)work - offsetof(struct cgi_request, work));
    (void)status; /* cancelled: nobody waits for it */
    r->working = false;
    /* Their standard error stays open here too: its end would only wake us once more for each request. */
    close_their(r, 0);
    close_their(r, 1);
    if (r->state != CGI_STARTS || r->cgi->closed)
        close_their(r, 2);
    buffer_free(&r->params);
    if (r->cgi->closed) {
        if (r->start.pid > 0) {
            kill(-r->start.pid, SIGKILL);
            while (waitpid(r->start.pid, NULL, 0) < 0 && errno == EINTR)
                continue;
        }
        cgi_start_free(&r->start);
        free(r);
        return;
    }
    if (r->start.pid > 0)
        on_started(r);
    else if (r->state == CGI_STARTS)
        refuse(r, r->start.status, r->start.message);
    cgi_request_settle(r);
}

static void start(struct cgi_request *r)
{
    uint16_t role = record_decode_begin(r->begin).role;
    r->state = CGI_STARTS;
    if (role == FCGI_AUTHORIZER)
        r->body_ended = true; /* it has none, not even an empty one */
    if (role == FCGI_FILTER) {
        if (cgi_request_may_log(r, CGI_LIMIT_ROLE))
            log_write(
                r->cgi->log, LOG_WARNING,
                "refused a request with 502: a CGI program has one body to read, and cannot be a filter");
        r->state = CGI_ENDS;
        cgi_answer_refuse_role(r);
        return;
    }
    int rc = open_pipes(r);
    if (rc == 0) {
        r->start.params =
            (struct slice){r->params.data ? r->params.data + r->params.start : "", r->params.len};
        r->working = true;
        rc = uv_queue_work(r->cgi->loop, &r->work, on_run, on_worked);
        r->working = rc == 0;
    }
    if (rc < 0) {
        close_their(r, 0);
        close_their(r, 1);
        refuse(r, 503, strerror(-rc));
    }
}

/* ---- records ---- */

static enum scan_verdict on_header(void *context, const struct record *record)
{
    struct cgi_request *r = context;
    switch (record->type) {
    case FCGI_BEGIN_REQUEST:
        r->id = record->id;
        return record->content == sizeof(r->begin) && r->begin_len == 0 ? SCAN_TAKE : SCAN_FAIL;
    case FCGI_PARAMS:
        return r->params_ended ? SCAN_FAIL : SCAN_TAKE;
    case FCGI_STDIN:
        return r->body_ended ? SCAN_SKIP : r->params_ended ? SCAN_TAKE : SCAN_FAIL;
    default:
        return SCAN_SKIP; /* the second body of a filter */
    }
}

static void on_pass(void *context, char *data, size_t len)
{
    (void)context;
    (void)data;
    (void)len;
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct cgi_request *r = context;
    if (record->type == FCGI_BEGIN_REQUEST) {
        memcpy(r->begin + r->begin_len, piece.data, piece.len);
        r->begin_len = (uint8_t)(r->begin_len + piece.len);
    } else if (record->type == FCGI_STDIN) {
        r->body_came = true;
        gather_add(&r->cgi->gather, (char *)piece.data, piece.len);
    } else if (buffer_append(&r->params, piece.data, piece.len) < 0) {
        cgi_request_cancel(r);
    }
}

static bool on_complete(void *context, const struct record *record)
{
    struct cgi_request *r = context;
    if (record->content == 0 && record->type == FCGI_PARAMS)
        r->params_ended = true;
    else if (record->content == 0 && record->type == FCGI_STDIN)
        r->body_ended = true;
    return r->state != CGI_ENDS;
}

static const struct scanner_owner request_owner = {on_header, on_pass, on_take, on_complete};

static bool may_read(const struct cgi_request *r)
{
    bool state = r->state == CGI_READS || r->state == CGI_STARTS || r->state == CGI_RUNS;
    return state && r->body.len == 0 && r->stream.watch.readable;
}

static void read_request(struct cgi_request *r)
{
    struct cgi *cgi = r->cgi;
    for (int turn = 0; may_read(r); turn++) {
        if (turn == READS_A_TURN) {
            poller_again(cgi->poller, &r->stream.watch);
            return;
        }
        ssize_t n = stream_receive(&r->stream, cgi->buffer, CGI_BUFFER_SIZE);
        if (n == -EAGAIN)
            return;
        gather_clear(&cgi->gather);
        if (n <= 0 || scanner_feed(&r->scanner, cgi->buffer, (size_t)n, &request_owner, r) < 0) {
            cgi_request_cancel(r);
            return;
        }
        if (r->params_ended && r->state == CGI_READS)
            start(r);
        if (r->state == CGI_STARTS || r->state == CGI_RUNS)
            cgi_body_push(r);
        if (r->state == CGI_RUNS && (r->body_ended || r->input.fd < 0))
            cgi_answer_resume(r);
    }
}

/* ---- the connection ---- */

static void on_written(struct cgi_request *r)
{
    if (!r->closing) {
        cgi_answer_resume(r);
    } else if (stream_is_written(&r->stream)) {
        stream_close(r->cgi->poller, &r->stream);
        cgi_request_settle(r);
    }
}

static void on_settled(struct stream *stream, int error)
{
    struct cgi_request *r = of_stream(&stream->watch);
    if (error < 0)
        cgi_request_cancel(r);
    else if (r->closing)
        on_written(r);
}

static void on_ready(struct watch *watch)
{
    struct cgi_request *r = of_stream(watch);
    /* The relay only closes when it wants no more of the answer, or has all of it. */
    if (watch->gone) {
        cgi_request_cancel(r);
        return;
    }
    if (watch->want_write && watch->writable) {
        bool progress;
        if (stream_flush(r->cgi->poller, &r->stream, &progress) < 0) {
            cgi_request_cancel(r);
            return;
        }
        if (r->stream.out.len == 0)
            on_written(r);
    }
    if (watch->fd >= 0)
        read_request(r);
}

void cgi_request_close_when_written(struct cgi_request *r)
{
    r->closing = true;
    if (r->stream.watch.fd >= 0)
        on_written(r);
    cgi_request_settle(r);
}

/* ---- the program's end ---- */

void cgi_request_terminate(struct cgi_request *r)
{
    process_signal(&r->process, SIGTERM);
    deadline_start(r->cgi->deadlines, &r->deadline, DEADLINE_CGI_KILL);
}

void cgi_request_reap(struct cgi_request *r, bool kill_group)
{
    if (kill_group)
        process_signal(&r->process, SIGKILL);
    process_reap(&r->process);
    poller_close_fd(r->cgi->poller, &r->output);
    deadline_stop(&r->deadline);
}

void cgi_request_cancel(struct cgi_request *r)
{
    stream_close(r->cgi->poller, &r->stream);
    if (r->state == CGI_RUNS) {
        cgi_answer_count_lines(r);
        cgi_request_close_pipes(r, true);
        if (r->process.over)
            cgi_request_reap(r, true);
        else
            cgi_request_terminate(r);
    } else if (r->state == CGI_STARTS) {
        cgi_request_close_pipes(r, true);
        uv_cancel((uv_req_t *)&r->work);
    }
    if (r->state != CGI_WAITS && r->state != CGI_GONE)
        r->state = CGI_ENDS;
    cgi_request_settle(r);
}

void cgi_request_expired(struct cgi_request *r, enum deadline_kind kind)
{
    if (kind == DEADLINE_CGI_BODY) {
        cgi_answer_body_stands(r);
        return;
    }
    if (kind != DEADLINE_CGI_KILL) {
        cgi_answer_finish(r);
        return;
    }
    if (cgi_request_may_log(r, CGI_LIMIT_KILLED))
        log_write(r->cgi->log, LOG_WARNING,
                  "killing %s, or what it left running: %d ms after TERM it is still there", r->start.name,
                  CGI_KILL_MS);
    if (r->process.over) {
        cgi_request_reap(r, true);
        cgi_request_settle(r);
    } else {
        process_signal(&r->process, SIGKILL);
    }
}

/* ---- life ---- */

static void on_destroy(struct watch *watch)
{
    free(of_stream(watch));
}

static void unlink_request(struct cgi_request *r)
{
    struct cgi *cgi = r->cgi;
    *(r->newer ? &r->newer->older : &cgi->newest) = r->older;
    *(r->older ? &r->older->newer : &cgi->oldest) = r->newer;
}

void cgi_request_serve(struct cgi *cgi)
{
    struct cgi_request *r = cgi->oldest;
    while (cgi->waiting > 0 && cgi->living < cgi->max_processes) {
        while (r->state != CGI_WAITS)
            r = r->newer; /* who has waited longest */
        r->state = CGI_READS;
        cgi->waiting--;
        cgi->living++;
        if (r->stream.watch.readable)
            poller_again(cgi->poller, &r->stream.watch);
    }
}

void cgi_request_settle(struct cgi_request *r)
{
    struct cgi *cgi = r->cgi;
    bool waits = r->state == CGI_WAITS;
    if (r->state == CGI_GONE || r->stream.watch.fd >= 0 || r->working || r->process.pid > 0)
        return;
    r->state = CGI_GONE;
    unlink_request(r);
    deadline_stop(&r->deadline);
    cgi_request_close_pipes(r, true);
    buffer_free(&r->params);
    buffer_free(&r->held);
    cgi_start_free(&r->start);
    poller_bury(cgi->poller, &r->stream.watch);
    if (waits)
        cgi->waiting--;
    else
        cgi->living--;
    cgi_request_serve(cgi);
    if (cgi->emptied && cgi_is_empty(cgi))
        cgi->emptied(cgi);
}

void cgi_request_close(struct cgi_request *r)
{
    struct cgi *cgi = r->cgi;
    stream_close(cgi->poller, &r->stream);
    cgi_request_close_pipes(r, true);
    deadline_stop(&r->deadline);
    if (r->process.over)
        process_signal(&r->process, SIGKILL);
    process_reap(&r->process);
    buffer_free(&r->held);
    unlink_request(r);
    if (!r->working) {
        buffer_free(&r->params);
        cgi_start_free(&r->start);
        poller_bury(cgi->poller, &r->stream.watch);
    }
}

int cgi_request_open(struct cgi *cgi, int fd)
{
    struct cgi_request *r = calloc(1, sizeof(*r));
    if (!r) {
        close(fd);
        return -ENOMEM;
    }
    r->cgi = cgi;
    r->stream.watch = (struct watch){.fd = fd, .ready = on_ready, .destroy = on_destroy};
    r->stream.settled = on_settled;
    r->input.fd = r->output.fd = r->errors.watch.fd = r->process.watch.fd = -1;
    r->start = (struct cgi_start){.programs = &cgi->programs, .fds = {-1, -1, -1}};
    int rc = poller_add(cgi->poller, &r->stream.watch);
    if (rc < 0) {
        close(fd);
        free(r);
        return rc;
    }
    bool free_place = cgi->living < cgi->max_processes && cgi->waiting == 0;
    r->state = free_place ? CGI_READS : CGI_WAITS;
    *(free_place ? &cgi->living : &cgi->waiting) += 1;
    r->older = cgi->newest;
    *(r->older ? &r->older->newer : &cgi->oldest) = r;
    cgi->newest = r;
    return 0;
}
