/*
 * CGI programs, one process a request (RFC 3875), as the relay sees them: a FastCGI application inside the
 * loop.
 *
 * Each connection that the pool dials is one end of a socket pair; at the other end a request becomes a
 * program, and what the program says becomes records. So queue, time limits, aborts and error pages are those
 * of any application. Belongs to its loop; not thread-safe.
 */
#ifndef RELAY_CGI_H
#define RELAY_CGI_H

#include "ops/log.h"
#include "relay/buffer.h"
#include "relay/cgi_start.h"
#include "relay/deadlines.h"
#include "relay/poller.h"

/* A body that stands still for so many turns of so many ms does not keep the answer waiting any longer: while
 * more of it is to come, and while the program does not take what has come. */
#define CGI_BODY_MS           500
#define CGI_BODY_TURNS        2
#define CGI_BODY_TURNS_UNREAD 10
/* How long others may stay silent on the standard output of a program that has ended, in ms. */
#define CGI_HELD_MS 1000
/* How long a program that has closed its standard output may go on. */
#define CGI_EXIT_MS 2000
/* Between TERM and KILL. */
#define CGI_KILL_MS 5000

/* As much as the relay reads at once. */
#define CGI_BUFFER_SIZE 65536

struct cgi_request;

/* Things that happen with every request of a kind: each is logged once a minute at most. */
enum cgi_limit {
    CGI_LIMIT_MISSING,
    CGI_LIMIT_FORBIDDEN,
    CGI_LIMIT_SIZE,
    CGI_LIMIT_FAILED,
    CGI_LIMIT_SHORTAGE,
    CGI_LIMIT_SILENT,
    CGI_LIMIT_STATUS,
    CGI_LIMIT_SIGNAL,
    CGI_LIMIT_KILLED,
    CGI_LIMIT_ROLE,
    CGI_LIMIT_REFUSED,
    CGI_LIMITS,
};

/* Starts as {0}. */
struct cgi {
    uv_loop_t *loop;
    struct poller *poller;
    struct deadlines *deadlines;
    struct log *log;
    struct cgi_programs programs;
    unsigned max_processes;
    unsigned living; /* requests that have a process, or are about to */
    unsigned waiting;
    struct cgi_request *newest, *oldest;
    char *buffer; /* what is read in this turn */
    struct gather gather;
    struct log_limit limits[CGI_LIMITS];
    uv_work_t first_work;
    bool first_working; /* that is under way */
    bool closed;
    void (*emptied)(struct cgi *cgi); /* it has become empty; NULL: nobody asks */
};

/* Keeps emptied, which is to be set before. Says in the log what is wrong. 0 or a negative errno; cgi_close
 * and cgi_free are due in either case. */
int cgi_open(struct cgi *cgi, uv_loop_t *loop, struct poller *poller, struct deadlines *deadlines,
             struct log *log, const struct config_upstream *config, unsigned max_processes);

/* The cap on programs, from now on. */
void cgi_change(struct cgi *cgi, unsigned max_processes);

/* Nothing uses it any more, neither a program nor a thread. */
bool cgi_is_empty(const struct cgi *cgi);

/* For upstream_target: a connected, non-blocking socket, or a negative errno. */
int cgi_dial(void *cgi);

/* Kills and reaps all programs. Programs that are just being started are dealt with in the loop's last turn;
 * the poller may be closed by then. */
void cgi_close(struct cgi *cgi);

/* After that turn. Fine if it was never opened. */
void cgi_free(struct cgi *cgi);

#endif
