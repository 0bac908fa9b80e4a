#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/values.h"
#include "relay/process.h"
#include "relay/writers.h"

const struct cli_option cli_check_options[] = {
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

static void print_command(char *const *command)
{
    for (; *command; command++) {
        bool quoted = **command == '\0' || strpbrk(*command, " \t\"'");
        const char *quote = !quoted ? "" : strchr(*command, '"') ? "'" : "\"";
        printf(" %s%s%s", quote, *command, quote);
    }
}

static void print_application(const struct config_upstream *upstream)
{
    switch (upstream->kind) {
    case UPSTREAM_ADDRESS:
        printf("sends to ");
        print_endpoints(upstream->addresses, upstream->naddresses);
        break;
    case UPSTREAM_COMMAND:
        printf("starts ");
        print_count(upstream->processes, "process of", "processes of");
        print_command(upstream->command);
        break;
    case UPSTREAM_CGI:
        if (upstream->cgi_root)
            printf("runs the CGI programs in %s", upstream->cgi_root);
        else
            printf("runs the CGI program");
        if (upstream->command)
            print_command(upstream->command);
        printf(", at most %u at a time", upstream->max_processes);
        break;
    default:
        printf("has no [upstream] yet");
    }
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
    printf("; ");
    print_application(&config->upstream);
    if (config->workers > 1)
        printf(", with %u workers", config->workers);
    putchar('\n');
}

/* ---- programs, as they are on this machine now ---- */

static void report(const struct config *config, struct messages *messages, bool error, const char *key,
                   const char *text, const char *why)
{
    messages_add(messages, error, config->path, config_find_line(config, "upstream", key), "%s = \"%s\": %s",
                 key, value_quote(slice_of(text)).text, why);
}

/* NULL, or why path cannot be run. */
static const char *judge_program(const char *path, struct stat *found)
{
    if (stat(path, found) < 0)
        return errno == ENOENT ? "no such file; install the program, or correct the path" : strerror(errno);
    if (S_ISDIR(found->st_mode))
        return "a directory; write the path of the program in it";
    if (!S_ISREG(found->st_mode))
        return "no regular file; write the path of a program";
    if (access(path, X_OK) < 0)
        return errno == EACCES ? "may not be executed; give the right to, chmod +x" : strerror(errno);
    return NULL;
}

static void check_program(const struct config *config, struct messages *messages, const char *key)
{
    const char *name = config->upstream.command[0];
    char path[PATH_MAX];
    struct stat found = {0};
    int rc = process_find(name, path, sizeof(path));
    const char *why = rc == -ENOENT   ? "not in PATH; install the program, or write its absolute path"
                      : rc == -EACCES ? "in PATH, but may not be executed; give the right to, chmod +x"
                      : rc < 0        ? strerror(-rc)
                                      : judge_program(path, &found);
    if (why)
        report(config, messages, true, key, name, why);
    else if (found.st_mode & S_IWOTH)
        report(config, messages, false, key, path,
               "every user of this machine can change this program; take the right away, chmod o-w");
}

/* serve refuses it as well; as what user it will run is only known if the file says so. */
static void check_root_writers(const struct config *config, struct messages *messages)
{
    const char *root = config->upstream.cgi_root;
    uid_t user = config->process.user != (uid_t)-1 ? config->process.user : geteuid();
    struct writers found;
    char why[PATH_MAX + 512];
    int rc = writers_find(root, user, &found);
    if (rc == 0)
        return;
    snprintf(why, sizeof(why), "cannot see who can write it: %s", strerror(-rc));
    if (rc > 0)
        snprintf(why, sizeof(why), "%s can write %s, and so put programs there; take the right away, %s",
                 found.who, found.path, found.remedy);
    report(config, messages, true, "cgi_root", root, why);
}

static void check_root(const struct config *config, struct messages *messages)
{
    const char *root = config->upstream.cgi_root;
    struct stat found = {0};
    if (stat(root, &found) < 0)
        report(config, messages, true, "cgi_root", root,
               errno == ENOENT ? "no such directory; create it, or correct the path" : strerror(errno));
    else if (!S_ISDIR(found.st_mode))
        report(config, messages, true, "cgi_root", root,
               "not a directory; write that of the programs, or cgi = PROGRAM for a single one");
    else
        check_root_writers(config, messages);
}

/* False after an error. */
static bool check_programs(const struct config *config)
{
    struct messages messages = {0};
    if (config->upstream.cgi_root && config->upstream.kind == UPSTREAM_CGI)
        check_root(config, &messages);
    else if (config->upstream.command)
        check_program(config, &messages, config->upstream.kind == UPSTREAM_CGI ? "cgi" : "command");
    bool fine = messages.errors == 0;
    messages_print(&messages, stderr);
    messages_free(&messages);
    return fine;
}

int cli_check(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT_PATH;
    bool verbose = false;
    struct options options = options_start(cli_check_options, "check", argc, argv);
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
    if (!check_programs(config)) {
        config_free(config);
        return CLI_FAILED;
    }
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
