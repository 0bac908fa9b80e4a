#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "config/config.h"

static const struct cli_option table[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {'v', "verbose", NULL, "print every setting in effect, defaults included, as an INI file"},
    {0, NULL, NULL, NULL},
};
enum { OPTION_CONFIG, OPTION_VERBOSE };

static void print_count(size_t count, const char *one, const char *many)
{
    printf("%zu %s", count, count == 1 ? one : many);
}

static void print_endpoints(const struct endpoint *endpoints, size_t count)
{
    /* A name that resolved to several addresses stands there several times in a row. */
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(endpoints[i].text, endpoints[i - 1].text) != 0)
            printf("%s%s", i ? ", " : "", endpoints[i].text);
}

static void print_summary(const struct config *config, const char *margin)
{
    printf("%s%s: configuration is valid\n", margin, config->path);

    printf("%s  trusts ", margin);
    print_count(config->policy->ngroups, "group of proxies", "groups of proxies");
    printf(" with ");
    print_count(cidr_set_count(config->policy->trust), "address block", "address blocks");
    printf("%s\n", config->policy->ngroups ? "" : ": every REMOTE_ADDR stays as the web server sent it");

    printf("%s  ", margin);
    if (config->listen.naddresses) {
        printf("listens on ");
        print_endpoints(config->listen.addresses, config->listen.naddresses);
    } else {
        printf("has no [listen] yet");
    }
    if (config->upstream.naddresses) {
        printf("; sends to ");
        print_endpoints(config->upstream.addresses, config->upstream.naddresses);
        putchar('\n');
    } else {
        printf("; has no [upstream] yet\n");
    }
}

int cli_check(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT_PATH;
    bool verbose = false;
    struct options options = options_start(table, "check", argc, argv);
    for (int option; (option = options_next(&options)) >= 0;) {
        if (option == OPTION_CONFIG)
            path = options.value;
        else
            verbose = true;
    }
    if (options.done)
        return options.status;

    struct config *config = cli_load_config(path);
    if (!config)
        return CLI_FAILED;
    /* With -v all of the output is an INI file, so that it can be saved and used; the summary is a comment.
     */
    print_summary(config, verbose ? "# " : "");
    if (verbose) {
        putchar('\n');
        config_print(config, stdout);
    }
    config_free(config);
    return cli_finish_output();
}
