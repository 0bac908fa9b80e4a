#include "config/reach.h"

#include <errno.h>
#include <stdlib.h>

#include "config/source.h"

/* Where the packages' units make room for log files: they may be named there later. */
#define LOG_FOLDER "/var/log/fcgi-realip"

#define WAY_OUT "`fcgi-realip upgrade` and a restart make another sandbox, and sandbox = no in [process] none"

static int add(char ***list, size_t *count, char *path)
{
    char **more = path ? realloc(*list, (*count + 2) * sizeof *more) : NULL;
    if (!more) {
        free(path);
        return -ENOMEM;
    }
    more[*count] = path;
    more[++*count] = NULL;
    *list = more;
    return 0;
}

/* The path of the folder that holds what is at path. NULL: no memory. */
static char *find_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* The folder of an absolute path, and, where a link leads elsewhere, that of its end. */
static int add_folders(char ***list, size_t *count, const char *path)
{
    char *folder = find_folder(path);
    char *real = realpath(path, NULL);
    char *end = real ? find_folder(real) : NULL;
    free(real);
    int rc = add(list, count, folder);
    if (rc == 0 && end && strcmp(end, folder) != 0)
        return add(list, count, end);
    free(end);
    return rc;
}

static bool has_names(const struct endpoint *endpoints, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slice host = slice_of(endpoints[i].text);
        const char *colon = strrchr(endpoints[i].text, ':');
        if (colon)
            host.len = (size_t)(colon - host.data);
        if (endpoints[i].address.ss_family != AF_UNIX && resolve_is_name(host))
            return true;
    }
    return false;
}

static bool looks_up(const struct config *config)
{
    return config->source->memory.nnames > 0 ||
           has_names(config->listen.addresses, config->listen.naddresses) ||
           has_names(config->upstream.addresses, config->upstream.naddresses) ||
           config->listen.owner != (uid_t)-1 || config->listen.group != (gid_t)-1 ||
           config->process.user != (uid_t)-1 || config->process.group != (gid_t)-1;
}

static int add_log(struct reach *reach, const char *path)
{
    return path[0] == '/' ? add_folders(&reach->write, &reach->nwrite, path) : 0;
}

int reach_make(struct reach *reach, const struct config *config)
{
    const struct config_source *source = config->source;
    *reach = (struct reach){.names = looks_up(config)};
    int rc = add(&reach->read, &reach->nread, strdup(source->folder[0] ? source->folder : "/"));
    char *real = realpath(config->path, NULL);
    if (rc == 0 && real)
        rc = add_folders(&reach->read, &reach->nread, real);
    free(real);
    for (size_t i = 0; rc == 0 && i < source->memory.nfiles; i++)
        rc = add_folders(&reach->read, &reach->nread, source->memory.files[i].path);
    if (rc == 0)
        rc = add(&reach->write, &reach->nwrite, strdup(LOG_FOLDER));
    if (rc == 0)
        rc = add_log(reach, config->log_error);
    return rc == 0 ? add_log(reach, config->log_access) : rc;
}

static bool is_below(const char *folder, const char *path)
{
    size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    return strncmp(folder, path, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void check_folders(char **granted, char **wanted, size_t nwanted, const struct config *config,
                          const char *what, struct messages *messages)
{
    for (size_t i = 0; i < nwanted; i++) {
        char **folder = granted;
        while (folder && *folder && !is_below(*folder, wanted[i]))
            folder++;
        if (!folder || !*folder)
            messages_add(
                messages, true, config->path, 0,
                "cannot %s %s: the sandbox that was made at the start does not reach there; " WAY_OUT, what,
                wanted[i]);
    }
}

bool reach_covers(const struct reach *reach, const struct config *config, struct messages *messages)
{
    struct reach wanted;
    size_t before = messages->errors;
    if (reach_make(&wanted, config) < 0)
        messages_add(messages, true, config->path, 0, "out of memory");
    check_folders(reach->read, wanted.read, wanted.nread, config, "read files in", messages);
    check_folders(reach->write, wanted.write, wanted.nwrite, config, "write log files in", messages);
    if (wanted.names && !reach->names)
        messages_add(
            messages, true, config->path, 0,
            "cannot look up the names of hosts, users and groups: there were none when the sandbox was made "
            "at the start; " WAY_OUT);
    reach_free(&wanted);
    return messages->errors == before;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void reach_free(struct reach *reach)
{
    free_list(reach->read, reach->nread);
    free_list(reach->write, reach->nwrite);
    *reach = (struct reach){0};
}
