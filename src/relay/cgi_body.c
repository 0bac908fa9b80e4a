/*
 * A request's body on its way to the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "relay/cgi_request.h"

static struct cgi_request *of_input(struct watch *watch)
{
    return (struct cgi_request *)((char *)watch - offsetof(struct cgi_request, input));
}

void cgi_body_close(struct cgi_request *r)
{
    buffer_free(&r->body);
    poller_close_fd(r->cgi->poller, &r->input);
}

/* 0: the pipe is full; -EPIPE: the program does not read, which is its right; else another errno. */
static ssize_t write_input(struct cgi_request *r, const struct iovec *piece, int count)
{
    ssize_t n;
    if (!r->fed && fcntl(r->input.fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    r->fed = true;
    do
        n = writev(r->input.fd, piece, count);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    cgi_answer_body_moved(r);
    return n;
}

/* What is not the program's own doing must not look to it like the end of the body. */
static void stop(struct cgi_request *r, int error)
{
    if (error == -EPIPE)
        cgi_body_close(r);
    else
        cgi_request_cancel(r);
}

static void await_room(struct cgi_request *r)
{
    int rc = 0;
    if (r->input.added) {
        rc = poller_want_write(r->cgi->poller, &r->input, true);
    } else {
        r->input.want_write = true;
        rc = poller_add(r->cgi->poller, &r->input);
    }
    if (rc < 0)
        cgi_request_cancel(r);
}

void cgi_body_flush(struct cgi_request *r)
{
    while (r->body.len > 0) {
        struct iovec piece = {r->body.data + r->body.start, r->body.len};
        ssize_t n = write_input(r, &piece, 1);
        if (n < 0) {
            stop(r, (int)n);
            return;
        }
        if (n == 0) {
            await_room(r);
            return;
        }
        buffer_consume(&r->body, (size_t)n);
    }
    if (r->body_ended)
        cgi_body_close(r);
}

void cgi_body_push(struct cgi_request *r)
{
    const struct gather *gather = &r->cgi->gather;
    size_t taken = 0;
    if (r->state == CGI_RUNS && r->input.fd < 0)
        return; /* the program has closed it */
    if (r->state == CGI_RUNS && r->body.len == 0 && gather->bytes > 0) {
        ssize_t n = write_input(r, gather->piece, gather->count);
        if (n < 0) {
            stop(r, (int)n);
            return;
        }
        taken = (size_t)n;
    }
    if (taken < gather->bytes && buffer_append_gather(&r->body, gather, taken) < 0) {
        cgi_request_cancel(r);
        return;
    }
    if (r->state == CGI_RUNS)
        cgi_body_flush(r);
}

static void on_input(struct watch *watch)
{
    struct cgi_request *r = of_input(watch);
    if (watch->gone)
        cgi_body_close(r);
    else if (watch->writable)
        cgi_body_flush(r);
    if (r->state == CGI_RUNS && r->input.fd < 0)
        cgi_answer_resume(r);
    if (r->state == CGI_RUNS && r->body.len == 0 && r->stream.watch.readable)
        poller_again(r->cgi->poller, &r->stream.watch);
}

void cgi_body_open(struct cgi_request *r)
{
    r->input.ready = on_input;
}
