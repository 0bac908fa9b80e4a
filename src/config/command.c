#include "config/command.h"

#include <stdlib.h>

#include "config/values.h"

void command_free(char **command)
{
    if (!command)
        return;
    for (size_t i = 0; command[i]; i++)
        free(command[i]);
    free(command);
}

char **command_copy(char *const *command)
{
    size_t n = 0;
    while (command[n])
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strdup(command[i]);
        if (copy[i])
            continue;
        command_free(copy);
        return NULL;
    }
    return copy;
}

/* Writes the next word to out, without its quotes; returns its length, or -1 if a quote is left open. */
static ptrdiff_t take_word(struct slice *rest, char *out)
{
    size_t at = 0;
    ptrdiff_t length = 0;
    char quote = 0;
    for (; at < rest->len; at++) {
        char c = rest->data[at];
        if (quote && c == quote)
            quote = 0;
        else if (!quote && (c == '"' || c == '\''))
            quote = c;
        else if (!quote && value_is_blank(c))
            break;
        else
            out[length++] = c;
    }
    *rest = slice_part(*rest, at, rest->len);
    return quote ? -1 : length;
}

char **command_split(struct slice text, const char **why)
{
    char **command = calloc(text.len + 1, sizeof(*command));
    char *word = malloc(text.len + 1);
    size_t n = 0;
    *why = NULL;
    for (struct slice rest = value_trim(text); command && word && !*why && rest.len > 0;
         rest = value_trim(rest)) {
        ptrdiff_t length = take_word(&rest, word);
        if (length < 0)
            *why =
                "a quote is not closed; close it, and mind that \" ;\" begins a comment between quotes, too";
        else if (!(command[n++] = strndup(word, (size_t)length)))
            break;
    }
    if (!*why && (!command || !word || (n > 0 && !command[n - 1])))
        *why = "out of memory";
    else if (!*why && (n == 0 || command[0][0] == '\0'))
        *why = "names no program; write its path, then its arguments";
    free(word);
    if (!*why)
        return command;
    command_free(command);
    return NULL;
}
