#include "config/values.h"

#include <stdio.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the digits that text begins with; returns how many there are, *overflow if they are too many. */
static size_t read_digits(struct slice text, uint64_t *out, bool *overflow)
{
    size_t at = 0;
    *out = 0;
    *overflow = false;
    for (; at < text.len && is_digit(text.data[at]); at++) {
        uint64_t digit = (uint64_t)(text.data[at] - '0');
        if (*out > (UINT64_MAX - digit) / 10)
            *overflow = true;
        else
            *out = *out * 10 + digit;
    }
    return at;
}

const char *value_parse_number(struct slice text, uint64_t *out)
{
    uint64_t number;
    bool overflow;
    size_t digits = read_digits(text, &number, &overflow);
    if (digits == 0 || digits < text.len)
        return "not a number; write digits only";
    if (overflow)
        return "the number is too large";
    *out = number;
    return NULL;
}

const char *value_parse_mode(struct slice text, uint64_t *out)
{
    uint64_t mode = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '7' || mode > 0777)
            return "not a file mode; write octal digits from 0 to 0777, as in 0660";
        mode = mode * 8 + (uint64_t)(text.data[i] - '0');
    }
    if (text.len == 0 || mode > 0777)
        return "not a file mode; write octal digits from 0 to 0777, as in 0660";
    *out = mode;
    return NULL;
}

/* A number and one of the units; without a unit *factor is 0. */
static const char *parse_unit(struct slice text, const struct unit *units, const char *none, uint64_t *number,
                              uint64_t *factor)
{
    bool overflow;
    size_t digits = read_digits(text, number, &overflow);
    struct slice name = slice_part(text, digits, text.len);
    *factor = 0;
    for (; name.len > 0 && units->name; units++) {
        if (value_is_word(name, units->name))
            *factor = units->factor;
    }
    if (digits == 0 || (name.len > 0 && *factor == 0))
        return none;
    if (overflow || (*factor > 0 && *number > UINT64_MAX / *factor))
        return "the number is too large";
    return NULL;
}

const char *value_parse_duration(struct slice text, uint64_t *out)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
    uint64_t number, factor;
    const char *wrong = parse_unit(
        text, units, "not a duration; write a number and ms, s, m or h, as in 250ms or 5s", &number, &factor);
    if (wrong)
        return wrong;
    if (factor == 0 && number != 0)
        return "a duration needs its unit; write ms, s, m or h behind the number, as in 5s";
    *out = number * factor;
    return NULL;
}

const char *value_parse_size(struct slice text, uint64_t *out)
{
    static const struct unit units[] = {
        {"k", 1024}, {"m", 1024 * 1024}, {"g", 1024 * 1024 * 1024}, {NULL, 0}};
    uint64_t number, factor;
    const char *wrong =
        parse_unit(text, units, "not a size; write a number of bytes, or one and k, m or g, as in 64k",
                   &number, &factor);
    if (wrong)
        return wrong;
    *out = factor == 0 ? number : number * factor;
    return NULL;
}

const char *value_parse_boolean(struct slice text, uint64_t *out)
{
    if (value_is_word(text, "yes") || value_is_word(text, "on") || value_is_word(text, "true"))
        *out = 1;
    else if (value_is_word(text, "no") || value_is_word(text, "off") || value_is_word(text, "false"))
        *out = 0;
    else
        return "neither yes nor no; write yes, on or true, or no, off or false";
    return NULL;
}

bool value_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice value_trim(struct slice text)
{
    size_t from = 0;
    while (from < text.len && value_is_blank(text.data[from]))
        from++;
    size_t to = text.len;
    while (to > from && value_is_blank(text.data[to - 1]))
        to--;
    return slice_part(text, from, to);
}

static bool is_separator(char c)
{
    return c == ',' || value_is_blank(c);
}

bool value_next_word(struct slice *rest, struct slice *word)
{
    size_t from = 0;
    while (from < rest->len && is_separator(rest->data[from]))
        from++;
    size_t to = from;
    while (to < rest->len && !is_separator(rest->data[to]))
        to++;
    *word = slice_part(*rest, from, to);
    *rest = slice_part(*rest, to, rest->len);
    return word->len > 0;
}

bool value_is_word(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

bool value_is_token(struct slice text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !is_digit(c) && !memchr(others, c, sizeof others - 1))
            return false;
    }
    return text.len > 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* No name of ours is longer; a longer text is near to none. */
#define NAME_MAX_LEN 40

size_t value_measure_distance(struct slice a, struct slice b)
{
    if (a.len > NAME_MAX_LEN || b.len > NAME_MAX_LEN)
        return NAME_MAX_LEN;

    /* rows[i % 3] holds the distances between the first i letters of a and all beginnings of b. */
    size_t rows[3][NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3];
        const size_t *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = lower(a.data[i - 1]);
            char y = lower(b.data[j - 1]);
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == lower(b.data[j - 2]) && y == lower(a.data[i - 2]);
            if (swapped && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
    }
    return rows[a.len % 3][b.len];
}

bool value_is_near(struct slice a, struct slice b)
{
    size_t allowed = 1 + a.len / 4;
    return value_measure_distance(a, b) <= (allowed < 3 ? allowed : 3);
}

struct quote value_quote(struct slice text)
{
    struct quote quote;
    size_t room = sizeof quote.text - 1;
    if (text.len <= room) {
        memcpy(quote.text, text.data, text.len);
        quote.text[text.len] = '\0';
        return quote;
    }
    /* A UTF-8 character is not cut in two. */
    size_t kept = room - 3;
    while (kept > 0 && ((unsigned char)text.data[kept] & 0xC0) == 0x80)
        kept--;
    memcpy(quote.text, text.data, kept);
    memcpy(quote.text + kept, "...", 4);
    return quote;
}

static struct quote format_unit(uint64_t number, const char *unit)
{
    struct quote quote;
    snprintf(quote.text, sizeof quote.text, "%ju%s", (uintmax_t)number, unit);
    return quote;
}

struct quote value_format_number(uint64_t number)
{
    return format_unit(number, "");
}

struct quote value_format_mode(uint64_t mode)
{
    struct quote quote;
    snprintf(quote.text, sizeof quote.text, "%04jo", (uintmax_t)mode);
    return quote;
}

struct quote value_format_duration(uint64_t ms)
{
    if (ms == 0)
        return format_unit(0, "");
    if (ms % 3600000 == 0)
        return format_unit(ms / 3600000, "h");
    if (ms % 60000 == 0)
        return format_unit(ms / 60000, "m");
    if (ms % 1000 == 0)
        return format_unit(ms / 1000, "s");
    return format_unit(ms, "ms");
}

struct quote value_format_size(uint64_t bytes)
{
    static const char *const units[] = {"", "k", "m", "g"};
    size_t unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit < 3) {
        bytes /= 1024;
        unit++;
    }
    return format_unit(bytes, units[unit]);
}

struct quote value_format_boolean(uint64_t flag)
{
    return value_quote(flag ? SLICE("yes") : SLICE("no"));
}
