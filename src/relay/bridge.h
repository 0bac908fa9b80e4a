/*
 * Run by a web server as a CGI program: the request is carried from the environment and standard input to a
 * relay, and the answer to standard output. RFC 3875.
 *
 * The relay does not notice: at its side of a socket pair there is a web server that speaks FastCGI.
 */
#ifndef RELAY_BRIDGE_H
#define RELAY_BRIDGE_H

#include "config/config.h"
#include "relay/buffer.h"

/*
 * Serves the one request. 0: it was answered, if only by an error page; 1: it was not, or not to the end, and
 * nobody waits for more; a negative errno: it could not be begun, nothing has been read or written (-EINVAL:
 * CONTENT_LENGTH is no number). config must have upstream addresses. Standard input and output stay blocking
 * for whom they are shared with.
 */
int bridge_run(const struct config *config, char *const *environment);

/*
 * Appends the request's beginning: BEGIN_REQUEST of a responder with id 1, and all of PARAMS, made of the
 * environment but for what is clearly of the process and not of the request: PATH, LD_*, HOME, ... 0 or
 * -ENOMEM.
 */
int bridge_encode(char *const *environment, struct buffer *out);

#endif
