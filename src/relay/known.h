/*
 * The parameters of a request that mean something: those that the policy may know, where each pair begins,
 * and whether the request may be repeated. All others are only counted, for they pass as they are.
 *
 * No I/O, no allocation; a struct serves one request after the other.
 */
#ifndef RELAY_KNOWN_H
#define RELAY_KNOWN_H

#include "fastcgi/params.h"
#include "realip/workspace.h"

struct known {
    struct param params[REALIP_MAX_PARAMS];
    uint32_t starts[REALIP_MAX_PARAMS]; /* of each, in bytes of the content */
    size_t n;
    bool idempotent;     /* there is a REQUEST_METHOD, and all copies say GET or HEAD */
    struct slice script; /* SCRIPT_NAME, of several the last; data NULL: there is none, or nobody asked */
};

/*
 * Reads the whole content of a PARAMS stream, at most 4 GB, for the policy. PARAMS_TOO_MANY: the request has
 * more than REALIP_MAX_PARAMS parameters, known or not. `script`: SCRIPT_NAME is looked for, too.
 */
enum params_error known_read(struct known *known, const struct policy *policy, struct slice content,
                             bool script);

/* The bytes of one of its pairs, lengths included. */
static inline struct slice known_raw(const struct known *known, struct slice content, size_t i)
{
    const struct slice *value = &known->params[i].value;
    return slice_part(content, known->starts[i], (size_t)(value->data + value->len - content.data));
}

#endif
