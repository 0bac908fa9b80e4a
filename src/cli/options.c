#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/nearest.h"
#include "config/values.h"

struct options options_start(const struct cli_option *table, const char *command, int argc, char **argv)
{
    return (struct options){.table = table, .command = command, .argc = argc, .argv = argv, .at = 1};
}

static int finish(struct options *options, int status)
{
    options->done = true;
    options->status = status;
    return -1;
}

static int answer_help(struct options *options)
{
    const struct command *command = cli_find_command(options->command);
    printf("fcgi-realip %s %s\n\n%s\n\n", command->name, command->arguments, command->summary);
    for (const struct cli_option *option = options->table; option->name; option++) {
        char text[64];
        snprintf(text, sizeof text, "--%s%s%s", option->name, option->value ? " " : "",
                 option->value ? option->value : "");
        if (option->letter)
            printf("  -%c, %-24s %s\n", option->letter, text, option->summary);
        else
            printf("      %-24s %s\n", text, option->summary);
    }
    return finish(options, cli_finish_output());
}

static int take_value(struct options *options, int index, const char *attached)
{
    const struct cli_option *option = &options->table[index];
    options->value = attached;
    if (!option->value || attached)
        return index;
    if (options->at >= options->argc)
        return finish(options, cli_usage_error(options->command, "--%s needs a value: --%s %s", option->name,
                                               option->name, option->value));
    options->value = options->argv[options->at++];
    return index;
}

static int next_letter(struct options *options)
{
    char letter = *options->rest++;
    bool last = *options->rest == '\0';
    if (letter == 'h')
        return answer_help(options);
    int index = 0;
    while (options->table[index].name && options->table[index].letter != letter)
        index++;
    if (!options->table[index].name)
        return finish(options, cli_usage_error(options->command, "unknown option \"-%c\"", letter));
    if (!options->table[index].value) {
        if (last)
            options->rest = NULL;
        options->value = NULL;
        return index;
    }
    const char *attached = last ? NULL : options->rest;
    options->rest = NULL;
    return take_value(options, index, attached);
}

static int refuse_name(struct options *options, struct slice name)
{
    struct nearest nearest = nearest_start(name);
    for (const struct cli_option *option = options->table; option->name; option++)
        nearest_offer(&nearest, option->name);
    struct quote quote = value_quote(name);
    if (nearest.name)
        return finish(options,
                      cli_usage_error(options->command, "unknown option \"--%s\"; did you mean \"--%s\"?",
                                      quote.text, nearest.name));
    return finish(options, cli_usage_error(options->command, "unknown option \"--%s\"", quote.text));
}

static int next_name(struct options *options, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    if (len == 4 && memcmp(word, "help", 4) == 0)
        return answer_help(options);
    for (int index = 0; options->table[index].name; index++) {
        const struct cli_option *option = &options->table[index];
        if (strlen(option->name) != len || memcmp(option->name, word, len) != 0)
            continue;
        if (equals && !option->value)
            return finish(options, cli_usage_error(options->command, "--%s takes no value", option->name));
        return take_value(options, index, equals ? equals + 1 : NULL);
    }
    return refuse_name(options, (struct slice){word, len});
}

int options_next(struct options *options)
{
    if (options->done)
        return -1;
    if (options->rest)
        return next_letter(options);
    if (options->at >= options->argc)
        return -1;
    char *argument = options->argv[options->at++];
    if (strcmp(argument, "--") == 0) {
        if (options->at >= options->argc)
            return -1;
        argument = options->argv[options->at];
    } else if (argument[0] == '-' && argument[1] == '-') {
        return next_name(options, argument + 2);
    } else if (argument[0] == '-' && argument[1] != '\0') {
        options->rest = argument + 1;
        return next_letter(options);
    }
    struct quote quote = value_quote(slice_of(argument));
    return finish(options, cli_usage_error(options->command, "unexpected argument \"%s\"", quote.text));
}

int options_refuse(struct options *options, const char *reason)
{
    struct quote quote = value_quote(slice_of(options->value));
    return finish(options, cli_usage_error(options->command, "\"%s\": %s", quote.text, reason));
}
