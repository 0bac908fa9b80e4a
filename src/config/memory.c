#include "config/memory.h"

#include <errno.h>
#include <stdlib.h>

/* ---- host names ---- */

static const struct memory_name *find_name(const struct memory *memory, struct slice name)
{
    for (size_t i = 0; i < memory->nnames; i++) {
        if (slice_equal(slice_of(memory->names[i].name), name))
            return &memory->names[i];
    }
    return NULL;
}

/* Takes the addresses over, also when it fails. */
static const struct resolved *add_name(struct memory *memory, struct slice name, struct resolved *resolved)
{
    struct memory_name *names = realloc(memory->names, (memory->nnames + 1) * sizeof *names);
    if (names)
        memory->names = names;
    char *copy = names ? strndup(name.data, name.len) : NULL;
    if (!copy) {
        resolve_free(resolved);
        return NULL;
    }
    names[memory->nnames] = (struct memory_name){copy, *resolved};
    return &names[memory->nnames++].resolved;
}

static bool copy_resolved(struct resolved *copy, const struct resolved *resolved)
{
    *copy = (struct resolved){.list = calloc(resolved->count, sizeof *copy->list), .count = resolved->count};
    if (copy->list)
        memcpy(copy->list, resolved->list, resolved->count * sizeof *copy->list);
    return copy->list;
}

const struct resolved *memory_resolve(struct memory *memory, struct slice name, const char **trouble)
{
    const struct memory_name *known = find_name(memory, name);
    const struct memory_name *before = memory->old ? find_name(memory->old, name) : NULL;
    struct resolved resolved;
    *trouble = NULL;
    if (known)
        return &known->resolved;
    if (!(memory->frozen && before)) {
        if (resolve_name(name, &resolved)) {
            const struct resolved *added = add_name(memory, name, &resolved);
            *trouble = added ? NULL : strerror(ENOMEM);
            return added;
        }
        *trouble = resolved.why;
    }
    if (!before)
        return NULL;
    if (copy_resolved(&resolved, &before->resolved))
        return add_name(memory, name, &resolved);
    *trouble = strerror(ENOMEM);
    return NULL;
}

/* ---- blocks ---- */

int memory_add_block(struct memory_blocks *blocks, const struct cidr *block)
{
    if (blocks->count == blocks->room) {
        size_t room = blocks->room > 0 ? 2 * blocks->room : 16;
        struct cidr *list = realloc(blocks->list, room * sizeof *list);
        if (!list)
            return -ENOMEM;
        blocks->list = list;
        blocks->room = room;
    }
    blocks->list[blocks->count++] = *block;
    return 0;
}

int memory_copy_blocks(struct memory_blocks *copy, const struct memory_blocks *blocks)
{
    *copy = (struct memory_blocks){0};
    if (blocks->count == 0)
        return 0;
    copy->list = calloc(blocks->count, sizeof *copy->list);
    if (!copy->list)
        return -ENOMEM;
    memcpy(copy->list, blocks->list, blocks->count * sizeof *copy->list);
    copy->count = copy->room = blocks->count;
    return 0;
}

bool memory_equal_blocks(const struct memory_blocks *a, const struct memory_blocks *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->list[i].bits != b->list[i].bits || !address_equal(&a->list[i].first, &b->list[i].first))
            return false;
    }
    return true;
}

void memory_free_blocks(struct memory_blocks *blocks)
{
    free(blocks->list);
    *blocks = (struct memory_blocks){0};
}

/* ---- files ---- */

const struct memory_file *memory_find_file(const struct memory *memory, const char *path)
{
    for (size_t i = 0; memory && i < memory->nfiles; i++) {
        if (strcmp(memory->files[i].path, path) == 0)
            return &memory->files[i];
    }
    return NULL;
}

int memory_add_file(struct memory *memory, const char *path, const struct memory_stamp *stamp,
                    struct memory_blocks *blocks)
{
    struct memory_file *files = realloc(memory->files, (memory->nfiles + 1) * sizeof *files);
    if (files)
        memory->files = files;
    char *copy = files ? strdup(path) : NULL;
    if (!copy) {
        memory_free_blocks(blocks);
        return -ENOMEM;
    }
    files[memory->nfiles++] = (struct memory_file){copy, *stamp, *blocks};
    *blocks = (struct memory_blocks){0};
    return 0;
}

struct memory_stamp memory_stamp(const struct stat *status)
{
    return (struct memory_stamp){status->st_dev, status->st_ino, status->st_size, status->st_mtim,
                                 status->st_ctim};
}

struct memory_stamp memory_stamp_path(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? memory_stamp(&status) : (struct memory_stamp){0};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool memory_equal_stamps(const struct memory_stamp *a, const struct memory_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

/* ---- the end ---- */

void memory_free(struct memory *memory)
{
    for (size_t i = 0; i < memory->nnames; i++) {
        free(memory->names[i].name);
        resolve_free(&memory->names[i].resolved);
    }
    for (size_t i = 0; i < memory->nfiles; i++) {
        free(memory->files[i].path);
        memory_free_blocks(&memory->files[i].blocks);
    }
    free(memory->names);
    free(memory->files);
    *memory = (struct memory){0};
}
