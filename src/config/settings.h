/*
 * The table of all settings of the INI: what each is called, what it takes, where it goes, what it is without
 * being given. Parsing, defaults and printing all follow it.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "config/source.h"
#include "config/values.h"

struct setting;

/* Where a value stands, for messages. */
struct setting_place {
    struct messages *messages;
    const char *path;
    unsigned line;
};

/* A kind of value. field is the setting's place in memory. */
struct setting_type {
    const char *name; /* "duration" */
    bool list;        /* may be given several times, and continued; each time adds */
    /* Adds an error to place->messages if text is no such value. text is not empty. */
    void (*parse)(const struct setting *setting, const struct setting_place *place, void *field,
                  struct slice text);
    /* "KEY = VALUE" and what else it takes, with the line's end. False, and nothing printed, if it is not
     * set. */
    bool (*print)(const struct setting *setting, const void *field, FILE *out);
    /* Of types whose values are numbers in memory. */
    const char *(*read)(struct slice text, uint64_t *out);
    struct quote (*format)(uint64_t value);
};

struct setting_choice {
    const char *word;
    uint64_t value; /* of several words for a value the first is printed */
};

/* The kinds of [upstream], for the keys that do not fit all of them. */
enum {
    FOR_ADDRESS = 1,
    FOR_COMMAND = 2,
    FOR_PROGRAM = 4,
    FOR_SCRIPT = 8,
    FOR_CGI = FOR_PROGRAM | FOR_SCRIPT
};

/* In which struct a setting's field is. */
enum setting_base { BASE_CONFIG, BASE_SOURCE, BASE_POLICY, BASE_GROUP, BASE_PROXY };

struct setting {
    const char *section; /* "proxy" for [proxy NAME] */
    const char *key;
    const struct setting_type *type;
    enum setting_base base;
    size_t offset, size;
    uint64_t least, most;                 /* of numbers, durations and sizes */
    const struct setting_choice *choices; /* of choices; ends with a NULL word */
    const char *initial;                  /* default as text, or NULL: not set */
    const char *unset;                    /* what not being set means, where initial is NULL */
    unsigned kinds;                       /* of [upstream]: FOR_ADDRESS and so on; 0: all */
    const char *help;                     /* one line */
};

extern const struct setting settings_table[];
extern const size_t settings_count; /* at most SETTINGS_MAX */

/* The row of a key, or NULL. [SETTINGS], which comes from Windows, is found in any case, the others as
 * written. */
const struct setting *settings_find(struct slice section, struct slice key);

/* Where a setting was first given, 0: nowhere. given: of the source, or of a [proxy NAME]. */
unsigned settings_find_line(const unsigned *given, struct slice section, struct slice key);

bool settings_has_section(struct slice section);

/* The section's key, or the section, that was probably meant; NULL if none is near. */
const char *settings_suggest_key(struct slice section, struct slice key);
const char *settings_suggest_section(struct slice section);

/* A section that has this key, or NULL. */
const char *settings_section_of(struct slice key);

/* The setting's field; proxy: which group, for those of [proxy NAME]. */
void *settings_field(const struct setting *setting, const struct config *config, size_t proxy);

/* Gives the settings of [proxy NAME] in group number proxy their defaults, or all other settings. */
void settings_set_defaults(const struct config *config, struct messages *messages);
void settings_set_proxy_defaults(const struct config *config, size_t proxy, struct messages *messages);

/* "address", "command", "cgi", "cgi = script": what one of the FOR_... is called. */
const char *settings_name_kind(unsigned kind);

/* Prints all settings of a section; as comments those that are not set, and those that do not fit the kind of
 * [upstream]. proxy as for settings_field. */
void settings_print_section(const char *section, const struct config *config, size_t proxy, FILE *out);

#endif
