#include "relay/cgi_variables.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- names ---- */

static bool starts_with(struct slice text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static bool is_one_of(struct slice text, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_equal(text, slice_of(names[i])))
            return true;
    }
    return false;
}

/*
 * What nobody sets for a request, and what makes another program of the one that was meant: variables of the
 * dynamic linker and of libc (those that it ignores itself in set-uid programs), of service managers, of
 * shells and interpreters.
 */
static bool is_dangerous(struct slice name)
{
    static const char *const families[] = {"LD_", "GLIBC_", "MALLOC_", "LISTEN_", "BASH_FUNC_"};
    static const char *const names[] = {
        "PATH",
        "GCONV_PATH",
        "GETCONF_DIR",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_ADD_TRIM_DOMAINS",
        "RES_OPTIONS",
        "RESOLV_HOST_CONF",
        "TZDIR",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "IFS",
        "ENV",
        "BASH_ENV",
        "BASHOPTS",
        "SHELLOPTS",
        "PS4",
        "PERL5LIB",
        "PERLLIB",
        "PERL5OPT",
        "PERL5DB",
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "PYTHONINSPECT",
        "PYTHONWARNINGS",
        "RUBYLIB",
        "RUBYOPT",
        "NODE_OPTIONS",
        "NODE_PATH",
        "LUA_INIT",
        "LUA_PATH",
        "LUA_CPATH",
        "PHPRC",
        "PHP_INI_SCAN_DIR",
    };
    for (size_t i = 0; i < COUNT(families); i++) {
        if (starts_with(name, families[i]))
            return true;
    }
    return is_one_of(name, names, COUNT(names));
}

bool cgi_variables_is_clients(struct slice name)
{
    static const char *const names[] = {
        "QUERY_STRING", "REQUEST_URI",    "DOCUMENT_URI",    "SCRIPT_NAME",     "PATH_INFO",
        "CONTENT_TYPE", "REQUEST_METHOD", "PATH_TRANSLATED", "SCRIPT_FILENAME", "REMOTE_USER",
    };
    return starts_with(name, "HTTP_") || is_one_of(name, names, COUNT(names));
}

static bool is_usable(const struct param *param)
{
    return param->name.len > 0 && !memchr(param->name.data, '=', param->name.len) &&
           !memchr(param->name.data, '\0', param->name.len) &&
           (param->value.len == 0 || !memchr(param->value.data, '\0', param->value.len));
}

struct param *cgi_variables_find(struct param *params, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_equal(params[i].name, name) && is_usable(&params[i]))
            return &params[i];
    }
    return NULL;
}

/* ---- SCRIPT_FILENAME ---- */

struct slice cgi_variables_strip_proxy(struct slice filename)
{
    size_t prefix = starts_with(filename, "proxy:fcgi://")       ? strlen("proxy:fcgi://")
                    : starts_with(filename, "proxy:balancer://") ? strlen("proxy:balancer://")
                                                                 : 0;
    struct slice rest = slice_part(filename, prefix, filename.len);
    const char *slash = prefix > 0 && rest.len > 0 ? memchr(rest.data, '/', rest.len) : NULL;
    if (!slash)
        return filename;
    rest = slice_part(rest, (size_t)(slash - rest.data), rest.len);
    const char *query = memchr(rest.data, '?', rest.len);
    return query ? slice_part(rest, 0, (size_t)(query - rest.data)) : rest;
}

/* ---- PATH_INFO ---- */

static void set(struct param *params, size_t *n, struct slice name, struct slice value)
{
    struct param *param = cgi_variables_find(params, *n, name);
    if (!param)
        param = &params[(*n)++];
    *param = (struct param){name, value};
}

int cgi_variables_split(struct param *params, size_t *n, size_t extra, char **text)
{
    struct param *filename = cgi_variables_find(params, *n, SLICE("SCRIPT_FILENAME"));
    struct param *script = cgi_variables_find(params, *n, SLICE("SCRIPT_NAME"));
    const struct param *root = cgi_variables_find(params, *n, SLICE("DOCUMENT_ROOT"));
    size_t cut = filename->value.len - extra;
    struct slice info = slice_part(filename->value, cut, filename->value.len);
    size_t root_len = root ? root->value.len : 0;

    *text = malloc(root_len + extra);
    if (!*text)
        return -ENOMEM;
    if (root_len > 0)
        memcpy(*text, root->value.data, root_len);
    memcpy(*text + root_len, info.data, extra);

    filename->value.len = cut;
    if (script && script->value.len >= extra &&
        memcmp(script->value.data + script->value.len - extra, info.data, extra) == 0)
        script->value.len -= extra;
    set(params, n, SLICE("PATH_INFO"), (struct slice){*text + root_len, extra});
    if (root)
        set(params, n, SLICE("PATH_TRANSLATED"), (struct slice){*text, root_len + extra});
    return 0;
}

/* ---- the environment ---- */

/* Which names are there: an open hash of names, so that many parameters do not cost their square. */
struct seen {
    struct slice *slots;
    size_t mask;
};

static bool seen_open(struct seen *seen, size_t n)
{
    size_t size = 64;
    while (size < 2 * n)
        size *= 2;
    seen->mask = size - 1;
    seen->slots = calloc(size, sizeof(*seen->slots));
    return seen->slots != NULL;
}

/* False: it was there. FNV-1a. */
static bool seen_add(struct seen *seen, struct slice name)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * 16777619u;
    size_t at = hash & seen->mask;
    for (; seen->slots[at].data; at = (at + 1) & seen->mask) {
        if (slice_equal(seen->slots[at], name))
            return false;
    }
    seen->slots[at] = name;
    return true;
}

struct maker {
    struct cgi_variables *made;
    struct seen seen;
    char *at;
    size_t count;
};

static void append(struct maker *m, struct slice name, struct slice value)
{
    m->made->list[m->count++] = m->at;
    memcpy(m->at, name.data, name.len);
    m->at += name.len;
    *m->at++ = '=';
    if (value.len > 0)
        memcpy(m->at, value.data, value.len);
    m->at += value.len;
    *m->at++ = '\0';
}

static void append_inherited(struct maker *m, char *variable)
{
    struct slice name = {variable, strcspn(variable, "=")};
    if (seen_add(&m->seen, name))
        m->made->list[m->count++] = variable;
}

static void append_param(struct maker *m, const struct param *param)
{
    struct cgi_variables *made = m->made;
    if (!is_usable(param) || !seen_add(&m->seen, param->name))
        return;
    if (is_dangerous(param->name)) {
        made->refused = param->name;
        return;
    }
    size_t size = param->name.len + 1 + param->value.len + 1;
    if (size > made->longest_size) {
        made->longest_size = size;
        made->longest = param->name;
    }
    append(m, param->name, param->value);
}

int cgi_variables_make(struct cgi_variables *made, char *const *inherited, const struct param *params,
                       size_t n)
{
    const struct slice gateway = SLICE("GATEWAY_INTERFACE");
    const struct slice version = SLICE("CGI/1.1");
    size_t size = gateway.len + 1 + version.len + 1;
    size_t ninherited = 0;
    while (inherited[ninherited])
        ninherited++;
    for (size_t i = 0; i < n; i++)
        size += params[i].name.len + 1 + params[i].value.len + 1;
    size_t most = ninherited + n + 1;

    *made = (struct cgi_variables){.text = malloc(size), .list = calloc(most + 1, sizeof(*made->list))};
    struct maker m = {.made = made, .at = made->text};
    if (!seen_open(&m.seen, most) || !made->text || !made->list) {
        free(m.seen.slots);
        return -ENOMEM;
    }
    for (size_t i = 0; i < ninherited; i++)
        append_inherited(&m, inherited[i]);
    for (size_t i = 0; i < n; i++)
        append_param(&m, &params[i]);
    if (seen_add(&m.seen, gateway))
        append(&m, gateway, version);
    free(m.seen.slots);
    return 0;
}

void cgi_variables_free(struct cgi_variables *variables)
{
    free(variables->list);
    free(variables->text);
    *variables = (struct cgi_variables){0};
}
