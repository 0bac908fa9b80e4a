/*
 * The status page: what a request for [status] path is answered with.
 */
#ifndef RELAY_STATUS_PAGE_H
#define RELAY_STATUS_PAGE_H

#include "relay/relay.h"

/*
 * Appends a whole answer (STDOUT, its end, END_REQUEST) to the request that has these parameters, in the form
 * that its query asks for. It is bounded: by the number of workers and trust files. 0 or -ENOMEM.
 */
int status_page_make(struct relay *relay, uint16_t id, struct slice content, struct buffer *out);

#endif
