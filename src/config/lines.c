#include "config/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int lines_open(struct lines *lines, const char *path, struct messages *messages)
{
    *lines = (struct lines){.path = path, .messages = messages};

    /* Without O_NONBLOCK a FIFO would hold us here before it can be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;

    int error = 0;
    if (fstat(fd, &lines->status) != 0)
        error = -errno;
    else if (S_ISDIR(lines->status.st_mode))
        error = -EISDIR;
    else if (!S_ISREG(lines->status.st_mode))
        error = -EINVAL;
    if (error == 0) {
        lines->file = fdopen(fd, "r");
        if (!lines->file)
            error = -errno;
    }
    if (error != 0)
        close(fd);
    return error;
}

void lines_open_text(struct lines *lines, const char *path, struct slice text, struct messages *messages)
{
    *lines = (struct lines){.path = path, .messages = messages, .rest = text};
}

const char *lines_reason(int error)
{
    switch (-error) {
    case EISDIR:
        return "it is a folder";
    case EINVAL:
        return "it is not a regular file";
    default:
        return strerror(-error);
    }
}

/* The end of the line, and at the start of a file the byte order mark, are no part of its text. */
static struct slice strip_line(struct slice text, bool first)
{
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    if (text.len > 0 && text.data[text.len - 1] == '\r')
        text.len--;
    if (first && text.len >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0)
        text = slice_part(text, 3, text.len);
    return text;
}

static bool is_utf16(struct slice text)
{
    return text.len >= 2 && (memcmp(text.data, "\xFF\xFE", 2) == 0 || memcmp(text.data, "\xFE\xFF", 2) == 0);
}

static bool report_control(const struct lines *lines, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c >= 0x20 && c != 0x7f) || c == '\t')
            continue;
        if (c == 0)
            messages_add(lines->messages, true, lines->path, lines->number,
                         "NUL byte in column %zu; this is not a plain text file", i + 1);
        else
            messages_add(lines->messages, true, lines->path, lines->number,
                         "control character 0x%02x in column %zu; remove it", c, i + 1);
        return true;
    }
    return false;
}

/* False without memory. */
static bool add_copy(struct lines_text *copy, struct slice text)
{
    if (copy->room - copy->len < text.len) {
        size_t room = 2 * copy->room + text.len;
        char *data = realloc(copy->data, room);
        if (!data)
            return false;
        copy->data = data;
        copy->room = room;
    }
    memcpy(copy->data + copy->len, text.data, text.len);
    copy->len += text.len;
    return true;
}

/* With its end. False at the end, or after a message. */
static bool read_line(struct lines *lines, struct slice *text)
{
    errno = 0;
    ssize_t length = getline(&lines->buffer, &lines->size, lines->file);
    *text = (struct slice){lines->buffer, length < 0 ? 0 : (size_t)length};
    if (length >= 0 && (!lines->copy || add_copy(lines->copy, *text)))
        return true;
    /* getline says -1 for the end, for a read error and for want of memory alike. */
    if (length >= 0 || ferror(lines->file) || !feof(lines->file))
        messages_add(lines->messages, true, lines->path, lines->number, "cannot read on after this line: %s",
                     strerror(errno));
    return false;
}

static bool cut_line(struct lines *lines, struct slice *text)
{
    struct slice rest = lines->rest;
    if (rest.len == 0)
        return false;
    const char *end = memchr(rest.data, '\n', rest.len);
    *text = slice_part(rest, 0, end ? (size_t)(end - rest.data) + 1 : rest.len);
    lines->rest = slice_part(rest, text->len, rest.len);
    return true;
}

bool lines_next(struct lines *lines, struct line *line)
{
    struct slice text;
    if (!(lines->file ? read_line(lines, &text) : cut_line(lines, &text)))
        return false;
    lines->number++;

    if (lines->number == 1 && is_utf16(text)) {
        messages_add(lines->messages, true, lines->path, 0,
                     "the file is in UTF-16; save it as UTF-8 or plain text");
        return false;
    }
    line->text = strip_line(text, lines->number == 1);
    line->bad = report_control(lines, line->text);
    return true;
}

void lines_close(struct lines *lines)
{
    if (lines->file)
        fclose(lines->file);
    free(lines->buffer);
    lines->file = NULL;
    lines->buffer = NULL;
    lines->size = 0;
}
