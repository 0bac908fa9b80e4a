/*
 * What a proxy may say of the request besides the client's address: X-Forwarded-Proto, -Port and -Host.
 *
 * Pure; every function is thread-safe.
 */
#ifndef REALIP_ACCEPT_H
#define REALIP_ACCEPT_H

#include "realip/address.h"

/* "http" or "https" in any case. *https says which. */
bool accept_parse_proto(struct slice text, bool *https);

/*
 * A host and, if there is one, its port (RFC 3986 section 3.2): name, IPv4 or "[v6]"; neither is empty. *name
 * is the host without the port, with its brackets.
 */
bool accept_parse_host(struct slice text, struct slice *name);

#endif
