/*
 * Options of a command: -x, -xVALUE, -x VALUE, --name, --name=VALUE, --name VALUE. `--` ends them.
 *
 * Every command also knows -h and --help. Nothing but options is expected: a free argument is an error.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>

struct cli_option {
    char letter;       /* 0: only the long name */
    const char *name;  /* without "--"; NULL ends the table */
    const char *value; /* what it takes, for --help; NULL: nothing */
    const char *summary;
};

struct options {
    const struct cli_option *table;
    const char *command;
    int argc;
    char **argv;
    int at;            /* next argument */
    const char *rest;  /* letters behind the one just read: "-vc" */
    const char *value; /* of the option just read; points into argv */
    int status;        /* at the end: CLI_OK, or what the command returns at once */
    bool done;         /* --help was answered, or a mistake was reported */
};

/* Starts behind argv[0]; command is the name for messages. */
struct options options_start(const struct cli_option *table, const char *command, int argc, char **argv);

/*
 * The next option as an index into the table, or -1 at the end. If done is set then, the command returns
 * status at once.
 */
int options_next(struct options *options);

/* Reports that the option just read has an unusable value; ends the walk. Returns -1. */
int options_refuse(struct options *options, const char *reason);

#endif
