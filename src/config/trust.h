/*
 * Lists of addresses: trust, allow, deny, allowed_clients, and the trust files.
 *
 * An entry is an address, a CIDR block or IPv4 with a netmask, "unix:", one of the words loopback, link-local
 * and private, or a host name, which is resolved at once.
 */
#ifndef CONFIG_TRUST_H
#define CONFIG_TRUST_H

#include "config/memory.h"
#include "config/messages.h"

/* Where entries go, and where they stand. */
struct trust_list {
    int (*add)(void *user, const struct cidr *block); /* 0, or -ENOMEM */
    void *user;
    bool no_unix;          /* "unix:" makes no sense here */
    bool trusting;         /* an entry that holds every address deserves a warning */
    const char *key;       /* "trust", for messages */
    struct memory *memory; /* gets what is learnt, and may know of the load before */
    struct messages *messages;
    const char *file;
    unsigned line;
    bool all_v4, all_v6; /* set once 0.0.0.0/0 or ::/0 was added */
};

/* Adds what the entry means. What is wrong with it is added to messages. */
void trust_add_entry(struct trust_list *list, struct slice entry);

/*
 * Adds the entries of the trust file at path, which the list's file names in its line as `written`: one or
 * more a line, "#" begins a comment; lines of nginx (set_real_ip_from X;) and Apache (RemoteIPTrustedProxy X
 * ..., RemoteIPInternalProxy X ...) are taken as well. A file without an entry is an error.
 *
 * The file's list of the load before, if there is one, takes the place of an empty one, with a warning. Of a
 * frozen memory, it also takes the place of one that is missing or wrong; what is wrong is then said in
 * errors all the same.
 */
void trust_add_file(const struct trust_list *list, const char *path, struct slice written);

#endif
