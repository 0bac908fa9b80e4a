#include "cli/explain.h"

#include <stdlib.h>

#include "cli/cli.h"
#include "cli/explain_line.h"
#include "cli/options.h"
#include "config/values.h"

const struct cli_option cli_explain_options[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {0, "peer", "ADDR", "REMOTE_ADDR as the web server sends it"},
    {0, "header", "'NAME: VALUE'", "a request header; again for more, in the order of arrival"},
    {0, "param", "NAME=VALUE", "a parameter as the web server sends it"},
    {0, "line", "TEXT", "a decision from the error log, instead of all of these"},
    {0, "json", NULL, "print one JSON object"},
    {0, NULL, NULL, NULL},
};
enum { OPTION_CONFIG, OPTION_PEER, OPTION_HEADER, OPTION_PARAM, OPTION_LINE, OPTION_JSON };

struct request {
    struct param params[REALIP_MAX_PARAMS];
    size_t n;
    char *names[REALIP_MAX_PARAMS]; /* those that were made from a header's name */
    size_t nnames;
};

struct arguments {
    const char *path;
    const char *peer; /* NULL: not given */
    const char *text; /* of --line, NULL: not given */
    struct explain_line line;
    bool json;
};

/* "X-Forwarded-For" to "HTTP_X_FORWARDED_FOR", as web servers do it: RFC 3875 section 4.1.18. */
static struct slice name_header_param(struct slice header, char *name)
{
    static const char prefix[] = "HTTP_";
    size_t len = sizeof prefix - 1;
    memcpy(name, prefix, len);
    for (size_t i = 0; i < header.len; i++) {
        char byte = header.data[i];
        if (byte >= 'a' && byte <= 'z')
            byte = (char)(byte - 'a' + 'A');
        name[len++] = byte == '-' ? '_' : byte;
    }
    struct slice whole = {name, len}, bare = slice_part(whole, sizeof prefix - 1, len);
    if (slice_equal(bare, SLICE("CONTENT_TYPE")) || slice_equal(bare, SLICE("CONTENT_LENGTH")))
        return bare;
    return whole;
}

/* NULL, or what is wrong with it. */
static const char *add_header(struct request *request, const char *text)
{
    struct slice line = slice_of(text);
    const char *colon = memchr(line.data, ':', line.len);
    if (!colon)
        return "a header is written 'NAME: VALUE'";
    struct slice header = slice_part(line, 0, (size_t)(colon - line.data));
    if (!value_is_token(header))
        return "a header's name holds letters, digits and \"-\"; write 'NAME: VALUE'";
    struct slice value = value_trim(slice_part(line, header.len + 1, line.len));
    if (request->n == REALIP_MAX_PARAMS)
        return "too many parameters for one request";
    char *name = malloc(sizeof "HTTP_" + header.len);
    if (!name)
        return "out of memory";
    request->names[request->nnames++] = name;
    request->params[request->n++] = (struct param){name_header_param(header, name), value};
    return NULL;
}

static const char *add_param(struct request *request, const char *text)
{
    struct slice line = slice_of(text);
    const char *equals = memchr(line.data, '=', line.len);
    if (!equals || equals == line.data)
        return "a parameter is written NAME=VALUE";
    if (request->n == REALIP_MAX_PARAMS)
        return "too many parameters for one request";
    size_t at = (size_t)(equals - line.data);
    request->params[request->n++] =
        (struct param){slice_part(line, 0, at), slice_part(line, at + 1, line.len)};
    return NULL;
}

/* -1, or the status to return at once. */
static int read_arguments(int argc, char **argv, struct arguments *arguments, struct request *request)
{
    request->n = 1; /* the peer's place */
    struct options options = options_start(cli_explain_options, "explain", argc, argv);
    for (int option; (option = options_next(&options)) >= 0;) {
        const char *complaint = NULL;
        switch (option) {
        case OPTION_CONFIG:
            arguments->path = options.value;
            break;
        case OPTION_PEER:
            if (arguments->peer)
                complaint = "--peer is given twice; a request has one";
            arguments->peer = options.value;
            break;
        case OPTION_HEADER:
            complaint = add_header(request, options.value);
            break;
        case OPTION_PARAM:
            complaint = add_param(request, options.value);
            break;
        case OPTION_LINE:
            complaint = arguments->text ? "--line is given twice; explain one decision at a time"
                                        : explain_line_read(&arguments->line, options.value);
            arguments->text = options.value;
            break;
        default:
            arguments->json = true;
        }
        if (complaint)
            options_refuse(&options, complaint);
    }
    if (options.done)
        return options.status;
    if (arguments->text && (arguments->peer || request->n > 1))
        return cli_usage_error("explain",
                               "--line has all of the request; --peer, --header and --param do not go "
                               "with it");
    if (arguments->text)
        return -1;
    if (!arguments->peer)
        return cli_usage_error("explain",
                               "--peer ADDR is missing: the REMOTE_ADDR that the web server sends");
    request->params[0] = (struct param){SLICE("REMOTE_ADDR"), slice_of(arguments->peer)};
    return -1;
}

static int explain(const struct arguments *arguments, struct request *request)
{
    struct config *config = cli_load_config(arguments->path);
    if (!config)
        return CLI_FAILED;
    if (arguments->text)
        request->n = explain_line_params(&arguments->line, config, request->params);
    struct explanation explanation = {0};
    struct workspace *workspace = workspace_new(config->policy);
    int status = CLI_FAILED;
    if (!workspace || explain_make(config, request->params, request->n, workspace, &explanation) != 0) {
        cli_error("explain: out of memory");
    } else {
        explanation.hides_secrets = arguments->text != NULL;
        if (arguments->json)
            explain_print_json(&explanation, stdout);
        else
            explain_print_text(&explanation, stdout);
        status = cli_finish_output();
        if (arguments->text)
            explain_line_compare(&arguments->line, &explanation.decision);
    }
    explain_free(&explanation);
    workspace_free(workspace);
    config_free(config);
    return status;
}

int cli_explain(int argc, char **argv)
{
    struct arguments arguments = {.path = CONFIG_DEFAULT_PATH};
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        cli_error("explain: out of memory");
        return CLI_FAILED;
    }
    int status = read_arguments(argc, argv, &arguments, request);
    if (status < 0)
        status = explain(&arguments, request);
    for (size_t i = 0; i < request->nnames; i++)
        free(request->names[i]);
    explain_line_free(&arguments.line);
    free(request);
    return status;
}
