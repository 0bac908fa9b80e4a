/*
 * What must be true of all bytes that web servers and applications sent and got, whatever they were.
 *
 * The model reads both sides by the FastCGI specification alone and knows nothing of the relay's states.
 * Where the specification leaves open which of several requests a record belongs to, it allows all of them.
 */
#ifndef FUZZ_RELAY_MODEL_H
#define FUZZ_RELAY_MODEL_H

#include "fuzz.h"

#define MODEL_ENDS 24

/* One end of a connection, as the script plays it: what it wrote and what it read, from the beginning. */
struct model_end {
    char *sent, *got;
    size_t nsent, ngot;
    size_t sent_room, got_room;
};

struct model {
    struct model_end fronts[MODEL_ENDS], apps[MODEL_ENDS];
    size_t nfronts, napps;
};

void model_sent(struct model_end *end, const char *data, size_t len);
void model_got(struct model_end *end, const char *data, size_t len);

/* The id of the last request that this application was sent; 0: none. */
unsigned model_last_id(const struct model_end *app);

/*
 * Ends the process unless all of this holds:
 * - an application gets well-formed records of one request after the other, with zeros as padding;
 * - a request that is complete there was completed by a client, with the same role, the same bodies and the
 *   same parameters, but for those that the shim manages;
 * - a request that is not GET or HEAD is there once, any other twice at most;
 * - an answer that ends well at a client is one that an application ended, byte for byte, and goes to one
 *   client once; or an error page; or the client had asked for an end.
 */
void model_check(const struct model *model);

/* How many requests have ended well at this client. */
size_t model_count_ends(const struct model_end *front);

void model_free(struct model *model);

#endif
