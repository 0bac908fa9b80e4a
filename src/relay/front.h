/*
 * A connection from the web server, and the one request that it carries at a time.
 */
#ifndef RELAY_FRONT_H
#define RELAY_FRONT_H

#include "relay/relay.h"

enum front_state {
    FRONT_IDLE,    /* waits for a BEGIN_REQUEST */
    FRONT_PARAMS,  /* inside a request's parameters */
    FRONT_BODY,    /* parameters complete, streams still to come */
    FRONT_ANSWER,  /* the whole request is here, the answer not yet gone */
    FRONT_DRAIN,   /* answered early: the rest of the request is read and thrown away */
    FRONT_LINGER,  /* as DRAIN, and then closed: closing at once could destroy the answer on its way */
    FRONT_CLOSING, /* closed as soon as everything is written */
};

/* A request; never outlives its front. */
struct request {
    uint16_t id;     /* the web server's */
    uint16_t app_id; /* towards the application, see next_id */
    uint8_t role;
    uint8_t outcome; /* enum metrics_outcome: so far; NONE: it does not count, or is over */
    bool keep;       /* the web server wants the connection kept */
    bool app_keep;   /* and we the application's, see config.upstream.keepalive */
    bool idempotent; /* GET or HEAD */
    bool retried;
    bool counted;      /* in relay.requests */
    bool undispatched; /* its beginning is in relay.gather, no connection has been asked for */
    bool answered;     /* bytes of the answer went to the front: too late for an error page */
    bool mid_record;   /* those bytes end inside a record */
    bool body;         /* STDIN or DATA that is not empty */
    bool stdin_ended, data_ended;
    struct upstream *upstream;
    struct access *access; /* its notes for the access log; NULL: there is none, or nothing to note yet */
    struct ticket ticket;
    struct deadline total;
    struct buffer params;  /* PARAMS content that did not come in one piece */
    struct buffer pending; /* what waits for a connection */
};

struct front {
    struct stream stream;
    struct relay *relay;
    struct front *previous, *next;
    struct deadline deadline; /* HEADER, FIRST, FRONT, WATCH or LINGER */
    union {
        uint64_t header_since; /* loop time in ms at which HEADER was first started */
        uint64_t began;        /* poller_clock when the request was complete, from FRONT_BODY on */
    };
    struct scanner scanner;
    /* Where the scanner leaves room: an idle connection is the size of this struct, see
     * tests/bench/memory.py. */
    enum front_state state : 8;
    bool ended_reading;    /* the web server has half-closed */
    bool kept;             /* a request has asked to keep it */
    struct buffer held;    /* content of a BEGIN_REQUEST or GET_VALUES in the making */
    struct buffer control; /* our own replies, waiting for a record boundary in the answer */
    struct request request;
};

/* Takes over a connected, non-blocking socket, also when it fails. True: it has brought a request, and will
 * not stay for another. */
bool front_accept(struct relay *relay, int fd);

/* Ends it now; its application connection is closed. Freed at the end of the round: afterwards watch.fd is
 * -1. */
void front_end(struct front *front);

/* Has it ended meanwhile? */
static inline bool front_ended(const struct front *front)
{
    return front->stream.watch.fd < 0;
}

/* Sends a reply of our own, at the next record boundary of the answer. */
void front_reply(struct front *front, char *data, size_t len);

/* Sends bytes of the answer. False: the front has ended. */
bool front_send(struct front *front, const struct gather *gather);

/* The same for bytes that wait in another stream; as stream_splice. The front may have ended. */
ssize_t front_splice(struct front *front, struct stream *from, size_t max);

/* The answer is complete: on to the next request, or towards the end. */
void front_finish(struct front *front);

/* Lets the bytes go that wait, then ends: an answer that broke off gets no END_REQUEST. */
void front_break_off(struct front *front);

/* The relay drains: goes to its successor now if no answer is owed, else afterwards. */
void front_pass(struct front *front);

/* The relay stops: ends now if no answer is owed and none is about to be asked for, else afterwards. */
void front_stop(struct front *front);

/* No more parameters are waited for. */
void front_stop_header(struct front *front);

/* Goes on reading after a pause. */
void front_resume(struct front *front);

/* One of its deadlines is over. */
void front_expired(struct front *front, enum deadline_kind kind);

#endif
