/*
 * What becomes of a header on the walked chain: its copies joined, and the part that `forwarded_for` names.
 *
 * Private to rewrite.c.
 */
#ifndef REALIP_CHAIN_H
#define REALIP_CHAIN_H

#include "realip/decide.h"

/*
 * The value that the header (index into policy.headers, on the chain, with one copy at least) has for the
 * application; empty: it is removed. A value that is one piece of one copy points into that; any other is put
 * into the workspace's text, which must have room: chain_text_max bytes.
 */
struct slice chain_header_value(const struct policy *policy, const struct param *params,
                                const struct decision *decision, struct workspace *workspace, size_t header);

/* The most that chain_header_value puts into the text, for all headers together. */
size_t chain_text_max(const struct policy *policy, const struct param *params,
                      const struct workspace *workspace);

#endif
