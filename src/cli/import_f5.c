/*
 * F5XFFHttpModule.ini, the whole configuration of F5's module for IIS: a header, and no list of proxies.
 */
#include <stdlib.h>

#include "cli/import_text.h"
#include "cli/text.h"
#include "config/ini.h"
#include "config/values.h"

struct f5 {
    struct import *import;
    size_t scope;
    bool settings; /* inside of [SETTINGS] */
};

static struct import_place place_at(const struct f5 *f5, unsigned line)
{
    return (struct import_place){f5->import->path, line};
}

static void on_section(void *user, struct slice name, unsigned line)
{
    struct f5 *f5 = user;
    f5->settings = value_is_word(name, "SETTINGS");
    if (!f5->settings)
        import_add_note(f5->import, place_at(f5, line), "[%s]: not a section of F5XFFHttpModule",
                        value_quote(name).text);
}

static void take_header(struct f5 *f5, struct slice value, unsigned line)
{
    const struct import_value *old = &f5->import->scopes[f5->scope].values[IMPORT_HEADER];
    if (old->text)
        import_fail(f5->import, place_at(f5, line),
                    "HEADER: given twice, first in line %u; remove one of the lines", old->place.line);
    char *text = import_copy(f5->import, value);
    if (text)
        import_set_value(f5->import, f5->scope, IMPORT_HEADER, place_at(f5, line), text, NULL);
    free(text);
}

static void on_value(void *user, struct slice key, struct slice value, unsigned line, bool continued)
{
    struct f5 *f5 = user;
    if (continued)
        import_fail(f5->import, place_at(f5, line),
                    "\"%s\": continues the line above, being indented; remove "
                    "the white space",
                    value_quote(value).text);
    else if (f5->settings && value_is_word(key, "HEADER"))
        take_header(f5, value, line);
    else
        import_add_note(f5->import, place_at(f5, line), "%s: not a key of F5XFFHttpModule",
                        value_quote(key).text);
}

static void read_f5(struct import *import)
{
    struct f5 f5 = {.import = import};
    struct lines lines = {0};
    f5.scope = import_add_scope(import, 0, (struct import_place){import->path, 1}, "the file");
    if (import->nscopes > 0 && import_open_lines(import, &lines)) {
        const struct ini_visitor visitor = {on_section, on_value, &f5};
        ini_read(&lines, &visitor);
    }
    import_close_lines(import, &lines);
}

static bool print_f5(struct import *import, FILE *out)
{
    const struct import_value *header = &import->scopes[0].values[IMPORT_HEADER];
    if (!header->text)
        return false;
    import_print_head(import, out);
    fprintf(out, "\n[SETTINGS]\nHEADER = %s ; ", header->text);
    text_escape(out, slice_of(header->place.file));
    fprintf(out, ":%u\n", header->place.line);
    fputs(import->server->closing, out);
    return true;
}

const struct import_server import_f5 = {
    .name = "f5",
    .title = "IIS",
    .nothing = "no HEADER in a section [SETTINGS], so there is nothing to import",
    .closing = "\n"
               "# F5XFFHttpModule believes the header whoever sent it, and so lets every client choose its\n"
               "# address. Here nobody is believed until the addresses of your BIG-IPs are filled in:\n"
               "# [proxy bigip]\n"
               "# trust = 192.0.2.1\n",
    .read = read_f5,
    .print = print_f5,
};
