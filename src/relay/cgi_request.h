/*
 * One request of a CGI program: its records on one side, the program's pipes on the other.
 *
 * A program may answer before it reads, while it reads, or not read at all. No more than one read of each
 * direction is held. What ends it: see cgi.h for how long anybody is waited for.
 *
 * nginx sends no more of a body once an answer has begun, and a program that goes on to read, git's for one,
 * would wait for ever. So the first output stays in the program's pipe while the body still comes, unless the
 * body stands still or the pipe fills up.
 */
#ifndef RELAY_CGI_REQUEST_H
#define RELAY_CGI_REQUEST_H

#include "fastcgi/scanner.h"
#include "relay/cgi.h"
#include "relay/error_pipe.h"
#include "relay/process.h"
#include "relay/stream.h"

enum cgi_state {
    CGI_WAITS,  /* for one of max_processes, unread */
    CGI_READS,  /* its parameters */
    CGI_STARTS, /* the program, in another thread */
    CGI_RUNS,
    CGI_ENDS, /* nothing is left to say: the connection, the thread or the program is waited for */
    CGI_GONE, /* freed at the end of the round */
};

struct cgi_request {
    struct stream stream; /* to the relay */
    struct cgi *cgi;
    struct cgi_request *newer, *older;
    enum cgi_state state;
    bool closing; /* the answer is complete: the connection ends once it is written */
    bool working; /* `start` belongs to another thread */
    struct scanner scanner;
    uint16_t id;
    uint8_t begin_len;
    char begin[8];
    bool params_ended, body_ended;
    bool body_came;  /* some of it */
    bool fed;        /* its input does not block */
    bool released;   /* the answer is passed on although the body is not at its end */
    unsigned stands; /* turns in a row in which the program took nothing of the body */
    bool said;       /* something came from its standard output */
    bool complained; /* and from its standard error */
    struct buffer params;
    struct buffer body; /* what the program does not take yet */
    struct buffer held; /* of its standard error, before its answer begins */
    struct watch input; /* our end of its standard input */
    struct watch output;
    struct error_pipe errors;
    unsigned lines; /* of its standard error */
    struct process process;
    int exit_status; /* as waitpid(2) has it */
    struct deadline deadline;
    struct cgi_start start;
    uv_work_t work;
};

/* Takes over the socket, also when it fails: 0 or a negative errno. */
int cgi_request_open(struct cgi *cgi, int fd);

/* Lets those begin who wait, as many as may. */
void cgi_request_serve(struct cgi *cgi);

/* Ends connection and program at once, for cgi_close. */
void cgi_request_close(struct cgi_request *request);

/* A deadline of it is over. */
void cgi_request_expired(struct cgi_request *request, enum deadline_kind kind);

/* ---- between cgi_request.c, cgi_body.c and cgi_answer.c ---- */

/* The answer is not wanted any more, or cannot be written: closes the connection, and ends the program. */
void cgi_request_cancel(struct cgi_request *request);

/* The answer is complete: closes the connection once it is written. */
void cgi_request_close_when_written(struct cgi_request *request);

/* Closes our ends of the program's pipes; that of its standard output only if `output`. */
void cgi_request_close_pipes(struct cgi_request *request, bool output);

/* TERM to the program's group, and KILL later. */
void cgi_request_terminate(struct cgi_request *request);

/* The program has ended: its pid is given back. What is left of its group is killed with `kill_group`. */
void cgi_request_reap(struct cgi_request *request, bool kill_group);

/* Frees it if nothing is left to wait for. */
void cgi_request_settle(struct cgi_request *request);

/* The program runs: its input may be watched. */
void cgi_body_open(struct cgi_request *request);

/* Takes the piece of the body that lies in cgi.gather; the rest of it waits in request.body. */
void cgi_body_push(struct cgi_request *request);

/* Writes what waits, and ends the program's input behind the last of it. */
void cgi_body_flush(struct cgi_request *request);

/* The program gets no more. */
void cgi_body_close(struct cgi_request *request);

/* The program runs: from here on its output becomes the answer. */
void cgi_answer_open(struct cgi_request *request);

/* Answers with a page of our own. */
void cgi_answer_refuse(struct cgi_request *request, int status);

/* Ends a request that no CGI program can serve. */
void cgi_answer_refuse_role(struct cgi_request *request);

/* Goes on with the program's output: the connection takes bytes again, or there is no more of the body. */
void cgi_answer_resume(struct cgi_request *request);

/* The body moves: what stands in the program's output may have to wait longer. */
void cgi_answer_body_moved(struct cgi_request *request);

/* The body has stood still for a while. */
void cgi_answer_body_stands(struct cgi_request *request);

/* Nobody has said anything for as long as may be waited: completes the answer. */
void cgi_answer_finish(struct cgi_request *request);

/* How many lines of the program did not get into the log. */
void cgi_answer_count_lines(struct cgi_request *request);

/* False: it is not to be logged now, since its kind of event was within this minute. */
bool cgi_request_may_log(struct cgi_request *request, enum cgi_limit limit);

#endif
