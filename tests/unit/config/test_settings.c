/*
 * The table of settings: each key's values, defaults, mistakes, and what it prints.
 */
#include "support.h"

#include "config/settings.h"
#include "config/types.h"
#include "names.h"
#include "ops/access.h"
#include "ops/log.h"

/* A line of [SECTION] that the file consists of, and what comes of it. */
struct row {
    const char *section;
    const char *line;
    const char *printed; /* what config_print says of the key; NULL: refused */
    const char *why;
};

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n')
            return true;
    }
    return false;
}

static void check_row(const struct row *row)
{
    char text[1024];
    char expected[1024] = "";
    bool proxy = strcmp(row->section, "proxy a") == 0;
    /* One group, so that nothing is said about there being none. The row is line 4. */
    snprintf(text, sizeof text, "[proxy a]\ntrust = 192.0.2.1\n%s%s%s\n%s\n", proxy ? "" : "[",
             proxy ? "" : row->section, proxy ? "" : "]", row->line);
    if (row->why)
        snprintf(expected, sizeof expected, "E4: %s\n", row->why);
    write_text(INI, text);
    struct config *config = load_at(expected, __FILE__, __LINE__);
    check_number(config != NULL, row->printed != NULL, row->line);
    if (config) {
        char *printed = print_text(config);
        if (!has_line(printed, row->printed))
            print_error("%s: no \"%s\" in:\n%s", row->line, row->printed, printed);
        assert_true(has_line(printed, row->printed));
        free(printed);
    }
    config_free(config);
}

#define CHECK(rows)                                                                                          \
    for (size_t i = 0; i < COUNT(rows); i++)                                                                 \
    check_row(&(rows)[i])

#define DURATION "not a duration; write a number and ms, s, m or h, as in 250ms or 5s"

static void test_listen(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"listen", "address = unix:/run/a.sock", "address = unix:/run/a.sock", NULL},
        {"listen", "address = 127.0.0.1:9000, [::1]:9000 unix:/b",
         "address = 127.0.0.1:9000, [::1]:9000, unix:/b", NULL},
        {"listen", "address = localhost:9000", "address = localhost:9000", NULL},
        {"listen", "address = nonsense", NULL,
         "address = \"nonsense\": no port; write unix:/PATH, HOST:PORT or [IPV6]:PORT"},
        {"listen", "mode = 0600", "mode = 0600", NULL},
        {"listen", "mode = 666", "mode = 0666", NULL},
        {"listen", "mode = 0980", NULL,
         "mode = \"0980\": not a file mode; write octal digits from 0 to 0777, as in 0660"},
        {"listen", "owner = root", "owner = root", NULL},
        {"listen", "owner = 0", "owner = root", NULL},
        {"listen", "owner = 4000000001", "owner = 4000000001", NULL},
        {"listen", "owner = 4294967295", NULL,
         "owner = \"4294967295\": no such user on this machine; write the name or number of one"},
        {"listen", "owner = no such", NULL,
         "owner = \"no such\": no such user on this machine; write the name or number of one"},
        {"listen", "group = root", "group = root", NULL},
        {"listen", "group = 4000000001", "group = 4000000001", NULL},
        {"listen", "group = nosuch", NULL,
         "group = \"nosuch\": no such group on this machine; write the name or number of one"},
        {"listen", "backlog = 1", "backlog = 1", NULL},
        {"listen", "backlog = 65535", "backlog = 65535", NULL},
        {"listen", "backlog = 0", NULL, "backlog = \"0\": too small; write at least 1"},
        {"listen", "backlog = 65536", NULL, "backlog = \"65536\": too large; write at most 65535"},
        {"listen", "backlog = many", NULL, "backlog = \"many\": not a number; write digits only"},
        {"listen", "allowed_clients = 192.0.2.0/24 lb.example", "allowed_clients = 192.0.2.0/24, lb.example",
         NULL},
        {"listen", "allowed_clients = unix:", NULL,
         "allowed_clients = \"unix:\": the clients of a unix socket have no address; set the socket's mode, "
         "owner and "
         "group"},
    };
    CHECK(rows);
}

static void test_upstream(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"upstream", "address = unix:@abstract", "address = unix:@abstract", NULL},
        {"upstream", "address = lb.example:9000", "address = lb.example:9000", NULL},
        {"upstream", "address = a:1, b:1", NULL,
         "address = \"a:1, b:1\": takes one address; for several, write one host name that has them all"},
        {"upstream", "connections = 0", "connections = 0", NULL},
        {"upstream", "connections = 1000000", "connections = 1000000", NULL},
        {"upstream", "connections = 1000001", NULL,
         "connections = \"1000001\": too large; write at most 1000000"},
        {"upstream", "connections = 4294967296", NULL,
         "connections = \"4294967296\": too large; write at most 1000000"},
        {"upstream", "queue = 0", "queue = 0", NULL},
        {"upstream", "queue = -1", NULL, "queue = \"-1\": not a number; write digits only"},
        {"upstream", "queue_timeout = 1500ms", "queue_timeout = 1500ms", NULL},
        {"upstream", "queue_timeout = 0", NULL, "queue_timeout = \"0\": too small; write at least 1ms"},
        {"upstream", "keepalive = OFF", "keepalive = no", NULL},
        {"upstream", "keepalive = on\nconnections = 3", "keepalive = yes", NULL},
        {"upstream", "keepalive = 1", NULL,
         "keepalive = \"1\": neither yes nor no; write yes, on or true, or no, off or false"},
        {"upstream", "idle_timeout = 2m", "idle_timeout = 2m", NULL},
        {"upstream", "idle_timeout = 2", NULL,
         "idle_timeout = \"2\": a duration needs its unit; write ms, s, m or h behind the number, as in 5s"},
        {"upstream", "connect_timeout = 8760h", "connect_timeout = 8760h", NULL},
        {"upstream", "connect_timeout = 8761h", NULL,
         "connect_timeout = \"8761h\": too large; write at most 8760h"},
        {"upstream", "send_timeout = 1s ; one", "send_timeout = 1s", NULL},
        {"upstream", "send_timeout = 1s # one", NULL,
         "send_timeout = \"1s # one\": " DURATION "; a comment behind a value begins with \" ;\""},
        {"upstream", "read_timeout = 1h", "read_timeout = 1h", NULL},
        {"upstream", "request_timeout = 0", "request_timeout = 0", NULL},
        {"upstream", "request_timeout = soon", NULL, "request_timeout = \"soon\": " DURATION},
    };
    CHECK(rows);
}

#define SELECT_WORDS "not one of its words; write recursive, single, leftmost or hops:N"
#define HOPS         "not a count of hops; write hops:N, N from 1 to 1024"
#define HEADER_NAME  "not a header's name; write the name alone, as in X-Forwarded-For"

static void test_proxy(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"proxy a", "header = X-Real-IP", "header = X-Real-IP", NULL},
        {"proxy a", "header = X-Forwarded-For: 1", NULL, "header = \"X-Forwarded-For: 1\": " HEADER_NAME},
        {"proxy a", "header = X-Real-IP, X-Forwarded-For", NULL,
         "header = \"X-Real-IP, X-Forwarded-For\": " HEADER_NAME},
        {"proxy a", "header = HTTP_X_REAL_IP", NULL,
         "header = \"HTTP_X_REAL_IP\": a parameter's name; write the header's, X-Real-Ip"},
        {"proxy a", "select = recursive", "select = recursive", NULL},
        {"proxy a", "select = Single", "select = single", NULL},
        {"proxy a", "select = hops:64", "select = hops:64", NULL},
        {"proxy a", "select = HOPS:1", "select = hops:1", NULL},
        {"proxy a", "select = hops:0", NULL, "select = \"hops:0\": " HOPS},
        {"proxy a", "select = hops:1025", NULL, "select = \"hops:1025\": " HOPS},
        {"proxy a", "select = hops:N", NULL, "select = \"hops:N\": " HOPS},
        {"proxy a", "select = hops:", NULL, "select = \"hops:\": " HOPS},
        {"proxy a", "select = hops", NULL, "select = \"hops\": " SELECT_WORDS},
        {"proxy a", "select = first", NULL, "select = \"first\": " SELECT_WORDS},
        {"proxy a", "on_malformed = stop", "on_malformed = stop", NULL},
        {"proxy a", "on_malformed = peer", "on_malformed = peer", NULL},
        {"proxy a", "on_malformed = reject", "on_malformed = reject", NULL},
        {"proxy a", "on_malformed = skip", NULL,
         "on_malformed = \"skip\": not one of its words; write stop, peer or reject"},
        {"proxy a", "repeated = join", "repeated = join", NULL},
        {"proxy a", "repeated = Malformed", "repeated = malformed", NULL},
        {"proxy a", "repeated = yes", NULL,
         "repeated = \"yes\": not one of its words; write join or malformed"},
        {"proxy a", "private_clients = no", "private_clients = no", NULL},
        {"proxy a", "require_header = yes", "require_header = yes", NULL},
        {"proxy a", "require_param = HTTP_X_S:a:b c",
         "# require_param = HTTP_X_S:******** (set, but not shown: put the secret in before you use this "
         "text)",
         NULL},
        {"proxy a", "require_param = http_x.s : v",
         "# require_param = HTTP_X_S:******** (set, but not shown: put the secret in before you use this "
         "text)",
         NULL},
        {"proxy a", "require_param = s3cret", NULL,
         "require_param = \"...\": no name; write NAME:VALUE, as in HTTP_X_PROXY_SECRET:VALUE"},
        {"proxy a", "require_param = :s3cret", NULL,
         "require_param = \":...\": no name; write NAME:VALUE, as in HTTP_X_PROXY_SECRET:VALUE"},
        {"proxy a", "require_param = X-Secret: s3cret", NULL,
         "require_param = \"X-Secret:...\": a header's name; write the parameter's, as in "
         "HTTP_X_PROXY_SECRET:VALUE"},
        {"proxy a", "require_param = X S: s3cret", NULL,
         "require_param = \"X S:...\": not a parameter's name; write NAME:VALUE, as in "
         "HTTP_X_PROXY_SECRET:VALUE"},
        {"proxy a", "require_param = HTTP_X_S:", NULL,
         "require_param = \"HTTP_X_S:...\": no value behind the name; write NAME:VALUE"},
        {"proxy a", "accept = for", "accept = for", NULL},
        {"proxy a", "accept = for, Proto", "accept = for, proto", NULL},
        {"proxy a", "accept = host port\naccept = for", "accept = for, port, host", NULL},
        {"proxy a", "accept = for, protocol", NULL,
         "accept = \"protocol\": not one of its words; write for, proto, port or host"},
        {"proxy a", "max_elements = 1", "max_elements = 1", NULL},
        {"proxy a", "max_elements = 1024", "max_elements = 1024", NULL},
        {"proxy a", "max_elements = 0", NULL, "max_elements = \"0\": too small; write at least 1"},
        {"proxy a", "max_elements = 1025", NULL, "max_elements = \"1025\": too large; write at most 1024"},
    };
    CHECK(rows);
}

#define URL_PATH "more than the path of a URL; write it without blanks and without \"?\" and \"#\""

static void test_other_sections(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"realip", "forwarded_for = confirmed", "forwarded_for = confirmed", NULL},
        {"realip", "forwarded_for = unconfirmed", "forwarded_for = unconfirmed", NULL},
        {"realip", "forwarded_for = client", "forwarded_for = client", NULL},
        {"realip", "forwarded_for = keep", "forwarded_for = keep", NULL},
        {"realip", "forwarded_for = remove", "forwarded_for = remove", NULL},
        {"realip", "forwarded_for = on", NULL,
         "forwarded_for = \"on\": not one of its words; write confirmed, unconfirmed, client, keep or "
         "remove"},
        {"realip", "untrusted_headers = keep", "untrusted_headers = keep", NULL},
        {"realip", "untrusted_headers = drop", NULL,
         "untrusted_headers = \"drop\": not one of its words; write strip or keep"},
        {"realip", "unmanaged_headers = STRIP", "unmanaged_headers = strip", NULL},
        {"realip", "trust_reload = MANUAL", "trust_reload = manual", NULL},
        {"realip", "trust_reload = yes", NULL,
         "trust_reload = \"yes\": not one of its words; write watch or manual"},
        {"access", "allow = private unix:, loopback", "allow = private, unix:, loopback", NULL},
        {"access", "deny = 192.0.2.0/24", "deny = 192.0.2.0/24", NULL},
        {"access", "deny_direct = true", "deny_direct = yes", NULL},
        {"log", "level = error", "level = error", NULL},
        {"log", "level = warn", "level = warning", NULL},
        {"log", "level = Warning", "level = warning", NULL},
        {"log", "level = debug", "level = debug", NULL},
        {"log", "error = STDERR", "error = stderr", NULL},
        {"log", "error = syslog", "error = syslog", NULL},
        {"log", "error = /var/log/fcgi realip.log", "error = /var/log/fcgi realip.log", NULL},
        {"log", "error = stdout", NULL,
         "error = \"stdout\": no place for a log; write stderr, syslog or the absolute path of a file"},
        {"log", "access = OFF", "access = off", NULL},
        {"log", "access = stdout", "access = stdout", NULL},
        {"log", "access = /a", "access = /a", NULL},
        {"log", "access = stderr", NULL,
         "access = \"stderr\": no place for a log; write off, stdout or the absolute path of a file"},
        {"log", "format = Combined", "format = combined", NULL},
        {"log", "decisions = Changed", "decisions = changed", NULL},
        {"log", "decisions = none", NULL,
         "decisions = \"none\": not one of its words; write refused, changed or all"},
        {"log", "format = common", NULL, "format = \"common\": not one of its words; write combined or json"},
        {"log", "error = log/error.log", NULL,
         "error = \"log/error.log\": no place for a log; write stderr, syslog or the absolute path of a "
         "file"},
        {"log", "level = verbose", NULL,
         "level = \"verbose\": not one of its words; write error, warning, warn, info or debug"},
        {"process", "workers = 1", "workers = 1", NULL},
        {"process", "workers = 256", "workers = 256", NULL},
        {"process", "workers = 0", NULL, "workers = \"0\": too small; write at least 1"},
        {"process", "workers = 257", NULL, "workers = \"257\": too large; write at most 256"},
        {"process", "user = daemon", "user = daemon", NULL},
        {"process", "user = 0", "user = root", NULL},
        {"process", "user = nosuch", NULL,
         "user = \"nosuch\": no such user on this machine; write the name or number of one"},
        {"process", "user = 4000000001", NULL,
         "user = \"4000000001\": not in this machine's list of users, so nobody knows its group; add group"},
        {"process", "user = daemon\ngroup = root", "group = root", NULL},
        {"process", "user = 4000000001\ngroup = 4000000002", "user = 4000000001", NULL},
        {"process", "group = root", NULL,
         "group = \"root\": without user the shim stays who it is; add user, or remove it"},
        {"process", "group = nosuch", NULL,
         "group = \"nosuch\": no such group on this machine; write the name or number of one"},
        {"process", "pid_file = /run/x.pid", "pid_file = /run/x.pid", NULL},
        {"process", "pid_file = x.pid", NULL, "pid_file = \"x.pid\": a relative path; write an absolute one"},
        {"process", "core_dumps = yes", "core_dumps = yes", NULL},
        {"process", "sandbox = no", "sandbox = no", NULL},
        {"process", "io_uring = no", "io_uring = no", NULL},
        {"status", "path = /realip-status", "path = /realip-status", NULL},
        {"status", "path = /", "path = /", NULL},
        {"status", "path = /st\303\244tus%20.php", "path = /st\303\244tus%20.php", NULL},
        {"status", "path = status", NULL,
         "path = \"status\": not the path of a URL; write one that begins with \"/\", as in /realip-status"},
        {"status", "path = http://a/status", NULL,
         "path = \"http://a/status\": not the path of a URL; write one that begins with \"/\", as in "
         "/realip-status"},
        {"status", "path = /a?json", NULL, "path = \"/a?json\": " URL_PATH},
        {"status", "path = /a#b", NULL, "path = \"/a#b\": " URL_PATH},
        {"status", "path = /a b", NULL, "path = \"/a b\": " URL_PATH},
        {"process", "shutdown_timeout = 0", "shutdown_timeout = 0", NULL},
        {"process", "shutdown_timeout = 5m", "shutdown_timeout = 5m", NULL},
        {"limits", "params_size = 4k", "params_size = 4k", NULL},
        {"limits", "params_size = 65535", "params_size = 65535", NULL},
        {"limits", "params_size = 64m", "params_size = 64m", NULL},
        {"limits", "params_size = 4095", NULL, "params_size = \"4095\": too small; write at least 4k"},
        {"limits", "params_size = 1g", NULL, "params_size = \"1g\": too large; write at most 64m"},
        {"limits", "params_size = big", NULL,
         "params_size = \"big\": not a size; write a number of bytes, or one and k, m or g, as in 64k"},
        {"limits", "requests = 1", "requests = 1", NULL},
        {"limits", "requests = 0", NULL, "requests = \"0\": too small; write at least 1"},
        {"limits", "header_timeout = 250ms", "header_timeout = 250ms", NULL},
        {"SETTINGS", "HEADER = X-Real-IP", "header = X-Real-IP", NULL},
        {"settings", "Header=X-Real-IP", "header = X-Real-IP", NULL},
        {"SETTINGS", "HEADER = a b", NULL, "HEADER = \"a b\": " HEADER_NAME},
    };
    CHECK(rows);
}

static void test_empty_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        char text[256];
        char expected[256];
        bool proxy = strcmp(setting->section, "proxy") == 0;
        snprintf(text, sizeof text, "[proxy a]\ntrust = 192.0.2.1\n[%s]\n%s =\n%s",
                 proxy ? "proxy b" : setting->section, setting->key, proxy ? "trust = 192.0.2.2\n" : "");
        snprintf(expected, sizeof expected, "E4: %s: no value; write one, or remove the line\n",
                 setting->key);
        check_load(text, expected);
        if (!setting->type->list)
            continue;
        snprintf(text, sizeof text, "[proxy a]\ntrust = 192.0.2.1\n[%s]\n%s = , ,\n%s",
                 proxy ? "proxy b" : setting->section, setting->key, proxy ? "trust = 192.0.2.2\n" : "");
        snprintf(expected, sizeof expected, "E4: %s = \", ,\": only commas; write at least one entry\n",
                 setting->key);
        check_load(text, expected);
    }
}

/* A value for each key that is a good one. */
static const char *find_value(const struct setting *setting)
{
    if (setting->initial)
        return setting->initial;
    if (strcmp(setting->key, "address") == 0)
        return "unix:/run/x";
    if (strcmp(setting->key, "pid_file") == 0)
        return "/run/x";
    if (strcmp(setting->key, "owner") == 0 || strcmp(setting->key, "group") == 0 ||
        strcmp(setting->key, "user") == 0)
        return "root";
    if (strcmp(setting->key, "HEADER") == 0)
        return "X-Real-IP";
    if (setting->type == &type_url_path)
        return "/x";
    if (strcmp(setting->key, "require_param") == 0)
        return "HTTP_X_S:v";
    return "192.0.2.1";
}

static void test_given_twice(void **state)
{
    (void)state;
    size_t single = 0;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        char text[512];
        char expected[512];
        if (setting->type->list)
            continue;
        single++;
        bool proxy = strcmp(setting->section, "proxy") == 0;
        const char *value = find_value(setting);
        bool with_user = settings_find(SLICE("process"), SLICE("group")) == setting;
        snprintf(text, sizeof text, "[proxy a]\ntrust = 192.0.2.1\n%s%s%s\n%s = %s\n  more\n%s = %s\n%s",
                 proxy ? "" : "[", proxy ? "" : setting->section, proxy ? "" : "]", setting->key, value,
                 setting->key, value, with_user ? "user = root\n" : "");
        snprintf(expected, sizeof expected,
                 "E5: \"more\": continues %s, being indented, but that takes one value; join the lines, or "
                 "remove the "
                 "white space\n"
                 "E6: %s: given twice, first in line 4; it takes one value, so remove one of the lines\n",
                 setting->key, setting->key);
        check_load(text, expected);
    }
    assert_true(single > 25);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *config = load_text("[proxy a]\ntrust = 192.0.2.1\n");
    assert_int_equal(config->listen.naddresses, 0);
    assert_int_equal(config->listen.mode, 0660);
    assert_true(config->listen.owner == (uid_t)-1);
    assert_true(config->listen.group == (gid_t)-1);
    assert_int_equal(config->listen.backlog, 1024);
    assert_null(config->listen.allowed_clients);
    assert_int_equal(config->upstream.naddresses, 0);
    assert_int_equal(config->upstream.connections, 0);
    assert_int_equal(config->upstream.queue, 1024);
    assert_false(config->upstream.keepalive);
    assert_int_equal(config->upstream.queue_timeout_ms, 30000);
    assert_int_equal(config->upstream.idle_timeout_ms, 10000);
    assert_int_equal(config->upstream.connect_timeout_ms, 5000);
    assert_int_equal(config->upstream.send_timeout_ms, 60000);
    assert_int_equal(config->upstream.read_timeout_ms, 60000);
    assert_int_equal(config->upstream.request_timeout_ms, 0);
    assert_true(config->trust_watch);
    assert_int_equal(config->log_level, LOG_INFO);
    assert_int_equal(config->workers, 1);
    assert_string_equal(config->log_error, "stderr");
    assert_string_equal(config->log_access, "off");
    assert_int_equal(config->log_format, ACCESS_COMBINED);
    assert_int_equal(config->log_decisions, DECISIONS_REFUSED);
    assert_null(config->status.path);
    assert_null(config->status.allow);
    assert_int_equal(config->shutdown_timeout_ms, 30000);
    assert_int_equal(config->limit_params_size, 262144);
    assert_int_equal(config->limit_requests, 10000);
    assert_int_equal(config->header_timeout_ms, 15000);

    const struct policy *policy = config->policy;
    assert_int_equal(policy->forwarded_for, FORWARDED_CONFIRMED);
    assert_int_equal(policy->untrusted_headers, HEADERS_STRIP);
    assert_int_equal(policy->unmanaged_headers, HEADERS_KEEP);
    assert_false(policy->deny_direct);
    assert_false(policy->access_has_allow);
    assert_false(policy->access_has_deny);
    assert_int_equal(policy->ngroups, 1);
    const struct group *group = &policy->groups[0];
    assert_string_equal(group->name, "a");
    assert_string_equal(group->header, "X-Forwarded-For");
    assert_int_equal(group->select, SELECT_RECURSIVE);
    assert_int_equal(group->on_malformed, MALFORMED_STOP);
    assert_int_equal(group->repeated, REPEATED_JOIN);
    assert_true(group->private_clients);
    assert_false(group->require_header);
    assert_null(group->require_name);
    assert_null(group->require_value);
    assert_int_equal(group->accept, 0);
    assert_int_equal(group->max_elements, 64);
    config_free(config);
}

static void test_values_arrive(void **state)
{
    (void)state;
    struct config *config =
        load_text("[listen]\naddress = unix:/run/a, localhost:9000\nmode = 0600\nowner = 12\n"
                  "group = 34\nbacklog = 5\nallowed_clients = 192.0.2.0/24\n"
                  "[upstream]\naddress = lb.example:9000\nconnections = 6\nqueue = 7\n"
                  "queue_timeout = 8ms\nkeepalive = on\nidle_timeout = 9ms\n"
                  "connect_timeout = 10ms\nsend_timeout = 11ms\nread_timeout = 12ms\n"
                  "request_timeout = 13ms\n"
                  "[proxy a]\ntrust = 192.0.2.1\nheader = Forwarded\nselect = hops:3\n"
                  "on_malformed = reject\nrepeated = malformed\nprivate_clients = no\nrequire_header = yes\n"
                  "require_param = http_x_s: a:b\naccept = for, proto, port, host\n"
                  "max_elements = 14\n"
                  "[realip]\nforwarded_for = client\nuntrusted_headers = keep\n"
                  "unmanaged_headers = strip\ntrust_reload = manual\n"
                  "[access]\nallow = 192.0.2.0/24\ndeny = 0.0.0.0/0 ::/0\ndeny_direct = yes\n"
                  "[log]\nlevel = debug\nerror = /x\naccess = /y\nformat = json\n"
                  "decisions = all\n[process]\nworkers = 3\nshutdown_timeout = 15ms\n"
                  "[limits]\nparams_size = 16k\nrequests = 17\nheader_timeout = 18ms\n");
    assert_string_equal(config->path, INI);
    assert_int_equal(config->listen.naddresses, 3);
    assert_string_equal(config->listen.addresses[0].text, "unix:/run/a");
    assert_int_equal(config->listen.addresses[1].address.ss_family, AF_INET);
    assert_int_equal(config->listen.addresses[2].address.ss_family, AF_INET6);
    assert_int_equal(config->listen.mode, 0600);
    assert_int_equal(config->listen.owner, 12);
    assert_int_equal(config->listen.group, 34);
    assert_int_equal(config->listen.backlog, 5);
    struct address address;
    assert_true(address_parse(SLICE("192.0.2.200"), &address));
    assert_int_equal(cidr_set_find(config->listen.allowed_clients, &address), 0);
    assert_true(address_parse(SLICE("192.0.3.0"), &address));
    assert_int_equal(cidr_set_find(config->listen.allowed_clients, &address), -1);
    assert_int_equal(config->upstream.naddresses, 2);
    assert_int_equal(config->upstream.connections, 6);
    assert_int_equal(config->upstream.queue, 7);
    assert_true(config->upstream.keepalive);
    assert_int_equal(config->upstream.queue_timeout_ms, 8);
    assert_int_equal(config->upstream.idle_timeout_ms, 9);
    assert_int_equal(config->upstream.connect_timeout_ms, 10);
    assert_int_equal(config->upstream.send_timeout_ms, 11);
    assert_int_equal(config->upstream.read_timeout_ms, 12);
    assert_int_equal(config->upstream.request_timeout_ms, 13);
    assert_false(config->trust_watch);
    assert_int_equal(config->log_level, LOG_DEBUG);
    assert_int_equal(config->workers, 3);
    assert_string_equal(config->log_error, "/x");
    assert_string_equal(config->log_access, "/y");
    assert_int_equal(config->log_format, ACCESS_JSON);
    assert_int_equal(config->log_decisions, DECISIONS_ALL);
    assert_int_equal(config->shutdown_timeout_ms, 15);
    assert_int_equal(config->limit_params_size, 16384);
    assert_int_equal(config->limit_requests, 17);
    assert_int_equal(config->header_timeout_ms, 18);

    const struct policy *policy = config->policy;
    assert_int_equal(policy->forwarded_for, FORWARDED_CLIENT);
    assert_int_equal(policy->untrusted_headers, HEADERS_KEEP);
    assert_int_equal(policy->unmanaged_headers, HEADERS_STRIP);
    assert_true(policy->deny_direct);
    assert_true(policy->access_has_allow);
    assert_true(policy->access_has_deny);
    assert_true(address_parse(SLICE("192.0.2.200"), &address));
    assert_int_equal(cidr_set_find(policy->access, &address), ACCESS_ALLOW);
    assert_true(address_parse(SLICE("2001:db8::1"), &address));
    assert_int_equal(cidr_set_find(policy->access, &address), ACCESS_DENY);
    assert_true(address_parse(SLICE("192.0.2.1"), &address));
    assert_int_equal(cidr_set_find(policy->trust, &address), 0);
    const struct group *group = &policy->groups[0];
    assert_string_equal(group->header, "Forwarded");
    assert_int_equal(group->select, SELECT_HOPS);
    assert_int_equal(group->hops, 3);
    assert_int_equal(group->on_malformed, MALFORMED_REJECT);
    assert_int_equal(group->repeated, REPEATED_MALFORMED);
    assert_false(group->private_clients);
    assert_true(group->require_header);
    assert_string_equal(group->require_name, "HTTP_X_S");
    assert_string_equal(group->require_value, "a:b");
    assert_int_equal(group->accept, ACCEPT_PROTO | ACCEPT_PORT | ACCEPT_HOST);
    assert_int_equal(group->max_elements, 14);
    config_free(config);
}

/* The numbers in the table are those of ops/log.h, which src/config does not include. */
static void test_log_levels(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum log_level level;
    } rows[] = {
        {"[log]\nlevel = error\n[proxy a]\ntrust = ::1\n", LOG_ERROR},
        {"[log]\nlevel = warning\n[proxy a]\ntrust = ::1\n", LOG_WARNING},
        {"[log]\nlevel = warn\n[proxy a]\ntrust = ::1\n", LOG_WARNING},
        {"[log]\nlevel = info\n[proxy a]\ntrust = ::1\n", LOG_INFO},
        {"[log]\nlevel = debug\n[proxy a]\ntrust = ::1\n", LOG_DEBUG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct config *config = load_text(rows[i].text);
        check_number(config->log_level, rows[i].level, rows[i].text);
        config_free(config);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        assert_ptr_equal(settings_find(slice_of(setting->section), slice_of(setting->key)), setting);
        assert_true((setting->initial != NULL) != (setting->unset != NULL));
        assert_non_null(setting->help);
        assert_int_equal(setting->help[strlen(setting->help) - 1], '.');
        assert_non_null(setting->type->name);
    }
    assert_null(settings_find(SLICE("Realip"), SLICE("forwarded_for")));
    assert_null(settings_find(SLICE("realip"), SLICE("Forwarded_for")));
    assert_null(settings_find(SLICE("realip"), SLICE("trust")));
    assert_true(settings_has_section(SLICE("Settings")));
    assert_false(settings_has_section(SLICE("metrics")));
    assert_string_equal(settings_suggest_key(SLICE("upstream"), SLICE("Keep_Alive")), "keepalive");
    assert_null(settings_suggest_key(SLICE("realip"), SLICE("keepalive")));
    assert_string_equal(settings_suggest_section(SLICE("limit")), "limits");
    assert_null(settings_suggest_section(SLICE("something")));
    assert_string_equal(settings_section_of(SLICE("deny")), "access");
    assert_null(settings_section_of(SLICE("threads")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen),       cmocka_unit_test(test_upstream),
        cmocka_unit_test(test_proxy),        cmocka_unit_test(test_other_sections),
        cmocka_unit_test(test_empty_values), cmocka_unit_test(test_given_twice),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_values_arrive),
        cmocka_unit_test(test_log_levels),   cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
