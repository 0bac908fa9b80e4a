#include "relay/serve.h"

#include <stdlib.h>

#include "cli/cgi.h"
#include "cli/cli.h"
#include "cli/options.h"

const struct cli_option cli_serve_options[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {0, NULL, NULL, NULL},
};

struct arguments {
    const char *path;
    char **application; /* what stands behind "--"; NULL: there is no "--" */
};

/* -1, or the status to return at once. Nothing of the application's own arguments is looked at. */
static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
    *arguments = (struct arguments){.path = CONFIG_DEFAULT_PATH};
    int end = 1;
    while (end < argc && strcmp(argv[end], "--") != 0)
        end++;
    struct options options = options_start(cli_serve_options, "serve", end, argv);
    while (options_next(&options) >= 0)
        arguments->path = options.value;
    if (options.done)
        return options.status;
    if (end == argc)
        return -1;
    arguments->application = argv + end + 1;
    if (!arguments->application[0])
        return cli_usage_error("serve", "the application to start is missing: write it behind `--`");
    return -1;
}

static struct config *load(const struct arguments *arguments)
{
    if (!arguments->application)
        return cli_load_config(arguments->path);
    struct messages messages = {0};
    struct config *config = config_load_command(arguments->path, arguments->application, &messages);
    messages_print(&messages, stderr);
    messages_free(&messages);
    return config;
}

static int run(const struct arguments *arguments, const struct inherited *inherited)
{
    struct config *config = load(arguments);
    if (!config)
        return CLI_FAILED;
    if (config->upstream.kind != UPSTREAM_NONE && (config->listen.naddresses > 0 || inherited->count > 0))
        return serve_run(config, inherited);
    int status = CLI_FAILED;
    if (config->listen.naddresses == 0 && inherited->count == 0)
        status = cli_usage_error("serve", "%s: no place to listen; write a [listen] section with an address",
                                 arguments->path);
    else
        cli_error("%s: no application to send to; write an [upstream] section with its address, or the "
                  "command that starts it",
                  arguments->path);
    config_free(config);
    return status;
}

/* Somebody who asked a web server for a page waits for an answer, too. */
static int refuse(int status)
{
    if (status == CLI_USAGE && getenv("GATEWAY_INTERFACE"))
        cgi_answer_failure(500);
    return status;
}

int cli_serve(int argc, char **argv)
{
    struct arguments arguments;
    int status = read_arguments(argc, argv, &arguments);
    if (status >= 0)
        return refuse(status);

    struct inherited inherited;
    char error[160];
    if (inherit_find(&inherited, error, sizeof(error)) < 0) {
        cli_error("%s", error);
        return CLI_FAILED;
    }
    if (inherited.count == 0 && getenv("GATEWAY_INTERFACE"))
        return cli_serve_cgi(arguments.path, arguments.application != NULL);
    inherit_forget();
    serve_hold_signals();
    return run(&arguments, &inherited);
}
