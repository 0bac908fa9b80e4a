/*
 * The kinds of values in the settings table: each with its parse function and its print function.
 */
#ifndef CONFIG_TYPES_H
#define CONFIG_TYPES_H

#include "config/settings.h"

/* Unsigned integers of any width: the row's size says which, its least and most bound the value. */
extern const struct setting_type type_number;
extern const struct setting_type type_duration; /* milliseconds */
extern const struct setting_type type_size;     /* bytes */
extern const struct setting_type type_mode;     /* mode_t */
extern const struct setting_type type_boolean;  /* bool */
extern const struct setting_type type_choice;   /* an enum; the row's choices say which */

extern const struct setting_type type_user;  /* uid_t, -1: not set */
extern const struct setting_type type_group; /* gid_t, -1: not set */

/* struct words: kept as text, build_config makes something of them. */
extern const struct setting_type type_entries;
extern const struct setting_type type_files;
extern const struct setting_type type_endpoints;
extern const struct setting_type type_names;
extern const struct setting_type type_endpoint; /* one word */
extern const struct setting_type type_command;  /* one word: the whole text */
extern const struct setting_type type_path;     /* the same */

extern const struct setting_type type_header;   /* char *, malloc'ed */
extern const struct setting_type type_url_path; /* the same */
extern const struct setting_type type_log;      /* the same: one of the row's choices, or an absolute path */

/* Of struct group: select and hops, accept, require_name and require_value. */
extern const struct setting_type type_select;
extern const struct setting_type type_accept;
extern const struct setting_type type_secret;

#endif
