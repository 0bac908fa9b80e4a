#include "config/settings.h"

#include <assert.h>

#include "config/types.h"

/* The most that time-outs and counts may be: what is larger is a slip of the pen. */
#define HOUR    ((uint64_t)3600000)
#define YEAR    (8760 * HOUR)
#define MILLION 1000000

#define FIELD(base, type, member) (base), offsetof(type, member), sizeof(((type *)NULL)->member)
#define CONFIG(member)            FIELD(BASE_CONFIG, struct config, member)
#define SOURCE(member)            FIELD(BASE_SOURCE, struct config_source, member)
#define POLICY(member)            FIELD(BASE_POLICY, struct policy, member)
#define GROUP(member)             FIELD(BASE_GROUP, struct group, member)
#define PROXY(member)             FIELD(BASE_PROXY, struct proxy_source, member)

static const struct setting_choice select_words[] = {{"recursive", SELECT_RECURSIVE},
                                                     {"single", SELECT_SINGLE},
                                                     {"leftmost", SELECT_LEFTMOST},
                                                     {"hops:N", SELECT_HOPS},
                                                     {NULL, 0}};

static const struct setting_choice malformed_words[] = {
    {"stop", MALFORMED_STOP}, {"peer", MALFORMED_PEER}, {"reject", MALFORMED_REJECT}, {NULL, 0}};

static const struct setting_choice repeated_words[] = {
    {"join", REPEATED_JOIN}, {"malformed", REPEATED_MALFORMED}, {NULL, 0}};

static const struct setting_choice accept_words[] = {
    {"for", 0}, {"proto", ACCEPT_PROTO}, {"port", ACCEPT_PORT}, {"host", ACCEPT_HOST}, {NULL, 0}};

static const struct setting_choice forwarded_words[] = {
    {"confirmed", FORWARDED_CONFIRMED}, {"unconfirmed", FORWARDED_UNCONFIRMED}, {"client", FORWARDED_CLIENT},
    {"keep", FORWARDED_KEEP},           {"remove", FORWARDED_REMOVE},           {NULL, 0}};

static const struct setting_choice header_words[] = {
    {"strip", HEADERS_STRIP}, {"keep", HEADERS_KEEP}, {NULL, 0}};

static const struct setting_choice trust_reload_words[] = {{"watch", true}, {"manual", false}, {NULL, 0}};

/* The values are those of enum log_level, which this floor does not know; a test compares them. */
static const struct setting_choice level_words[] = {{"error", 0}, {"warning", 1}, {"warn", 1},
                                                    {"info", 2},  {"debug", 3},   {NULL, 0}};

static const struct setting_choice error_words[] = {{"stderr", 0}, {"syslog", 0}, {NULL, 0}};
static const struct setting_choice access_words[] = {{"off", 0}, {"stdout", 0}, {NULL, 0}};

/* Likewise enum access_format. */
static const struct setting_choice format_words[] = {{"combined", 0}, {"json", 1}, {NULL, 0}};

static const struct setting_choice decisions_words[] = {
    {"refused", DECISIONS_REFUSED}, {"changed", DECISIONS_CHANGED}, {"all", DECISIONS_ALL}, {NULL, 0}};

const struct setting settings_table[] = {
    {"listen", "address", &type_endpoints, SOURCE(listen_addresses), .unset = "none; serve needs one",
     .help = "Sockets to listen on: unix:PATH, HOST:PORT, [IPV6]:PORT."},
    {"listen", "mode", &type_mode, CONFIG(listen.mode), .initial = "0660",
     .help = "File mode of unix sockets."},
    {"listen", "owner", &type_user, CONFIG(listen.owner), .unset = "the user that runs the shim",
     .help = "Owner of unix sockets."},
    {"listen", "group", &type_group, CONFIG(listen.group), .unset = "the group that runs the shim",
     .help = "Group of unix sockets."},
    {"listen", "backlog", &type_number, CONFIG(listen.backlog), .least = 1, .most = 65535, .initial = "1024",
     .help = "Connections that may wait to be accepted."},
    {"listen", "allowed_clients", &type_entries, SOURCE(allowed_clients), .unset = "all, over loopback only",
     .help = "Web servers that may connect over TCP; needed for every address that is not loopback."},

    {"upstream", "address", &type_endpoint, SOURCE(upstream_address), .unset = "see command and cgi",
     .kinds = FOR_ADDRESS, .help = "The FastCGI application: unix:PATH, HOST:PORT, [IPV6]:PORT."},
    {"upstream", "command", &type_command, SOURCE(command), .unset = "see address and cgi",
     .kinds = FOR_COMMAND, .help = "A FastCGI application to start and keep running: program and arguments."},
    {"upstream", "processes", &type_number, CONFIG(upstream.processes), .least = 1, .most = 1024,
     .initial = "1", .kinds = FOR_COMMAND, .help = "How many processes of command run."},
    {"upstream", "cgi", &type_command, SOURCE(cgi), .unset = "see address and command", .kinds = FOR_CGI,
     .help = "A CGI program to run for each request, with arguments; or the word script."},
    {"upstream", "cgi_root", &type_path, SOURCE(cgi_root), .unset = "none; cgi = script needs one",
     .kinds = FOR_SCRIPT, .help = "Directory outside of which no script is run."},
    {"upstream", "max_processes", &type_number, CONFIG(upstream.max_processes), .least = 1, .most = 65536,
     .initial = "16", .kinds = FOR_CGI,
     .help = "Most CGI programs at a time; more requests wait in the queue."},
    {"upstream", "environment", &type_names, SOURCE(environment), .unset = "no more of them",
     .kinds = FOR_COMMAND | FOR_CGI,
     .help = "Names of more variables that started programs get from the shim's environment."},
    {"upstream", "connections", &type_number, CONFIG(upstream.connections), .most = MILLION, .initial = "0",
     .kinds = FOR_ADDRESS | FOR_COMMAND,
     .help = "Most connections to the application at a time; 0: no limit, or, with command, one a process."},
    {"upstream", "queue", &type_number, CONFIG(upstream.queue), .most = MILLION, .initial = "1024",
     .help = "Requests that may wait for a connection."},
    {"upstream", "queue_timeout", &type_duration, CONFIG(upstream.queue_timeout_ms), .least = 1, .most = YEAR,
     .initial = "30s", .help = "How long a request may wait for a connection."},
    {"upstream", "keepalive", &type_boolean, CONFIG(upstream.keepalive), .initial = "no",
     .kinds = FOR_ADDRESS | FOR_COMMAND,
     .help = "Keep connections to the application for the next request; needs connections."},
    {"upstream", "idle_timeout", &type_duration, CONFIG(upstream.idle_timeout_ms), .least = 1, .most = YEAR,
     .initial = "10s", .kinds = FOR_ADDRESS | FOR_COMMAND, .help = "How long a kept connection may be idle."},
    {"upstream", "connect_timeout", &type_duration, CONFIG(upstream.connect_timeout_ms), .least = 1,
     .most = YEAR, .initial = "5s", .kinds = FOR_ADDRESS | FOR_COMMAND,
     .help = "How long connecting may take."},
    {"upstream", "send_timeout", &type_duration, CONFIG(upstream.send_timeout_ms), .least = 1, .most = YEAR,
     .initial = "60s", .help = "How long the application may refuse to take more of a request."},
    {"upstream", "read_timeout", &type_duration, CONFIG(upstream.read_timeout_ms), .least = 1, .most = YEAR,
     .initial = "60s", .help = "How long the application may be silent before and inside its answer."},
    {"upstream", "request_timeout", &type_duration, CONFIG(upstream.request_timeout_ms), .most = YEAR,
     .initial = "0", .help = "How long a request may take in all; 0: no limit."},

    {"proxy", "trust", &type_entries, PROXY(trust), .unset = "see trust_file",
     .help = "The proxies: addresses, CIDR blocks, loopback, link-local, private, unix:, host names."},
    {"proxy", "trust_file", &type_files, PROXY(trust_files), .unset = "none",
     .help = "Files with more of them; relative to this file's folder."},
    {"proxy", "header", &type_header, GROUP(header), .initial = "X-Forwarded-For",
     .help = "The header in which these proxies report their own peer."},
    {"proxy", "select", &type_select, GROUP(select), .choices = select_words, .initial = "recursive",
     .help = "Which element is the client: recursive, single, hops:N, leftmost."},
    {"proxy", "on_malformed", &type_choice, GROUP(on_malformed), .choices = malformed_words,
     .initial = "stop", .help = "What an element that is no address does: stop, peer, reject."},
    {"proxy", "repeated", &type_choice, GROUP(repeated), .choices = repeated_words, .initial = "join",
     .help = "What several copies of the header are: join, one list; malformed, not believed."},
    {"proxy", "private_clients", &type_boolean, GROUP(private_clients), .initial = "yes",
     .help = "Whether these proxies may report private addresses."},
    {"proxy", "require_header", &type_boolean, GROUP(require_header), .initial = "no",
     .help = "Refuse requests of these proxies that lack the header."},
    {"proxy", "require_param", &type_secret, GROUP(require_name), .unset = "none",
     .help = "NAME:VALUE of a parameter without which these proxies are not trusted."},
    {"proxy", "accept", &type_accept, GROUP(accept), .choices = accept_words, .initial = "for",
     .help = "What is believed besides the address: proto, port, host."},
    {"proxy", "max_elements", &type_number, GROUP(max_elements), .least = 1, .most = POLICY_MAX_ELEMENTS,
     .initial = "64", .help = "Elements of the header that are read, from the right."},

    {"realip", "forwarded_for", &type_choice, POLICY(forwarded_for), .choices = forwarded_words,
     .initial = "confirmed",
     .help = "What the application gets in the header: confirmed, unconfirmed, client, keep, remove."},
    {"realip", "untrusted_headers", &type_choice, POLICY(untrusted_headers), .choices = header_words,
     .initial = "strip", .help = "Client-address headers from a peer that no group trusts: strip, keep."},
    {"realip", "unmanaged_headers", &type_choice, POLICY(unmanaged_headers), .choices = header_words,
     .initial = "keep", .help = "Client-address headers of a trusted peer that no group reads: strip, keep."},
    {"realip", "trust_reload", &type_choice, CONFIG(trust_watch), .choices = trust_reload_words,
     .initial = "watch", .help = "Whether trust files are read again when they change: watch, manual."},

    {"access", "allow", &type_entries, SOURCE(allow), .unset = "all", .help = "Clients that are let in."},
    {"access", "deny", &type_entries, SOURCE(deny), .unset = "none",
     .help = "Clients that are refused; the longest prefix of both lists decides."},
    {"access", "deny_direct", &type_boolean, POLICY(deny_direct), .initial = "no",
     .help = "Refuse requests whose peer no group trusts."},

    {"log", "level", &type_choice, CONFIG(log_level), .choices = level_words, .initial = "info",
     .help = "How much is logged: error, warning, info, debug."},
    {"log", "error", &type_log, CONFIG(log_error), .choices = error_words, .initial = "stderr",
     .help = "Where the error log goes: stderr, syslog, or the absolute path of a file."},
    {"log", "access", &type_log, CONFIG(log_access), .choices = access_words, .initial = "off",
     .help = "Where the access log goes, a line a request: off, stdout, or the absolute path of a file."},
    {"log", "format", &type_choice, CONFIG(log_format), .choices = format_words, .initial = "combined",
     .help = "How the access log's lines are written: combined, json."},
    {"log", "decisions", &type_choice, CONFIG(log_decisions), .choices = decisions_words,
     .initial = "refused",
     .help = "Which decisions the error log tells, at level info: refused, changed, all."},

    {"status", "path", &type_url_path, CONFIG(status.path), .unset = "none; there is no status page",
     .help = "Where the shim answers with its status: the SCRIPT_NAME of the page."},
    {"status", "allow", &type_entries, SOURCE(status_allow), .unset = "loopback",
     .help = "Clients that may see the status page."},

    {"process", "workers", &type_number, CONFIG(workers), .least = 1, .most = 256, .initial = "1",
     .help = "Processes that share the work, and the totals of connections, processes, queue and requests."},
    {"process", "user", &type_user, CONFIG(process.user), .unset = "the user that starts the shim",
     .help = "User to become once the sockets are open, if root starts the shim."},
    {"process", "group", &type_group, CONFIG(process.group), .unset = "that of user",
     .help = "Group to have then."},
    {"process", "pid_file", &type_path, SOURCE(pid_file), .unset = "none",
     .help = "File for the process id, in a folder that belongs to user."},
    {"process", "core_dumps", &type_boolean, CONFIG(process.core_dumps), .initial = "no",
     .help = "Whether a crash may leave a core dump, with all that requests hold."},
    {"process", "sandbox", &type_boolean, CONFIG(process.sandbox), .initial = "yes",
     .help = "Whether processes that relay give up what they have no use for."},
    {"process", "io_uring", &type_boolean, CONFIG(process.io_uring), .initial = "yes",
     .help = "Whether bytes for several connections go out in one system call, where the kernel lets us."},
    {"process", "shutdown_timeout", &type_duration, CONFIG(shutdown_timeout_ms), .most = YEAR,
     .initial = "30s", .help = "How long running requests may take to end after SIGTERM."},

    {"limits", "params_size", &type_size, CONFIG(limit_params_size), .least = 4096, .most = 64 * 1024 * 1024,
     .initial = "256k", .help = "Most bytes of a request's parameters."},
    {"limits", "requests", &type_number, CONFIG(limit_requests), .least = 1, .most = MILLION,
     .initial = "10000", .help = "Most requests at a time."},
    {"limits", "header_timeout", &type_duration, CONFIG(header_timeout_ms), .least = 1, .most = YEAR,
     .initial = "15s", .help = "How long a web server may be silent inside a request's parameters."},

    {"SETTINGS", "HEADER", &type_header, SOURCE(default_header), .unset = "X-Forwarded-For",
     .help = "The header of proxies that name none, as F5XFFHttpModule spells it."},
};

const size_t settings_count = sizeof settings_table / sizeof *settings_table;

static_assert(sizeof settings_table / sizeof *settings_table <= SETTINGS_MAX, "SETTINGS_MAX is too small");

static bool is_name(const char *name, struct slice text, const char *section)
{
    if (strcmp(section, "SETTINGS") == 0)
        return value_is_word(text, name);
    return slice_equal(text, slice_of(name));
}

const struct setting *settings_find(struct slice section, struct slice key)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        if (is_name(setting->section, section, setting->section) &&
            is_name(setting->key, key, setting->section))
            return setting;
    }
    return NULL;
}

unsigned settings_find_line(const unsigned *given, struct slice section, struct slice key)
{
    const struct setting *setting = settings_find(section, key);
    return setting ? given[setting - settings_table] : 0;
}

bool settings_has_section(struct slice section)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (is_name(settings_table[i].section, section, settings_table[i].section))
            return true;
    }
    return false;
}

/* Keeps the better of two suggestions for text. */
static void compare_name(struct slice text, const char *name, const char **best, size_t *distance)
{
    size_t now = value_measure_distance(text, slice_of(name));
    if (value_is_near(text, slice_of(name)) && now < *distance) {
        *best = name;
        *distance = now;
    }
}

const char *settings_suggest_key(struct slice section, struct slice key)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;
    for (size_t i = 0; i < settings_count; i++) {
        if (is_name(settings_table[i].section, section, settings_table[i].section))
            compare_name(key, settings_table[i].key, &best, &distance);
    }
    return best;
}

const char *settings_suggest_section(struct slice section)
{
    const char *best = NULL;
    size_t distance = SIZE_MAX;
    for (size_t i = 0; i < settings_count; i++)
        compare_name(section, settings_table[i].section, &best, &distance);
    return best;
}

const char *settings_section_of(struct slice key)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (slice_equal(key, slice_of(settings_table[i].key)))
            return settings_table[i].section;
    }
    return NULL;
}

void *settings_field(const struct setting *setting, const struct config *config, size_t proxy)
{
    char *base = NULL;
    switch (setting->base) {
    case BASE_CONFIG:
        base = (char *)config;
        break;
    case BASE_SOURCE:
        base = (char *)config->source;
        break;
    case BASE_POLICY:
        base = (char *)config->policy;
        break;
    case BASE_GROUP:
        base = (char *)&config->policy->groups[proxy];
        break;
    case BASE_PROXY:
        base = (char *)&config->source->proxies[proxy];
        break;
    }
    return base + setting->offset;
}

static void set_default(const struct setting *setting, const struct config *config, size_t proxy,
                        struct messages *messages)
{
    const struct setting_place place = {messages, "built-in default", 0};
    void *field = settings_field(setting, config, proxy);
    if (setting->initial)
        setting->type->parse(setting, &place, field, slice_of(setting->initial));
}

static bool is_of_proxy(const struct setting *setting)
{
    return setting->base == BASE_GROUP || setting->base == BASE_PROXY;
}

void settings_set_defaults(const struct config *config, struct messages *messages)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (!is_of_proxy(&settings_table[i]))
            set_default(&settings_table[i], config, 0, messages);
    }
}

void settings_set_proxy_defaults(const struct config *config, size_t proxy, struct messages *messages)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (is_of_proxy(&settings_table[i]))
            set_default(&settings_table[i], config, proxy, messages);
    }
}

const char *settings_name_kind(unsigned kind)
{
    switch (kind) {
    case FOR_ADDRESS:
        return "address";
    case FOR_COMMAND:
        return "command";
    case FOR_SCRIPT:
        return "cgi = script";
    default:
        return "cgi";
    }
}

void settings_print_section(const char *section, const struct config *config, size_t proxy, FILE *out)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        if (strcmp(setting->section, section) != 0)
            continue;
        if (setting->kinds && !(setting->kinds & config->source->kind))
            fprintf(out, "# %s is not for %s\n", setting->key, settings_name_kind(config->source->kind));
        else if (!setting->type->print(setting, settings_field(setting, config, proxy), out))
            fprintf(out, "# %s is not set: %s\n", setting->key, setting->unset);
    }
}
