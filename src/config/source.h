/*
 * What a configuration keeps of its file's text, and the state of loading it. Private to src/config.
 */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include "config/config.h"
#include "config/lines.h"
#include "config/memory.h"

#define SETTINGS_MAX 64 /* rows of the settings table */

/* The entries of a list, as written. */
struct word {
    char *text; /* malloc'ed */
    unsigned line;
};
struct words {
    struct word *list;
    size_t count;
    size_t room;
};

/* What a [proxy NAME] section says beside its group in the policy. */
struct proxy_source {
    unsigned line; /* of the section's header */
    unsigned given[SETTINGS_MAX];
    struct words trust;
    struct words trust_files; /* once loaded: absolute paths */
};

struct config_source {
    struct lines_text text; /* the whole file */
    struct memory memory;
    const struct config *old; /* while this is loaded in its place, else NULL */
    char *folder;             /* of the file: absolute, without "/" at its end */
    struct words listen_addresses;
    struct words allowed_clients;
    struct words upstream_address;
    struct words command; /* one word: the whole text */
    struct words cgi;     /* the same */
    struct words cgi_root;
    struct words environment;
    char **given_command; /* what goes before all of [upstream]; NULL: none */
    unsigned kind;        /* of [upstream]: FOR_ADDRESS and so on; all of them: it does not say */
    struct words allow;
    struct words deny;
    struct words pid_file;
    struct words status_allow;
    char *default_header;         /* of [SETTINGS], or NULL */
    unsigned given[SETTINGS_MAX]; /* line of each row's first appearance, 0: not in the file */
    struct proxy_source *proxies; /* one for each group of the policy */
    size_t nproxies;
};

/*
 * The second half of loading: turns words into addresses and checks what several settings say together. What
 * there is to say about trust files goes to of_files, which may be the same.
 */
void build_config(struct config *config, struct messages *messages, struct messages *of_files);

/* Its part for [upstream], once its address is built: which kind it is, and what does not fit that kind. */
void build_upstream(struct config *config, struct messages *messages);

/* Its part for [process] workers, once the rest is built: all that they share must be enough for them. */
void build_shares(struct config *config, struct messages *messages);

/* Its part for [process]. */
void build_process(struct config *config, struct messages *messages);

/* Copies text to the end of the list; 0, or -ENOMEM. */
int words_add(struct words *words, struct slice text, unsigned line);
void words_free(struct words *words);

#endif
