/*
 * A request as the application gets it: BEGIN_REQUEST and PARAMS, with a rewrite applied.
 *
 * Long untouched runs of parameters go out from where they lie; short ones are cheaper copied than named.
 * Every record ends on a pair boundary (php reads each record by itself), but for a pair that no record can
 * hold. FastCGI specification 3.4, 5.1, 5.2.
 */
#ifndef RELAY_ENCODE_H
#define RELAY_ENCODE_H

#include "fastcgi/record.h"
#include "realip/rewrite.h"
#include "relay/buffer.h"
#include "relay/known.h"

/* What is to be sent. All slices must live until the gather is written. */
struct encode_request {
    uint16_t id;
    uint16_t role;
    bool keep;                     /* ask the application to keep the connection */
    struct slice content;          /* the PARAMS stream as received */
    const struct known *known;     /* read from it */
    const struct rewrite *rewrite; /* of what is known */
};

/*
 * Fills the empty gather with the request, up to and with the empty PARAMS record. What is not sent from
 * `content` lies in scratch, which is cleared first and must stay untouched until the gather is written. 0 or
 * -ENOMEM.
 */
int encode_request(const struct encode_request *request, struct buffer *scratch, struct gather *gather);

#endif
