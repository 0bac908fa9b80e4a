#include "cli/import.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/nearest.h"
#include "cli/options.h"
#include "config/header.h"
#include "config/values.h"

static const struct cli_option table[] = {{0, NULL, NULL, NULL}};

const char *const cli_import_words[] = {"nginx", "apache", "lighttpd", "f5", NULL};

static const struct import_server *const servers[] = {&import_nginx, &import_apache, &import_lighttpd,
                                                      &import_f5};
#define SERVERS (sizeof servers / sizeof *servers)

static const struct import_server *find_server(const char *name)
{
    for (size_t i = 0; i < SERVERS; i++)
        if (strcmp(servers[i]->name, name) == 0)
            return servers[i];
    return NULL;
}

static int refuse_server(const char *name)
{
    struct nearest nearest = nearest_start(slice_of(name));
    for (size_t i = 0; i < SERVERS; i++)
        nearest_offer(&nearest, servers[i]->name);
    struct quote quote = value_quote(slice_of(name));
    if (nearest.name)
        return cli_usage_error("import", "unknown server \"%s\"; did you mean \"%s\"?", quote.text,
                               nearest.name);
    return cli_usage_error("import", "unknown server \"%s\"; write nginx, apache, lighttpd or f5",
                           quote.text);
}

/* Where relative paths in the file start. */
static char *find_folder(struct import *import)
{
    char *absolute = realpath(import->path, NULL);
    if (!absolute)
        return NULL; /* what is wrong with the file comes out when it is opened */
    char *slash = strrchr(absolute, '/');
    *slash = '\0';
    return absolute;
}

/* Nothing is to be imported; what was not looked at may be why. */
static void report_nothing(const struct import *import)
{
    messages_add(import->messages, true, import->path, 0, "%s", import->server->nothing);
    for (size_t i = 0; i < import->nnotes; i++)
        messages_add(import->messages, false, import->notes[i].place.file, import->notes[i].place.line, "%s",
                     import->notes[i].text);
}

/* The whole output, malloc'ed; NULL after an error. */
static char *make_output(struct import *import, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (!out) {
        import_fail_memory(import);
        return NULL;
    }
    import->server->read(import);
    if (import->messages->errors == 0 && !import->server->print(import, out) && import->messages->errors == 0)
        report_nothing(import);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        import_fail_memory(import);
    if (import->messages->errors == 0)
        return text;
    free(text);
    return NULL;
}

static int run(const struct import_server *server, const char *path)
{
    struct messages messages = {0};
    bool standard = strcmp(path, "-") == 0;
    struct policy *manager = header_make_manager();
    struct import import = {.server = server,
                            .path = standard ? "standard input" : path,
                            .input = standard ? stdin : NULL,
                            .messages = &messages,
                            .manager = manager};
    char *text = NULL;
    size_t length = 0;
    if (!manager) {
        import_fail_memory(&import);
    } else {
        if (!standard)
            import.folder = find_folder(&import);
        text = make_output(&import, &length);
    }
    if (text)
        fwrite(text, 1, length, stdout);
    messages_print(&messages, stderr);
    int status = text ? cli_finish_output() : CLI_FAILED;
    free(text);
    import_free(&import);
    policy_free(manager);
    messages_free(&messages);
    return status;
}

int cli_import(int argc, char **argv)
{
    const char *words[2] = {NULL, NULL};
    struct options options = options_start(table, "import", argc, argv);
    for (size_t i = 0; i < 2 && options.at < argc; i++) {
        const char *word = argv[options.at];
        if (word[0] == '-' && word[1] != '\0')
            break;
        words[i] = word;
        options.at++;
    }
    options_next(&options);
    if (options.done)
        return options.status;

    if (!words[0])
        return cli_usage_error("import", "the server is missing: nginx, apache, lighttpd or f5");
    const struct import_server *server = find_server(words[0]);
    if (!server)
        return refuse_server(words[0]);
    if (!words[1])
        return cli_usage_error("import", "FILE is missing: the server's configuration, or - for standard "
                                         "input");
    return run(server, words[1]);
}
