#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "config/command.h"
#include "config/endpoint.h"
#include "config/ini.h"
#include "config/settings.h"

/* Where the reading of a file stands. */
struct load {
    struct config *config;
    struct setting_place place;
    char label[INI_SECTION_MAX + 1]; /* the section's name as written */
    struct slice section;            /* the table's name for it; empty: unknown, its keys are not judged */
    size_t proxy;                    /* the group, in a [proxy NAME] */
    const struct setting *current;   /* of the last key line; NULL: unknown */
    unsigned empty_line;             /* of a list whose first line is empty and may yet be continued, or 0 */
};

int words_add(struct words *words, struct slice text, unsigned line)
{
    if (words->count == words->room) {
        size_t room = words->room > 0 ? 2 * words->room : 8;
        struct word *list = realloc(words->list, room * sizeof *list);
        if (!list)
            return -ENOMEM;
        words->list = list;
        words->room = room;
    }
    char *copy = strndup(text.data, text.len);
    if (!copy)
        return -ENOMEM;
    words->list[words->count++] = (struct word){copy, line};
    return 0;
}

void words_free(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i].text);
    free(words->list);
    *words = (struct words){0};
}

static void report(const struct load *load, struct slice text, const char *why)
{
    messages_add(load->place.messages, true, load->place.path, load->place.line, "\"%s\": %s",
                 value_quote(text).text, why);
}

static void report_label(const struct load *load, const char *why)
{
    messages_add(load->place.messages, true, load->place.path, load->place.line, "[%s]: %s", load->label,
                 why);
}

static unsigned *given_line(const struct load *load, const struct setting *setting)
{
    struct config_source *source = load->config->source;
    size_t row = (size_t)(setting - settings_table);
    bool of_proxy = slice_equal(load->section, SLICE("proxy"));
    return of_proxy ? &source->proxies[load->proxy].given[row] : &source->given[row];
}

static void report_empty(struct load *load)
{
    if (load->empty_line > 0)
        messages_add(load->place.messages, true, load->place.path, load->empty_line,
                     "%s: no value; write one, or remove the line", load->current->key);
    load->empty_line = 0;
}

/* Sections */

static bool is_proxy_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '-' && c != '_' && c != '.')
            return false;
    }
    return name.len > 0;
}

static bool add_proxy(struct load *load, struct slice name)
{
    struct config *config = load->config;
    struct config_source *source = config->source;
    struct proxy_source *proxies = realloc(source->proxies, (source->nproxies + 1) * sizeof *proxies);
    if (proxies)
        source->proxies = proxies;
    if (!proxies || !policy_add_group(config->policy, name)) {
        bool full = config->policy->ngroups >= POLICY_MAX_GROUPS;
        report_label(load, full ? "too many sections of proxies; join some" : "out of memory");
        return false;
    }
    load->proxy = source->nproxies++;
    proxies[load->proxy] = (struct proxy_source){.line = load->place.line};
    settings_set_proxy_defaults(config, load->proxy, load->place.messages);
    return true;
}

static void enter_proxy(struct load *load, struct slice name)
{
    const struct config *config = load->config;
    if (name.len == 0)
        report_label(load, "the proxies have no name; write [proxy NAME]");
    else if (!is_proxy_name(name))
        report_label(load, "not a name; write [proxy NAME], NAME in letters, digits, \"-\", \"_\" and \".\"");
    for (size_t i = 0; i < config->policy->ngroups; i++) {
        if (slice_equal(name, slice_of(config->policy->groups[i].name)) && name.len > 0)
            messages_add(load->place.messages, true, load->place.path, load->place.line,
                         "[%s]: this section is already in line %u; give each its own name, or join them",
                         load->label, config->source->proxies[i].line);
    }
    /* Even then, so that the mistakes in its keys are found as well. */
    if (add_proxy(load, name))
        load->section = SLICE("proxy");
}

static void report_section(const struct load *load, struct slice first, struct slice rest)
{
    const char *near = settings_suggest_section(first);
    char hint[INI_SECTION_MAX + 64] = "";
    if (near && strcmp(near, "proxy") == 0)
        snprintf(hint, sizeof hint, "; did you mean [proxy %s]?", rest.len > 0 ? rest.data : "NAME");
    else if (near)
        snprintf(hint, sizeof hint, "; did you mean [%s]?", near);
    messages_add(load->place.messages, true, load->place.path, load->place.line, "[%s]: no such section%s",
                 load->label, hint);
}

static void on_section(void *user, struct slice name, unsigned line)
{
    struct load *load = user;
    report_empty(load);
    load->current = NULL;
    load->section = SLICE("");
    load->place.line = line;
    memcpy(load->label, name.data, name.len);
    load->label[name.len] = '\0';

    /* Slices of the label, which has a NUL at its end. */
    struct slice rest = slice_of(load->label);
    size_t end = strcspn(load->label, " \t");
    struct slice first = slice_part(rest, 0, end);
    rest = value_trim(slice_part(rest, end, rest.len));
    if (slice_equal(first, SLICE("proxy")))
        enter_proxy(load, rest);
    else if (rest.len == 0 && settings_has_section(first))
        load->section = first;
    else
        report_section(load, first, rest);
}

/* Keys and values */

static void report_key(const struct load *load, struct slice key)
{
    const char *near = settings_suggest_key(load->section, key);
    const char *other = settings_section_of(key);
    char hint[128] = "";
    if (other)
        snprintf(hint, sizeof hint, "; it belongs in [%s]",
                 strcmp(other, "proxy") == 0 ? "proxy NAME" : other);
    else if (near)
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", near);
    messages_add(load->place.messages, true, load->place.path, load->place.line,
                 "\"%s\": no such key in [%s]%s", value_quote(key).text, load->label, hint);
}

/* True if this line is a value for its key. */
static bool enter_key(struct load *load, struct slice key)
{
    load->current = settings_find(load->section, key);
    if (!load->current) {
        report_key(load, key);
        return false;
    }
    unsigned *given = given_line(load, load->current);
    if (*given > 0 && !load->current->type->list) {
        messages_add(load->place.messages, true, load->place.path, load->place.line,
                     "%s: given twice, first in line %u; it takes one value, so remove one of the lines",
                     load->current->key, *given);
        load->current = NULL;
        return false;
    }
    if (*given == 0)
        *given = load->place.line;
    return true;
}

/* A line that was indented by mistake: "  header = X-Real-IP" below "trust = ...". */
static bool is_key_line(const struct load *load, struct slice text)
{
    size_t end = 0;
    while (end < text.len && text.data[end] != '=' && !value_is_blank(text.data[end]))
        end++;
    struct slice rest = value_trim(slice_part(text, end, text.len));
    return rest.len > 0 && rest.data[0] == '=' && settings_find(load->section, slice_part(text, 0, end));
}

static bool may_continue(const struct load *load, struct slice text)
{
    if (!load->current)
        return false;
    if (is_key_line(load, text)) {
        report(load, text,
               "continues the line above, being indented; remove the white space in front of the key");
        return false;
    }
    if (!load->current->type->list) {
        messages_add(
            load->place.messages, true, load->place.path, load->place.line,
            "\"%s\": continues %s, being indented, but that takes one value; join the lines, or remove "
            "the white space",
            value_quote(text).text, load->current->key);
        return false;
    }
    return true;
}

static void on_value(void *user, struct slice key, struct slice value, unsigned line, bool continued)
{
    struct load *load = user;
    if (load->section.len == 0)
        return;
    if (!continued)
        report_empty(load);
    load->place.line = line;
    if (continued ? !may_continue(load, value) : !enter_key(load, key))
        return;
    load->empty_line = 0;
    if (value.len == 0) {
        load->empty_line = line;
        if (!load->current->type->list)
            report_empty(load);
        return;
    }
    const struct setting *setting = load->current;
    setting->type->parse(setting, &load->place, settings_field(setting, load->config, load->proxy), value);
}

/* Life */

/* Absolute, so that what config_print shows can be read from anywhere. */
static char *find_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
    char *absolute = folder ? realpath(folder, NULL) : NULL;
    if (!absolute)
        return folder;
    free(folder);
    if (strcmp(absolute, "/") == 0)
        absolute[0] = '\0';
    return absolute;
}

static struct config *config_new(const char *path)
{
    struct config *config = calloc(1, sizeof *config);
    if (!config)
        return NULL;
    config->listen.owner = (uid_t)-1;
    config->listen.group = (gid_t)-1;
    config->listen.user = (uid_t)-1;
    config->listen.users = (gid_t)-1;
    config->process.user = (uid_t)-1;
    config->process.group = (gid_t)-1;
    config->path = strdup(path);
    config->policy = policy_new();
    config->source = calloc(1, sizeof *config->source);
    if (!config->path || !config->policy || !config->source) {
        config_free(config);
        return NULL;
    }
    return config;
}

static void read_lines(struct config *config, struct lines *lines)
{
    struct load load = {.config = config, .place = {lines->messages, config->path, 0}};
    const struct ini_visitor visitor = {on_section, on_value, &load};
    ini_read(lines, &visitor);
    report_empty(&load);
}

static void read_file(struct config *config, struct messages *messages)
{
    struct lines lines;
    int error = lines_open(&lines, config->path, messages);
    lines.copy = &config->source->text;
    if (error != 0) {
        messages_add(messages, true, config->path, 0, "cannot read the configuration: %s",
                     lines_reason(error));
    } else {
        read_lines(config, &lines);
        build_config(config, messages, messages);
    }
    lines_close(&lines);
}

/* The text of the configuration in force, once more. */
static void read_text(struct config *config, struct messages *messages, struct messages *of_files)
{
    const struct lines_text *text = &config->source->old->source->text;
    struct lines_text *copy = &config->source->text;
    struct lines lines;
    copy->data = malloc(text->len + 1);
    if (!copy->data) {
        messages_add(messages, true, config->path, 0, "out of memory");
        return;
    }
    copy->room = text->len + 1;
    copy->len = text->len;
    if (text->len > 0)
        memcpy(copy->data, text->data, text->len);
    lines_open_text(&lines, config->path, (struct slice){copy->data, copy->len}, messages);
    read_lines(config, &lines);
    build_config(config, messages, of_files);
    lines_close(&lines);
}

struct config *config_load(const char *path, struct messages *messages)
{
    return config_load_command(path, NULL, messages);
}

/* What all ways of loading begin with; NULL after a message. */
static struct config *begin(const char *path, const char *folder, char *const *command,
                            struct messages *messages)
{
    struct config *config = config_new(path);
    struct config_source *source = config ? config->source : NULL;
    if (source) {
        source->folder = folder ? strdup(folder) : find_folder(path);
        source->given_command = command ? command_copy(command) : NULL;
    }
    if (!source || !source->folder || (command && !source->given_command)) {
        messages_add(messages, true, path, 0, "out of memory");
        config_free(config);
        return NULL;
    }
    settings_set_defaults(config, messages);
    return config;
}

static void set_old(const struct config *config, const struct config *old, bool frozen)
{
    config->source->old = old;
    config->source->memory.old = old ? &old->source->memory : NULL;
    config->source->memory.frozen = frozen;
}

/* The configuration, or NULL after errors. */
static struct config *finish(struct config *config, bool failed)
{
    set_old(config, NULL, false);
    if (!failed)
        return config;
    config_free(config);
    return NULL;
}

static struct config *load(const char *path, char *const *command, const struct config *old,
                           struct messages *messages)
{
    size_t before = messages->errors;
    size_t from = messages->count;
    struct config *config = begin(path, NULL, command, messages);
    if (!config)
        return NULL;
    set_old(config, old, false);
    read_file(config, messages);
    if (old && old->upstream.kind != UPSTREAM_NONE && config->upstream.kind == UPSTREAM_NONE &&
        messages->errors == before)
        messages_add(
            messages, true, path, 0,
            "no application to send to; write an [upstream] section with its address, or the command "
            "that starts it");
    messages_sort(messages, from);
    return finish(config, messages->errors > before);
}

struct config *config_load_command(const char *path, char *const *command, struct messages *messages)
{
    return load(path, command, NULL, messages);
}

struct config *config_load_again(const struct config *old, struct messages *messages)
{
    return load(old->path, old->source->given_command, old, messages);
}

struct config *config_load_trust(const struct config *old, struct messages *messages)
{
    struct messages of_text = {0}; /* what it says was said when it was loaded */
    struct config *config = begin(old->path, old->source->folder, old->source->given_command, messages);
    if (!config)
        return NULL;
    set_old(config, old, true);
    read_text(config, &of_text, messages);
    bool failed = of_text.errors > 0;
    for (size_t i = 0; i < of_text.count; i++) {
        if (of_text.list[i].error)
            messages_add(messages, true, of_text.list[i].text, 0, "the trust files cannot be read again");
    }
    messages_free(&of_text);
    return finish(config, failed);
}

static void free_source(struct config_source *source)
{
    if (!source)
        return;
    for (size_t i = 0; i < source->nproxies; i++) {
        words_free(&source->proxies[i].trust);
        words_free(&source->proxies[i].trust_files);
    }
    words_free(&source->listen_addresses);
    words_free(&source->allowed_clients);
    words_free(&source->upstream_address);
    words_free(&source->command);
    words_free(&source->cgi);
    words_free(&source->cgi_root);
    words_free(&source->environment);
    words_free(&source->allow);
    words_free(&source->deny);
    words_free(&source->pid_file);
    memory_free(&source->memory);
    command_free(source->given_command);
    free(source->text.data);
    words_free(&source->status_allow);
    free(source->proxies);
    free(source->default_header);
    free(source->folder);
    free(source);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    endpoint_free_list(config->listen.addresses, config->listen.naddresses);
    endpoint_free_list(config->upstream.addresses, config->upstream.naddresses);
    command_free(config->upstream.command);
    command_free(config->upstream.environment);
    free(config->upstream.cgi_root);
    free(config->process.pid_file);
    free(config->log_error);
    free(config->log_access);
    free(config->status.path);
    cidr_set_free(config->status.allow);
    cidr_set_free(config->listen.allowed_clients);
    policy_free(config->policy);
    free_source(config->source);
    free(config->path);
    free(config);
}

unsigned config_find_line(const struct config *config, const char *section, const char *key)
{
    return settings_find_line(config->source->given, slice_of(section), slice_of(key));
}

void config_print(const struct config *config, FILE *out)
{
    static const char *const sections[] = {"realip", "access", "log", "status", "process", "limits"};
    fprintf(out, "[listen]\n");
    settings_print_section("listen", config, 0, out);
    fprintf(out, "\n[upstream]\n");
    settings_print_section("upstream", config, 0, out);
    for (size_t i = 0; i < config->policy->ngroups; i++) {
        fprintf(out, "\n[proxy %s]\n", config->policy->groups[i].name);
        settings_print_section("proxy", config, i, out);
    }
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        fprintf(out, "\n[%s]\n", sections[i]);
        settings_print_section(sections[i], config, 0, out);
    }
}
