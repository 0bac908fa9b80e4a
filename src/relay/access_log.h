/*
 * The access log: what a request was is noted when it begins, and told when it ends.
 *
 * Nothing here is called for a request while relay->access is NULL. What is noted is one piece of memory that
 * belongs to the running request, so an idle connection has none. Lines wait in the sink, at most a second,
 * and go out many at a time.
 */
#ifndef RELAY_ACCESS_LOG_H
#define RELAY_ACCESS_LOG_H

#include "ops/access.h"
#include "ops/sink.h"
#include "realip/decide.h"
#include "relay/front.h"

/* The log of one loop. */
struct access_log {
    struct sink sink;
    enum access_format format;
    struct access_clock clock;
    struct relay *relay;
    bool failing; /* that it cannot be written has been told */
};

/* Opens what the configuration names, for the relay; *log is NULL if that is "off". 0 or a negative errno. */
int access_log_make(struct access_log **log, struct relay *relay, const struct config *config);

/* Closes a log that has not been put to use; copes with NULL. */
void access_log_free(struct access_log *log);

/* From now on the relay writes to this log, NULL: to none. The one before is written out and closed, and what
 * it has lost is said. */
void access_log_put(struct relay *relay, struct access_log *log);

/* The configuration's format, from now on. */
void access_log_set_format(struct relay *relay, const struct config *config);

/* Opens the file again, behind a rename; as sink_reopen. Nothing to do without a log. */
int access_log_reopen(struct relay *relay);

/* Writes what waits, and says in the error log what has been lost since the last time. */
void access_log_flush(struct relay *relay);

/*
 * Notes a request. content: its parameters as they came, good for the moment only; if they are not whole, or
 * broken, decision is NULL and they tell what they can. Else it has just been made in relay->workspace.
 */
void access_begin(struct front *front, struct slice content, const struct decision *decision);

/* The same for one that is refused before it was decided upon, so that its client is told all the same. */
void access_begin_undecided(struct front *front, struct slice content);

/* It has waited in the queue until now. */
void access_wait(struct front *front);

/* Records of the answer pass; end: the last ones. */
void access_answer(struct front *front, const struct gather *pieces, bool end);

/* So many bytes of a record's content pass unseen. */
void access_skip(struct front *front, size_t len);

/* It is answered with this page of our own, in records, instead. */
void access_page(struct front *front, const char *page, size_t len);

/* It is over, with front->request.outcome: its line is written. */
void access_end(struct front *front);

#endif
