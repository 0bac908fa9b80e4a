/*
 * nginx: set_real_ip_from, real_ip_header and real_ip_recursive, wherever they may stand in http, server and
 * location blocks.
 */
#include <stdlib.h>

#include "cli/import_nginx.h"
#include "config/values.h"

#define DEPTH_MAX 64       /* of blocks within blocks */
#define NOWHERE   SIZE_MAX /* the scope of blocks that hold nothing for HTTP requests */

/* A block, and the blocks around it. */
struct block {
    struct import *import;
    size_t scope;
    const char *name; /* "stream", for notes; "" outside of all blocks */
    unsigned depth;
};

static const char *word_at(const struct import_words *words, size_t number)
{
    return number < words->count ? words->list[number] : "";
}

static bool is_word(const struct import_words *words, size_t number, const char *word)
{
    return strcmp(word_at(words, number), word) == 0;
}

/* ---- settings ---- */

static void take_header(const struct block *block, struct import_place place, const char *header)
{
    if (strcmp(header, "proxy_protocol") == 0)
        import_set_value(block->import, block->scope, IMPORT_HEADER, place, "X-Proxy-Protocol-Addr",
                         "real_ip_header proxy_protocol. Only nginx sees that, and has to pass it on, or any "
                         "client can send this header: fastcgi_param HTTP_X_PROXY_PROTOCOL_ADDR "
                         "$proxy_protocol_addr;");
    else
        import_set_value(block->import, block->scope, IMPORT_HEADER, place, header, NULL);
}

static void take_recursive(const struct block *block, struct import_place place, const char *word)
{
    if (value_is_word(slice_of(word), "on"))
        import_set_value(block->import, block->scope, IMPORT_SELECT, place, "recursive",
                         "real_ip_recursive on");
    else if (value_is_word(slice_of(word), "off"))
        import_set_value(block->import, block->scope, IMPORT_SELECT, place, "single",
                         "real_ip_recursive off");
    else
        import_fail(block->import, place, "real_ip_recursive \"%s\": neither on nor off",
                    value_quote(slice_of(word)).text);
}

static const struct {
    const char *name;
    enum import_setting setting; /* IMPORT_SETTINGS: the list */
} directives[] = {
    {"set_real_ip_from", IMPORT_SETTINGS},
    {"real_ip_header", IMPORT_HEADER},
    {"real_ip_recursive", IMPORT_SELECT},
};

static void take_setting(const struct block *block, struct import_place place,
                         const struct import_words *words, enum import_setting setting)
{
    struct import *import = block->import;
    const char *name = words->list[0];
    if (words->count != 2) {
        import_fail(import, place, "\"%s\": takes one value, and has %zu", name, words->count - 1);
        return;
    }
    if (block->scope == NOWHERE) {
        import_add_note(import, place, "%s %s: in a block \"%s\", which concerns no HTTP request", name,
                        words->list[1], block->name);
        return;
    }
    if (setting == IMPORT_SETTINGS) {
        import_add_entry(import, block->scope, place, name, words->list[1], false);
        return;
    }
    const struct import_value *old = &import->scopes[block->scope].values[setting];
    if (old->text)
        import_fail(import, place, "\"%s\": given twice in this block, first in line %u; remove one", name,
                    old->place.line);
    else if (setting == IMPORT_HEADER)
        take_header(block, place, words->list[1]);
    else
        take_recursive(block, place, words->list[1]);
}

static void take_name(const struct block *block, const struct import_words *words)
{
    const struct import_scope *scope = &block->import->scopes[block->scope];
    if (strcmp(scope->name, "server") == 0 && words->count > 1 && words->list[1][0] != '\0')
        import_name_scope(block->import, block->scope, "server %s", words->list[1]);
}

static void note_variables(const struct block *block, struct import_place place,
                           const struct import_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        if (!strstr(words->list[i], "$realip_remote_") && !strstr(words->list[i], "${realip_remote_"))
            continue;
        import_add_note(block->import, place,
                        "%s with $realip_remote_...: the application gets the peer as REALIP_REMOTE_ADDR and "
                        "REALIP_REMOTE_PORT",
                        words->list[0]);
        return;
    }
}

/* ---- blocks ---- */

static void read_block(struct import_text *text, const struct block *block, unsigned opened);

static void read_file(struct import_text *text, void *user)
{
    const struct block *block = user;
    read_block(text, block, 0);
}

static void take_directive(const struct block *block, struct import_place place,
                           const struct import_words *words)
{
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++) {
        if (is_word(words, 0, directives[i].name)) {
            take_setting(block, place, words, directives[i].setting);
            return;
        }
    }
    note_variables(block, place, words);
    struct block inside = *block;
    if (is_word(words, 0, "include") && words->count == 2)
        import_include(block->import, place, words->list[1], read_file, &inside);
    else if (is_word(words, 0, "server_name") && block->scope != NOWHERE)
        take_name(block, words);
}

/* The scope of the block that begins with these words. */
static size_t open_scope(const struct block *block, struct import_place place,
                         const struct import_words *words)
{
    struct import *import = block->import;
    if (block->scope == NOWHERE)
        return NOWHERE;
    if (is_word(words, 0, "http")) {
        import->scopes[block->scope].serves = false;
        return import_add_scope(import, block->scope, place, "http");
    }
    if (is_word(words, 0, "server")) {
        import->scopes[block->scope].serves = false;
        return import_add_scope(import, block->scope, place, "server");
    }
    if (is_word(words, 0, "location"))
        return import_add_scope(import, block->scope, place, "location %s%s%s", word_at(words, 1),
                                words->count > 2 ? " " : "", word_at(words, 2));
    return NOWHERE;
}

static void enter_block(struct import_text *text, const struct block *block, struct import_place place,
                        const struct import_words *words)
{
    struct block inside = *block;
    if (block->depth >= DEPTH_MAX) {
        import_break_text(text, place.line, slice_of(words->list[0]), "too many blocks within each other");
        return;
    }
    inside.depth++;
    inside.scope = open_scope(block, place, words);
    if (inside.scope == NOWHERE && block->scope != NOWHERE)
        inside.name = words->list[0];
    size_t length = strlen(words->list[0]);
    static const char lua[] = "_by_lua_block";
    if (length >= sizeof lua - 1 && strcmp(words->list[0] + length - (sizeof lua - 1), lua) == 0)
        nginx_skip_lua(text, place.line);
    else
        read_block(text, &inside, place.line);
}

/* The statements of a file, or of the block that was opened in that line. */
static void read_block(struct import_text *text, const struct block *block, unsigned opened)
{
    struct nginx_statement statement = {0};
    while (nginx_next_statement(text, &statement)) {
        struct import_place place = {text->file, statement.line};
        if (statement.end == '}' && opened == 0)
            import_break_text(text, statement.line, SLICE("}"), "no block is open that it could end");
        else if (statement.end == '{')
            enter_block(text, block, place, &statement.words);
        else if (statement.end == ';')
            take_directive(block, place, &statement.words);
        if (statement.end == '}')
            break;
    }
    if (!text->broken && opened > 0 && statement.end != '}')
        import_break_text(text, opened, SLICE("{"), "this block has no end; write \"}\" behind it");
    import_free_words(&statement.words);
}

static void read_nginx(struct import *import)
{
    struct import_text text;
    if (import_start_text(import, &text)) {
        import_add_scope(import, 0, (struct import_place){text.file, 1}, "the file");
        if (import->nscopes > 0)
            read_file(&text, &(struct block){.import = import, .name = ""});
    }
    import_end_text(&text);
}

const struct import_server import_nginx = {
    .name = "nginx",
    .title = "nginx",
    .nothing =
        "no set_real_ip_from in a place that HTTP requests come to, so nginx trusts no proxy and there "
        "is nothing to import",
    .header = "X-Real-IP",
    .header_remark = "nginx's default",
    .select = "single",
    .select_remark = "nginx's default, real_ip_recursive off",
    .closing = "\n"
               "# nginx leaves the header as it came, forgeries and all; these two lines do so, too.\n"
               "# Without them the application sees in the header only what trusted proxies wrote.\n"
               "# [realip]\n"
               "# forwarded_for = keep\n",
    .read = read_nginx,
    .print = import_print_groups,
};
