#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cgi.h"
#include "cli/cli.h"
#include "cli/nearest.h"
#include "config/config.h"
#include "config/values.h"

const struct command cli_commands[] = {
    {"serve", cli_serve, "[-c FILE] [-- APPLICATION ARG...]",
     "run between a web server and a FastCGI application (the default)", cli_serve_options, NULL},
    {"check", cli_check, "[-c FILE] [-v]", "validate the configuration; -v prints every setting in effect",
     cli_check_options, NULL},
    {"explain", cli_explain,
     "[-c FILE] --line TEXT | --peer ADDR [--header 'NAME: VALUE']... [--param NAME=VALUE]... [--json]",
     "show step by step who the client of a request is, and why", cli_explain_options, NULL},
    {"cgi", cli_cgi, "[-c FILE] -- PROGRAM ARG...",
     "as a CGI program: rewrite the environment, then become PROGRAM", cli_cgi_options, NULL},
    {"status", cli_status, "[-c FILE] [--json]", "ask a running shim how it fares", cli_status_options, NULL},
    {"whoami", cli_whoami, "[-l ADDRESS] [-n THREADS]",
     "a small FastCGI or CGI application that shows the parameters it was given", cli_whoami_options, NULL},
    {"import", cli_import, "nginx|apache|lighttpd|f5 FILE",
     "print an INI with the trusted proxies of another server's configuration; FILE may be -", NULL,
     cli_import_words},
    {"reload", cli_reload, "[-c FILE]", "have the running shim read its configuration again",
     cli_signal_options, NULL},
    {"upgrade", cli_upgrade, "[-c FILE]", "have a new process of the program take over from the running one",
     cli_signal_options, NULL},
    {"completion", cli_completion, "bash|zsh|fish", "print what makes a shell complete this command line",
     NULL, cli_completion_words},
    {"help", cli_help, "[COMMAND]", "say more about a command", NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct command *cli_find_command(const char *name)
{
    for (const struct command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* The web server's words are a command line that somebody who asks for a page wrote. */
static int refuse_query(void)
{
    cli_error("these arguments may be the words of the URL's query, and are not obeyed; name the command and "
              "the configuration in a #! line, or do not pass on what the web server appends");
    return cgi_answer_failure(500);
}

static int run_command(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-') {
        if (argc >= 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
            printf("fcgi-realip %s\n", FCGI_REALIP_VERSION);
            return cli_finish_output();
        }
        if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
            return cli_help(argc - 1, argv + 1);
        return cli_commands[0].run(argc, argv);
    }
    const struct command *command = cli_find_command(argv[1]);
    if (command)
        return command->run(argc - 1, argv + 1);

    struct nearest nearest = nearest_start(slice_of(argv[1]));
    for (command = cli_commands; command->name; command++)
        nearest_offer(&nearest, command->name);
    struct quote quote = value_quote(slice_of(argv[1]));
    if (nearest.name)
        return cli_usage_error(NULL, "unknown command \"%s\"; did you mean \"%s\"?", quote.text,
                               nearest.name);
    return cli_usage_error(NULL, "unknown command \"%s\"", quote.text);
}

/* The command line that a script's first line holds, without the script's path and what stands behind it. */
static int run_words(char **argv, const struct cgi_words *words)
{
    char **line = calloc((size_t)words->count + 2, sizeof(*line));
    if (!line) {
        cli_error("out of memory");
        return CLI_FAILED;
    }
    line[0] = argv[0];
    for (int i = 0; i < words->count; i++)
        line[i + 1] = words->list[i];
    int status = run_command(words->count + 1, line);
    free(line);
    return status;
}

static int run_line(char **argv, int script)
{
    const char *argument = script == 2 ? argv[1] : "";
    const char *fault = script == 2 ? cgi_check_script(argv[script], argument, "") : NULL;
    if (fault) {
        cgi_tell_fault(argv[script], fault, "");
        return getenv("GATEWAY_INTERFACE") ? cgi_answer_failure(500) : CLI_FAILED;
    }
    struct cgi_words words;
    int status = CLI_FAILED;
    if (cgi_words_split(argument, &words) != 0)
        cli_error("out of memory");
    else
        status = run_words(argv, &words);
    cgi_words_free(&words);
    return status;
}

int cli_run(int argc, char **argv)
{
    int script = cgi_find_script(argc, argv);
    /* Whoever asks for a page must not give commands. */
    if (script == 0 && argc > 1 && cgi_is_asked_for())
        return cli_commands[0].run(1, argv);
    if (script == 0 && cgi_is_query(argc, argv))
        return refuse_query();
    /* The drop-in hands the script's path on to its program. */
    if (argc > 1 && cgi_is_script_line(argv[1]))
        return cli_cgi_script(argc, argv);
    return script > 0 ? run_line(argv, script) : run_command(argc, argv);
}

static void print_error(const char *format, va_list arguments)
{
    fputs("fcgi-realip: error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void cli_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments);
    va_end(arguments);
}

int cli_usage_error(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_error(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try `fcgi-realip %s%s`.\n", command ? command : "", command ? " --help" : "--help");
    return CLI_USAGE;
}

struct config *cli_load_config(const char *path)
{
    struct messages messages = {0};
    struct config *config = config_load(path, &messages);
    messages_print(&messages, stderr);
    messages_free(&messages);
    return config;
}

int cli_finish_output(void)
{
    int failed = ferror(stdout);
    if (fflush(stdout) == EOF) {
        cli_error("cannot write to standard output: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (failed) {
        cli_error("cannot write all of it to standard output");
        return CLI_FAILED;
    }
    return CLI_OK;
}
