/*
 * The application that the shim starts itself: so many processes of one program, on one private listening
 * socket as their descriptor 0 (FastCGI specification 2.2), each replaced when it ends.
 *
 * A process that ends with status 0 after it has answered or lived for a second has done its work, and is
 * replaced at once, or 20 ms after its start. Any other end is a failure: a pause follows, which grows from
 * one failure to the next. While no process lives, and none is due, nobody listens on the socket: requests
 * are refused at once. Not thread-safe: belongs to its loop.
 */
#ifndef RELAY_APPLICATION_H
#define RELAY_APPLICATION_H

#include "relay/error_pipe.h"
#include "relay/private_socket.h"
#include "relay/process.h"
#include "relay/relay.h"

struct application;

/* One of the processes, or the place of one. */
struct member {
    struct application *application;
    struct process process;
    struct error_pipe errors;
    uv_timer_t timer;
    bool lives;     /* until its end has been dealt with */
    bool due;       /* it ended as it should, and the next one starts in a moment */
    int status;     /* of its end, as waitpid(2) has it */
    uint64_t since; /* when it was started, in ms of a steady clock */
    uint64_t seen;  /* the relay's answers at that time */
    unsigned pause; /* behind the last failure, in ms; 0: none since it was well */
};

#define APPLICATION_TROUBLE (ERROR_PIPE_LINE + 512)

struct application {
    struct relay *relay;
    struct upstream_target *target; /* through which its connections see it */
    char **command;                 /* argv */
    struct private_socket socket;
    char *path;       /* of the program */
    const char *name; /* its last part, for messages */
    char **variables; /* its environment */
    struct member *members;
    size_t nmembers;
    size_t lives;     /* members that do */
    bool terminating; /* none is started any more */
    char trouble[APPLICATION_TROUBLE];
    void (*ended)(struct application *application); /* the last process, of an application that terminates */
};

/*
 * Starts all processes of the command; connections to the target go to them from now on. The configuration is
 * not kept. 0, or -1: the reason is in the log. application_close and application_free are due in either
 * case.
 */
int application_start(struct application *application, struct relay *relay, struct upstream_target *target,
                      const struct config_upstream *config, unsigned processes);

/* Asks all processes to end (TERM, to their groups); calls ended when they have, perhaps at once. Fine to
 * call twice. */
void application_terminate(struct application *application);

/* Kills and reaps what still lives. The loop must run once more afterwards. */
void application_close(struct application *application);

/* Frees what application_close left for the loop's last turn. */
void application_free(struct application *application);

#endif
