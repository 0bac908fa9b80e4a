/*
 * What another server's settings come to, scope by scope.
 */
#include <stdlib.h>
#include <strings.h>

#include "cli/import.h"

static bool same_block(const struct cidr *a, const struct cidr *b)
{
    return a->bits == b->bits && a->first.kind == b->first.kind && a->first.hi == b->first.hi &&
           a->first.lo == b->first.lo;
}

static bool same_entry(const struct import_entry *a, const struct import_entry *b)
{
    if (a->file != b->file)
        return false;
    if (a->block.first.kind != ADDRESS_NONE || b->block.first.kind != ADDRESS_NONE)
        return same_block(&a->block, &b->block);
    return strcasecmp(a->text, b->text) == 0;
}

static const struct import_entry *find_entry(const struct import_scope *list,
                                             const struct import_entry *entry)
{
    for (size_t i = 0; i < list->nentries; i++)
        if (same_entry(&list->entries[i], entry))
            return &list->entries[i];
    return NULL;
}

static bool has_all(const struct import_scope *list, const struct import_scope *of)
{
    for (size_t i = 0; i < of->nentries; i++) {
        const struct import_entry *entry = find_entry(list, &of->entries[i]);
        if (!entry || entry->external != of->entries[i].external)
            return false;
    }
    return true;
}

static bool same_list(const struct import_scope *a, const struct import_scope *b)
{
    return a == b || (a->nentries == b->nentries && has_all(a, b) && has_all(b, a));
}

static const char *default_of(const struct import *import, enum import_setting setting)
{
    const struct import_server *server = import->server;
    const char *const texts[IMPORT_SETTINGS] = {server->header, server->select, server->accept};
    if (setting == IMPORT_HEADER && import->needs_header)
        return NULL;
    return texts[setting];
}

const char *import_view_text(const struct import *import, const struct import_view *view,
                             enum import_setting setting)
{
    const char *text = view->values[setting]->text;
    return text ? text : default_of(import, setting);
}

static bool same_value(const struct import *import, const struct import_view *a, const struct import_view *b,
                       enum import_setting setting)
{
    const char *x = import_view_text(import, a, setting);
    const char *y = import_view_text(import, b, setting);
    return x == y || (x && y && strcasecmp(x, y) == 0);
}

static bool same_values(const struct import *import, const struct import_view *a, const struct import_view *b)
{
    for (int i = 0; i < IMPORT_SETTINGS; i++)
        if (!same_value(import, a, b, (enum import_setting)i))
            return false;
    return true;
}

static struct import_view make_view(const struct import *import, size_t scope)
{
    struct import_view view = {.scope = scope, .trust = import_find_list(import, scope)};
    for (int i = 0; i < IMPORT_SETTINGS; i++)
        view.values[i] = import_find_value(import, scope, (enum import_setting)i);
    return view;
}

/* A header without a list, where that means everybody: the list goes to the scope that has the header. */
static void open_scope(struct import *import, size_t number)
{
    const struct import_value *header = import_find_value(import, number, IMPORT_HEADER);
    if (!import->server->open || !header->text || import_find_list(import, number)->nentries > 0)
        return;
    while (!import->scopes[number].values[IMPORT_HEADER].text)
        number = import->scopes[number].parent;
    import_add_everybody(import, number, header->place,
                         "a header without a list of proxies is believed from everybody", true);
}

static bool is_void(const struct import *import, const struct import_view *view)
{
    return view->trust->nentries == 0 || !import_view_text(import, view, IMPORT_HEADER);
}

static bool same_places(const struct import_view *a, const struct import_view *b)
{
    for (size_t i = 0; i < IMPORT_SETTINGS; i++)
        if (a->values[i] != b->values[i])
            return false;
    return a->trust == b->trust;
}

static void add_view(const struct import *import, struct import_views *views, struct import_view view)
{
    view.same = views->count;
    view.twin = IMPORT_NO_VIEW;
    for (size_t i = 0; i < views->count; i++) {
        const struct import_view *other = &views->list[i];
        if (same_places(other, &view))
            return;
        if (other->twin != IMPORT_NO_VIEW || !same_list(other->trust, view.trust))
            continue;
        if (view.same == views->count)
            view.same = i;
        if (view.twin == IMPORT_NO_VIEW && same_values(import, other, &view))
            view.twin = i;
    }
    views->distinct += view.twin == IMPORT_NO_VIEW;
    views->restricted = views->restricted || !view.trust->everybody;
    views->list[views->count++] = view;
}

/* A scope of its own is only the outermost without proxies. */
static void count_trustless(const struct import *import, struct import_views *views, size_t number)
{
    const struct import_scope *scope = &import->scopes[number];
    const struct import_scope *parent = &import->scopes[scope->parent];
    if (parent != scope && parent->serves && import_find_list(import, scope->parent)->nentries == 0)
        return;
    if (views->trustless++ == 0)
        views->first_trustless = scope->place;
}

static void mark_used(struct import *import, const struct import_views *views)
{
    for (size_t i = 0; i < views->count; i++) {
        const struct import_view *view = &views->list[i];
        for (size_t j = 0; j < import->nscopes; j++) {
            struct import_scope *scope = &import->scopes[j];
            scope->used = scope->used || scope == view->trust;
            for (size_t k = 0; k < IMPORT_SETTINGS; k++)
                scope->values[k].used = scope->values[k].used || &scope->values[k] == view->values[k];
        }
    }
}

static void note_unused(struct import *import)
{
    for (size_t i = 0; i < import->nscopes; i++) {
        const struct import_scope *scope = &import->scopes[i];
        if (scope->nentries > 0 && !scope->used)
            import_add_note(import, scope->entries[0].place, "the list of %s is in force nowhere",
                            scope->name);
        for (size_t j = 0; j < IMPORT_SETTINGS; j++) {
            const struct import_value *value = &scope->values[j];
            if (value->text && !value->used)
                import_add_note(import, value->place, "\"%s\" of %s is in force nowhere", value->text,
                                scope->name);
        }
    }
}

bool import_find_views(struct import *import, struct import_views *views)
{
    *views = (struct import_views){0};
    views->list = calloc(import->nscopes + 1, sizeof *views->list);
    if (!views->list) {
        import_fail_memory(import);
        return false;
    }
    for (size_t i = 0; i < import->nscopes; i++)
        if (import->scopes[i].serves)
            open_scope(import, i);
    for (size_t i = 0; i < import->nscopes; i++) {
        struct import_view view = make_view(import, i);
        if (!import->scopes[i].serves)
            continue;
        if (is_void(import, &view))
            count_trustless(import, views, i);
        else
            add_view(import, views, view);
    }
    mark_used(import, views);
    note_unused(import);
    return true;
}

void import_free_views(struct import_views *views)
{
    free(views->list);
    *views = (struct import_views){0};
}

/* ---- entries that are not to be in a group ---- */

static uint64_t prefix_mask(unsigned bits)
{
    return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : UINT64_MAX << (64 - bits);
}

static bool holds(const struct cidr *outer, const struct cidr *inner)
{
    if (outer->first.kind != inner->first.kind || outer->bits > inner->bits ||
        outer->first.kind == ADDRESS_NONE)
        return false;
    if (outer->first.kind == ADDRESS_V4)
        return ((outer->first.lo ^ inner->first.lo) & (prefix_mask(outer->bits) >> 32)) == 0;
    unsigned high = outer->bits < 64 ? outer->bits : 64;
    return ((outer->first.hi ^ inner->first.hi) & prefix_mask(high)) == 0 &&
           ((outer->first.lo ^ inner->first.lo) & prefix_mask(outer->bits - high)) == 0;
}

/* The entry above in the same list, of the other kind, by which this one never comes to count: the first
 * match decides there, the longest prefix here. */
static const struct import_entry *find_shadow(const struct import_scope *list, size_t number)
{
    const struct import_entry *entry = &list->entries[number];
    for (size_t i = 0; i < number; i++) {
        const struct import_entry *other = &list->entries[i];
        if (other->external != entry->external &&
            (same_entry(other, entry) || holds(&other->block, &entry->block)))
            return other;
    }
    return NULL;
}

/* Whether the entries of a view may be in a group. */
static bool has_group(const struct import_views *views, const struct import_view *view)
{
    return view->twin == IMPORT_NO_VIEW && view->same == (size_t)(view - views->list) &&
           !(view->trust->everybody && views->restricted);
}

const struct import_entry *import_find_rival(const struct import_views *views, const struct import_view *view,
                                             size_t entry)
{
    const struct import_entry *found = find_shadow(view->trust, entry);
    for (const struct import_view *other = views->list; !found && other < view; other++)
        if (has_group(views, other))
            found = find_entry(other->trust, &view->trust->entries[entry]);
    return found;
}
