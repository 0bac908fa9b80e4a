/*
 * lighttpd: the settings of mod_extforward, outside of conditions and in them.
 */
#include <stdlib.h>
#include <strings.h>

#include "cli/import_lighttpd.h"
#include "config/values.h"

#define DEPTH_MAX 64 /* of conditions within conditions */

struct block {
    struct import *import;
    size_t scope;
    unsigned depth;
};

/* ---- settings ---- */

/* One assignment to a setting of mod_extforward. */
struct assignment {
    struct import *import;
    size_t scope;
    struct import_place place; /* of the name */
    const char *name;
    bool everybody, nobody; /* "all" => ... was among a list of forwarders */
    struct import_words headers;
    bool host; /* among the params */
};

static bool is_on(const char *value)
{
    return value_is_word(slice_of(value), "enable") || strcmp(value, "1") == 0;
}

static void take_forwarder(struct assignment *assignment, struct import_place place, const char *key,
                           const char *value)
{
    struct import *import = assignment->import;
    struct cidr block;
    bool host_bits;
    bool trusted = value_is_word(slice_of(value), "trust");
    if (!key)
        import_fail(import, place, "\"%s\": no \"=>\"; a forwarder is \"ADDRESS\" => \"trust\"",
                    value_quote(slice_of(value)).text);
    else if (strcmp(key, "all") == 0 && trusted)
        assignment->everybody = true;
    else if (strcmp(key, "all") == 0)
        assignment->nobody = true;
    else if (!cidr_parse(slice_of(key), &block, &host_bits))
        import_fail(import, place, "\"%s\": not an address, and lighttpd asks for no names; write an address",
                    value_quote(slice_of(key)).text);
    else if (trusted)
        import_add_entry(import, assignment->scope, place, assignment->name, key, false);
    else
        import_add_note(import, place,
                        "\"%s\" => \"%s\": not trusted here as long as no other entry holds that address",
                        key, value);
}

static void take_header(struct assignment *assignment, struct import_place place, const char *key,
                        const char *value)
{
    if (key)
        import_fail(assignment->import, place, "\"%s\": \"=>\" in a list of headers; write the names alone",
                    value_quote(slice_of(key)).text);
    else
        import_push_word(assignment->import, &assignment->headers,
                         import_copy(assignment->import, slice_of(value)));
}

static void take_param(struct assignment *assignment, struct import_place place, const char *key,
                       const char *value)
{
    if (!key)
        import_fail(assignment->import, place, "\"%s\": no \"=>\"; a parameter is \"NAME\" => \"enable\"",
                    value_quote(slice_of(value)).text);
    else if (strcmp(key, "host") == 0)
        assignment->host = is_on(value);
    else if (is_on(value))
        import_add_note(assignment->import, place, "extforward.params \"%s\": has no equal", key);
}

static void finish_forwarders(struct assignment *assignment)
{
    struct import *import = assignment->import;
    size_t scope = assignment->scope;
    if (assignment->nobody || assignment->everybody)
        import_clear_entries(import, scope);
    import->scopes[scope].listed = true;
    if (assignment->everybody) {
        import_add_everybody(import, scope, assignment->place, "\"all\" => \"trust\"", false);
        import_set_value(import, scope, IMPORT_SELECT, assignment->place, "single",
                         "with \"all\" every peer is trusted, but no other hop is; lighttpd also passes hops "
                         "that the list names");
    } else if (import_find_value(import, scope, IMPORT_SELECT)->text) {
        import_set_value(import, scope, IMPORT_SELECT, assignment->place, "recursive", NULL);
    }
}

static void finish_headers(struct assignment *assignment)
{
    const struct import_words *headers = &assignment->headers;
    if (headers->count == 0)
        import_add_note(assignment->import, assignment->place, "extforward.headers: an empty list");
    else if (headers->count == 1)
        import_set_value(assignment->import, assignment->scope, IMPORT_HEADER, assignment->place,
                         headers->list[0], NULL);
    else
        import_set_value(assignment->import, assignment->scope, IMPORT_HEADER, assignment->place,
                         headers->list[0],
                         "the first of %zu in lighttpd's list, which takes the next, \"%s\", where that is "
                         "missing; here a group of proxies has one",
                         headers->count, headers->list[1]);
}

static void finish_params(struct assignment *assignment)
{
    if (assignment->host)
        import_set_value(assignment->import, assignment->scope, IMPORT_ACCEPT, assignment->place,
                         "for, proto, host", "extforward.params \"host\"");
}

static void finish_protocol(struct assignment *assignment)
{
    import_add_note(assignment->import, assignment->place,
                    "%s: leave it in lighttpd, which alone sees the PROXY protocol, with its forwarders; "
                    "REMOTE_ADDR is then whom the balancer named",
                    assignment->name);
}

static const struct {
    const char *name;
    void (*take)(struct assignment *assignment, struct import_place place, const char *key,
                 const char *value); /* NULL: it is no list */
    void (*finish)(struct assignment *assignment);
} settings[] = {
    {"extforward.forwarder", take_forwarder, finish_forwarders},
    {"extforward.headers", take_header, finish_headers},
    {"extforward.params", take_param, finish_params},
    {"extforward.hap-PROXY", NULL, finish_protocol},
    {"extforward.hap-PROXY-ssl-client-verify", NULL, finish_protocol},
};
#define SETTINGS   (sizeof settings / sizeof *settings)
#define FORWARDERS 0
#define HEADERS    1
#define PROTOCOL   3

/* What += adds to, and = must not find. */
static void begin_list(struct assignment *assignment, const char *operator, size_t number)
{
    struct import *import = assignment->import;
    struct import_scope *scope = &import->scopes[assignment->scope];
    const struct import_value *header = &scope->values[IMPORT_HEADER];
    bool given = number == FORWARDERS ? scope->listed : number == HEADERS && header->text;
    if (strcmp(operator, "=") == 0 && given)
        import_fail(import, assignment->place, "\"%s\": given twice in the same place; remove one",
                    assignment->name);
    if (number != FORWARDERS)
        return;
    if (strcmp(operator, "+=") != 0) {
        import_clear_entries(import, assignment->scope);
        return;
    }
    const struct import_scope *list = import_find_list(import, assignment->scope);
    assignment->everybody = list->everybody;
    if (list != scope)
        import_copy_entries(import, (size_t)(list - import->scopes), assignment->scope);
}

/* "(", elements, ")"; several lists may be added up. */
static void read_list(struct import_text *text, struct assignment *assignment, size_t number)
{
    struct lighttpd_pair pair;
    do {
        if (!lighttpd_enter_list(text))
            return;
        while (lighttpd_next_pair(text, &pair)) {
            settings[number].take(assignment, (struct import_place){text->file, pair.line}, pair.key,
                                  pair.value);
            lighttpd_free_pair(&pair);
        }
    } while (!text->broken && lighttpd_take(text, "+"));
}

static void read_protocol(struct import_text *text, struct assignment *assignment, size_t number)
{
    struct import *import = assignment->import;
    struct lighttpd_token token;
    if (!lighttpd_next(text, &token))
        return;
    bool on = token.text && is_on(token.text);
    lighttpd_free(&token);
    if (on)
        settings[number].finish(assignment);
    if (on && number == PROTOCOL && assignment->scope == 0)
        import->needs_header = true;
}

static void read_setting(struct import_text *text, const struct block *block, unsigned line, size_t number,
                         const char *operator)
{
    struct assignment assignment = {.import = block->import,
                                    .scope = block->scope,
                                    .place = {text->file, line},
                                    .name = settings[number].name};
    if (!settings[number].take) {
        read_protocol(text, &assignment, number);
        return;
    }
    begin_list(&assignment, operator, number);
    read_list(text, &assignment, number);
    if (!text->broken)
        settings[number].finish(&assignment);
    import_free_words(&assignment.headers);
}

/* ---- statements ---- */

static void read_block(struct import_text *text, const struct block *block, unsigned opened);

static void read_file(struct import_text *text, void *user)
{
    const struct block *block = user;
    read_block(text, block, 0);
}

static void read_include(struct import_text *text, const struct block *block, unsigned line, bool shell)
{
    struct import_place place = {text->file, line};
    struct block inside = *block;
    struct lighttpd_token token;
    if (!lighttpd_next(text, &token))
        return;
    bool plain = token.kind == LIGHTTPD_STRING && !lighttpd_at(text, "+");
    if (plain && !shell)
        import_include(block->import, place, token.text, read_file, &inside);
    else
        import_add_note(block->import, place, "%s %s: not read, for %s", shell ? "include_shell" : "include",
                        token.text ? token.text : "...",
                        shell ? "it is a command; import what it prints by itself" : "it names a variable");
    lighttpd_free(&token);
    if (!plain && lighttpd_take(text, "+"))
        lighttpd_skip_value(text);
}

static void read_assignment(struct import_text *text, const struct block *block,
                            const struct lighttpd_token *name)
{
    struct lighttpd_token operator;
    if (!lighttpd_next(text, &operator))
        return;
    const char *word = operator.kind == LIGHTTPD_MARK ? operator.mark : "";
    if (strcmp(word, "=") != 0 && strcmp(word, "+=") != 0 && strcmp(word, ":=") != 0) {
        import_break_text(text, name->line, slice_of(name->text), "no \"=\" behind it; write NAME = VALUE");
        lighttpd_free(&operator);
        return;
    }
    size_t number = 0;
    while (number < SETTINGS && strcmp(settings[number].name, name->text) != 0)
        number++;
    if (number < SETTINGS)
        read_setting(text, block, name->line, number, word);
    else
        lighttpd_skip_value(text);
}

static void enter_block(struct import_text *text, const struct block *block, struct slice name, unsigned line)
{
    struct block inside = *block;
    if (block->depth >= DEPTH_MAX) {
        import_break_text(text, line, name, "too many conditions within each other");
        return;
    }
    inside.depth++;
    inside.scope = import_add_scope(block->import, block->scope, (struct import_place){text->file, line},
                                    "%.*s", (int)name.len, name.data);
    read_block(text, &inside, line);
}

/* A condition, from behind its "$" to its "{", and the block. */
static void read_condition(struct import_text *text, const struct block *block, unsigned line)
{
    const char *begin = text->at - 1;
    const char *end = begin;
    for (bool open = false; !open;) {
        struct lighttpd_token token;
        end = text->at;
        if (!lighttpd_next(text, &token)) {
            if (!text->broken)
                import_break_text(text, line, slice_of(begin), "no block behind this condition");
            return;
        }
        open = token.kind == LIGHTTPD_MARK && strcmp(token.mark, "{") == 0;
        lighttpd_free(&token);
    }
    enter_block(text, block, (struct slice){begin, (size_t)(end - begin)}, line);
}

static void read_named(struct import_text *text, const struct block *block,
                       const struct lighttpd_token *token)
{
    static const char *const chain[] = {"else", "elseif", "elsif", "elif", "if"};
    struct block global = {.import = block->import, .depth = block->depth + 1};
    for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
        if (strcmp(token->text, chain[i]) != 0)
            continue;
        /* A condition behind it is a statement like any other. */
        if (lighttpd_take(text, "{"))
            enter_block(text, block, SLICE("else"), token->line);
        return;
    }
    if (strcmp(token->text, "include") == 0 || strcmp(token->text, "include_shell") == 0)
        read_include(text, block, token->line, token->text[7] != '\0');
    else if (strcmp(token->text, "global") == 0 && block->depth < DEPTH_MAX && lighttpd_take(text, "{"))
        read_block(text, &global, token->line);
    else
        read_assignment(text, block, token);
}

/* False at the end of the block. */
static bool read_statement(struct import_text *text, const struct block *block, unsigned opened)
{
    struct lighttpd_token token;
    if (!lighttpd_next(text, &token)) {
        if (!text->broken && opened > 0)
            import_break_text(text, opened, SLICE("{"), "this block has no end; write \"}\" behind it");
        return false;
    }
    bool ends = token.kind == LIGHTTPD_MARK && strcmp(token.mark, "}") == 0 && opened > 0;
    if (token.kind == LIGHTTPD_NAME)
        read_named(text, block, &token);
    else if (token.kind == LIGHTTPD_MARK && strcmp(token.mark, "$") == 0)
        read_condition(text, block, token.line);
    else if (!ends)
        import_break_text(text, token.line, token.text ? slice_of(token.text) : slice_of(token.mark),
                          "not the beginning of a statement");
    lighttpd_free(&token);
    return !ends && !text->broken;
}

static void read_block(struct import_text *text, const struct block *block, unsigned opened)
{
    while (read_statement(text, block, opened))
        ;
}

/* Of what params say, the host counts in a header Forwarded only; here it would in X-Forwarded-Host. */
static void judge_params(struct import *import)
{
    for (size_t i = 0; i < import->nscopes; i++) {
        const struct import_value *accept = import_find_value(import, i, IMPORT_ACCEPT);
        const struct import_value *header = import_find_value(import, i, IMPORT_HEADER);
        if (!accept->text || !strstr(accept->text, "host") ||
            (header->text && strcasecmp(header->text, "Forwarded") == 0))
            continue;
        import_set_value(import, i, IMPORT_ACCEPT, accept->place, "for, proto",
                         "extforward.params \"host\" counts with the header Forwarded only");
    }
}

static void read_lighttpd(struct import *import)
{
    struct import_text text;
    if (import_start_text(import, &text)) {
        import_add_scope(import, 0, (struct import_place){text.file, 1}, "all requests");
        if (import->nscopes > 0)
            read_file(&text, &(struct block){.import = import});
    }
    import_end_text(&text);
    judge_params(import);
}

const struct import_server import_lighttpd = {
    .name = "lighttpd",
    .title = "lighttpd",
    .nothing = "no extforward.forwarder that trusts anybody for a header, so there is nothing to import",
    .header = "X-Forwarded-For",
    .header_remark = "lighttpd's default, which takes Forwarded-For where that is missing",
    .select = "recursive",
    .accept = "for, proto",
    .accept_remark = "lighttpd believes X-Forwarded-Proto, too; here SERVER_PORT follows it",
    .ending =
        "repeated = malformed ; lighttpd joins copies; one more is of another name, as X.Forwarded.For\n",
    .closing =
        "\n"
        "# Where every hop is trusted, lighttpd stays with the peer; here the leftmost one is the client.\n"
        "# lighttpd leaves the header as it came, forgeries and all; these two lines do so, too.\n"
        "# Without them the application sees in the header only what trusted proxies wrote.\n"
        "# [realip]\n"
        "# forwarded_for = keep\n",
    .read = read_lighttpd,
    .print = import_print_groups,
};
