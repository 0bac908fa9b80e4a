#include "cli/text.h"

#include <stdlib.h>

#define QUOTE_MAX 2000 /* bytes */
#define COLUMNS   80

static void escape_byte(FILE *out, char byte, bool quoted)
{
    if (byte == '\\' || (quoted && byte == '"'))
        fprintf(out, "\\%c", byte);
    else if (byte >= ' ' && byte <= '~')
        fputc(byte, out);
    else if (byte == '\t' || byte == '\r' || byte == '\n')
        fputs(byte == '\t' ? "\\t" : byte == '\r' ? "\\r" : "\\n", out);
    else
        fprintf(out, "\\x%02x", (unsigned char)byte);
}

void text_escape(FILE *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        escape_byte(out, text.data[i], false);
}

void text_quote(FILE *out, struct slice text)
{
    fputc('"', out);
    for (size_t i = 0; i < text.len && i < QUOTE_MAX; i++)
        escape_byte(out, text.data[i], true);
    fputc('"', out);
    if (text.len > QUOTE_MAX)
        fprintf(out, "... (%zu bytes in all)", text.len);
}

/* The end of the word that begins at `at`; blanks in double quotes and in brackets belong to it. */
static size_t find_word_end(struct slice text, size_t at)
{
    bool quoted = false, bracketed = false;
    for (; at < text.len; at++) {
        char byte = text.data[at];
        if (quoted && byte == '\\')
            at++;
        else if (byte == '"')
            quoted = !quoted;
        else if (!quoted && (byte == '[' || byte == ']'))
            bracketed = byte == '[';
        else if (!quoted && !bracketed && (byte == ' ' || byte == '\n'))
            break;
    }
    return at < text.len ? at : text.len;
}

/* Where a line stands while it is filled. */
struct line {
    FILE *out;
    size_t margin, column;
    bool empty; /* but for blanks */
};

static void break_line(struct line *line)
{
    fprintf(line->out, "\n%*s", (int)line->margin, "");
    line->column = line->margin;
    line->empty = true;
}

static void put_word(struct line *line, struct slice word)
{
    if (!line->empty && line->column + 1 + word.len > COLUMNS)
        break_line(line);
    if (!line->empty) {
        fputc(' ', line->out);
        line->column++;
    }
    fwrite(word.data, 1, word.len, line->out);
    line->column += word.len;
    line->empty = false;
}

void text_wrap(FILE *out, const char *mark, struct slice text)
{
    struct line line = {.out = out, .margin = strlen(mark), .column = strlen(mark), .empty = true};
    fputs(mark, out);
    for (size_t at = 0; at < text.len;) {
        if (text.data[at] == '\n') {
            break_line(&line);
            for (at++; at < text.len && text.data[at] == ' '; at++, line.column++)
                fputc(' ', out);
        } else if (text.data[at] == ' ') {
            at++;
        } else {
            size_t end = find_word_end(text, at);
            put_word(&line, slice_part(text, at, end));
            at = end;
        }
    }
    fputc('\n', out);
}

FILE *paragraph_begin(struct paragraph *paragraph, FILE *out)
{
    *paragraph = (struct paragraph){.out = out};
    paragraph->words = open_memstream(&paragraph->text, &paragraph->len);
    if (!paragraph->words)
        paragraph->words = out; /* without memory for it, long lines are better than nothing */
    return paragraph->words;
}

void paragraph_end(struct paragraph *paragraph, const char *mark)
{
    if (paragraph->words != paragraph->out) {
        fclose(paragraph->words);
        text_wrap(paragraph->out, mark, (struct slice){paragraph->text, paragraph->len});
    }
    free(paragraph->text);
}
