#include "relay/cgi_start.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/command.h"
#include "fastcgi/params.h"
#include "ops/log.h"
#include "realip/workspace.h"
#include "relay/cgi_variables.h"
#include "relay/process.h"
#include "relay/variables.h"

/* Room for a path in a message. */
#define SHOWN_MAX 512

/* More than a request may have, since the rewrite adds some. */
#define PARAMS_MAX (REALIP_MAX_PARAMS + 64)

/* ---- what is run ---- */

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static int open_program(struct cgi_programs *programs, char *const *command, char *error, size_t size)
{
    char path[PATH_MAX];
    int rc = process_find(command[0], path, sizeof(path));
    if (rc < 0) {
        snprintf(error, size, "cgi = %s: there is no such program in PATH: %s", command[0], strerror(-rc));
        return rc;
    }
    programs->command = command_copy(command);
    char *file = strdup(path);
    programs->directory = directory_of(path);
    if (programs->command && file && programs->directory) {
        free(programs->command[0]);
        programs->command[0] = file;
        return 0;
    }
    free(file);
    snprintf(error, size, "cgi: out of memory");
    return -ENOMEM;
}

int cgi_programs_open(struct cgi_programs *programs, const struct config_upstream *config, char *error,
                      size_t error_size)
{
    *programs = (struct cgi_programs){0};
    programs->inherited = variables_inherit(config->environment);
    if (!programs->inherited) {
        snprintf(error, error_size, "cgi: out of memory");
        return -ENOMEM;
    }
    if (!config->cgi_root)
        return open_program(programs, config->command, error, error_size);
    int rc = cgi_root_open(&programs->root, config->cgi_root);
    if (rc < 0)
        snprintf(error, error_size, "cgi_root = %s: %s", config->cgi_root, strerror(-rc));
    return rc;
}

void cgi_programs_close(struct cgi_programs *programs)
{
    command_free(programs->command);
    free(programs->directory);
    cgi_root_close(&programs->root);
    variables_free(programs->inherited);
    *programs = (struct cgi_programs){0};
}

/* ---- what to answer ---- */

static bool is_shortage(int error)
{
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE || error == ETXTBSY;
}

static void refuse(struct cgi_start *start, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct cgi_start *start, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    start->status = status;
    if (vasprintf(&start->message, format, arguments) < 0)
        start->message = NULL;
    va_end(arguments);
}

static void refuse_script(struct cgi_start *start, struct slice filename, int error)
{
    char shown[SHOWN_MAX];
    log_escape(filename, shown, sizeof(shown));
    switch (error) {
    case EXDEV:
        refuse(start, 403, "refused to run \"%s\": it is not under cgi_root %s", shown,
               start->programs->root.path);
        break;
    case ELOOP:
        refuse(start, 403, "refused to run \"%s\": a symbolic link that may lead anywhere", shown);
        break;
    case EISDIR:
        refuse(start, 403, "refused to run \"%s\": a directory", shown);
        break;
    case ENXIO:
        refuse(start, 403, "refused to run \"%s\": no regular file", shown);
        break;
    default: {
        bool missing = error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
        int status = missing ? 404 : error == EACCES ? 403 : is_shortage(error) ? 503 : 500;
        refuse(start, status, "cannot run \"%s\": %s", shown, strerror(error));
    }
    }
}

static void refuse_size(struct cgi_start *start, const struct cgi_variables *variables)
{
    char shown[SHOWN_MAX];
    log_escape(variables->longest, shown, sizeof(shown));
    refuse(start, cgi_variables_is_clients(variables->longest) ? 431 : 500,
           "cannot run %s: %s; the longest parameter is %s with %zu bytes, the system takes %d for one and a "
           "part of the stack's limit for all",
           start->name, strerror(E2BIG), shown, variables->longest_size, CGI_VARIABLES_STRING_MAX);
}

static void refuse_exec(struct cgi_start *start, const char *path, int error)
{
    const char *why = strerror(error);
    if ((error == ENOENT || error == ENOTDIR) && access(path, F_OK) == 0)
        refuse(start, 500, "cannot run %s: the interpreter in its first line is missing: %s", start->name,
               why);
    else if ((error == EACCES || error == EPERM) && eaccess(path, X_OK) == 0)
        refuse(start, 500, "cannot run %s: the interpreter in its first line may not be executed: %s",
               start->name, why);
    else if (error == ENOEXEC)
        refuse(start, 500, "cannot run %s: it is no program, and no script that begins with #!: %s",
               start->name, why);
    else
        refuse(start,
               error == ENOENT || error == ENOTDIR                   ? 404
               : error == EACCES || error == EPERM || error == ELOOP ? 403
               : is_shortage(error)                                  ? 503
                                                                     : 500,
               "cannot run %s: %s", start->name, why);
}

static void refuse_spawn(struct cgi_start *start, const struct process_plan *plan, int step, int error)
{
    if (step == PROCESS_EXEC)
        refuse_exec(start, plan->file, error);
    else if (step == PROCESS_DIRECTORY)
        refuse(start,
               error == ENOENT   ? 404
               : error == EACCES ? 403
                                 : 500,
               "cannot run %s: cannot work in its directory: %s", start->name, strerror(error));
    else
        refuse(start, is_shortage(error) ? 503 : 500, "cannot run %s: cannot start a process: %s",
               start->name, strerror(error));
}

/* ---- starting ---- */

static char *show(struct slice text)
{
    char shown[SHOWN_MAX];
    return strdup(log_escape(text, shown, sizeof(shown)));
}

/* The parameters are final. */
static void spawn(struct cgi_start *start, char *const *command, const char *directory,
                  const struct param *params, size_t n)
{
    struct cgi_variables variables;
    start->name = show(slice_of(command[0]));
    if (cgi_variables_make(&variables, start->programs->inherited, params, n) < 0 || !start->name) {
        refuse(start, 503, "cannot run a CGI program: out of memory");
        cgi_variables_free(&variables);
        return;
    }
    if (variables.refused.len > 0)
        start->refused = show(variables.refused);
    const struct process_plan plan = {.file = command[0],
                                      .arguments = command,
                                      .variables = variables.list,
                                      .directory = directory,
                                      .fds = {start->fds[0], start->fds[1], start->fds[2]},
                                      .parent_death = SIGKILL};
    enum process_step step = PROCESS_EXEC;
    pid_t pid = -E2BIG;
    if (variables.longest_size <= CGI_VARIABLES_STRING_MAX)
        pid = process_spawn(&plan, &step);
    if (pid > 0)
        start->pid = pid;
    else if (pid == -E2BIG)
        refuse_size(start, &variables);
    else
        refuse_spawn(start, &plan, (int)step, -pid);
    cgi_variables_free(&variables);
}

static void run_script(struct cgi_start *start, struct param *params, size_t n)
{
    struct param *filename = cgi_variables_find(params, n, SLICE("SCRIPT_FILENAME"));
    const struct param *info = cgi_variables_find(params, n, SLICE("PATH_INFO"));
    if (!filename || filename->value.len == 0) {
        refuse(start, 404,
               "cannot run a CGI program: the web server sends no SCRIPT_FILENAME; set it there (nginx: "
               "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;)");
        return;
    }
    filename->value = cgi_variables_strip_proxy(filename->value);
    struct cgi_script script;
    char *text = NULL;
    bool split = !info || info->value.len == 0;
    int rc = cgi_script_find(&start->programs->root, filename->value, split, &script);
    if (rc == 0 && script.extra > 0)
        rc = cgi_variables_split(params, &n, script.extra, &text);
    if (rc < 0) {
        refuse_script(start, filename->value, -rc);
        return;
    }
    char *directory = directory_of(script.path);
    if (directory)
        spawn(start, (char *const[]){script.path, NULL}, directory, params, n);
    else
        refuse(start, 503, "cannot run a CGI program: out of memory");
    free(directory);
    free(text);
}

/* HTTP/2 may have one without saying so. */
static bool promises_body(struct param *params, size_t n)
{
    const struct param *length = cgi_variables_find(params, n, SLICE("CONTENT_LENGTH"));
    if (length && length->value.len > 0 && !slice_equal(length->value, SLICE("0")))
        return true;
    return cgi_variables_find(params, n, SLICE("HTTP_TRANSFER_ENCODING")) != NULL;
}

void cgi_start_run(struct cgi_start *start)
{
    /* A pair takes two bytes at least. */
    size_t cap = start->params.len / 2 < PARAMS_MAX ? start->params.len / 2 : PARAMS_MAX;
    struct param *params = calloc(cap + CGI_VARIABLES_ADDED, sizeof(*params));
    size_t n;
    if (!params) {
        refuse(start, 503, "cannot run a CGI program: out of memory");
        return;
    }
    if (params_decode(start->params, params, cap, &n) != PARAMS_OK) {
        refuse(start, 400, "cannot run a CGI program: the request's parameters make no sense");
    } else {
        start->body = promises_body(params, n);
        if (start->programs->command)
            spawn(start, start->programs->command, start->programs->directory, params, n);
        else
            run_script(start, params, n);
    }
    free(params);
}

void cgi_start_free(struct cgi_start *start)
{
    free(start->message);
    free(start->name);
    free(start->refused);
    start->message = start->name = start->refused = NULL;
}
