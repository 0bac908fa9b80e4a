/*
 * What a CGI program says, and how its answer ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/page.h"
#include "relay/cgi_request.h"

/* Reads of one program before others have their turn. */
#define READS_A_TURN 16
/* Bytes of standard error that are held back until the answer begins. */
#define HELD_MAX 16384
/* Bytes in a program's output pipe from which on it may be full: one of 16 pages of which none was filled. */
#define PILE_MAX 32768
/* A pipe of this size may be full with any number of them. */
#define PIPE_MIN 4096
/* Lines of one request that may get into the log. */
#define LINES_MAX 100

/* ---- records ---- */

static void send_gather(struct cgi_request *r, const struct gather *gather)
{
    if (r->stream.watch.fd >= 0 && stream_send(r->cgi->poller, &r->stream, gather) < 0)
        cgi_request_cancel(r);
}

static void send_bytes(struct cgi_request *r, char *data, size_t len)
{
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, data, len);
    send_gather(r, &gather);
}

/* What was held back goes before everything else. */
static void send_held(struct cgi_request *r)
{
    if (r->held.len > 0)
        send_bytes(r, r->held.data + r->held.start, r->held.len);
    buffer_free(&r->held);
}

/* The ends of the streams that were used, and END_REQUEST; returns the length. */
static size_t encode_end(const struct cgi_request *r, char *out, uint32_t app_status)
{
    char *at = out;
    if (r->complained) {
        record_encode(at, FCGI_STDERR, r->id, 0, 0);
        at += RECORD_HEADER;
    }
    record_encode(at, FCGI_STDOUT, r->id, 0, 0);
    at += RECORD_HEADER;
    record_encode_end(at, r->id, app_status, FCGI_REQUEST_COMPLETE);
    return (size_t)(at - out) + RECORD_FIXED;
}

static void send_end(struct cgi_request *r, uint32_t app_status)
{
    char wire[2 * RECORD_HEADER + RECORD_FIXED];
    send_bytes(r, wire, encode_end(r, wire, app_status));
}

static void send_page(struct cgi_request *r, int status)
{
    static const struct page pages[] = {
        {500, "Internal Server Error", "The program could not be run."},
        {400, "Bad Request", "The request makes no sense."},
        {403, "Forbidden", "This program may not be run."},
        {404, "Not Found", "There is no such program."},
        {431, "Request Header Fields Too Large", "The request's header is too large."},
        {502, "Bad Gateway", "The program gave no answer."},
        {503, "Service Unavailable", "The service is busy. Please try again."},
    };
    const struct page *page = &pages[0];
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (pages[i].status == status)
            page = &pages[i];
    }
    char wire[RECORD_HEADER + PAGE_MAX + 2 * RECORD_HEADER + RECORD_FIXED];
    size_t len = page_print(wire + RECORD_HEADER, page);
    record_encode(wire, FCGI_STDOUT, r->id, (uint16_t)len, 0);
    len += RECORD_HEADER;
    send_bytes(r, wire, len + encode_end(r, wire + len, 0));
}

void cgi_answer_refuse(struct cgi_request *r, int status)
{
    send_page(r, status);
    cgi_request_close_when_written(r);
}

/* Nothing else: then the relay makes a page of it. */
void cgi_answer_refuse_role(struct cgi_request *r)
{
    char wire[RECORD_FIXED];
    record_encode_end(wire, r->id, 0, FCGI_UNKNOWN_ROLE);
    send_bytes(r, wire, sizeof(wire));
    cgi_request_close_when_written(r);
}

/* ---- standard error ---- */

static struct cgi_request *of_errors(struct error_pipe *pipe)
{
    return (struct cgi_request *)((char *)pipe - offsetof(struct cgi_request, errors));
}

static void on_line(struct error_pipe *pipe, const char *text)
{
    struct cgi_request *r = of_errors(pipe);
    if (r->lines++ < LINES_MAX)
        log_write(r->cgi->log, LOG_WARNING, "%s[%ld] said: %s", r->start.name, (long)r->process.pid, text);
}

void cgi_answer_count_lines(struct cgi_request *r)
{
    if (r->lines > LINES_MAX)
        log_write(r->cgi->log, LOG_WARNING, "%s[%ld] said %u more lines, which were left out", r->start.name,
                  (long)r->process.pid, r->lines - LINES_MAX);
    r->lines = 0;
}

/*
 * Before its answer begins, what a program says here is held back: once it is on its way to the web server,
 * the relay has no error page any more for a program that then hangs.
 */
static void on_bytes(struct error_pipe *pipe, const char *data, size_t len)
{
    struct cgi_request *r = of_errors(pipe);
    char head[RECORD_HEADER];
    struct gather gather;
    gather_clear(&gather);
    record_encode(head, FCGI_STDERR, r->id, (uint16_t)len, 0);
    gather_add(&gather, head, sizeof(head));
    gather_add(&gather, (char *)data, len);
    r->complained = true;
    if (!r->said && r->held.len + gather.bytes <= HELD_MAX && buffer_append_gather(&r->held, &gather, 0) == 0)
        return;
    send_held(r);
    send_gather(r, &gather);
    pipe->paused = r->stream.out.len > 0;
}

/* ---- the end ---- */

/* The status of a program that gave no answer is what its administrator needs. */
static void log_silence(struct cgi_request *r)
{
    char end[80];
    if (!cgi_request_may_log(r, CGI_LIMIT_SILENT))
        return;
    const char *how =
        r->process.over ? process_describe(r->exit_status, end, sizeof(end)) : "closed its standard output";
    if (r->errors.last[0])
        log_write(r->cgi->log, LOG_ERROR, "%s %s without an answer; its last words: %s", r->start.name, how,
                  r->errors.last);
    else
        log_write(r->cgi->log, LOG_ERROR, "%s %s without an answer, and said nothing on its standard error",
                  r->start.name, how);
}

static void log_end(struct cgi_request *r, enum cgi_limit limit, enum log_level level, const char *what)
{
    char end[80];
    if (log_wants(r->cgi->log, level) && cgi_request_may_log(r, limit))
        log_write(r->cgi->log, level, "%s %s%s", r->start.name,
                  process_describe(r->exit_status, end, sizeof(end)), what);
}

/* An answer that a signal cut off must not look complete. */
static void send_last(struct cgi_request *r)
{
    bool over = r->process.over;
    send_held(r);
    if (r->state != CGI_RUNS)
        return; /* the connection broke */
    if (!r->said) {
        log_silence(r);
        send_page(r, 502);
    } else if (over && WIFSIGNALED(r->exit_status)) {
        log_end(r, CGI_LIMIT_SIGNAL, LOG_ERROR, " in the middle of its answer");
    } else {
        uint32_t status = over ? (uint32_t)WEXITSTATUS(r->exit_status) : 0;
        if (status != 0)
            log_end(r, CGI_LIMIT_STATUS, LOG_INFO, " after its answer");
        send_end(r, status);
    }
}

void cgi_answer_finish(struct cgi_request *r)
{
    deadline_stop(&r->deadline);
    error_pipe_drain(&r->errors);
    if (r->state == CGI_RUNS)
        send_last(r);
    if (r->state != CGI_RUNS)
        return; /* the connection broke */
    cgi_answer_count_lines(r);
    r->state = CGI_ENDS;
    /* Others hold its standard output: that it ends tells when they are gone. */
    bool held = r->process.over && r->output.fd >= 0;
    cgi_request_close_pipes(r, !held);
    if (r->process.over && !held)
        cgi_request_reap(r, false);
    else
        cgi_request_terminate(r);
    cgi_request_close_when_written(r);
}

/* After a look at the pipe: is that all? */
static void consider_end(struct cgi_request *r, bool progress)
{
    bool over = r->process.over;
    bool ended = r->output.fd < 0;
    if (over && (ended || (!r->output.readable && WIFSIGNALED(r->exit_status)))) {
        cgi_answer_finish(r);
    } else if (over && r->output.readable) {
        deadline_stop(&r->deadline); /* it is the web server that does not take it */
    } else if (over) {
        if (progress || !deadline_runs(&r->deadline, DEADLINE_CGI_HELD))
            deadline_start(r->cgi->deadlines, &r->deadline, DEADLINE_CGI_HELD);
    } else if (ended && !deadline_runs(&r->deadline, DEADLINE_CGI_EXIT)) {
        deadline_start(r->cgi->deadlines, &r->deadline, DEADLINE_CGI_EXIT);
    }
}

/* ---- standard output ---- */

/* Each read is a record, written around it. False: nothing more to do now. */
static bool pass_output(struct cgi_request *r)
{
    const size_t room = CGI_BUFFER_SIZE - RECORD_HEADER;
    char *buffer = r->cgi->buffer;
    ssize_t n;
    do
        n = read(r->output.fd, buffer + RECORD_HEADER, room);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        r->output.readable = false;
        return false;
    }
    if (n < 0) {
        cgi_request_cancel(r); /* what is missing must not look like the end */
        return false;
    }
    if (n == 0) {
        poller_close_fd(r->cgi->poller, &r->output);
        return false;
    }
    /* A read that was not filled has emptied the pipe; what comes later is an event. */
    if ((size_t)n < room && !r->output.gone)
        r->output.readable = false;
    if (!r->said)
        send_held(r);
    r->said = true;
    record_encode(buffer, FCGI_STDOUT, r->id, (uint16_t)n, 0);
    send_bytes(r, buffer, RECORD_HEADER + (size_t)n);
    return true;
}

/* The kernel gives users who have many pipes small ones (pipe-user-pages-soft). */
static bool may_be_full(int fd, int left)
{
    int size = left < PILE_MAX ? fcntl(fd, F_GETPIPE_SZ) : -1;
    return left >= PILE_MAX || (size >= 0 && left >= size / 2) || (size == PIPE_MIN && left > 0);
}

/* Does the answer wait for the body? */
static bool waits_for_body(struct cgi_request *r)
{
    if (r->said || r->released || r->body_ended || r->input.fd < 0 || r->process.over || r->output.gone)
        return false;
    if (!r->body_came && !r->start.body)
        return false;
    int left = 0;
    if (!r->output.readable || ioctl(r->output.fd, FIONREAD, &left) < 0)
        return false;
    if (may_be_full(r->output.fd, left)) {
        r->released = true;
        return false;
    }
    if (!deadline_runs(&r->deadline, DEADLINE_CGI_BODY))
        deadline_start(r->cgi->deadlines, &r->deadline, DEADLINE_CGI_BODY);
    return true;
}

void cgi_answer_body_moved(struct cgi_request *r)
{
    r->stands = 0;
    if (deadline_runs(&r->deadline, DEADLINE_CGI_BODY))
        deadline_start(r->cgi->deadlines, &r->deadline, DEADLINE_CGI_BODY);
}

static void pass_some(struct cgi_request *r)
{
    bool progress = false;
    if (r->state == CGI_RUNS && r->output.fd >= 0 && waits_for_body(r))
        return;
    if (deadline_runs(&r->deadline, DEADLINE_CGI_BODY))
        deadline_stop(&r->deadline);
    for (int turn = 0; r->state == CGI_RUNS && r->output.fd >= 0; turn++) {
        if (!r->output.readable || r->stream.out.len > 0)
            break;
        if (turn == READS_A_TURN) {
            poller_again(r->cgi->poller, &r->output);
            return;
        }
        if (!pass_output(r))
            break;
        progress = true;
    }
    if (r->state == CGI_RUNS)
        consider_end(r, progress);
}

static void on_output(struct watch *watch)
{
    struct cgi_request *r = (struct cgi_request *)((char *)watch - offsetof(struct cgi_request, output));
    if (r->state == CGI_RUNS) {
        pass_some(r);
    } else if (r->state == CGI_ENDS && watch->gone) {
        cgi_request_reap(r, true);
        cgi_request_settle(r);
    }
}

void cgi_answer_body_stands(struct cgi_request *r)
{
    r->stands++;
    r->released = r->stands >= (r->body.len == 0 ? CGI_BODY_TURNS : CGI_BODY_TURNS_UNREAD);
    pass_some(r);
}

void cgi_answer_resume(struct cgi_request *r)
{
    if (r->state == CGI_RUNS && r->errors.paused)
        error_pipe_resume(&r->errors);
    pass_some(r);
}

/* ---- the program ---- */

static void on_ended(struct process *process, int status)
{
    struct cgi_request *r = (struct cgi_request *)((char *)process - offsetof(struct cgi_request, process));
    r->exit_status = status;
    if (r->state == CGI_RUNS) {
        /* What it said last may be there without an event that tells so. */
        r->output.readable = true;
        pass_some(r);
    } else {
        cgi_request_reap(r, true);
        cgi_request_settle(r);
    }
}

void cgi_answer_open(struct cgi_request *r)
{
    r->process.ended = on_ended;
    r->errors.line_came = on_line;
    r->errors.bytes_came = on_bytes;
    r->output.ready = on_output;
}
