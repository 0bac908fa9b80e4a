#include "config/types.h"

#include <stdlib.h>

#include "config/account.h"
#include "config/header.h"

/* Column up to which lists are printed on one line. */
#define PRINT_WIDTH 100

#define URL_PATH_MAX 1000

/* The group of a field of struct group. */
#define GROUP_OF(setting, field)       ((struct group *)((char *)(field) - (setting)->offset))
#define CONST_GROUP_OF(setting, field) ((const struct group *)((const char *)(field) - (setting)->offset))

static void fail(const struct setting *setting, const struct setting_place *place, struct slice text,
                 const char *why)
{
    const char *hint = "";
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] == '#' && value_is_blank(text.data[i - 1]))
            hint = "; a comment behind a value begins with \" ;\"";
    }
    messages_add(place->messages, true, place->path, place->line, "%s = \"%s\": %s%s", setting->key,
                 value_quote(text).text, why, hint);
}

static void fail_memory(const struct setting *setting, const struct setting_place *place)
{
    messages_add(place->messages, true, place->path, place->line, "%s: out of memory", setting->key);
}

/* Numbers in memory, of the width that the field has. */

static void store_number(const struct setting *setting, void *field, uint64_t value)
{
    uint8_t byte = (uint8_t)value;
    uint32_t word = (uint32_t)value;
    if (setting->size == sizeof byte)
        memcpy(field, &byte, sizeof byte);
    else if (setting->size == sizeof word)
        memcpy(field, &word, sizeof word);
    else
        memcpy(field, &value, sizeof value);
}

static uint64_t load_number(const struct setting *setting, const void *field)
{
    uint8_t byte;
    uint32_t word;
    uint64_t value;
    if (setting->size == sizeof byte) {
        memcpy(&byte, field, sizeof byte);
        return byte;
    }
    if (setting->size == sizeof word) {
        memcpy(&word, field, sizeof word);
        return word;
    }
    memcpy(&value, field, sizeof value);
    return value;
}

static bool check_range(const struct setting *setting, const struct setting_place *place, struct slice text,
                        uint64_t value)
{
    if (setting->least == setting->most || (value >= setting->least && value <= setting->most))
        return true;
    char why[128];
    if (value < setting->least)
        snprintf(why, sizeof why, "too small; write at least %s", setting->type->format(setting->least).text);
    else
        snprintf(why, sizeof why, "too large; write at most %s", setting->type->format(setting->most).text);
    fail(setting, place, text, why);
    return false;
}

static void parse_number(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    uint64_t value = 0;
    const char *wrong = setting->type->read(text, &value);
    if (wrong)
        fail(setting, place, text, wrong);
    else if (check_range(setting, place, text, value))
        store_number(setting, field, value);
}

static bool print_number(const struct setting *setting, const void *field, FILE *out)
{
    fprintf(out, "%s = %s\n", setting->key, setting->type->format(load_number(setting, field)).text);
    return true;
}

#define NUMBER_TYPE(title, parser, formatter)                                                                \
    {                                                                                                        \
        .name = (title), .parse = parse_number, .print = print_number, .read = (parser),                     \
        .format = (formatter)                                                                                \
    }

const struct setting_type type_number = NUMBER_TYPE("number", value_parse_number, value_format_number);
const struct setting_type type_duration =
    NUMBER_TYPE("duration", value_parse_duration, value_format_duration);
const struct setting_type type_size = NUMBER_TYPE("size", value_parse_size, value_format_size);
const struct setting_type type_mode = NUMBER_TYPE("octal mode", value_parse_mode, value_format_mode);
const struct setting_type type_boolean = NUMBER_TYPE("yes or no", value_parse_boolean, value_format_boolean);

/* Choices */

/* "write a, b or c" */
static void join_choices(const struct setting_choice *choices, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, "not one of its words; write ");
    for (size_t i = 0; choices[i].word && at < size; i++) {
        const char *between = i == 0 ? "" : choices[i + 1].word ? ", " : " or ";
        at += (size_t)snprintf(out + at, size - at, "%s%s", between, choices[i].word);
    }
}

static void parse_choice(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    for (const struct setting_choice *choice = setting->choices; choice->word; choice++) {
        if (value_is_word(text, choice->word)) {
            store_number(setting, field, choice->value);
            return;
        }
    }
    char why[160];
    join_choices(setting->choices, why, sizeof why);
    fail(setting, place, text, why);
}

static const char *choice_word(const struct setting *setting, uint64_t value)
{
    const struct setting_choice *choice = setting->choices;
    while (choice->word && choice->value != value)
        choice++;
    return choice->word ? choice->word : "?";
}

static bool print_choice(const struct setting *setting, const void *field, FILE *out)
{
    fprintf(out, "%s = %s\n", setting->key, choice_word(setting, load_number(setting, field)));
    return true;
}

const struct setting_type type_choice = {.name = "word", .parse = parse_choice, .print = print_choice};

/* Users and groups; without one the field is -1. */

static bool print_account(const struct setting *setting, const void *field, FILE *out)
{
    return load_number(setting, field) != UINT32_MAX && print_number(setting, field, out);
}

const struct setting_type type_user = {.name = "user",
                                       .parse = parse_number,
                                       .print = print_account,
                                       .read = account_parse_user,
                                       .format = account_format_user};
const struct setting_type type_group = {.name = "group",
                                        .parse = parse_number,
                                        .print = print_account,
                                        .read = account_parse_group,
                                        .format = account_format_group};

/* Lists */

static bool is_empty_list(const struct setting *setting, const struct setting_place *place, struct slice text)
{
    struct slice rest = text;
    struct slice word;
    if (value_next_word(&rest, &word))
        return false;
    fail(setting, place, text, "only commas; write at least one entry");
    return true;
}

static void parse_words(const struct setting *setting, const struct setting_place *place, void *field,
                        struct slice text)
{
    struct words *words = field;
    if (is_empty_list(setting, place, text))
        return;
    for (struct slice word; value_next_word(&text, &word);) {
        if (word.data[0] == '#') {
            fail(setting, place, word, "not an entry; a comment behind a value begins with \" ;\"");
            return;
        }
        if (words_add(words, word, place->line) != 0)
            fail_memory(setting, place);
    }
}

static bool print_words(const struct setting *setting, const void *field, FILE *out)
{
    const struct words *words = field;
    if (words->count == 0)
        return false;
    int column = fprintf(out, "%s = %s", setting->key, words->list[0].text);
    for (size_t i = 1; i < words->count; i++) {
        size_t length = strlen(words->list[i].text);
        bool fits = (size_t)column + length + 2 <= PRINT_WIDTH;
        column = fits ? column : 0;
        column += fprintf(out, "%s%s", fits ? ", " : "\n    ", words->list[i].text);
    }
    fputc('\n', out);
    return true;
}

const struct setting_type type_entries = {
    .name = "list of addresses", .list = true, .parse = parse_words, .print = print_words};
const struct setting_type type_files = {
    .name = "list of files", .list = true, .parse = parse_words, .print = print_words};
const struct setting_type type_names = {
    .name = "list of names", .list = true, .parse = parse_words, .print = print_words};
const struct setting_type type_endpoints = {
    .name = "list of sockets", .list = true, .parse = parse_words, .print = print_words};

static void parse_single(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    struct slice rest = text;
    struct slice word;
    value_next_word(&rest, &word);
    if (word.len < text.len)
        fail(setting, place, text, "takes one address; for several, write one host name that has them all");
    else if (words_add(field, text, place->line) != 0)
        fail_memory(setting, place);
}

const struct setting_type type_endpoint = {.name = "socket", .parse = parse_single, .print = print_words};

/* Taken apart by build_config, so that it is printed as it was written. */
static void parse_whole(const struct setting *setting, const struct setting_place *place, void *field,
                        struct slice text)
{
    if (words_add(field, text, place->line) != 0)
        fail_memory(setting, place);
}

const struct setting_type type_command = {
    .name = "program and arguments", .parse = parse_whole, .print = print_words};
const struct setting_type type_path = {.name = "path", .parse = parse_whole, .print = print_words};

/* Header names */

static void parse_header(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    char **header = field;
    struct header_fault fault;
    if (!header_check_name(text, &fault)) {
        fail(setting, place, text, fault.why);
        return;
    }
    char *copy = strndup(text.data, text.len);
    if (!copy) {
        fail_memory(setting, place);
        return;
    }
    free(*header);
    *header = copy;
}

static bool print_header(const struct setting *setting, const void *field, FILE *out)
{
    char *const *header = field;
    if (!*header)
        return false;
    fprintf(out, "%s = %s\n", setting->key, *header);
    return true;
}

const struct setting_type type_header = {.name = "header", .parse = parse_header, .print = print_header};

/* Places of logs */

static void parse_log(const struct setting *setting, const struct setting_place *place, void *field,
                      struct slice text)
{
    char **where = field;
    const struct setting_choice *choice = setting->choices;
    while (choice->word && !value_is_word(text, choice->word))
        choice++;
    if (!choice->word && text.data[0] != '/') {
        char why[160];
        size_t at = (size_t)snprintf(why, sizeof why, "no place for a log; write ");
        for (size_t i = 0; setting->choices[i].word; i++)
            at += (size_t)snprintf(why + at, sizeof why - at, "%s, ", setting->choices[i].word);
        snprintf(why + at - 2, sizeof why - at + 2, " or the absolute path of a file");
        fail(setting, place, text, why);
        return;
    }
    char *copy = choice->word ? strdup(choice->word) : strndup(text.data, text.len);
    if (!copy) {
        fail_memory(setting, place);
        return;
    }
    free(*where);
    *where = copy;
}

const struct setting_type type_log = {.name = "place of a log", .parse = parse_log, .print = print_header};

/* Paths of URLs, as SCRIPT_NAME has them */

static void parse_url_path(const struct setting *setting, const struct setting_place *place, void *field,
                           struct slice text)
{
    char **path = field;
    const char *why = NULL;
    if (text.data[0] != '/')
        why = "not the path of a URL; write one that begins with \"/\", as in /realip-status";
    for (size_t i = 0; i < text.len && !why; i++) {
        if (value_is_blank(text.data[i]) || text.data[i] == '?' || text.data[i] == '#')
            why = "more than the path of a URL; write it without blanks and without \"?\" and \"#\"";
    }
    if (!why && text.len > URL_PATH_MAX)
        why = "too long for the path of a page; write one of at most 1000 bytes";
    if (why) {
        fail(setting, place, text, why);
        return;
    }
    *path = strndup(text.data, text.len);
    if (!*path)
        fail_memory(setting, place);
}

const struct setting_type type_url_path = {
    .name = "path of a URL", .parse = parse_url_path, .print = print_header};

/* What only [proxy NAME] has */

static void parse_select(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    static const char hops[] = "hops:";
    struct group *group = GROUP_OF(setting, field);
    size_t length = sizeof hops - 1;
    if (text.len < length || !value_is_word(slice_part(text, 0, length), hops)) {
        parse_choice(setting, place, field, text);
        return;
    }
    uint64_t number;
    if (value_parse_number(slice_part(text, length, text.len), &number) || number < 1 ||
        number > POLICY_MAX_ELEMENTS) {
        char why[80];
        snprintf(why, sizeof why, "not a count of hops; write hops:N, N from 1 to %d", POLICY_MAX_ELEMENTS);
        fail(setting, place, text, why);
        return;
    }
    group->select = SELECT_HOPS;
    group->hops = (unsigned)number;
}

static bool print_select(const struct setting *setting, const void *field, FILE *out)
{
    const struct group *group = CONST_GROUP_OF(setting, field);
    if (group->select != SELECT_HOPS)
        return print_choice(setting, field, out);
    fprintf(out, "%s = hops:%u\n", setting->key, group->hops);
    return true;
}

const struct setting_type type_select = {.name = "word", .parse = parse_select, .print = print_select};

static void parse_accept(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    unsigned *accept = field;
    if (is_empty_list(setting, place, text))
        return;
    for (struct slice word; value_next_word(&text, &word);) {
        uint64_t bit = 0;
        size_t errors = place->messages->errors;
        struct setting one = *setting;
        one.size = sizeof bit;
        parse_choice(&one, place, &bit, word);
        if (place->messages->errors == errors)
            *accept |= (unsigned)bit;
    }
}

static bool print_accept(const struct setting *setting, const void *field, FILE *out)
{
    const unsigned *accept = field;
    fprintf(out, "%s = for", setting->key);
    for (const struct setting_choice *choice = setting->choices; choice->word; choice++) {
        if (*accept & choice->value)
            fprintf(out, ", %s", choice->word);
    }
    fputc('\n', out);
    return true;
}

const struct setting_type type_accept = {
    .name = "list of words", .list = true, .parse = parse_accept, .print = print_accept};

/* As parameters are compared: "http_x-secret" is "HTTP_X_SECRET". malloc'ed. */
static char *fold_name(struct slice name)
{
    static const char prefix[] = "HTTP_";
    char *param = malloc(sizeof prefix + name.len);
    if (!param)
        return NULL;
    policy_header_param(name, param);
    memmove(param, param + sizeof prefix - 1, name.len + 1);
    return param;
}

/* Messages never show the value: they go to logs that more people read than the INI. */
static void parse_secret(const struct setting *setting, const struct setting_place *place, void *field,
                         struct slice text)
{
    struct group *group = GROUP_OF(setting, field);
    const char *colon = memchr(text.data, ':', text.len);
    size_t length = colon ? (size_t)(colon - text.data) : 0;
    struct slice name = value_trim(slice_part(text, 0, length));
    struct slice value = value_trim(slice_part(text, colon ? length + 1 : text.len, text.len));
    const char *why = NULL;
    if (!colon || name.len == 0)
        why = "no name; write NAME:VALUE, as in HTTP_X_PROXY_SECRET:VALUE";
    else if (memchr(name.data, '-', name.len))
        why = "a header's name; write the parameter's, as in HTTP_X_PROXY_SECRET:VALUE";
    else if (!value_is_token(name))
        why = "not a parameter's name; write NAME:VALUE, as in HTTP_X_PROXY_SECRET:VALUE";
    else if (value.len == 0)
        why = "no value behind the name; write NAME:VALUE";
    if (why) {
        messages_add(place->messages, true, place->path, place->line, "%s = \"%s%s...\": %s", setting->key,
                     value_quote(name).text, colon ? ":" : "", why);
        return;
    }
    group->require_name = fold_name(name);
    group->require_value = strndup(value.data, value.len);
    if (!group->require_name || !group->require_value)
        fail_memory(setting, place);
}

static bool print_secret(const struct setting *setting, const void *field, FILE *out)
{
    const struct group *group = CONST_GROUP_OF(setting, field);
    if (!group->require_name)
        return false;
    fprintf(out, "# %s = %s:******** (set, but not shown: put the secret in before you use this text)\n",
            setting->key, group->require_name);
    return true;
}

const struct setting_type type_secret = {.name = "NAME:VALUE", .parse = parse_secret, .print = print_secret};
