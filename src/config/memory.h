/*
 * What was learnt from outside the configuration's own text while it was loaded: the addresses of its host
 * names, and the entries of its trust files. The next load may have to make do with it. Not thread-safe.
 */
#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

#include <sys/stat.h>

#include "config/resolve.h"
#include "realip/cidr.h"

/* Which state of a file it is; all zero: there was none. */
struct memory_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

/* A growing list; starts as {0}. */
struct memory_blocks {
    struct cidr *list;
    size_t count;
    size_t room;
};

struct memory_name {
    char *name;
    struct resolved resolved;
};

struct memory_file {
    char *path;
    struct memory_stamp stamp; /* of what was last looked at, be it usable or not */
    struct memory_blocks blocks;
};

/* Starts as {0}. */
struct memory {
    struct memory_name *names;
    size_t nnames;
    struct memory_file *files;
    size_t nfiles;
    /* While a configuration is loaded: what the one before it knew, or NULL. */
    const struct memory *old;
    /* And whether its names are not to be asked for again, and its files need not be usable. */
    bool frozen;
};

/*
 * The addresses of a name: as found before in this load, or asked for. If that fails, those of the load
 * before; *trouble, static text, then says why, else it is NULL. NULL: there are none at all. The pointer is
 * good until the next call.
 */
const struct resolved *memory_resolve(struct memory *memory, struct slice name, const char **trouble);

/* NULL: it is not known. */
const struct memory_file *memory_find_file(const struct memory *memory, const char *path);

/* Keeps a file's blocks, which are the memory's from now on, also when it fails: 0, or -ENOMEM. */
int memory_add_file(struct memory *memory, const char *path, const struct memory_stamp *stamp,
                    struct memory_blocks *blocks);

/* 0, or -ENOMEM. */
int memory_add_block(struct memory_blocks *blocks, const struct cidr *block);

/* 0, or -ENOMEM; *copy is empty then. */
int memory_copy_blocks(struct memory_blocks *copy, const struct memory_blocks *blocks);

bool memory_equal_blocks(const struct memory_blocks *a, const struct memory_blocks *b);

void memory_free_blocks(struct memory_blocks *blocks);

struct memory_stamp memory_stamp(const struct stat *status);

/* Of the file that is at path now. */
struct memory_stamp memory_stamp_path(const char *path);

bool memory_equal_stamps(const struct memory_stamp *a, const struct memory_stamp *b);

void memory_free(struct memory *memory);

#endif
