#include "config/messages.h"

#include <stdarg.h>
#include <stdlib.h>

static char *format_text(const char *file, unsigned line, const char *format, va_list arguments)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (!stream)
        return NULL;
    if (line > 0)
        fprintf(stream, "%s:%u: ", file, line);
    else
        fprintf(stream, "%s: ", file);
    vfprintf(stream, format, arguments);
    bool failed = ferror(stream) != 0;
    if (fclose(stream) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

void messages_add(struct messages *messages, bool error, const char *file, unsigned line, const char *format,
                  ...)
{
    if (error)
        messages->errors++;

    struct message *list = realloc(messages->list, (messages->count + 1) * sizeof *list);
    if (!list)
        return;
    messages->list = list;

    va_list arguments;
    va_start(arguments, format);
    char *text = format_text(file, line, format, arguments);
    va_end(arguments);
    if (!text)
        return;
    list[messages->count] = (struct message){
        .error = error,
        .text = text,
        .order = messages->within > 0 ? messages->within : line,
    };
    messages->count++;
}

static int compare_order(const void *left, const void *right)
{
    const struct message *a = left;
    const struct message *b = right;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return a->arrival < b->arrival ? -1 : 1;
}

void messages_sort(struct messages *messages, size_t from)
{
    /* qsort is not stable, so the order of arrival is part of the key. */
    for (size_t i = from; i < messages->count; i++)
        messages->list[i].arrival = i;
    if (messages->count > from + 1)
        qsort(messages->list + from, messages->count - from, sizeof *messages->list, compare_order);
}

void messages_print(const struct messages *messages, FILE *out)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct message *message = &messages->list[i];
        fprintf(out, "fcgi-realip: %s: %s\n", message->error ? "error" : "warning", message->text);
    }
}

void messages_free(struct messages *messages)
{
    for (size_t i = 0; i < messages->count; i++)
        free(messages->list[i].text);
    free(messages->list);
    *messages = (struct messages){0};
}
