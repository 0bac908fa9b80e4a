#include "config/ini.h"

#include <ini.h>

#include "config/values.h"
#include "realip/cidr.h"

/* Stands for a value that is too long for inih. lines_next lets no control character through. */
#define STAND_IN "\001"

/* What an indented line would continue. */
enum above { ABOVE_NOTHING, ABOVE_KEY, ABOVE_BAD_KEY };

enum place { PLACE_OUTSIDE, PLACE_SECTION, PLACE_BAD_SECTION };

struct feed {
    struct lines *lines;
    const struct ini_visitor *visitor;
    enum place place;
    enum above above;
    struct slice value; /* of the line just fed, whole */
    bool continued;     /* so is that line */
};

/* What inih is to read of a line; nothing if text is empty. */
struct portion {
    struct slice before; /* "key = ", " " or "[" */
    struct slice text;
    struct slice after; /* "]" */
};

static const struct portion NOTHING;

static void report(const struct feed *feed, const char *why, struct slice text)
{
    messages_add(feed->lines->messages, true, feed->lines->path, feed->lines->number, "\"%s\": %s",
                 value_quote(text).text, why);
}

/* Where inih would see the first of the stops, or a comment; else the end. */
static size_t find_end(struct slice text, size_t from, const char *stops)
{
    for (size_t i = from; i < text.len; i++) {
        char c = text.data[i];
        if (strchr(stops, c) || (c == ';' && i > from && value_is_blank(text.data[i - 1])))
            return i;
    }
    return text.len;
}

static struct portion take_section(struct feed *feed, struct slice text, bool indented)
{
    size_t end = find_end(text, 1, "]");
    struct slice name = value_trim(slice_part(text, 1, end));
    if (end == text.len || text.data[end] != ']') {
        report(feed, "the section's name has no end; write \"]\" behind it", text);
    } else {
        struct slice rest = value_trim(slice_part(text, end + 1, text.len));
        if (rest.len > 0 && rest.data[0] != ';')
            report(feed, "text behind \"]\"; put it on a line of its own, a comment behind \" ;\"", rest);
    }
    if (indented && feed->above != ABOVE_NOTHING)
        report(feed, "a section begins at the start of a line; remove the white space in front of it", text);

    feed->above = ABOVE_NOTHING;
    if (name.len > INI_SECTION_MAX) {
        feed->place = PLACE_BAD_SECTION;
        messages_add(feed->lines->messages, true, feed->lines->path, feed->lines->number,
                     "\"%s\": the section's name has %zu bytes; use at most %d", value_quote(name).text,
                     name.len, INI_SECTION_MAX);
        return NOTHING;
    }
    feed->place = PLACE_SECTION;
    feed->visitor->section(feed->visitor->user, name, feed->lines->number);
    return (struct portion){SLICE("["), name, SLICE("]")};
}

static struct portion take_continuation(struct feed *feed, struct slice text)
{
    if (feed->above == ABOVE_BAD_KEY || feed->place == PLACE_BAD_SECTION)
        return NOTHING;
    feed->value = value_trim(slice_part(text, 0, find_end(text, 0, "")));
    feed->continued = true;
    return (struct portion){SLICE(" "), feed->value, SLICE("")};
}

/* NULL, or what is wrong with a line that should be "key = value"; end is where find_end saw "=". */
static const char *judge_key_line(const struct feed *feed, struct slice text, size_t end)
{
    struct slice whole = value_trim(slice_part(text, 0, find_end(text, 0, "")));
    struct cidr block;
    bool host_bits;
    if (feed->place == PLACE_OUTSIDE)
        return "outside of any section; write a section such as [realip] above it";
    if (cidr_parse(whole, &block, &host_bits))
        return "an address without a key; to continue the list above it, indent this line";
    if (end == text.len || text.data[end] == ';')
        return "no \"=\" in this line; write KEY = VALUE, and \"#\" in front of a comment";
    if (value_trim(slice_part(text, 0, end)).len == 0)
        return "no key in front of \"=\"; write KEY = VALUE";
    return NULL;
}

static struct portion take_key(struct feed *feed, struct slice text)
{
    feed->above = ABOVE_BAD_KEY;
    size_t end = find_end(text, 0, "=:");
    const char *wrong = judge_key_line(feed, text, end);
    if (wrong)
        report(feed, wrong, text);
    if (wrong || feed->place == PLACE_BAD_SECTION)
        return NOTHING;

    feed->above = ABOVE_KEY;
    feed->value = value_trim(slice_part(text, end + 1, find_end(text, end + 1, "")));
    feed->continued = false;
    return (struct portion){slice_part(text, 0, end + 1), feed->value, SLICE("")};
}

static struct portion take_line(struct feed *feed, const struct line *line)
{
    struct slice text = value_trim(line->text);
    if (text.len == 0 || text.data[0] == '#' || text.data[0] == ';')
        return NOTHING;

    bool indented = value_is_blank(line->text.data[0]);
    bool bracket = text.data[0] == '[';
    if (line->bad) {
        feed->above = ABOVE_BAD_KEY;
        if (bracket)
            feed->place = PLACE_BAD_SECTION;
        return NOTHING;
    }
    bool continues = indented && feed->above != ABOVE_NOTHING;
    /* "[::1]:9000" may continue a list of addresses, "[name]" nothing. */
    if (bracket && (!continues || text.data[text.len - 1] == ']'))
        return take_section(feed, text, indented);
    if (continues)
        return take_continuation(feed, text);
    return take_key(feed, text);
}

static size_t append(char *out, size_t at, struct slice text)
{
    if (text.len > 0)
        memcpy(out + at, text.data, text.len);
    return at + text.len;
}

/* inih's reader: each call gives one line of the file, or an empty one where inih has nothing to do. */
static char *feed_line(char *out, int size, void *stream)
{
    struct feed *feed = stream;
    struct line line;
    if (!lines_next(feed->lines, &line))
        return NULL;

    struct portion portion = take_line(feed, &line);
    /* The line's end and the NUL count too: inih takes a full buffer without "\n" for half a line. */
    size_t room = (size_t)size - 2;
    if (portion.before.len + portion.text.len + portion.after.len > room)
        portion.text = SLICE(STAND_IN);
    if (portion.before.len + portion.text.len + portion.after.len > room) {
        report(feed, "no key is so long", portion.before);
        feed->above = ABOVE_BAD_KEY;
        portion = NOTHING;
    }
    size_t at = append(out, 0, portion.before);
    at = append(out, at, portion.text);
    at = append(out, at, portion.after);
    out[at] = '\n';
    out[at + 1] = '\0';
    return out;
}

static int take_value(void *user, const char *section, const char *name, const char *value)
{
    const struct feed *feed = user;
    (void)section; /* our own reader has told the visitor already */
    struct slice text = strcmp(value, STAND_IN) == 0 ? feed->value : slice_of(value);
    feed->visitor->value(feed->visitor->user, slice_of(name), text, feed->lines->number, feed->continued);
    return 1;
}

void ini_read(struct lines *lines, const struct ini_visitor *visitor)
{
    struct feed feed = {.lines = lines, .visitor = visitor};
    int result = ini_parse_stream(feed_line, &feed, take_value, &feed);
    /* Cannot happen with an inih that reads what its documentation says; but nothing may be lost silently. */
    if (result != 0)
        messages_add(lines->messages, true, lines->path, result > 0 ? (unsigned)result : 0,
                     "the INI library cannot read this; please report it");
}
