/*
 * completion: scripts that have a shell complete our command line, made of the tables that it is parsed by.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

const char *const cli_completion_words[] = {"bash", "zsh", "fish", NULL};

#define NO_COMMAND "serve" /* the one that is run if none is named */

/* ---- what all shells need ---- */

static const struct cli_option *first_option(const struct command *command)
{
    static const struct cli_option none[] = {{0, NULL, NULL, NULL}};
    return command->options ? command->options : none;
}

static bool takes_file(const struct cli_option *option)
{
    return option->value && strcmp(option->value, "FILE") == 0;
}

/* Each with `before` in front. */
static void print_commands(const char *before)
{
    for (const struct command *command = cli_commands; command->name; command++)
        printf("%s%s", command == cli_commands ? "" : before, command->name);
}

/* What the first argument of the command can be; false, and nothing printed, if that is anything. */
static bool print_words(const struct command *command)
{
    bool known = command->words || command->run == cli_help;
    if (command->run == cli_help)
        print_commands(" ");
    for (const char *const *word = command->words; word && *word; word++)
        printf("%s%s", word == command->words ? "" : " ", *word);
    return known;
}

/* Is a file the argument behind that word? */
static bool ends_in_file(const struct command *command)
{
    size_t length = strlen(command->arguments);
    return command->words && length > 5 && strcmp(command->arguments + length - 5, " FILE") == 0;
}

/* Within single quotes, with `escape` in front of each of the bytes in `special`. */
static void print_quoted(const char *text, const char *special, const char *escape, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs(quote, stdout);
        else if (strchr(special, *text))
            printf("%s%c", escape, *text);
        else
            putchar(*text);
    }
}

/* ---- bash ---- */

#define BASH_FILES                                                                                           \
    "mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n        compopt -o filenames 2>/dev/null"

/* "serve:-c | serve:--config" */
static bool print_bash_patterns(const struct command *command, bool files, bool first)
{
    for (const struct cli_option *option = first_option(command); option->name; option++) {
        if (!option->value || takes_file(option) != files)
            continue;
        printf("%s%s:--%s", first ? "" : " | ", command->name, option->name);
        if (option->letter)
            printf(" | %s:-%c", command->name, option->letter);
        first = false;
    }
    return first;
}

static void print_bash_values(bool files, const char *action)
{
    bool first = true;
    printf("    ");
    for (const struct command *command = cli_commands; command->name; command++)
        first = print_bash_patterns(command, files, first);
    printf(")\n        %s\n        return\n        ;;\n", action);
}

static void print_bash_arguments(const struct command *command)
{
    if (!command->words && command->run != cli_help)
        return;
    printf("    %s:%s)\n        words='", command->name, command->name);
    print_words(command);
    puts("'\n        ;;");
    if (!ends_in_file(command))
        return;
    for (const char *const *word = command->words; *word; word++)
        printf("%s%s:%s", word == command->words ? "    " : " | ", command->name, *word);
    puts(")\n        " BASH_FILES "\n        return\n        ;;");
}

static void print_bash_options(const struct command *command)
{
    printf("    %s)\n        words+=' --help -h", command->name);
    for (const struct cli_option *option = first_option(command); option->name; option++) {
        printf(" --%s", option->name);
        if (option->letter)
            printf(" -%c", option->letter);
    }
    puts("'\n        ;;");
}

static void print_bash(void)
{
    puts("# bash completion for fcgi-realip, by `fcgi-realip completion bash`\n"
         "\n"
         "_fcgi_realip()\n"
         "{\n"
         "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "    local command=" NO_COMMAND " words='' i\n"
         "    COMPREPLY=()\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        if [[ ${COMP_WORDS[i]} == -- ]]; then\n"
         "            # another program's command line\n"
         "            if ((i == COMP_CWORD - 1)); then\n"
         "                mapfile -t COMPREPLY < <(compgen -c -- \"$current\")\n"
         "            fi\n"
         "            compopt -o filenames -o bashdefault -o default 2>/dev/null\n"
         "            return\n"
         "        fi\n"
         "    done\n"
         "    # --NAME=VALUE comes as three words\n"
         "    if [[ $current == = ]]; then\n"
         "        current=\n"
         "    elif [[ $previous == = ]]; then\n"
         "        previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
         "    fi\n"
         "    if ((COMP_CWORD > 1)); then\n"
         "        case ${COMP_WORDS[1]} in");
    printf("        ");
    print_commands(" | ");
    puts(")\n            command=${COMP_WORDS[1]}\n            ;;\n        esac\n    else");
    printf("        words='");
    print_commands(" ");
    puts(" --version -V'\n    fi\n    case $command:$previous in");
    print_bash_values(true, BASH_FILES);
    print_bash_values(false, ": # nobody can guess it");
    for (const struct command *command = cli_commands; command->name; command++)
        print_bash_arguments(command);
    puts("    esac\n    case $command in");
    for (const struct command *command = cli_commands; command->name; command++)
        print_bash_options(command);
    puts("    esac\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "}\n"
         "\n"
         "complete -F _fcgi_realip fcgi-realip");
}

/* ---- zsh ---- */

/* As _arguments and _describe take it, in single quotes. */
static void print_zsh_text(const char *text)
{
    print_quoted(text, ":[]\\", "\\", "'\\''");
}

static void print_zsh_option(const struct cli_option *option)
{
    printf(" \\\n            ");
    if (option->letter)
        printf("'(-%c --%s)'{-%c%s,--%s%s}", option->letter, option->name, option->letter,
               option->value ? "+" : "", option->name, option->value ? "=" : "");
    else
        /* Those with a value of their own may come again. */
        printf("'%s--%s%s'", option->value ? "*" : "", option->name, option->value ? "=" : "");
    printf("'[");
    print_zsh_text(option->summary);
    putchar(']');
    if (option->value) {
        putchar(':');
        print_zsh_text(option->value);
        fputs(takes_file(option) ? ":_files" : ": ", stdout);
    }
    putchar('\'');
}

static void print_zsh_command(const struct command *command)
{
    printf("    %s)\n        _arguments -s '(-h --help)'{-h,--help}'[say more]'", command->name);
    for (const struct cli_option *option = first_option(command); option->name; option++)
        print_zsh_option(option);
    if (command->words || command->run == cli_help) {
        printf(" \\\n            '1:");
        print_zsh_text(command->arguments);
        printf(":(");
        print_words(command);
        printf(")'");
        if (ends_in_file(command))
            printf(" \\\n            '2:FILE:_files'");
    }
    puts(" && result=0\n        ;;");
}

static void print_zsh(void)
{
    puts("#compdef fcgi-realip\n"
         "# zsh completion for fcgi-realip, by `fcgi-realip completion zsh`\n"
         "\n"
         "_fcgi-realip() {\n"
         "    local command=" NO_COMMAND " result=1 end\n"
         "    local -a commands=(");
    for (const struct command *command = cli_commands; command->name; command++) {
        printf("        '%s:", command->name);
        print_zsh_text(command->summary);
        puts("'");
    }
    puts("    )\n"
         "    end=${words[(i)--]}\n"
         "    if (( end < CURRENT )); then\n"
         "        # another program's command line\n"
         "        shift $end words\n"
         "        (( CURRENT -= end ))\n"
         "        _normal\n"
         "        return\n"
         "    fi\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe -t commands command commands && result=0\n"
         "        _arguments '(- *)'{-V,--version}'[print the version]' && result=0\n"
         "    elif (( ${commands[(I)${words[2]}:*]} )); then\n"
         "        command=${words[2]}\n"
         "        shift words\n"
         "        (( CURRENT-- ))\n"
         "    fi\n"
         "    case $command in");
    for (const struct command *command = cli_commands; command->name; command++)
        print_zsh_command(command);
    puts("    esac\n"
         "    return result\n"
         "}\n"
         "\n"
         "if [[ $funcstack[1] == _fcgi-realip ]]; then\n"
         "    _fcgi-realip \"$@\"\n"
         "else\n"
         "    compdef _fcgi-realip fcgi-realip\n"
         "fi");
}

/* ---- fish ---- */

static void print_fish_text(const char *text)
{
    print_quoted(text, "\\", "\\", "\\'");
}

static void print_fish_option(const struct command *command, const struct cli_option *option)
{
    printf("complete -c fcgi-realip -n '__fcgi_realip_runs %s' -l %s", command->name, option->name);
    if (option->letter)
        printf(" -s %c", option->letter);
    if (option->value)
        fputs(takes_file(option) ? " -r -F" : " -x", stdout);
    printf(" -d '");
    print_fish_text(option->summary);
    puts("'");
}

static void print_fish_command(const struct command *command)
{
    printf("complete -c fcgi-realip -n __fcgi_realip_is_first -a %s -d '", command->name);
    print_fish_text(command->summary);
    printf("'\ncomplete -c fcgi-realip -n '__fcgi_realip_runs %s' -l help -s h -d 'say more'\n",
           command->name);
    for (const struct cli_option *option = first_option(command); option->name; option++)
        print_fish_option(command, option);
    if (command->words || command->run == cli_help) {
        printf("complete -c fcgi-realip -n '__fcgi_realip_runs %s; and __fcgi_realip_is_second' -a '",
               command->name);
        print_words(command);
        puts("'");
    }
    if (ends_in_file(command))
        printf("complete -c fcgi-realip -n '__fcgi_realip_runs %s; and not __fcgi_realip_is_second' -F\n",
               command->name);
}

static void print_fish(void)
{
    puts("# fish completion for fcgi-realip, by `fcgi-realip completion fish`\n"
         "\n"
         "function __fcgi_realip_is_first\n"
         "    test (count (commandline -opc)) -eq 1\n"
         "end\n"
         "\n"
         "function __fcgi_realip_is_second\n"
         "    test (count (commandline -opc)) -eq 2\n"
         "end\n"
         "\n"
         "function __fcgi_realip_is_program\n"
         "    contains -- -- (commandline -opc)\n"
         "end\n"
         "\n"
         "function __fcgi_realip_runs --argument-names name\n"
         "    __fcgi_realip_is_program; and return 1\n"
         "    set -l command " NO_COMMAND "\n"
         "    set -l words (commandline -opc)");
    printf("    if set -q words[2]; and contains -- $words[2] ");
    print_commands(" ");
    puts("\n"
         "        set command $words[2]\n"
         "    end\n"
         "    test $command = $name\n"
         "end\n"
         "\n"
         "complete -c fcgi-realip -n 'not __fcgi_realip_is_program' -f\n"
         "complete -c fcgi-realip -n __fcgi_realip_is_program -F -a '(__fish_complete_command)'\n"
         "complete -c fcgi-realip -n __fcgi_realip_is_first -l version -s V -d 'print the version'");
    for (const struct command *command = cli_commands; command->name; command++)
        print_fish_command(command);
}

/* ---- the command ---- */

int cli_completion(int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    static const struct cli_option none[] = {{0, NULL, NULL, NULL}};
    if (argc != 2 || argv[1][0] == '-') {
        struct options options = options_start(none, "completion", argc, argv);
        while (options_next(&options) >= 0)
            continue;
        return options.done ? options.status
                            : cli_usage_error("completion", "for which shell? Write bash, zsh or fish");
    }
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(argv[1], shells[i].shell) != 0)
            continue;
        shells[i].print();
        return cli_finish_output();
    }
    return cli_usage_error("completion", "no completion for this shell; write bash, zsh or fish");
}
