/*
 * What the settings of [upstream] say together: where the application is, or how it is started.
 */
#include <stdlib.h>

#include "config/command.h"
#include "config/settings.h"

#define FOR_ALL (FOR_ADDRESS | FOR_COMMAND | FOR_CGI)

struct build {
    struct config *config;
    struct config_source *source;
    struct messages *messages;
};

static unsigned find_line(const struct build *build, const char *key)
{
    return settings_find_line(build->source->given, SLICE("upstream"), slice_of(key));
}

/* KEY = "TEXT": why */
static void report(const struct build *build, bool error, const char *key, const struct word *word,
                   const char *why)
{
    messages_add(build->messages, error, build->config->path, word->line, "%s = \"%s\": %s", key,
                 value_quote(slice_of(word->text)).text, why);
}

static void report_memory(const struct build *build, const char *key)
{
    messages_add(build->messages, true, build->config->path, find_line(build, key), "%s: out of memory", key);
}

/* ---- which kind ---- */

static bool is_script(const struct build *build)
{
    const struct words *cgi = &build->source->cgi;
    return cgi->count > 0 && value_is_word(slice_of(cgi->list[0].text), "script");
}

/* What the file says; lines that are not what they should be count as well, their mistakes are known. */
static unsigned find_kind(const struct build *build)
{
    static const struct {
        const char *key;
        unsigned kind;
    } keys[] = {{"address", FOR_ADDRESS}, {"command", FOR_COMMAND}, {"cgi", FOR_PROGRAM}};
    enum { KEYS = sizeof keys / sizeof *keys };
    size_t first = KEYS;
    unsigned lines[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        lines[i] = find_line(build, keys[i].key);
        if (lines[i] > 0 && (first == KEYS || lines[i] < lines[first]))
            first = i;
    }
    if (first == KEYS)
        return FOR_ALL;

    bool several = false;
    for (size_t i = 0; i < KEYS; i++) {
        if (i == first || lines[i] == 0)
            continue;
        messages_add(build->messages, true, build->config->path, lines[i],
                     "%s: where the application is, %s says already in line %u; remove one of the lines",
                     keys[i].key, keys[first].key, lines[first]);
        several = true;
    }
    if (several)
        return FOR_ALL;
    return keys[first].kind == FOR_PROGRAM && is_script(build) ? FOR_SCRIPT : keys[first].kind;
}

/* "address, command and cgi" */
static void join_kinds(unsigned kinds, char *out, size_t size)
{
    static const unsigned all[] = {FOR_ADDRESS, FOR_COMMAND, FOR_CGI, FOR_SCRIPT};
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all && at < size; i++) {
        if ((kinds & all[i]) != all[i])
            continue;
        kinds &= ~all[i];
        const char *between = at == 0 ? "" : kinds ? ", " : " and ";
        at += (size_t)snprintf(out + at, size - at, "%s%s", between, settings_name_kind(all[i]));
    }
}

static void check_keys(const struct build *build)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        if (setting->kinds == 0 || (setting->kinds & build->source->kind) || build->source->given[i] == 0)
            continue;
        char kinds[64];
        join_kinds(setting->kinds, kinds, sizeof kinds);
        messages_add(build->messages, true, build->config->path, build->source->given[i],
                     "%s: not for %s, only for %s; remove it", setting->key,
                     settings_name_kind(build->source->kind), kinds);
    }
}

/* ---- programs ---- */

static const char *judge_program(char *const *command)
{
    if (command[0][0] != '/' && strchr(command[0], '/'))
        return "a relative path; write an absolute one, or a name alone to look for it in PATH";
    return NULL;
}

static void build_program(const struct build *build, const char *key, const struct words *words)
{
    if (words->count == 0)
        return;
    const char *why;
    char **command = command_split(slice_of(words->list[0].text), &why);
    if (command)
        why = judge_program(command);
    if (command && !why && build->source->kind == FOR_PROGRAM &&
        value_is_word(slice_of(command[0]), "script"))
        why = "the word script stands alone; remove the rest, or write the path of a program of that name";
    if (why)
        report(build, true, key, &words->list[0], why);
    build->config->upstream.command = command;
}

/*
 * As names of files below it begin: without a "/" at the end, "//" and "/./", which all mean the same. NULL,
 * and *why, if it does not say one place.
 */
static char *make_root(const char *text, const char **why)
{
    *why = "a relative path; write an absolute one";
    if (text[0] != '/')
        return NULL;
    char *root = malloc(strlen(text) + 2);
    size_t length = 0;
    for (const char *at = text; root && *at; at += strcspn(at, "/")) {
        at += strspn(at, "/");
        size_t part = strcspn(at, "/");
        if (part == 2 && memcmp(at, "..", 2) == 0) {
            *why = "leads back with \"..\"; write the path without it";
            free(root);
            return NULL;
        }
        if (part == 0 || (part == 1 && at[0] == '.'))
            continue;
        root[length++] = '/';
        memcpy(root + length, at, part);
        length += part;
    }
    *why = "out of memory";
    if (root) {
        if (length == 0)
            root[length++] = '/';
        root[length] = '\0';
    }
    return root;
}

static void build_root(const struct build *build)
{
    const struct words *words = &build->source->cgi_root;
    const char *why;
    if (words->count > 0) {
        build->config->upstream.cgi_root = make_root(words->list[0].text, &why);
        if (!build->config->upstream.cgi_root)
            report(build, true, "cgi_root", &words->list[0], why);
        else if (strcmp(build->config->upstream.cgi_root, "/") == 0)
            report(build, false, "cgi_root", &words->list[0],
                   "lets every program of this machine be run; write the directory that the scripts are in");
    } else if (find_line(build, "cgi_root") == 0) {
        report(build, true, "cgi", &build->source->cgi.list[0],
               "without cgi_root any file could be run; add it, with the directory that the scripts are in");
    }
}

/* ---- the environment ---- */

static bool is_variable(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return name.len > 0;
}

/* Messages never show a value: it may be a secret. */
static void check_variable(const struct build *build, const struct word *word)
{
    struct slice text = slice_of(word->text);
    struct slice name = slice_part(text, 0, strcspn(word->text, "="));
    if (name.len < text.len)
        messages_add(build->messages, true, build->config->path, word->line,
                     "environment = \"%s=...\": a value; write the name alone, and set the variable in the "
                     "shim's environment",
                     value_quote(name).text);
    else if (!is_variable(name))
        report(build, true, "environment", word,
               "not a variable's name; write letters, digits and \"_\", as in APP_ENV");
}

static void build_environment(const struct build *build)
{
    const struct words *words = &build->source->environment;
    if (words->count == 0)
        return;
    char **names = calloc(words->count + 1, sizeof(*names));
    build->config->upstream.environment = names;
    for (size_t i = 0; i < words->count; i++) {
        check_variable(build, &words->list[i]);
        if (names && (i == 0 || names[i - 1]))
            names[i] = strdup(words->list[i].text);
    }
    if (!names || !names[words->count - 1])
        report_memory(build, "environment");
}

/* ---- all of it ---- */

/* What is overridden is not judged. */
static void build_given(const struct build *build)
{
    struct config_upstream *upstream = &build->config->upstream;
    build->source->kind = FOR_COMMAND;
    upstream->kind = UPSTREAM_COMMAND;
    upstream->command = command_copy(build->source->given_command);
    if (!upstream->command)
        report_memory(build, "command");
}

static void build_kind(const struct build *build)
{
    struct config_upstream *upstream = &build->config->upstream;
    build->source->kind = find_kind(build);
    switch (build->source->kind) {
    case FOR_ADDRESS:
        upstream->kind = UPSTREAM_ADDRESS;
        break;
    case FOR_COMMAND:
        upstream->kind = UPSTREAM_COMMAND;
        build_program(build, "command", &build->source->command);
        break;
    case FOR_PROGRAM:
        upstream->kind = UPSTREAM_CGI;
        build_program(build, "cgi", &build->source->cgi);
        break;
    case FOR_SCRIPT:
        upstream->kind = UPSTREAM_CGI;
        build_root(build);
        break;
    default:
        upstream->kind = UPSTREAM_NONE;
    }
    check_keys(build);
}

/* A process serves one request at a time, unless the file says that it takes more. */
static void cap_connections(struct config_upstream *upstream)
{
    if (upstream->kind == UPSTREAM_CGI)
        upstream->connections = upstream->max_processes;
    else if (upstream->kind == UPSTREAM_COMMAND && upstream->connections == 0)
        upstream->connections = upstream->processes;
}

/* Who serves one connection at a time and keeps it does not see the next one. */
static void check_kept_connections(const struct build *build)
{
    const struct config_upstream *upstream = &build->config->upstream;
    if (upstream->kind == UPSTREAM_COMMAND && upstream->keepalive &&
        upstream->connections > upstream->processes)
        messages_add(
            build->messages, false, build->config->path, find_line(build, "connections"),
            "connections = %u: with keepalive, the requests of more connections than processes (%u) "
            "wait until a kept one is closed, unless each process serves several at a time; remove it",
            upstream->connections, upstream->processes);
}

void build_upstream(struct config *config, struct messages *messages)
{
    const struct build build = {config, config->source, messages};
    if (config->source->given_command)
        build_given(&build);
    else
        build_kind(&build);
    build_environment(&build);
    cap_connections(&config->upstream);
    check_kept_connections(&build);
    if (config->upstream.keepalive && config->upstream.connections == 0)
        messages_add(messages, true, config->path, find_line(&build, "keepalive"),
                     "keepalive = on: without a cap, idle connections could take all of the application's "
                     "processes; set connections to one less than it has");
}
