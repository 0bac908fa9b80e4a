#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cli/import.h"
#include "config/header.h"
#include "config/trust.h"
#include "config/values.h"

void import_fail_memory(struct import *import)
{
    messages_add(import->messages, true, import->path, 0, "out of memory");
}

void import_fail(struct import *import, struct import_place place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    messages_add(import->messages, true, place.file, place.line, "%s", text ? text : "out of memory");
    free(text);
}

char *import_copy(struct import *import, struct slice text)
{
    char *copy = strndup(text.data, text.len);
    if (!copy)
        import_fail_memory(import);
    return copy;
}

static char *format_text(struct import *import, const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) >= 0)
        return text;
    import_fail_memory(import);
    return NULL;
}

char *import_format(struct import *import, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(import, format, arguments);
    va_end(arguments);
    return text;
}

/* One more element at the end of a list; NULL, and an error, when memory is short. */
static void *grow(struct import *import, void *list, size_t count, size_t size)
{
    /* Only powers of two are full. */
    if (count & (count - 1))
        return list;
    void *larger = reallocarray(list, count > 0 ? 2 * count : 1, size);
    if (!larger)
        import_fail_memory(import);
    return larger;
}

/* Scopes */

size_t import_add_scope(struct import *import, size_t parent, struct import_place place, const char *name,
                        ...)
{
    struct import_scope *scopes = grow(import, import->scopes, import->nscopes, sizeof *scopes);
    if (!scopes)
        return parent;
    import->scopes = scopes;
    va_list arguments;
    va_start(arguments, name);
    char *text = format_text(import, name, arguments);
    va_end(arguments);
    if (!text)
        return parent;
    scopes[import->nscopes] =
        (struct import_scope){.name = text, .place = place, .parent = parent, .serves = true};
    return import->nscopes++;
}

void import_name_scope(struct import *import, size_t scope, const char *name, ...)
{
    va_list arguments;
    va_start(arguments, name);
    char *text = format_text(import, name, arguments);
    va_end(arguments);
    if (!text)
        return;
    free(import->scopes[scope].name);
    import->scopes[scope].name = text;
}

const struct import_scope *import_find_list(const struct import *import, size_t scope)
{
    while (!import->scopes[scope].listed && import->scopes[scope].parent != scope)
        scope = import->scopes[scope].parent;
    return &import->scopes[scope];
}

const struct import_value *import_find_value(const struct import *import, size_t scope,
                                             enum import_setting setting)
{
    while (!import->scopes[scope].values[setting].text && import->scopes[scope].parent != scope)
        scope = import->scopes[scope].parent;
    return &import->scopes[scope].values[setting];
}

/* Entries */

static void free_entry(struct import_entry *entry)
{
    free(entry->text);
    free(entry->remark);
}

/* Takes what entry holds. */
static void push_entry(struct import *import, size_t number, struct import_entry entry)
{
    struct import_scope *scope = &import->scopes[number];
    struct import_entry *entries =
        entry.text ? grow(import, scope->entries, scope->nentries, sizeof *entries) : NULL;
    if (!entries) {
        free_entry(&entry);
        return;
    }
    scope->entries = entries;
    scope->listed = true;
    entries[scope->nentries++] = entry;
}

static int keep_block(void *user, const struct cidr *block)
{
    struct cidr *kept = user;
    *kept = *block;
    return 0;
}

static struct trust_list make_list(struct import *import, struct import_place place, const char *directive,
                                   struct cidr *block)
{
    return (struct trust_list){.add = keep_block,
                               .user = block,
                               .key = directive,
                               .memory = &import->memory,
                               .messages = import->messages,
                               .file = place.file,
                               .line = place.line};
}

static char *remark_external(struct import *import, const char *directive, bool external)
{
    return external ? import_copy(import, slice_of(directive)) : NULL;
}

/* Words of our trust lists, which the other servers take for names of hosts. */
static bool is_our_word(struct slice text)
{
    return value_is_word(text, "loopback") || value_is_word(text, "link-local") ||
           value_is_word(text, "private");
}

void import_add_entry(struct import *import, size_t scope, struct import_place place, const char *directive,
                      const char *text, bool external)
{
    if (is_our_word(slice_of(text))) {
        import_fail(import, place,
                    "%s \"%s\": a host's name there, but a word for several networks here; write its address",
                    directive, text);
        return;
    }
    struct import_entry entry = {.place = place, .external = external};
    struct cidr parsed;
    bool host_bits;
    struct trust_list list = make_list(import, place, directive, &entry.block);
    trust_add_entry(&list, slice_of(text));
    /* A name or a word stands for several blocks, or for other ones tomorrow. */
    if (!cidr_parse(slice_of(text), &parsed, &host_bits))
        entry.block = (struct cidr){0};
    entry.text = import_copy(import, slice_of(text));
    entry.remark = remark_external(import, directive, external);
    push_entry(import, scope, entry);
}

void import_add_file(struct import *import, size_t scope, struct import_place place, const char *directive,
                     const char *path, bool external)
{
    struct slice word;
    struct slice rest = slice_of(path);
    value_next_word(&rest, &word);
    if (word.len != strlen(path)) {
        import_fail(import, place,
                    "\"%s\": a path with white space or commas cannot be a trust_file; rename the file",
                    value_quote(slice_of(path)).text);
        return;
    }
    struct cidr block;
    struct trust_list list = make_list(import, place, directive, &block);
    trust_add_file(&list, path, slice_of(path));
    struct import_entry entry = {.place = place, .external = external, .file = true};
    entry.text = import_copy(import, slice_of(path));
    entry.remark = remark_external(import, directive, external);
    push_entry(import, scope, entry);
}

void import_add_everybody(struct import *import, size_t scope, struct import_place place, const char *remark,
                          bool external)
{
    static const char *const all[] = {"0.0.0.0/0", "::/0"};
    import_clear_entries(import, scope);
    import->scopes[scope].everybody = true;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct import_entry entry = {.place = place, .external = external};
        bool host_bits;
        cidr_parse(slice_of(all[i]), &entry.block, &host_bits);
        entry.text = import_copy(import, slice_of(all[i]));
        entry.remark = import_copy(import, slice_of(remark));
        push_entry(import, scope, entry);
    }
}

void import_clear_entries(struct import *import, size_t number)
{
    struct import_scope *scope = &import->scopes[number];
    for (size_t i = 0; i < scope->nentries; i++)
        free_entry(&scope->entries[i]);
    free(scope->entries);
    scope->entries = NULL;
    scope->nentries = 0;
    scope->listed = true;
    scope->everybody = false;
}

void import_copy_entries(struct import *import, size_t from, size_t scope)
{
    for (size_t i = 0; i < import->scopes[from].nentries; i++) {
        struct import_entry entry = import->scopes[from].entries[i];
        entry.text = import_copy(import, slice_of(entry.text));
        entry.remark = entry.remark ? import_copy(import, slice_of(entry.remark)) : NULL;
        push_entry(import, scope, entry);
    }
}

/* Values and notes */

static void judge_header(struct import *import, struct import_place place, const char *text)
{
    struct header_fault fault;
    const char *why = NULL;
    if (!header_check_name(slice_of(text), &fault))
        why = fault.why;
    else if (header_judge(import->manager, text, &why) != 0)
        why = "out of memory";
    if (why)
        import_fail(import, place, "header = \"%s\": %s", value_quote(slice_of(text)).text, why);
}

void import_set_value(struct import *import, size_t scope, enum import_setting setting,
                      struct import_place place, const char *text, const char *remark, ...)
{
    struct import_value *value = &import->scopes[scope].values[setting];
    if (setting == IMPORT_HEADER)
        judge_header(import, place, text);
    free(value->text);
    free(value->remark);
    *value = (struct import_value){.place = place};
    value->text = import_copy(import, slice_of(text));
    if (!remark)
        return;
    va_list arguments;
    va_start(arguments, remark);
    value->remark = format_text(import, remark, arguments);
    va_end(arguments);
}

void import_add_note(struct import *import, struct import_place place, const char *format, ...)
{
    struct import_note *notes = grow(import, import->notes, import->nnotes, sizeof *notes);
    if (!notes)
        return;
    import->notes = notes;
    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(import, format, arguments);
    va_end(arguments);
    if (text)
        notes[import->nnotes++] = (struct import_note){text, place};
}

void import_free(struct import *import)
{
    for (size_t i = 0; i < import->nscopes; i++) {
        struct import_scope *scope = &import->scopes[i];
        import_clear_entries(import, i);
        for (size_t j = 0; j < IMPORT_SETTINGS; j++) {
            free(scope->values[j].text);
            free(scope->values[j].remark);
        }
        free(scope->name);
    }
    for (size_t i = 0; i < import->nnotes; i++)
        free(import->notes[i].text);
    for (size_t i = 0; i < import->nfiles; i++)
        free(import->files[i]);
    free(import->scopes);
    free(import->notes);
    free(import->files);
    free(import->folder);
    memory_free(&import->memory);
    *import = (struct import){0};
}
