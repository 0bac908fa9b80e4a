#include "cli/import_text.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>

#include "config/values.h"

#define TEXT_MAX  (16 * 1024 * 1024) /* bytes of a file: no server's configuration is so long */
#define DEPTH_MAX 16                 /* of files within files */
#define FILES_MAX 4096               /* in all: a file that includes itself twice doubles at each depth */

bool import_open_lines(struct import *import, struct lines *lines)
{
    if (import->input) {
        *lines = (struct lines){.file = import->input, .path = import->path, .messages = import->messages};
        return true;
    }
    int error = lines_open(lines, import->path, import->messages);
    if (error != 0)
        messages_add(import->messages, true, import->path, 0, "cannot read it: %s", lines_reason(error));
    return error == 0;
}

void import_close_lines(const struct import *import, struct lines *lines)
{
    if (lines->file == import->input)
        lines->file = NULL; /* standard input is not ours to close */
    lines_close(lines);
}

static bool keep_file(struct import *import, const char *name)
{
    char **files = realloc(import->files, (import->nfiles + 1) * sizeof *files);
    if (files)
        import->files = files;
    char *copy = files ? import_copy(import, slice_of(name)) : NULL;
    if (!files)
        import_fail_memory(import);
    if (!copy)
        return false;
    import->files[import->nfiles++] = copy;
    return true;
}

/* False after an error. */
static bool gather(struct import *import, struct lines *lines, FILE *out)
{
    struct line line;
    size_t length = 0;
    size_t errors = import->messages->errors;
    while (lines_next(lines, &line)) {
        length += line.text.len + 1;
        if (length > TEXT_MAX) {
            messages_add(import->messages, true, lines->path, lines->number,
                         "the file is longer than %d MiB; this is no configuration", TEXT_MAX / 1024 / 1024);
            return false;
        }
        fwrite(line.text.data, 1, line.text.len, out);
        fputc('\n', out);
    }
    return import->messages->errors == errors;
}

/* Takes all of the lines. */
static bool fill_text(struct import_text *text, struct lines *lines)
{
    struct import *import = text->import;
    size_t length = 0;
    FILE *out = open_memstream(&text->data, &length);
    if (!out || !keep_file(import, lines->path)) {
        if (out)
            fclose(out);
        else
            import_fail_memory(import);
        return false;
    }
    bool good = gather(import, lines, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        import_fail_memory(import);
        return false;
    }
    text->file = import->files[import->nfiles - 1];
    text->at = text->data;
    text->end = text->data + length;
    return good;
}

bool import_start_text(struct import *import, struct import_text *text)
{
    *text = (struct import_text){.import = import, .line = 1};
    struct lines lines = {0};
    bool good = import_open_lines(import, &lines) && fill_text(text, &lines);
    import_close_lines(import, &lines);
    return good;
}

void import_end_text(struct import_text *text)
{
    free(text->data);
    text->data = NULL;
    text->at = text->end = NULL;
}

struct import_place import_place_of(const struct import_text *text)
{
    return (struct import_place){text->file, text->line};
}

void import_break_text(struct import_text *text, unsigned line, struct slice quoted, const char *why)
{
    const char *end = quoted.len > 0 ? memchr(quoted.data, '\n', quoted.len) : NULL;
    if (end)
        quoted.len = (size_t)(end - quoted.data);
    struct import_place place = {text->file, line};
    if (quoted.len > 0)
        import_fail(text->import, place, "\"%s\": %s", value_quote(quoted).text, why);
    else
        import_fail(text->import, place, "%s", why);
    text->broken = true;
    text->at = text->end;
}

char *import_complete_path(struct import *import, const char *path)
{
    if (path[0] == '/')
        return import_copy(import, slice_of(path));
    if (!import->folder)
        return NULL;
    return import_format(import, "%s/%s", import->folder, path);
}

static void read_included(struct import *import, struct import_place place, const char *path,
                          void (*read)(struct import_text *text, void *user), void *user)
{
    struct import_text text = {.import = import, .line = 1};
    struct lines lines;
    int error = lines_open(&lines, path, import->messages);
    if (error != 0)
        import_add_note(import, place, "%s: cannot be read (%s); import it by itself", path,
                        lines_reason(error));
    else if (fill_text(&text, &lines))
        read(&text, user);
    lines_close(&lines);
    import_end_text(&text);
}

void import_include(struct import *import, struct import_place place, const char *pattern,
                    void (*read)(struct import_text *text, void *user), void *user)
{
    char *path = import_complete_path(import, pattern);
    if (!path) {
        import_add_note(import, place,
                        "include %s: not read, for it is unknown where relative paths start; import it by "
                        "itself",
                        pattern);
        return;
    }
    if (import->depth >= DEPTH_MAX || import->nfiles >= FILES_MAX) {
        import_fail(import, place, "\"%s\": too many files include each other; break the circle",
                    value_quote(slice_of(pattern)).text);
        free(path);
        return;
    }
    glob_t found = {0};
    int error = glob(path, 0, NULL, &found);
    if (error != 0)
        import_add_note(import, place, "include %s: %s, so nothing of it is in here", path,
                        error == GLOB_NOMATCH ? "there is no such file" : "its folder cannot be read");
    import->depth++;
    for (size_t i = 0; error == 0 && i < found.gl_pathc; i++)
        read_included(import, place, found.gl_pathv[i], read, user);
    import->depth--;
    globfree(&found);
    free(path);
}

void import_push_word(struct import *import, struct import_words *words, char *word)
{
    if (!word)
        return;
    if (words->count == words->room) {
        size_t room = words->room > 0 ? 2 * words->room : 8;
        char **list = realloc(words->list, room * sizeof *list);
        if (!list) {
            import_fail_memory(import);
            free(word);
            return;
        }
        words->list = list;
        words->room = room;
    }
    words->list[words->count++] = word;
}

void import_clear_words(struct import_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i]);
    words->count = 0;
}

void import_free_words(struct import_words *words)
{
    import_clear_words(words);
    free(words->list);
    *words = (struct import_words){0};
}
