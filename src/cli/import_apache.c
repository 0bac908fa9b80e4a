/*
 * Apache: the directives of mod_remoteip, in the main server and in virtual hosts.
 */
#include <stdlib.h>
#include <strings.h>

#include "cli/import_text.h"
#include "config/values.h"

#define DEPTH_MAX 64 /* of sections within sections */

struct section {
    struct import *import;
    size_t scope;
    struct slice name; /* "VirtualHost"; empty outside of all */
    unsigned depth;
    bool foreign;          /* a place where the directives may not stand */
    bool skipped;          /* it is not read */
    const char *condition; /* under which it is read by Apache: "IfDefine X"; NULL: always */
};

/* ---- lines and words ---- */

/* The next line with its continuations, trimmed; *number is that of its beginning. False at the end. */
static bool next_line(struct import_text *text, char **line, unsigned *number)
{
    *line = NULL;
    *number = text->line;
    size_t length = 0;
    FILE *out = text->at < text->end ? open_memstream(line, &length) : NULL;
    if (!out) {
        if (text->at < text->end)
            import_fail_memory(text->import);
        return false;
    }
    bool continued = true;
    while (continued && text->at < text->end) {
        const char *end = memchr(text->at, '\n', (size_t)(text->end - text->at));
        size_t count = (size_t)(end - text->at);
        continued = count > 0 && end[-1] == '\\';
        fwrite(text->at, 1, count - continued, out);
        text->at = end + 1;
        text->line++;
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return true;
    import_fail_memory(text->import);
    free(*line);
    *line = NULL;
    return false;
}

/* A word without its quotes, cut off *rest; false if there is none left, or if its quote has no end. */
static bool next_word(struct import_text *text, unsigned line, struct slice *rest, char **word)
{
    *rest = value_trim(*rest);
    *word = NULL;
    if (rest->len == 0)
        return false;
    char quote = rest->data[0] == '"' || rest->data[0] == '\'' ? rest->data[0] : '\0';
    size_t at = quote ? 1 : 0;
    size_t length = 0;
    *word = import_copy(text->import, *rest);
    for (; *word && at < rest->len && (quote ? rest->data[at] != quote : !value_is_blank(rest->data[at]));
         at++) {
        char next = at + 1 < rest->len ? rest->data[at + 1] : '\0';
        if (quote && rest->data[at] == '\\' && (next == quote || next == '\\'))
            at++;
        (*word)[length++] = rest->data[at];
    }
    if (!*word)
        return false;
    (*word)[length] = '\0';
    if (quote && at == rest->len) {
        import_break_text(text, line, *rest, "this quote has no end");
        free(*word);
        *word = NULL;
        return false;
    }
    *rest = slice_part(*rest, at + (quote ? 1 : 0), rest->len);
    return true;
}

static bool has_variable(const char *word)
{
    return strstr(word, "${") != NULL;
}

/* ---- directives ---- */

/* A directive with its words. */
struct directive {
    struct section *section;
    struct import_place place;
    const char *name; /* as Apache's documentation spells it */
    const struct import_words *words;
};

/* "10.1" and "10.1." are 10.1.0.0/16 to Apache; malloc'ed, NULL for anything else. */
static char *expand_network(struct import *import, const char *text)
{
    unsigned octets[4] = {0};
    unsigned count = 0;
    while (*text && count < 4) {
        const char *digit = text;
        for (; *text >= '0' && *text <= '9' && octets[count] <= 255; text++)
            octets[count] = octets[count] * 10 + (unsigned)(*text - '0');
        if (text == digit || octets[count] > 255 || (*text && *text != '.'))
            return NULL;
        count++;
        text += *text == '.';
    }
    if (*text || count == 0 || count == 4)
        return NULL;
    return import_format(import, "%u.%u.%u.0/%u", octets[0], octets[1], octets[2], 8 * count);
}

static void take_proxies(const struct directive *directive, bool external)
{
    struct import *import = directive->section->import;
    for (size_t i = 0; i < directive->words->count; i++) {
        const char *word = directive->words->list[i];
        char *network = expand_network(import, word);
        import_add_entry(import, directive->section->scope, directive->place, directive->name,
                         network ? network : word, external);
        free(network);
    }
}

static void take_trusted(const struct directive *directive)
{
    take_proxies(directive, true);
}

static void take_internal(const struct directive *directive)
{
    take_proxies(directive, false);
}

static void take_list(const struct directive *directive, bool external)
{
    struct import *import = directive->section->import;
    char *path = import_complete_path(import, directive->words->list[0]);
    if (path)
        import_add_file(import, directive->section->scope, directive->place, directive->name, path, external);
    else
        import_fail(import, directive->place,
                    "%s \"%s\": it is unknown where relative paths start; write an absolute one",
                    directive->name, value_quote(slice_of(directive->words->list[0])).text);
    free(path);
}

static void take_trusted_list(const struct directive *directive)
{
    take_list(directive, true);
}

static void take_internal_list(const struct directive *directive)
{
    take_list(directive, false);
}

static void take_header(const struct directive *directive)
{
    struct import *import = directive->section->import;
    size_t scope = directive->section->scope;
    const struct import_value *old = &import->scopes[scope].values[IMPORT_HEADER];
    if (old->text)
        import_add_note(import, old->place, "RemoteIPHeader %s: replaced in line %u", old->text,
                        directive->place.line);
    import_set_value(import, scope, IMPORT_HEADER, directive->place, directive->words->list[0], NULL);
}

static void take_proxies_header(const struct directive *directive)
{
    import_add_note(directive->section->import, directive->place,
                    "RemoteIPProxiesHeader %s: the application gets the proxies, internal ones too, as "
                    "REALIP_PROXIES",
                    directive->words->list[0]);
}

static void take_protocol(const struct directive *directive)
{
    import_add_note(directive->section->import, directive->place,
                    "%s %s: leave it in Apache, which alone sees the PROXY protocol; REMOTE_ADDR is then "
                    "whom the balancer named",
                    directive->name, directive->words->list[0]);
}

static void take_root(const struct directive *directive)
{
    struct import *import = directive->section->import;
    if (directive->words->list[0][0] != '/')
        return;
    char *folder = import_copy(import, slice_of(directive->words->list[0]));
    free(import->folder);
    import->folder = folder;
}

static void take_name(const struct directive *directive)
{
    if (value_is_word(directive->section->name, "VirtualHost"))
        import_name_scope(directive->section->import, directive->section->scope, "VirtualHost %s",
                          directive->words->list[0]);
}

static void read_file(struct import_text *text, void *user);

static void take_include(const struct directive *directive)
{
    struct section inside = *directive->section;
    inside.name = SLICE("");
    if (has_variable(directive->words->list[0]))
        import_add_note(inside.import, directive->place, "%s %s: not read, for it names a variable",
                        directive->name, directive->words->list[0]);
    else
        import_include(inside.import, directive->place, directive->words->list[0], read_file, &inside);
}

static const struct {
    const char *name;
    void (*take)(const struct directive *directive);
    size_t most; /* words */
    bool remote; /* of mod_remoteip */
} directives[] = {
    {"RemoteIPHeader", take_header, 1, true},
    {"RemoteIPInternalProxy", take_internal, SIZE_MAX, true},
    {"RemoteIPTrustedProxy", take_trusted, SIZE_MAX, true},
    {"RemoteIPInternalProxyList", take_internal_list, 1, true},
    {"RemoteIPTrustedProxyList", take_trusted_list, 1, true},
    {"RemoteIPProxiesHeader", take_proxies_header, 1, true},
    {"RemoteIPProxyProtocol", take_protocol, 1, true},
    {"RemoteIPProxyProtocolExceptions", take_protocol, SIZE_MAX, true},
    {"ServerRoot", take_root, 1, false},
    {"ServerName", take_name, 1, false},
    {"Include", take_include, 1, false},
    {"IncludeOptional", take_include, 1, false},
};
#define DIRECTIVES (sizeof directives / sizeof *directives)

/* False: the directive is not to be taken, or after a mistake. */
static bool check_remote(struct import_text *text, const struct directive *directive)
{
    const struct section *section = directive->section;
    const struct import_words *words = directive->words;
    for (size_t i = 0; i < words->count; i++) {
        if (has_variable(words->list[i])) {
            import_fail(text->import, directive->place, "%s \"%s\": a variable; write its value",
                        directive->name, value_quote(slice_of(words->list[i])).text);
            return false;
        }
    }
    if (section->foreign)
        import_fail(text->import, directive->place, "%s: Apache does not take it in <%.*s>", directive->name,
                    (int)section->name.len, section->name.data);
    else if (section->skipped)
        import_add_note(text->import, directive->place, "%s: in <%s>, so not in here", directive->name,
                        section->condition);
    else if (section->condition)
        import_add_note(text->import, directive->place, "%s: in <%s>, taken as if that held", directive->name,
                        section->condition);
    return !section->foreign && !section->skipped;
}

static void take_directive(struct import_text *text, struct section *section, unsigned line, size_t number,
                           struct slice rest)
{
    struct import_words words = {0};
    struct directive directive = {section, {text->file, line}, directives[number].name, &words};
    for (char *word; next_word(text, line, &rest, &word);)
        import_push_word(text->import, &words, word);
    bool remote = directives[number].remote;
    bool counts = words.count >= 1 && words.count <= directives[number].most;
    if (!text->broken && remote && !counts)
        import_fail(text->import, directive.place, "\"%s\": takes %s, and has %zu", directive.name,
                    directives[number].most > 1 ? "one value or more" : "one value", words.count);
    else if (!text->broken && counts && (remote ? check_remote(text, &directive) : !section->skipped))
        directives[number].take(&directive);
    import_free_words(&words);
}

/* ---- sections ---- */

static struct slice first_word(struct slice text)
{
    size_t length = 0;
    while (length < text.len && !value_is_blank(text.data[length]) && text.data[length] != '>')
        length++;
    return slice_part(text, 0, length);
}

static bool is_module(struct slice name)
{
    return value_is_word(name, "mod_remoteip.c") || value_is_word(name, "remoteip_module");
}

/* What is special in the section that a line "<Name ...>" begins; condition: the text between the brackets.
 */
static void describe_section(struct section *section, struct import_place place, struct slice arguments,
                             const char *condition)
{
    static const char *const conditions[] = {"IfDefine", "IfVersion", "IfFile", "IfDirective", "IfSection"};
    if (section->skipped)
        return;
    if (value_is_word(section->name, "VirtualHost")) {
        section->scope = import_add_scope(section->import, section->scope, place, "VirtualHost %.*s",
                                          (int)arguments.len, arguments.data);
        return;
    }
    if (value_is_word(section->name, "IfModule")) {
        bool without = arguments.len > 0 && arguments.data[0] == '!';
        struct slice module = value_trim(slice_part(arguments, without ? 1 : 0, arguments.len));
        if (!is_module(module) || without)
            section->condition = condition;
        section->skipped = is_module(module) && without;
        return;
    }
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        if (value_is_word(section->name, conditions[i])) {
            section->condition = condition;
            return;
        }
    }
    if (value_is_word(section->name, "Macro")) {
        section->condition = condition;
        section->skipped = true;
        return;
    }
    section->foreign = true;
}

static void read_section(struct import_text *text, struct section *section, unsigned opened);

static void enter_section(struct import_text *text, const struct section *around, unsigned number,
                          struct slice line)
{
    struct section section = *around;
    size_t length = line.len;
    if (line.data[length - 1] != '>' || around->depth >= DEPTH_MAX) {
        import_break_text(text, number, line,
                          line.data[length - 1] == '>' ? "too many sections within each other"
                                                       : "this section's first line does not end with \">\"");
        return;
    }
    struct slice inner = slice_part(line, 1, length - 1);
    char *condition = import_copy(text->import, inner);
    if (!condition)
        return;
    section.depth++;
    section.name = first_word(inner);
    struct slice arguments = value_trim(slice_part(inner, section.name.len, inner.len));
    if (arguments.len > 1 && arguments.data[0] == '"' && arguments.data[arguments.len - 1] == '"')
        arguments = slice_part(arguments, 1, arguments.len - 1);
    describe_section(&section, (struct import_place){text->file, number}, arguments, condition);
    read_section(text, &section, number);
    free(condition);
}

/* True: it ends the section. */
static bool leave_section(struct import_text *text, const struct section *section, unsigned number,
                          struct slice line)
{
    struct slice name = first_word(slice_part(line, 2, line.len));
    if (section->name.len == name.len && name.len > 0 &&
        strncasecmp(section->name.data, name.data, name.len) == 0)
        return true;
    import_break_text(text, number, line,
                      section->name.len > 0 ? "not the section that is open here"
                                            : "no section is open that it could end");
    return false;
}

/* True: the line ends the section. */
static bool take_line(struct import_text *text, struct section *section, unsigned number, struct slice line)
{
    if (line.len == 0 || line.data[0] == '#')
        return false;
    if (line.len > 1 && line.data[0] == '<' && line.data[1] == '/')
        return leave_section(text, section, number, line);
    if (line.data[0] == '<') {
        enter_section(text, section, number, line);
        return false;
    }
    struct slice name = first_word(line);
    for (size_t i = 0; i < DIRECTIVES; i++)
        if (value_is_word(name, directives[i].name))
            take_directive(text, section, number, i, slice_part(line, name.len, line.len));
    return false;
}

/* The lines of a file, or of the section that was opened in that line. */
static void read_section(struct import_text *text, struct section *section, unsigned opened)
{
    bool ended = false;
    char *line;
    for (unsigned number; !ended && next_line(text, &line, &number); free(line))
        ended = take_line(text, section, number, value_trim(slice_of(line)));
    if (opened > 0 && !ended && !text->broken)
        import_break_text(text, opened, section->name, "this section has no end");
}

static void read_file(struct import_text *text, void *user)
{
    struct section *section = user;
    read_section(text, section, 0);
}

static void read_apache(struct import *import)
{
    struct import_text text;
    if (import_start_text(import, &text)) {
        import_add_scope(import, 0, (struct import_place){text.file, 1}, "main server");
        if (import->nscopes > 0)
            read_file(&text, &(struct section){.import = import});
    }
    import_end_text(&text);
}

const struct import_server import_apache = {
    .name = "apache",
    .title = "Apache",
    .nothing = "no RemoteIPHeader, so mod_remoteip believes no header and there is nothing to import",
    .select = "recursive",
    .open = true,
    .closing = "\n"
               "# mod_remoteip leaves in the header what it has not read; these two lines do so, too.\n"
               "# Without them the application sees in the header only what trusted proxies wrote.\n"
               "# [realip]\n"
               "# forwarded_for = unconfirmed\n",
    .read = read_apache,
    .print = import_print_groups,
};
