#include <stdlib.h>

#include "cli/import_nginx.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blank(struct import_text *text)
{
    for (bool comment = false; text->at < text->end && (comment || is_blank(*text->at) || *text->at == '#');
         text->at++) {
        comment = *text->at != '\n' && (comment || *text->at == '#');
        text->line += *text->at == '\n';
    }
}

/* The rest of the text, for messages that quote its first line. */
static struct slice rest_of(const struct import_text *text)
{
    return (struct slice){text->at, (size_t)(text->end - text->at)};
}

/* Without the escapes that nginx takes away; the others stay as they are. */
static char *copy_word(struct import *import, const char *from, const char *to)
{
    char *word = import_copy(import, (struct slice){from, (size_t)(to - from)});
    if (!word)
        return NULL;
    char *out = word;
    for (; from < to; from++) {
        char next = from + 1 < to ? from[1] : '\0';
        if (*from == '\\' && (next == '"' || next == '\'' || next == '\\'))
            *out++ = *++from;
        else if (*from == '\\' && (next == 't' || next == 'r' || next == 'n'))
            *out++ = *++from == 't' ? '\t' : *from == 'r' ? '\r' : '\n';
        else
            *out++ = *from;
    }
    *out = '\0';
    return word;
}

/* NULL after a mistake. */
static char *read_quoted(struct import_text *text)
{
    struct slice begin = rest_of(text);
    unsigned line = text->line;
    char quote = *text->at++;
    const char *from = text->at;
    for (; text->at < text->end && *text->at != quote; text->at++) {
        if (*text->at == '\\' && text->at + 1 < text->end)
            text->at++;
        text->line += *text->at == '\n';
    }
    if (text->at == text->end) {
        import_break_text(text, line, begin, "this quote has no end");
        return NULL;
    }
    const char *to = text->at++;
    if (text->at < text->end && !is_blank(*text->at) && !strchr(";{)", *text->at)) {
        import_break_text(text, text->line, rest_of(text), "text right behind a quote; put a blank between");
        return NULL;
    }
    return copy_word(text->import, from, to);
}

static char *read_bare(struct import_text *text)
{
    const char *from = text->at;
    bool variable = false; /* the "{" of ${name} ends no word */
    for (; text->at < text->end && !is_blank(*text->at) && *text->at != ';'; text->at++) {
        if (*text->at == '{' && !variable)
            break;
        variable = *text->at == '$';
        if (*text->at == '\\' && text->at + 1 < text->end)
            text->at++;
        text->line += *text->at == '\n';
    }
    return copy_word(text->import, from, text->at);
}

/* What stands where a statement may end. False: the statement goes on, or there is a mistake. */
static bool take_end(struct import_text *text, struct nginx_statement *statement)
{
    char c = *text->at;
    if (!strchr(";{}", c))
        return false;
    if ((c == '}') != (statement->words.count == 0)) {
        import_break_text(text, text->line, rest_of(text),
                          c == '}' ? "the statement before it has no end; write \";\" behind that"
                                   : "there is no statement before it; remove it");
        return false;
    }
    text->at++;
    statement->end = c;
    return true;
}

static void take_word(struct import_text *text, struct nginx_statement *statement)
{
    bool quoted = *text->at == '"' || *text->at == '\'';
    import_push_word(text->import, &statement->words, quoted ? read_quoted(text) : read_bare(text));
}

bool nginx_next_statement(struct import_text *text, struct nginx_statement *statement)
{
    import_clear_words(&statement->words);
    statement->end = '\0';
    statement->line = 0;
    for (skip_blank(text); text->at < text->end; skip_blank(text)) {
        if (statement->line == 0)
            statement->line = text->line;
        if (take_end(text, statement))
            return true;
        if (!text->broken)
            take_word(text, statement);
    }
    if (!text->broken && statement->words.count > 0)
        import_break_text(text, statement->line, slice_of(statement->words.list[0]),
                          "this statement has no end; write \";\" behind it");
    return false;
}

/* Behind a string or comment of Lua that begins here; the same place if there is none. */
static const char *skip_lua_text(const char *at, const char *end)
{
    size_t left = (size_t)(end - at);
    const char *stop = NULL;
    bool comment = left >= 2 && memcmp(at, "--", 2) == 0;
    const char *opening = comment ? at + 2 : at;
    bool brackets = end - opening >= 2 && memcmp(opening, "[[", 2) == 0;
    if (brackets)
        stop = memmem(at, left, "]]", 2);
    else if (comment)
        stop = memchr(at, '\n', left);
    else if (*at != '"' && *at != '\'')
        return at;
    if (brackets || comment)
        return stop ? stop + (brackets ? 2 : 1) : end;
    char quote = *at++;
    while (at < end && *at != quote)
        at += *at == '\\' && at + 1 < end ? 2 : 1;
    return at < end ? at + 1 : end;
}

void nginx_skip_lua(struct import_text *text, unsigned opened)
{
    unsigned depth = 1;
    while (text->at < text->end && depth > 0) {
        const char *behind = skip_lua_text(text->at, text->end);
        if (behind == text->at) {
            depth += *text->at == '{';
            depth -= *text->at == '}';
            behind++;
        }
        for (; text->at < behind; text->at++)
            text->line += *text->at == '\n';
    }
    if (depth > 0)
        import_break_text(text, opened, SLICE("{"), "this block of Lua has no end; write \"}\" behind it");
}
