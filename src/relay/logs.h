/*
 * The logs that the configuration names: opened, tried again, opened again, and changed.
 *
 * They are opened as the user that the shim runs as, so that they can be opened again; until then there is
 * standard error.
 */
#ifndef RELAY_LOGS_H
#define RELAY_LOGS_H

#include "config/config.h"
#include "ops/log.h"

struct relay;

/*
 * Has the error log go on where the configuration says, at its level. 0, or a negative errno after a message:
 * then it goes on where it was.
 */
int logs_move(struct log *log, const struct config *config);

/* Opens the error log again, behind a rename of its file. If that fails it goes on in the old one, and says
 * so.
 */
void logs_reopen_error(struct log *log, const struct config *config);

/*
 * Whether the files that the configuration names can be opened, which makes them if need be: 0, or -1 and a
 * whole sentence in error. Thread-safe.
 */
int logs_judge(const struct config *config, char *error, size_t error_size);

/* ---- of a relay ---- */

/* The error log is standard error; logs_stop and logs_close are due from now on. */
void logs_begin(struct relay *relay);

/* Opens what relay->config names. 0, or -1 after a message: what could not be opened is as before. */
int logs_open(struct relay *relay);

/* What another configuration names takes the place of that. 0, or -1 after a message: nothing has changed. */
int logs_change(struct relay *relay, const struct config *config);

/* Opens files again that have been renamed. */
void logs_reopen(struct relay *relay);

/* A log has lines that wait: they are written within a second. */
void logs_retry_later(struct relay *relay);

/* Nothing is tried again from now on: the loop is about to end. */
void logs_stop(struct relay *relay);

/* Writes what waits, as far as it is taken, and closes. */
void logs_close(struct relay *relay);

#endif
