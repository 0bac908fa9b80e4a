/*
 * Where in the file system a process has to get at to go on with a configuration: to read it again, its trust
 * files and what names are looked up in, and to open its log files again. Not thread-safe.
 *
 * Folders, not files: a file that is replaced by another of its name is still the same to whoever reads it.
 */
#ifndef CONFIG_REACH_H
#define CONFIG_REACH_H

#include "config/config.h"

/* Starts as {0}. */
struct reach {
    char **read; /* absolute paths of folders, with all that is below them; ends with NULL */
    size_t nread;
    char **write; /* the same: where log files are opened, and made */
    size_t nwrite;
    bool names; /* hosts, users or groups are named: the system's libraries look them up where they like */
};

/* 0, or -ENOMEM; reach_free is due in either case. */
int reach_make(struct reach *reach, const struct config *config);

/*
 * Whether all that config has to get at is within reach. What is not becomes an error each, with what to do
 * about it.
 */
bool reach_covers(const struct reach *reach, const struct config *config, struct messages *messages);

void reach_free(struct reach *reach);

#endif
