/*
 * Socket addresses of the INI: "unix:/path", "HOST:PORT", "[V6]:PORT".
 */
#ifndef CONFIG_ENDPOINT_H
#define CONFIG_ENDPOINT_H

#include "config/config.h"

/* Why a text is no endpoint, or cannot be used: "WHY; WHAT TO DO". */
struct endpoint_fault {
    char text[256];
};

/*
 * Appends the endpoints that text means to *list, *count of them so far; a host name is resolved, and gives
 * one for each of its addresses. listening: abstract unix sockets, which anybody may connect to, are refused.
 * False, and *fault filled, if it is none; *list may have moved then too, and stays the caller's.
 */
bool endpoint_add(struct slice text, bool listening, struct endpoint **list, size_t *count,
                  struct endpoint_fault *fault);

/* Appends a copy. False without memory, and *fault filled. */
bool endpoint_add_copy(const struct endpoint *endpoint, struct endpoint **list, size_t *count,
                       struct endpoint_fault *fault);

/* A unix socket, or a TCP address that other machines cannot reach. */
bool endpoint_is_local(const struct endpoint *endpoint);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

void endpoint_free_list(struct endpoint *list, size_t count);

#endif
