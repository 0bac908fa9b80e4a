/*
 * The command line: one table of commands, one file a command.
 *
 * Each command gets its own argv (argv[0] is the command's name), says on standard error what went wrong, and
 * returns the exit status.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

#include "cli/options.h"

enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* could not do it: configuration, start, output */
    CLI_USAGE = 2,
};

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;            /* for the usage line */
    const char *summary;              /* one line, for --help */
    const struct cli_option *options; /* besides --help; NULL: none */
    const char *const *words;         /* what its first argument can be; ends with NULL; NULL: anything */
};

/* Ends with a NULL name; the first one is run where no command is named. */
extern const struct command cli_commands[];

/* The program's argv to a command. */
int cli_run(int argc, char **argv);

/* NULL if there is none of that name. */
const struct command *cli_find_command(const char *name);

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_whoami(int argc, char **argv);
int cli_cgi(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_upgrade(int argc, char **argv);
int cli_completion(int argc, char **argv);
int cli_help(int argc, char **argv);

/* What the commands above take. */
extern const struct cli_option cli_serve_options[];
extern const struct cli_option cli_check_options[];
extern const struct cli_option cli_explain_options[];
extern const struct cli_option cli_cgi_options[];
extern const struct cli_option cli_whoami_options[];
extern const struct cli_option cli_status_options[];
extern const struct cli_option cli_signal_options[]; /* reload and upgrade */
extern const char *const cli_import_words[];
extern const char *const cli_completion_words[];

/* The program's argv where a #! line holds the command cgi and its options in one argument, see cli/cgi.h. */
int cli_cgi_script(int argc, char **argv);

/* serve, where a web server runs it as a CGI program: see relay/bridge.h. application: one was to be started.
 */
int cli_serve_cgi(const char *path, bool application);

/* "fcgi-realip: error: ..." and a newline, to standard error. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, then where to read on; returns CLI_USAGE. command may be NULL. */
int cli_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct config;

/* Loads the file; its errors and warnings go to standard error. NULL after an error. */
struct config *cli_load_config(const char *path);

/* Writes out what standard output holds back. CLI_OK, or CLI_FAILED with a message if not all of it went out.
 */
int cli_finish_output(void);

#endif
