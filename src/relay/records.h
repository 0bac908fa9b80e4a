/*
 * What a front's records mean: the protocol's state machine. FastCGI specification 3.3, 4, 5.
 */
#ifndef RELAY_RECORDS_H
#define RELAY_RECORDS_H

#include "relay/front.h"

/*
 * Walks bytes just read. What is to go to the application is left in relay.gather. The front may have
 * ended when this returns.
 */
void records_feed(struct front *front, char *data, size_t len);

#endif
