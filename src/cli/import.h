/*
 * What was found in another server's configuration, on its way to an INI that means the same.
 *
 * A reader of a server's syntax fills it: scopes, from the whole file down to a location, each with the
 * settings that stand in it; and notes about lines that have no equal here. import_print_groups works out
 * what is in force in each scope. Whoever runs short of memory adds an error to the messages, and after an
 * error nothing is printed, so functions that add have no result. Not thread-safe.
 */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "config/lines.h"
#include "config/memory.h"
#include "config/messages.h"
#include "realip/cidr.h"

struct policy;

struct import_place {
    const char *file; /* the import's */
    unsigned line;
};

enum import_setting { IMPORT_HEADER, IMPORT_SELECT, IMPORT_ACCEPT, IMPORT_SETTINGS };

/* A setting of a group. */
struct import_value {
    char *text;   /* as the INI has it; NULL: not given */
    char *remark; /* what to say behind it; may be NULL */
    struct import_place place;
    bool used; /* it is in the output, if only in a comment */
};

/* An entry of a trust list. */
struct import_entry {
    char *text;
    char *remark; /* may be NULL */
    struct import_place place;
    struct cidr block; /* of kind ADDRESS_NONE: a host name, a word, or a file */
    bool file;         /* text is the path of a trust file */
    bool external;     /* a proxy that may not report private addresses */
};

struct import_scope {
    char *name; /* "server shop.example" */
    struct import_place place;
    size_t parent;  /* itself: the whole file */
    bool listed;    /* it has a list of its own, if an empty one */
    bool used;      /* that list is in the output */
    bool everybody; /* the list holds all addresses, because the server asks for no list */
    bool serves;    /* requests may be judged by just this scope, not only by those inside of it */
    struct import_entry *entries;
    size_t nentries;
    struct import_value values[IMPORT_SETTINGS];
};

struct import_note {
    char *text;
    struct import_place place;
};

struct import {
    const struct import_server *server;
    const char *path; /* for people */
    FILE *input;      /* standard input, or NULL: path is to be opened */
    struct messages *messages;
    struct memory memory;         /* of host names and trust files */
    const struct policy *manager; /* for header_judge */
    struct import_scope *scopes;
    size_t nscopes;
    struct import_note *notes;
    size_t nnotes;
    char **files; /* the names of all files read, for places */
    size_t nfiles;
    char *folder;      /* where relative paths in the files start; NULL: nobody knows */
    unsigned depth;    /* of files within files */
    bool needs_header; /* the server's default header does not count */
};

struct import_server {
    const char *name;    /* "nginx"; the name of the group too, if there is but one */
    const char *title;   /* "nginx", "Apache" */
    const char *nothing; /* what to say if no proxy is trusted */
    /* The INI's text for what is not given, and what to say behind it; header NULL: without one nothing is
     * in force. */
    const char *header, *header_remark, *select, *select_remark, *accept, *accept_remark;
    const char *ending;  /* a line at the end of each group, or NULL */
    bool open;           /* a header without a list of proxies is believed from everybody */
    const char *closing; /* comment lines at the end of the output */
    /* Reads import->path. What is wrong is added to import->messages. */
    void (*read)(struct import *import);
    /* False: nothing was found. */
    bool (*print)(struct import *import, FILE *out);
};

extern const struct import_server import_nginx;
extern const struct import_server import_apache;
extern const struct import_server import_lighttpd;
extern const struct import_server import_f5;

/* ---- filling it: cli/import_model.c ---- */

/* A new scope's number; its parent's if memory is short. name is a format. The first one is the whole file.
 */
size_t import_add_scope(struct import *import, size_t parent, struct import_place place, const char *name,
                        ...) __attribute__((format(printf, 4, 5)));
void import_name_scope(struct import *import, size_t scope, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* The list in force in a scope: its own, or that of the next scope around it that has one. */
const struct import_scope *import_find_list(const struct import *import, size_t scope);
const struct import_value *import_find_value(const struct import *import, size_t scope,
                                             enum import_setting setting);

/*
 * Adds an entry; one that the INI would refuse is an error. directive: what it stands behind, for messages
 * and, with `external`, for the remark.
 */
void import_add_entry(struct import *import, size_t scope, struct import_place place, const char *directive,
                      const char *text, bool external);

/* The same for a file full of entries; path is absolute. */
void import_add_file(struct import *import, size_t scope, struct import_place place, const char *directive,
                     const char *path, bool external);

/* Forgets a scope's own list, and copies the one that is in force around it. */
void import_clear_entries(struct import *import, size_t scope);
void import_copy_entries(struct import *import, size_t from, size_t scope);

/* 0.0.0.0/0 and ::/0 instead of what is in the list. remark is copied. */
void import_add_everybody(struct import *import, size_t scope, struct import_place place, const char *remark,
                          bool external);

/* remark may be NULL, or a format. A header that the INI would refuse is an error. */
void import_set_value(struct import *import, size_t scope, enum import_setting setting,
                      struct import_place place, const char *text, const char *remark, ...)
    __attribute__((format(printf, 6, 7)));

/* A comment for the output: a line that has no equal here. */
void import_add_note(struct import *import, struct import_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void import_fail(struct import *import, struct import_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void import_fail_memory(struct import *import);

/* "text", malloc'ed; NULL, and an error, when memory is short. */
char *import_copy(struct import *import, struct slice text);
char *import_format(struct import *import, const char *format, ...) __attribute__((format(printf, 2, 3)));

void import_free(struct import *import);

/* ---- what is in force: cli/import_view.c ---- */

/* The settings of a scope, its own and those of the scopes around it. */
struct import_view {
    size_t scope;                     /* the first one that they are in force in */
    const struct import_scope *trust; /* whose list counts */
    const struct import_value *values[IMPORT_SETTINGS];
    size_t twin; /* the first view with the same proxies and settings; IMPORT_NO_VIEW: this one */
    size_t same; /* the first view with the same proxies; itself if this one is */
};
#define IMPORT_NO_VIEW SIZE_MAX

struct import_views {
    struct import_view *list;
    size_t count;
    size_t distinct;  /* without a twin */
    bool restricted;  /* some of them do not believe everybody */
    size_t trustless; /* scopes that trust nobody */
    struct import_place first_trustless;
};

/* All that is in force somewhere. Lists and values that are not get a note. False when memory is short. */
bool import_find_views(struct import *import, struct import_views *views);
void import_free_views(struct import_views *views);

/* What a view says of a setting, the server's default included; NULL: nothing. */
const char *import_view_text(const struct import *import, const struct import_view *view,
                             enum import_setting setting);

/*
 * The entry because of which one of the view's is not to be in a group: where the first match decides, one of
 * the other kind above it; or the same in the group of a view before this one. NULL: there is none.
 */
const struct import_entry *import_find_rival(const struct import_views *views, const struct import_view *view,
                                             size_t entry);

/* ---- output: cli/import_print.c ---- */

/* The first comment lines, and the notes. */
void import_print_head(const struct import *import, FILE *out);

/* All of it. False if no proxy is trusted in any scope. */
bool import_print_groups(struct import *import, FILE *out);

#endif
