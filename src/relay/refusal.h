/*
 * Error pages: what the shim answers in the application's stead.
 */
#ifndef RELAY_REFUSAL_H
#define RELAY_REFUSAL_H

#include <stddef.h>
#include <stdint.h>

#define REFUSAL_MAX 512

/*
 * Writes a whole answer (STDOUT, its end, END_REQUEST) for a request into out, REFUSAL_MAX bytes; returns its
 * length. status: 400, 403, 431, 502, 503 (with Retry-After) or 504. CGI/1.1 (RFC 3875) section 6.3.
 */
size_t refusal_encode(char *out, uint16_t id, int status);

#endif
