#include "relay/serve.h"

#include <stdlib.h>

#include "cli/cgi.h"
#include "cli/cli.h"
#include "cli/options.h"

static const struct cli_option table[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {0, NULL, NULL, NULL},
};

/* Somebody who asked a web server for a page waits for an answer, too. */
static int refuse(int status)
{
    if (status == CLI_USAGE && getenv("GATEWAY_INTERFACE"))
        cgi_answer_failure(500);
    return status;
}

int cli_serve(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT_PATH;
    struct options options = options_start(table, "serve", argc, argv);
    while (options_next(&options) >= 0)
        path = options.value;
    if (options.done)
        return refuse(options.status);

    struct inherited inherited;
    char error[160];
    if (inherit_find(&inherited, error, sizeof(error)) < 0) {
        cli_error("%s", error);
        return CLI_FAILED;
    }
    if (inherited.count == 0 && getenv("GATEWAY_INTERFACE"))
        return cli_serve_cgi(path, false);
    inherit_forget();
    struct config *config = cli_load_config(path);
    if (!config)
        return CLI_FAILED;
    int status = CLI_FAILED;
    if (config->listen.naddresses == 0 && inherited.count == 0)
        status = cli_usage_error("serve", "%s: no place to listen; write a [listen] section with an address",
                                 path);
    else if (config->upstream.naddresses == 0)
        cli_error("%s: no application to send to; write an [upstream] section with its address", path);
    else
        status = serve_run(config, &inherited);
    config_free(config);
    return status;
}
