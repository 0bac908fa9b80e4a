/*
 * Which line of the configuration makes a group trust an address.
 */
#ifndef CONFIG_ORIGIN_H
#define CONFIG_ORIGIN_H

#include "config/config.h"

/* The pointers are the configuration's. */
struct origin {
    struct cidr block; /* the longest prefix in the group's lists that holds the address */
    const char *entry; /* as written in trust; NULL: it stands in a trust file */
    const char *file;  /* the trust file, or the configuration itself */
    unsigned line;     /* of the configuration: where the entry or the trust file is named */
};

/*
 * Reads the group's lists again (trust files are opened, host names have the addresses that they had): for
 * explanations, never for decisions. False if nothing in them holds the address.
 */
bool origin_find(const struct config *config, size_t group, const struct address *address,
                 struct origin *origin);

#endif
