/*
 * serve, run by a web server as a CGI program: one request, whose answer comes from where [upstream] says.
 */
#include <errno.h>
#include <string.h>

#include "cli/cgi.h"
#include "cli/cli.h"
#include "relay/bridge.h"

extern char **environ;

static int bridge(const struct config *config)
{
    int status = bridge_run(config, environ);
    if (status >= 0)
        return status;
    if (status == -EINVAL)
        cli_error("CONTENT_LENGTH is no number");
    else
        cli_error("cannot begin: %s", strerror(-status));
    return cgi_answer_failure(500);
}

static int serve(const struct config *config, const char *path)
{
    const struct config_upstream *upstream = &config->upstream;
    switch (upstream->kind) {
    case UPSTREAM_ADDRESS:
        return bridge(config);
    case UPSTREAM_CGI:
        if (upstream->command)
            return cgi_run(config, upstream->command);
        cli_error("%s: cgi = script is not for a CGI program, which is a script itself; write an [upstream] "
                  "section with an address, or with the program that cgi is to run",
                  path);
        break;
    case UPSTREAM_COMMAND:
        cli_error("%s: command is not for a CGI program, which serves one request and ends; write an "
                  "[upstream] section with the address of an application that runs already",
                  path);
        break;
    case UPSTREAM_NONE:
        cli_error("%s: no application to send to; write an [upstream] section with its address", path);
        break;
    }
    return cgi_answer_failure(500);
}

int cli_serve_cgi(const char *path, bool application)
{
    if (application) {
        cli_error(
            "a CGI program serves one request and ends, so it starts no application: write an [upstream] "
            "section with the address of one that runs already, and leave out what stands behind `--`");
        return cgi_answer_failure(500);
    }
    struct config *config = cgi_load(path);
    if (!config)
        return cgi_answer_failure(500);
    int status = serve(config, path);
    config_free(config);
    return status;
}
