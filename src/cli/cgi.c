#include "cli/cgi.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/page.h"
#include "cli/cli.h"
#include "cli/options.h"

extern char **environ;

const struct cli_option cli_cgi_options[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {'n', "no-script", NULL, "in a #! line: PROGRAM is not given the script's path"},
    {0, NULL, NULL, NULL},
};
enum { OPTION_CONFIG, OPTION_NO_SCRIPT };

struct arguments {
    const char *path;
    bool no_script;
    char **program; /* what stands behind "--" */
    int nprogram;
};

/* -1, or the status to return at once. Nothing of the program's own arguments is looked at. */
static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
    *arguments = (struct arguments){.path = CONFIG_DEFAULT_PATH};
    int end = 1;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    struct options options = options_start(cli_cgi_options, "cgi", end, argv);
    for (int option; (option = options_next(&options)) >= 0;) {
        if (option == OPTION_CONFIG)
            arguments->path = options.value;
        else
            arguments->no_script = true;
    }
    if (options.done)
        return options.status;
    if (end + 1 >= argc)
        return cli_usage_error("cgi", "the program to run is missing: write it behind `--`");
    arguments->program = argv + end + 1;
    arguments->nprogram = argc - end - 1;
    if (!getenv("GATEWAY_INTERFACE"))
        return cli_usage_error("cgi",
                               "there is no GATEWAY_INTERFACE in the environment, so this is no CGI request; "
                               "a web server runs this command, as a CGI program");
    return -1;
}

/*
 * Reads what is left of the request's body. Where standard input and output are one socket (Apache's
 * mod_cgid), to leave it unread would destroy the answer. Without a length the end of file is waited for only
 * where a web server has to give it.
 */
static void drain_input(void)
{
    const char *length = getenv("CONTENT_LENGTH");
    unsigned long long left = length ? strtoull(length, NULL, 10) : 0;
    if (left == 0 && getenv("HTTP_TRANSFER_ENCODING"))
        left = ULLONG_MAX;
    char buffer[16384];
    while (left > 0) {
        ssize_t n = read(STDIN_FILENO, buffer, left < sizeof buffer ? (size_t)left : sizeof buffer);
        if (n <= 0)
            break;
        left -= (unsigned long long)n;
    }
}

/* "nph-NAME": the web server passes on as it is what such a program writes. RFC 3875 section 5. */
static bool is_unparsed(void)
{
    const char *name = getenv("SCRIPT_FILENAME");
    if (!name && !(name = getenv("SCRIPT_NAME")))
        return false;
    const char *slash = strrchr(name, '/');
    return strncmp(slash ? slash + 1 : name, "nph-", 4) == 0;
}

static int answer(const char *page, size_t len, int status)
{
    static const char field[] = "Status: ";
    size_t skip = 0;
    if (is_unparsed()) {
        fputs("HTTP/1.0 ", stdout);
        skip = sizeof field - 1;
    }
    fwrite(page + skip, 1, len - skip, stdout);
    int output = cli_finish_output();
    drain_input();
    return output != CLI_OK ? output : status;
}

int cgi_answer_failure(int status)
{
    static const struct page pages[] = {
        {500, "Internal Server Error", "The server cannot run this program."},
        {404, "Not Found", "There is no such program."},
        {403, "Forbidden", "The server may not run this program."},
    };
    const struct page *page = &pages[0];
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (pages[i].status == status)
            page = &pages[i];
    char text[PAGE_MAX];
    return answer(text, page_print(text, page), CLI_FAILED);
}

static int answer_refusal(int status)
{
    char text[PAGE_MAX];
    return answer(text, page_format(text, status), CLI_OK);
}

struct config *cgi_load(const char *path)
{
    struct messages messages = {0};
    struct config *config = config_load(path, &messages);
    if (!config)
        messages_print(&messages, stderr);
    messages_free(&messages);
    return config;
}

int cgi_run(const struct config *config, char **argv)
{
    struct cgi_environment environment;
    int status = cgi_environment_make(config, environ, &environment);
    if (status < 0)
        cli_error("cgi: out of memory");
    if (status == 0)
        status = cgi_answer_failure(cgi_exec(argv, environment.list));
    else
        status = status < 0 ? cgi_answer_failure(500) : answer_refusal(status);
    cgi_environment_free(&environment);
    return status;
}

static int run(const char *path, char **argv)
{
    struct config *config = cgi_load(path);
    if (!config)
        return cgi_answer_failure(500);
    int status = cgi_run(config, argv);
    config_free(config);
    return status;
}

int cli_cgi(int argc, char **argv)
{
    struct arguments arguments;
    int status = read_arguments(argc, argv, &arguments);
    if (status >= 0 || !arguments.program)
        return status;
    if (arguments.no_script)
        return cli_usage_error("cgi", "--no-script is for #! lines; here no script's path is added");
    return run(arguments.path, arguments.program);
}

static int run_script(int argc, char **argv, const struct cgi_words *words)
{
    struct arguments arguments;
    int status = read_arguments(words->count, words->list, &arguments);
    if (status >= 0 || !arguments.program)
        return status;
    const char *script = argv[2];
    const char *fault = cgi_check_script(script, argv[1], arguments.program[0]);
    if (fault) {
        cgi_tell_fault(script, fault, "");
        return cgi_answer_failure(500);
    }
    /* PROGRAM ARG... SCRIPT WORD..., as the kernel would have made it of "#!PROGRAM ARG". */
    char **program = calloc((size_t)arguments.nprogram + (size_t)argc, sizeof *program);
    if (!program) {
        cli_error("cgi: out of memory");
        return cgi_answer_failure(500);
    }
    int len = 0;
    for (int i = 0; i < arguments.nprogram; i++)
        program[len++] = arguments.program[i];
    for (int i = arguments.no_script ? 3 : 2; i < argc; i++)
        program[len++] = argv[i];
    status = run(arguments.path, program);
    free(program);
    return status;
}

int cli_cgi_script(int argc, char **argv)
{
    if (argc < 3)
        return cli_usage_error("cgi",
                               "options in one argument are for #! lines, where the script's path follows");
    struct cgi_words words;
    int status = CLI_FAILED;
    if (cgi_words_split(argv[1], &words) != 0)
        cli_error("cgi: out of memory");
    else
        status = run_script(argc, argv, &words);
    cgi_words_free(&words);
    return status;
}
