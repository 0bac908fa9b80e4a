/*
 * The files of other servers: whole texts, words cut out of them, and the files that they include.
 */
#ifndef CLI_IMPORT_TEXT_H
#define CLI_IMPORT_TEXT_H

#include "cli/import.h"

/* A text while it is read. */
struct import_text {
    struct import *import;
    const char *file; /* the import's */
    char *data;       /* lines end with "\n", and a NUL stands behind the last; malloc'ed */
    const char *at, *end;
    unsigned line;
    bool broken; /* a mistake in the syntax was reported: what follows cannot be understood */
};

/* The lines of import->path, or of standard input. False after an error. */
bool import_open_lines(struct import *import, struct lines *lines);
void import_close_lines(const struct import *import, struct lines *lines);

/* All of import->path. The caller ends it with import_end_text, whatever the result. False after an error. */
bool import_start_text(struct import *import, struct import_text *text);
void import_end_text(struct import_text *text);

struct import_place import_place_of(const struct import_text *text);

/* Reports a mistake in the syntax, and stops: nothing more is at `at`. quoted: the text to blame. */
void import_break_text(struct import_text *text, unsigned line, struct slice quoted, const char *why);

/*
 * Reads the files that an include names, each with `read`. pattern may hold wildcards, and starts at
 * import->folder if it is relative. What cannot be found or read is a note, not an error: it may be on
 * another machine.
 */
void import_include(struct import *import, struct import_place place, const char *pattern,
                    void (*read)(struct import_text *text, void *user), void *user);

/* path as seen from import->folder, malloc'ed; NULL, without a message, if it is relative and nobody knows to
 * what, or if memory is short (which was reported). */
char *import_complete_path(struct import *import, const char *path);

/* The words of a statement. */
struct import_words {
    char **list; /* malloc'ed, each */
    size_t count, room;
};

/* Takes word, which was malloc'ed; NULL is want of memory, and an error was added for it. */
void import_push_word(struct import *import, struct import_words *words, char *word);
void import_clear_words(struct import_words *words);
void import_free_words(struct import_words *words);

#endif
