/*
 * A connection to the application: made, used for one request at a time, perhaps kept for another.
 *
 * Whoever uses it learns of its life through struct upstream_events. Belongs to its loop; not thread-safe.
 */
#ifndef RELAY_UPSTREAM_H
#define RELAY_UPSTREAM_H

#include "config/config.h"
#include "fastcgi/scanner.h"
#include "ops/metrics.h"
#include "relay/deadlines.h"
#include "relay/stream.h"

struct upstream;

struct upstream_events {
    /* May more of the answer be read now? If not, upstream_resume is called later. */
    bool (*takes)(void *user);
    /*
     * Records of the answer, to be passed on as they are. `boundary`: they end with a whole record; `end` if
     * the request is over: the connection is not the user's any more.
     */
    void (*response)(void *user, struct gather *pieces, bool boundary, const struct record_end *end);
    /* Content of such a record, which waits in the stream; as stream_splice. Where the record ends with it,
     * response says so, without bytes. */
    ssize_t (*splice)(void *user, struct stream *from, size_t max);
    /*
     * The connection failed before the end of the answer and is gone. `again` holds all that was sent, for
     * the user to take, if that was kept and not one byte of an answer came; else it is NULL. error is a
     * negative errno.
     */
    void (*failed)(void *user, int error, struct buffer *again);
    /* All that was handed over has been written. */
    void (*drained)(void *user);
};

/* An application, as its connections see it. */
struct upstream_target {
    const char *name;                 /* for messages */
    const struct endpoint *addresses; /* where it listens, to be tried in this order */
    size_t naddresses;
    /* Where there is no address: gives a connected, non-blocking socket, or a negative errno. */
    int (*dial)(void *dialled);
    void *dialled;
    size_t address;      /* the one that answered last: tried first */
    uint64_t answers;    /* that have begun to come */
    const char *trouble; /* what was wrong with it before it answered; NULL: nothing known */
    size_t connections;  /* that exist */
    /* One of them has ended, and new ones lead elsewhere. */
    void (*left)(struct upstream_target *target);
};

/* What all connections of one loop share. */
struct upstream_shared {
    struct poller *poller;
    struct deadlines *deadlines;
    struct metrics_counters *counters;
    const struct config_upstream *config;
    struct upstream_target *target; /* of new connections */
    const struct upstream_events *events;
    /* A connection has no user any more: keep it if it is reusable, else upstream_destroy. */
    void (*released)(struct upstream *upstream, bool reusable);
    char *buffer;
    size_t buffer_size;
    struct gather gather;
    bool much;       /* large records came in the last answer that did not come at once */
    bool keeps_none; /* no connection is kept for another request, whatever config says */
};

#define UPSTREAM_RETAIN_MAX 65536

/* What upstream_send is told about the bytes: bits. */
enum {
    UPSTREAM_LAST = 1, /* the request is complete with them */
    UPSTREAM_BODY = 2, /* the request has a body */
};

struct upstream {
    struct stream stream;
    struct deadline deadline;
    struct upstream_shared *shared;
    struct upstream_target *target;
    struct upstream *previous, *next; /* of the pool's idle list */
    void *user;
    uint16_t id;
    size_t tries;             /* addresses tried so far */
    uint64_t give_up_at;      /* loop time in ms: the end of the pause for a full backlog */
    unsigned served;          /* requests answered before this one */
    bool keep;                /* the application was asked to keep it after this request */
    bool request_sent;        /* the user has handed over the whole request */
    bool body;                /* the request has a body, which the application may leave unread */
    bool broken;              /* the application takes no more bytes; it may still have answered */
    bool received;            /* at least one byte of the answer came */
    bool ended;               /* END_REQUEST came */
    bool violated;            /* and bytes behind it */
    bool retain, retain_lost; /* a copy of what was sent is kept in `retained`; it grew too large */
    struct buffer retained;
    struct scanner scanner;
    char end_body[8];
    uint8_t end_len;
};

/* Connects for a user; *error is a negative errno where NULL is returned. The connection may still be in the
 * making. */
struct upstream *upstream_open(struct upstream_shared *shared, void *user, int *error);

/* Gives a kept connection its next user. */
void upstream_attach(struct upstream *upstream, void *user);

/* A request begins, which asks to keep the connection or not. The answer's records come with this id and are
 * given the web server's; `retain` keeps a copy of what is sent, so that it can be repeated. */
void upstream_begin(struct upstream *upstream, uint16_t id, uint16_t front_id, bool keep, bool retain);

/*
 * Sends bytes of the request; `what` tells about them. Errors come later, through events: an application that
 * takes no more may have answered already.
 */
void upstream_send(struct upstream *upstream, const struct gather *gather, unsigned what);

/* The same for bytes that waited in a buffer; it is empty afterwards. */
void upstream_send_buffer(struct upstream *upstream, struct buffer *buffer, unsigned what);

/* May a part of the request be spliced? */
bool upstream_may_splice(const struct upstream *upstream);

/* Sends it: as stream_splice; and as with upstream_send, errors come later. */
ssize_t upstream_splice(struct upstream *upstream, struct stream *from, size_t max);

/* Could more of the request be taken without piling up? */
bool upstream_has_room(const struct upstream *upstream);

/* Go on reading after takes() had said no. */
void upstream_resume(struct upstream *upstream);

/* The user wants no more of it: closes, and calls released. */
void upstream_abandon(struct upstream *upstream);

/* A deadline of this connection is over. */
void upstream_expired(struct upstream *upstream, enum deadline_kind kind);

/* Is a kept connection still good for a request, as far as is known? `sure`: the kernel is asked once more.
 */
bool upstream_usable(struct upstream *upstream, bool sure);

/* Closes, and frees at the end of the round. */
void upstream_destroy(struct upstream *upstream);

#endif
