/*
 * A configuration that takes another one's place.
 */
#include "config/settings.h"

#include <stdlib.h>

/* ---- what a running process cannot change ---- */

static bool is_fixed(const struct setting *setting)
{
    return strcmp(setting->section, "listen") == 0 || strcmp(setting->section, "process") == 0;
}

/* As config_print has it; NULL without memory. */
static char *print_setting(const struct setting *setting, const struct config *config)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return NULL;
    setting->type->print(setting, settings_field(setting, config, 0), out);
    return fclose(out) == 0 ? text : NULL;
}

/* Whoever asks without memory is told that it did. */
static bool has_changed(const struct setting *setting, const struct config *config, const struct config *old)
{
    char *now = print_setting(setting, config);
    char *before = print_setting(setting, old);
    bool changed = !now || !before || strcmp(now, before) != 0;
    free(now);
    free(before);
    return changed;
}

static void swap_bytes(void *left, void *right, size_t size)
{
    char *a = left;
    char *b = right;
    for (size_t i = 0; i < size; i++) {
        char byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static void swap_derived(struct config_listen *a, struct config_listen *b)
{
    swap_bytes(&a->addresses, &b->addresses, sizeof a->addresses);
    swap_bytes(&a->naddresses, &b->naddresses, sizeof a->naddresses);
    swap_bytes(&a->allowed_clients, &b->allowed_clients, sizeof a->allowed_clients);
}

void config_keep_fixed(struct config *config, struct config *old, struct messages *messages)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        if (!is_fixed(setting))
            continue;
        if (has_changed(setting, config, old))
            messages_add(messages, false, config->path, config->source->given[i],
                         "[%s] %s has changed: that takes effect when the shim is started again",
                         setting->section, setting->key);
        swap_bytes(settings_field(setting, config, 0), settings_field(setting, old, 0), setting->size);
    }
    swap_derived(&config->listen, &old->listen);
}

/* ---- trust files ---- */

static const char *find_group(const struct config *config, const char *path)
{
    const struct config_source *source = config->source;
    for (size_t i = 0; i < source->nproxies; i++) {
        const struct words *files = &source->proxies[i].trust_files;
        for (size_t j = 0; j < files->count; j++) {
            if (strcmp(files->list[j].text, path) == 0)
                return config->policy->groups[i].name;
        }
    }
    return "";
}

bool config_find_trust_file(const struct config *config, size_t number, const struct config *old,
                            struct config_trust_file *file)
{
    const struct memory *memory = &config->source->memory;
    if (number >= memory->nfiles)
        return false;
    const struct memory_file *known = &memory->files[number];
    const struct memory_file *before = old ? memory_find_file(&old->source->memory, known->path) : NULL;
    struct memory_stamp stamp = memory_stamp_path(known->path);
    *file = (struct config_trust_file){
        .path = known->path,
        .group = find_group(config, known->path),
        .entries = known->blocks.count,
        .modified = known->stamp.modified.tv_sec,
        .changed = old && !(before && memory_equal_blocks(&known->blocks, &before->blocks)),
        .touched = !memory_equal_stamps(&stamp, &known->stamp)};
    return true;
}
