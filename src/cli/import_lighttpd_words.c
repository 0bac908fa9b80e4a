#include <stdlib.h>

#include "cli/import_lighttpd.h"

/* The longer ones first. */
static const char *const marks[] = {"+=", ":=", "=>", "==", "!=", "=~", "!~", "=^", "=$", "=", "(",
                                    ")",  "{",  "}",  "[",  "]",  ",",  "+",  "$",  ":",  ";"};

static struct slice rest_of(const struct import_text *text)
{
    return (struct slice){text->at, (size_t)(text->end - text->at)};
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static void skip_blank(struct import_text *text)
{
    bool comment = false;
    for (; text->at < text->end && (comment || strchr(" \t\n#", *text->at)); text->at++) {
        comment = *text->at != '\n' && (comment || *text->at == '#');
        text->line += *text->at == '\n';
    }
}

static char *read_name(struct import_text *text)
{
    const char *from = text->at;
    while (text->at < text->end && is_name_byte(*text->at))
        text->at++;
    return import_copy(text->import, (struct slice){from, (size_t)(text->at - from)});
}

/* NULL after a mistake. */
static char *read_string(struct import_text *text)
{
    struct slice begin = rest_of(text);
    unsigned line = text->line;
    text->at++;
    char *string = import_copy(text->import, rest_of(text));
    char *out = string;
    if (!string)
        return NULL;
    for (; text->at < text->end && *text->at != '"'; text->at++) {
        if (*text->at == '\\' && (text->at[1] == '"' || text->at[1] == '\\'))
            text->at++;
        text->line += *text->at == '\n';
        *out++ = *text->at;
    }
    *out = '\0';
    if (text->at < text->end) {
        text->at++;
        return string;
    }
    import_break_text(text, line, begin, "this string has no end");
    free(string);
    return NULL;
}

static const char *read_mark(struct import_text *text)
{
    struct slice rest = rest_of(text);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t length = strlen(marks[i]);
        if (rest.len >= length && memcmp(rest.data, marks[i], length) == 0) {
            text->at += length;
            return marks[i];
        }
    }
    import_break_text(text, text->line, rest, "not in lighttpd's syntax as far as it is known here");
    return NULL;
}

bool lighttpd_next(struct import_text *text, struct lighttpd_token *token)
{
    skip_blank(text);
    *token = (struct lighttpd_token){.line = text->line};
    if (text->at == text->end)
        return false;
    if (*text->at == '"') {
        token->kind = LIGHTTPD_STRING;
        token->text = read_string(text);
        return token->text != NULL;
    }
    if (is_name_byte(*text->at)) {
        token->kind = LIGHTTPD_NAME;
        token->text = read_name(text);
        return token->text != NULL;
    }
    token->kind = LIGHTTPD_MARK;
    token->mark = read_mark(text);
    return token->mark != NULL;
}

void lighttpd_free(struct lighttpd_token *token)
{
    free(token->text);
    token->text = NULL;
}

bool lighttpd_at(struct import_text *text, const char *mark)
{
    skip_blank(text);
    struct slice rest = rest_of(text);
    size_t length = strlen(mark);
    return rest.len >= length && memcmp(rest.data, mark, length) == 0;
}

bool lighttpd_take(struct import_text *text, const char *mark)
{
    if (!lighttpd_at(text, mark))
        return false;
    text->at += strlen(mark);
    return true;
}

static bool is_mark(const struct lighttpd_token *token, const char *mark)
{
    return token->kind == LIGHTTPD_MARK && strcmp(token->mark, mark) == 0;
}

static void break_value(struct import_text *text, const struct lighttpd_token *token, const char *why)
{
    import_break_text(text, token->line, slice_of(token->text ? token->text : token->mark), why);
}

/* Behind the ")" of the "(" that was read in this line. */
static void skip_list(struct import_text *text, unsigned opened)
{
    struct lighttpd_token token;
    unsigned depth = 1;
    while (depth > 0 && lighttpd_next(text, &token)) {
        depth += is_mark(&token, "(");
        depth -= is_mark(&token, ")");
        lighttpd_free(&token);
    }
    if (depth > 0 && !text->broken)
        import_break_text(text, opened, SLICE("("), "this list has no end; write \")\" behind it");
}

void lighttpd_skip_value(struct import_text *text)
{
    do {
        struct lighttpd_token token;
        if (!lighttpd_next(text, &token)) {
            if (!text->broken)
                import_break_text(text, text->line, SLICE("="), "the file ends where a value should be");
            return;
        }
        if (is_mark(&token, "("))
            skip_list(text, token.line);
        else if (token.kind == LIGHTTPD_MARK)
            break_value(text, &token, "not a value");
        lighttpd_free(&token);
    } while (!text->broken && lighttpd_take(text, "+"));
}

bool lighttpd_enter_list(struct import_text *text)
{
    if (lighttpd_take(text, "("))
        return true;
    import_break_text(text, text->line, rest_of(text), "not a list; write it out between \"(\" and \")\"");
    return false;
}

/* A literal: a string, or, behind "=>", a number or word. NULL after a mistake. */
static char *read_literal(struct import_text *text, bool number)
{
    struct lighttpd_token token;
    if (!lighttpd_next(text, &token)) {
        if (!text->broken)
            import_break_text(text, text->line, SLICE("("), "this list has no end; write \")\" behind it");
        return NULL;
    }
    bool digits = number && token.kind == LIGHTTPD_NAME && strspn(token.text, "0123456789") > 0;
    if ((token.kind == LIGHTTPD_STRING || digits) && !lighttpd_at(text, "+"))
        return token.text;
    break_value(text, &token, "not a plain string; write the value itself, between quotes");
    lighttpd_free(&token);
    return NULL;
}

bool lighttpd_next_pair(struct import_text *text, struct lighttpd_pair *pair)
{
    while (lighttpd_take(text, ","))
        ;
    skip_blank(text);
    *pair = (struct lighttpd_pair){.line = text->line};
    if (lighttpd_take(text, ")"))
        return false;
    pair->value = read_literal(text, false);
    if (pair->value && lighttpd_take(text, "=>")) {
        pair->key = pair->value;
        pair->value = read_literal(text, true);
    }
    if (pair->value && !lighttpd_at(text, ",") && !lighttpd_at(text, ")"))
        import_break_text(text, text->line, rest_of(text), "neither \",\" nor \")\" behind an element");
    if (pair->value && !text->broken)
        return true;
    lighttpd_free_pair(pair);
    return false;
}

void lighttpd_free_pair(struct lighttpd_pair *pair)
{
    free(pair->key);
    free(pair->value);
    *pair = (struct lighttpd_pair){0};
}
