/*
 * Host names of the INI and of trust files, asked for once, while a configuration is loaded. Blocks.
 */
#ifndef CONFIG_RESOLVE_H
#define CONFIG_RESOLVE_H

#include "realip/address.h"

struct resolved {
    struct address *list; /* each address once */
    size_t count;
    const char *why; /* after a failure: static text */
};

/*
 * Could be a host name: letters, digits, "-", "_" and "." in labels of 1 to 63. Not the number forms that the
 * C library would take for an address ("127.1", "0x7f000001").
 */
bool resolve_is_name(struct slice text);

/* All addresses of a name. False, and *resolved with the reason, if there are none. */
bool resolve_name(struct slice name, struct resolved *resolved);

void resolve_free(struct resolved *resolved);

#endif
