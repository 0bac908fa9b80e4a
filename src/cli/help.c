#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config/config.h"

static int print_overview(void)
{
    puts("fcgi-realip " FCGI_REALIP_VERSION
         ": tells FastCGI applications behind proxies who the client really is\n"
         "\n"
         "Usage:");
    for (const struct command *command = cli_commands; command->name; command++) {
        bool optional = command == cli_commands;
        printf("  fcgi-realip %s%s%s %s\n      %s\n", optional ? "[" : "", command->name, optional ? "]" : "",
               command->arguments, command->summary);
    }
    puts("\n"
         "  fcgi-realip COMMAND --help    the options of a command\n"
         "  fcgi-realip --version\n"
         "\n"
         "FILE is " CONFIG_DEFAULT_PATH " unless -c names another.\n"
         "Exit status: 0 fine, 1 could not do it (configuration, start), 2 usage.");
    return cli_finish_output();
}

int cli_help(int argc, char **argv)
{
    if (argc > 2)
        return cli_usage_error(NULL, "unexpected argument \"%s\"", argv[2]);
    if (argc < 2 || argv[1][0] == '-' || strcmp(argv[1], argv[0]) == 0)
        return print_overview();
    char program[] = "fcgi-realip", option[] = "--help";
    char *arguments[] = {program, argv[1], option, NULL};
    return cli_run(3, arguments);
}
