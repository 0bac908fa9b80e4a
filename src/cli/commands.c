#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cgi.h"
#include "cli/cli.h"
#include "cli/nearest.h"
#include "config/config.h"
#include "config/values.h"

const struct command cli_commands[] = {
    {"serve", cli_serve, "[-c FILE]", "run between a web server and a FastCGI application (the default)"},
    {"check", cli_check, "[-c FILE] [-v]", "validate the configuration; -v prints every setting in effect"},
    {"explain", cli_explain,
     "[-c FILE] --peer ADDR [--header 'NAME: VALUE']... [--param NAME=VALUE]... [--json]",
     "show step by step who the client of a request is, and why"},
    {"cgi", cli_cgi, "[-c FILE] -- PROGRAM ARG...",
     "as a CGI program: rewrite the environment, then become PROGRAM"},
    {"whoami", cli_whoami, "[-l ADDRESS] [-n THREADS]",
     "a small FastCGI or CGI application that shows the parameters it was given"},
    {"help", cli_help, "[COMMAND]", "say more about a command"},
    {NULL, NULL, NULL, NULL},
};

const struct command *cli_find_command(const char *name)
{
    for (const struct command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

int cli_run(int argc, char **argv)
{
    /* Whoever asks for a page must not give commands. */
    if (cgi_is_query(argc, argv))
        return cli_commands[0].run(1, argv);
    if (argc < 2 || argv[1][0] == '-') {
        if (argc >= 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
            printf("fcgi-realip %s\n", FCGI_REALIP_VERSION);
            return cli_finish_output();
        }
        if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
            return cli_help(argc - 1, argv + 1);
        return cli_commands[0].run(argc, argv);
    }
    if (cgi_is_script_line(argv[1]))
        return cli_cgi_script(argc, argv);
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
