/*
 * A request's way: decided and rewritten when its parameters are complete, sent, answered.
 */
#ifndef RELAY_REQUEST_H
#define RELAY_REQUEST_H

#include "relay/front.h"

/* A BEGIN_REQUEST has come: fresh fields. */
void request_begin(struct front *front, uint16_t id, struct record_begin begin);

/* The parameters are complete: decides, and leaves the rewritten request in relay.gather or refuses it. */
void request_start(struct front *front, struct slice content);

/* Sends what this turn's records left in relay.gather. */
void request_forward(struct front *front);

/*
 * Splices more of the body, where that pays. False: the front is to be read, so many bytes of it at most;
 * *size is there already, and may become less. What is the end of the stream or an error for the splicing is
 * one for the reading, too.
 */
bool request_splice(struct front *front, size_t *size);

/* Is room for more of the body? */
bool request_has_room(const struct front *front);

/* The front's queue is empty again: the answer may go on. */
void request_drained(struct front *front);

/* The front wants no answer any more. */
void request_abort(struct front *front);

/* Answers with an error page instead of the application. */
void request_refuse(struct front *front, int status);

/* Lets go of everything that the request holds. */
void request_clear(struct front *front);

/* One of its deadlines is over: its place in the queue, or its whole time. */
void request_expired(struct front *front, enum deadline_kind kind);

/* For relay_open. */
extern const struct upstream_events request_upstream_events;
void request_granted(void *user, struct upstream *upstream, int error);

#endif
