/*
 * Starting the CGI program of one request: which one, with what environment, and what to answer if it cannot
 * be.
 */
#ifndef RELAY_CGI_START_H
#define RELAY_CGI_START_H

#include <sys/types.h>

#include "config/config.h"
#include "relay/cgi_script.h"

/* What is run for requests. Starts as {0}; immutable once it is open. */
struct cgi_programs {
    char **command;  /* argv of the one program, by its path; NULL: scripts under root */
    char *directory; /* where it works */
    struct cgi_root root;
    char **inherited; /* of our environment */
};

/*
 * Reads the environment, so not thread-safe. 0, or a negative errno and a whole sentence in error;
 * cgi_programs_close is due in either case.
 */
int cgi_programs_open(struct cgi_programs *programs, const struct config_upstream *config, char *error,
                      size_t error_size);
void cgi_programs_close(struct cgi_programs *programs);

/* Starts as {0} but for its first three fields. */
struct cgi_start {
    const struct cgi_programs *programs;
    struct slice params; /* the request's PARAMS stream */
    int fds[3];          /* the program's; stay the caller's */
    bool body;           /* the parameters promise one */
    pid_t pid;           /* of the program; 0: it was not started */
    int status;          /* then: the HTTP status to answer */
    char *message; /* then: a whole sentence for the log. malloc'ed as the next two; NULL without memory */
    char *name;    /* the program, for messages; NULL: it is not known */
    char *refused; /* the name of a parameter that was kept from the program; NULL: none */
};

/* Blocks until the program runs or cannot be run. Thread-safe. */
void cgi_start_run(struct cgi_start *start);

/* Frees what run has made; not the process. */
void cgi_start_free(struct cgi_start *start);

#endif
