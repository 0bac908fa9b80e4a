/*
 * The output of import: what is in force in each scope, made into groups.
 *
 * A group of proxies knows no scopes. Scopes with the same settings become one group; with other proxies, one
 * more; with the same proxies but other settings, a comment, for an address is in one group only.
 */
#include "cli/import.h"
#include "cli/text.h"
#include "realip/policy.h"

#define NAME_MAX_LEN 28 /* of a group: shorter than the longest section, with room for "-256-external" */

struct printer {
    struct import *import;
    FILE *out;
    struct import_views views;
    size_t groups; /* printed so far */
};

static void put_place(FILE *out, struct import_place place)
{
    text_escape(out, slice_of(place.file));
    fprintf(out, ":%u", place.line);
}

static void put_remark(FILE *out, struct import_place place, const char *remark)
{
    fputs(" ; ", out);
    if (place.file)
        put_place(out, place);
    if (remark && place.file)
        fputs(": ", out);
    if (remark)
        text_escape(out, slice_of(remark));
    fputc('\n', out);
}

/* ---- groups ---- */

static void put_scope(const struct printer *printer, const struct import_view *view)
{
    const struct import_scope *scope = &printer->import->scopes[view->scope];
    text_escape(printer->out, slice_of(scope->name));
    fputs(" (", printer->out);
    put_place(printer->out, scope->place);
    fputc(')', printer->out);
}

/* Letters, digits, "-", "_" and ".", as [proxy NAME] takes them. */
static void put_group_name(const struct printer *printer, const struct import_view *view, bool external)
{
    const struct import *import = printer->import;
    bool single = printer->views.distinct == 1;
    const char *name = single ? import->server->name : import->scopes[view->scope].name;
    char text[NAME_MAX_LEN + 1] = "";
    size_t length = 0;
    for (; *name && length < NAME_MAX_LEN; name++) {
        bool taken = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                     (*name >= '0' && *name <= '9') || *name == '_' || *name == '.';
        if (taken)
            text[length++] = *name;
        else if (length > 0 && text[length - 1] != '-')
            text[length++] = '-';
    }
    while (length > 0 && text[length - 1] == '-')
        length--;
    fprintf(printer->out, "%.*s", (int)length, text);
    /* Two scopes may have the same name. */
    if (!single)
        fprintf(printer->out, "-%zu", (size_t)(view - printer->views.list) + 1);
    if (external)
        fputs("-external", printer->out);
}

static void print_value(const struct printer *printer, const struct import_view *view,
                        enum import_setting setting)
{
    static const char *const keys[IMPORT_SETTINGS] = {"header", "select", "accept"};
    const struct import_server *server = printer->import->server;
    const char *const remarks[IMPORT_SETTINGS] = {server->header_remark, server->select_remark,
                                                  server->accept_remark};
    const struct import_value *value = view->values[setting];
    const char *text = import_view_text(printer->import, view, setting);
    if (!text)
        return;
    fprintf(printer->out, "%s = %s", keys[setting], text);
    if (value->text)
        put_remark(printer->out, value->place, value->remark);
    else if (remarks[setting])
        put_remark(printer->out, (struct import_place){0}, remarks[setting]);
    else
        fputc('\n', printer->out);
}

static void print_entry(const struct printer *printer, const struct import_view *view, size_t number)
{
    const struct import_entry *entry = &view->trust->entries[number];
    const struct import_entry *rival = import_find_rival(&printer->views, view, number);
    FILE *out = printer->out;
    if (rival) {
        fprintf(out, "# trust = %s ; ", entry->text);
        put_place(out, entry->place);
        fprintf(out, ": %s, ", rival->text);
        put_place(out, rival->place);
        fputs(", comes first and counts\n", out);
        return;
    }
    fprintf(out, "%s = %s", entry->file ? "trust_file" : "trust", entry->text);
    put_remark(out, entry->place, entry->remark);
}

static bool has_entries(const struct printer *printer, const struct import_view *view, bool external)
{
    for (size_t i = 0; i < view->trust->nentries; i++)
        if (view->trust->entries[i].external == external && !import_find_rival(&printer->views, view, i))
            return true;
    return false;
}

static void print_twins(const struct printer *printer, const struct import_view *view)
{
    for (size_t i = 0; i < printer->views.count; i++) {
        if (printer->views.list[i].twin != (size_t)(view - printer->views.list))
            continue;
        fputs("# the same in ", printer->out);
        put_scope(printer, &printer->views.list[i]);
        fputc('\n', printer->out);
    }
}

static void print_group(struct printer *printer, const struct import_view *view, bool external)
{
    if (!has_entries(printer, view, external))
        return;
    fputs("\n[proxy ", printer->out);
    put_group_name(printer, view, external);
    fputs("]\n", printer->out);
    if (printer->views.distinct > 1) {
        fputs("# ", printer->out);
        put_scope(printer, view);
        fputc('\n', printer->out);
    }
    print_twins(printer, view);
    for (size_t i = 0; i < view->trust->nentries; i++)
        if (view->trust->entries[i].external == external)
            print_entry(printer, view, i);
    for (int i = 0; i < IMPORT_SETTINGS; i++)
        print_value(printer, view, (enum import_setting)i);
    if (external)
        fputs("private_clients = no ; external proxies may not report private addresses\n", printer->out);
    if (printer->import->server->ending)
        fputs(printer->import->server->ending, printer->out);
    printer->groups++;
}

/* A view whose proxies are all in other groups. */
static void print_rival_view(const struct printer *printer, const struct import_view *view)
{
    fputs("\n# ", printer->out);
    put_scope(printer, view);
    fputs(":\n# all of its proxies are in groups above, whose settings count. Its own are:\n", printer->out);
    for (int i = 0; i < IMPORT_SETTINGS; i++) {
        if (!import_view_text(printer->import, view, (enum import_setting)i))
            continue;
        fputs("# ", printer->out);
        print_value(printer, view, (enum import_setting)i);
    }
}

static void print_left_out(const struct printer *printer, const struct import_view *view)
{
    fputs("\n# ", printer->out);
    put_scope(printer, view);
    fputs(":\n# there everybody is believed. As a group that would hold for every request, so it is left "
          "out.\n",
          printer->out);
}

static void print_view(struct printer *printer, const struct import_view *view)
{
    if (view->twin != IMPORT_NO_VIEW)
        return;
    if (view->trust->everybody && printer->views.restricted) {
        print_left_out(printer, view);
        return;
    }
    bool own = view->same == (size_t)(view - printer->views.list) &&
               (has_entries(printer, view, false) || has_entries(printer, view, true));
    if (!own) {
        print_rival_view(printer, view);
        return;
    }
    print_group(printer, view, false);
    print_group(printer, view, true);
}

static void explain_scopes(const struct printer *printer)
{
    if (printer->views.distinct > 1 || printer->views.trustless > 0)
        fprintf(printer->out,
                "# %s has different settings in different places; here all groups hold for every request.\n"
                "# Where that matters, run one fcgi-realip for each, with the groups of that place only.\n",
                printer->import->server->title);
    if (printer->views.trustless > 0) {
        fprintf(printer->out, "# Without trusted proxies there: %zu, the first in ",
                printer->views.trustless);
        put_place(printer->out, printer->views.first_trustless);
        fputc('\n', printer->out);
    }
}

/* ---- the whole ---- */

void import_print_head(const struct import *import, FILE *out)
{
    fputs("# ", out);
    text_escape(out, slice_of(import->path));
    fprintf(out, ", as fcgi-realip import %s reads it. Add [listen] and [upstream].\n", import->server->name);
    fprintf(out, "# Take out of %s what is in here, or REMOTE_ADDR is changed before fcgi-realip sees it.\n",
            import->server->title);
    for (size_t i = 0; i < import->nnotes; i++) {
        fputs(i == 0 ? "#\n# What has no equal here, or is not in force:\n# " : "# ", out);
        put_place(out, import->notes[i].place);
        fputs(": ", out);
        text_escape(out, slice_of(import->notes[i].text));
        fputc('\n', out);
    }
}

bool import_print_groups(struct import *import, FILE *out)
{
    struct printer printer = {.import = import, .out = out};
    bool good = import_find_views(import, &printer.views) && printer.views.count > 0;
    if (good) {
        import_print_head(import, out);
        explain_scopes(&printer);
        for (size_t i = 0; i < printer.views.count; i++)
            print_view(&printer, &printer.views.list[i]);
        fputs(import->server->closing, out);
    }
    if (printer.groups > POLICY_MAX_GROUPS)
        messages_add(import->messages, true, import->path, 0,
                     "%zu different sets of proxies, but there may be %d groups; import its parts one by one",
                     printer.groups, POLICY_MAX_GROUPS);
    import_free_views(&printer.views);
    return good;
}
