/*
 * Random requests; see random_case.h.
 */
#include "random_case.h"

/* Bytes with their length, for texts that hold a NUL. */
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

static const char *const v4_texts[] = {
    "10.0.0.1",  "10.0.0.1",    "10.0.0.2", "10.0.0.3",      "10.1.0.7",        "10.2.0.9",   "192.168.0.1",
    "8.8.8.8",   "203.0.113.5", "1.2.3.4",  "203.0.113.200", "198.51.100.7",    "172.16.5.5", "172.32.0.1",
    "127.0.0.1", "169.254.1.1", "9.9.9.9",  "203.0.113.5",   "255.255.255.255", "0.0.0.0",
};
static const char *const v6_texts[] = {
    "2001:db8::1",
    "2001:db8:1::1",
    "2001:DB8:1:0::1",
    "fd00::1",
    "::1",
    "::",
    "2a00:1450::8",
    "::ffff:10.0.0.1",
    "::FFFF:8.8.8.8",
    "::ffff:a00:2",
    "fe80::1",
    "2001:db8:0:0:1::",
    "0:0:0:0:0:ffff:203.0.113.5",
    "::10.0.0.1",
    "2001:db8:0:0:1:0:0:1",
    "64:ff9b::8.8.8.8",
    "3fff:ffff::1",
    "4000::1",
};
static const struct slice junk[] = {
    BYTES("unknown"),
    BYTES("_hidden"),
    BYTES("localhost"),
    BYTES("010.0.0.1"),
    BYTES("10.0.0"),
    BYTES("10.0.0.256"),
    BYTES("[10.0.0.1]"),
    BYTES("fe80::1%eth0"),
    BYTES("10.0.0.1:0"),
    BYTES("10.0.0.1:65536"),
    BYTES("10.0.0.1:"),
    BYTES("[::1"),
    BYTES("::1]"),
    BYTES("[::1]:"),
    BYTES("[::1]80"),
    BYTES("10.0.0.1\0"),
    BYTES("8.8.8.8\r"),
    BYTES("10.0.0.1\nX: y"),
    BYTES("\0"),
    BYTES("10.0.0.1 10.0.0.2"),
    BYTES("0x0a.0.0.1"),
    BYTES("1:2:3"),
    BYTES("\"10.0.0.1\""),
    BYTES("10.0.0.1;"),
    BYTES("\xff\xfe"),
    BYTES("10.0.0.1\v"),
    BYTES(";"),
    BYTES("unix:"),
    BYTES("x\0 8.8.8.8"),
    BYTES("10.0.0.1\n10.0.0.2"),
    BYTES("\r 10.0.0.1"),
    BYTES("=1.1.1.1"),
    BYTES("-"),
    BYTES("[]"),
    BYTES("10.0.0.1:8o"),
};
static const struct slice odd_peers[] = {
    BYTES(""),
    BYTES("unix:"),
    BYTES("unix:/run/a.sock"),
    BYTES("/run/b.sock"),
    BYTES("@abstract"),
    BYTES("unix"),
    BYTES("[::1]"),
    BYTES("fe80::1%eth0"),
    BYTES("[fd00::1%2]"),
    BYTES("10.0.0.1\0"),
    BYTES("unknown"),
    BYTES("10.0.0.1:80"),
    BYTES("010.0.0.1"),
    BYTES("10.0.0.1 "),
    BYTES("unix:\n"),
    BYTES("::ffff:10.0.0.1"),
    BYTES("::FFFF:a00:1"),
    BYTES("2001:db8:1:0:0:0:0:1"),
};
static const char *const list_headers[] = {
    "HTTP_X_FORWARDED_FOR",  "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_FOR",
    "HTTP_CF_CONNECTING_IP", "HTTP_X_REAL_IP",       "HTTP_FORWARDED",
    "HTTP_FORWARDED",        "HTTP_X_CUSTOM_CLIENT", "HTTP_TRUE_CLIENT_IP",
};
static const char *const client_headers[] = {
    "HTTP_CLIENT_IP",       "HTTP_X_CLIENT_IP",    "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_ALI_CDN_REAL_IP",
    "HTTP_FORWARDED_FOR",   "HTTP_X_FORWARDED",    "HTTP_X_ORIGINATING_IP",    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_SSL", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP",
};
static const char *const plain_names[] = {
    "SCRIPT_FILENAME",
    "REQUEST_METHOD",
    "QUERY_STRING",
    "HTTP_USER_AGENT",
    "HTTP_COOKIE",
    "REDIRECT_REMOTE_ADDR",
    "CONTENT_LENGTH",
    "",
    "HTTP_X_FORWARDED_FO",
    "REMOTE_ADDRESS",
    "HTTP_X_FORWARDED_FOR_X",
    "REALIP",
    "lower",
    "HTTP_PROXY_X",
    "HTTP_X_FORWARDE\xc4",
    "REMOTE_USER",
    "HTTPS",
    "REQUEST_SCHEME",
    "SERVER_PORT",
    "HTTP_HOST",
    "SERVER_NAME",
    "HTTPS",
};
static const struct slice secrets[] = {
    BYTES("s3cret"), BYTES("s3cret"),  BYTES("s3cret"), BYTES("s3cret"), BYTES("sesame"),   BYTES("sesame"),
    BYTES("s3cre"),  BYTES("s3cret2"), BYTES("S3cret"), BYTES(""),       BYTES("s3cret\0"), BYTES("s3creT"),
};
static const struct slice proto_values[] = {
    BYTES("https"), BYTES("http"), BYTES("HTTPS"),   BYTES("http, https"), BYTES("https , Http"),
    BYTES("ftp"),   BYTES(""),     BYTES("https\0"), BYTES("on"),          BYTES("https,"),
};
static const struct slice port_values[] = {
    BYTES("443"),  BYTES("8080"),  BYTES("65535"),
    BYTES("0"),    BYTES("65536"), BYTES("80, 8443"),
    BYTES("8o"),   BYTES(""),      BYTES("99999999999999999999"),
    BYTES("443 "), BYTES("1"),     BYTES("-1"),
};
static const struct slice host_values[] = {
    BYTES("example.org"),
    BYTES("example.org:8443"),
    BYTES("[2001:db8::1]:443"),
    BYTES("[::1]"),
    BYTES("a.example, b.example"),
    BYTES("ex ample"),
    BYTES("a/b"),
    BYTES("user@host"),
    BYTES(""),
    BYTES("h%41st"),
    BYTES("h%4"),
    BYTES("host\r"),
    BYTES("[::1"),
    BYTES("host:0x"),
    BYTES("h\0st"),
    BYTES("[1.2.3.4]"),
    BYTES("a_b-c~d"),
    BYTES("\"q\""),
};

/* The first address of a block that the policy trusts; a unix peer or NULL, if it happens to be that. */
static const char *trusted_address(struct random_source *source)
{
    if (!source->near || random_once_in(source, 2))
        return NULL;
    const char *text = source->near->trust[random_below(source, (unsigned)source->near->ntrust)].text;
    return oracle_print("%.*s", (int)strcspn(text, "/"), text);
}

static const char *random_address(struct random_source *source, bool *v6)
{
    const char *trusted = trusted_address(source);
    if (trusted && strcmp(trusted, "unix:") != 0) {
        *v6 = strchr(trusted, ':') != NULL;
        return trusted;
    }
    *v6 = random_once_in(source, 4);
    return *v6 ? RANDOM_PICK(source, v6_texts) : RANDOM_PICK(source, v4_texts);
}

static const char *random_port(struct random_source *source)
{
    static const char *const ports[] = {"80", "1", "65535", "4711"};
    return RANDOM_PICK(source, ports);
}

/* What stands behind "for=", quotes and all. */
static const char *random_node(struct random_source *source)
{
    bool v6;
    const char *a = random_address(source, &v6);
    switch (random_below(source, 10)) {
    case 0:
        return oracle_print(v6 ? "\"[%s]:%s\"" : "\"%s:%s\"", a, random_port(source));
    case 1:
        return oracle_print(v6 ? "[%s]:%s" : "%s:%s", a, random_port(source));
    case 2:
        return oracle_print(v6 ? "\"[%s]:_abc\"" : "\"%s:_a.b-c\"", a);
    case 3:
        return oracle_print("\"\\%s\"", a); /* an escaped first character */
    case 4:
        return oracle_print("\"%s\"", a);
    default:
        return oracle_print(v6 ? "\"[%s]\"" : "%s", a);
    }
}

static struct slice random_forwarded(struct random_source *source)
{
    const char *node = random_node(source);
    static const char *const shapes[] = {
        "for=%s",
        "for=%s",
        "for=%s",
        "For=%s",
        "for=%s;proto=https",
        "proto=http;for=%s",
        "by=_x; FOR=%s ;host=a",
        "for=%s;",
        ";;for=%s",
        "by=\"a,b;c\\\"d\";for=%s",
        "proto=\"https\" ; for=%s",
    };
    static const char *const broken[] = {
        "for=\"%s",
        "for=%s\"",
        "for =%s",
        "for= %s",
        "for=%s;for=%s",
        "by=%s",
        "%s",
        "\"for=%s",
        "for=%s;x",
        "for=\"%s\\\"",
        "for=%s x",
        "=%s",
        "proto=https",
        "for=\"%s\"x",
        "for=unknown;x=%s",
        "for=\"_h\";x=%s",
        "for=\"\";x=%s",
        "for=;x=%s",
        "x=\"\";\" for=%s",
        "f\\\"or=%s",
        "for=\"%s;by=\"",
    };
    const char *shape = random_once_in(source, 5) ? RANDOM_PICK(source, broken) : RANDOM_PICK(source, shapes);
    char *text = oracle_alloc(256);
    size_t len = 0;
    for (const char *p = shape; *p; p++) {
        if (p[0] == '%') {
            memcpy(text + len, node, strlen(node));
            len += strlen(node);
            p++;
        } else {
            text[len++] = *p;
        }
    }
    return oracle_copy((struct slice){text, len});
}

struct slice random_element(struct random_source *source, bool forwarded)
{
    if (random_once_in(source, 12))
        return random_once_in(source, 3) ? SLICE("") : RANDOM_PICK(source, junk);
    if (forwarded)
        return random_forwarded(source);
    bool v6;
    const char *a = random_address(source, &v6);
    if (v6 && random_once_in(source, 3))
        return slice_of(oracle_print("[%s]", a));
    if (random_once_in(source, 6))
        return slice_of(oracle_print(v6 ? "[%s]:%s" : "%s:%s", a, random_port(source)));
    return slice_of(a);
}

static struct slice random_list(struct random_source *source, bool forwarded)
{
    static const char *const separators[] = {",", ", ", ", ", " ,\t", ",,", " , , "};
    static const char *const ends[] = {"", "", "", "", " ", "\t", ",", ", "};
    char *text = oracle_alloc(4096);
    size_t len = 0;
    unsigned count =
        random_once_in(source, 12) ? 0 : 1 + random_below(source, random_once_in(source, 8) ? 9 : 4);
    const char *end = RANDOM_PICK(source, ends);
    for (unsigned i = 0; i <= count + 1; i++) {
        struct slice piece = i < count ? random_element(source, forwarded) : slice_of(end);
        const char *separator = i > 0 && i < count ? RANDOM_PICK(source, separators) : "";
        if (i == count + 1)
            piece = SLICE("");
        memcpy(text + len, separator, strlen(separator));
        len += strlen(separator);
        memcpy(text + len, piece.data, piece.len);
        len += piece.len;
    }
    if (random_once_in(source, 8)) { /* at the left end too */
        memmove(text + 2, text, len);
        memcpy(text, random_once_in(source, 2) ? ", " : " \t", 2);
        len += 2;
    }
    return (struct slice){text, len};
}

/* The same name to a gateway that folds: a small letter, a minus, a dot. */
static struct slice alias_of(struct random_source *source, struct slice name)
{
    char *alias = oracle_alloc(name.len);
    memcpy(alias, name.data, name.len);
    size_t at = random_below(source, (unsigned)name.len);
    while (alias[at] != '_' && !(alias[at] >= 'A' && alias[at] <= 'Z'))
        at = (at + 1) % name.len;
    alias[at] = alias[at] == '_' ? "-. \xe9"[random_below(source, 4)] : (char)(alias[at] - 'A' + 'a');
    return (struct slice){alias, name.len};
}

static struct slice random_peer(struct random_source *source)
{
    bool v6;
    if (random_once_in(source, 10))
        return RANDOM_PICK(source, odd_peers);
    const char *trusted = random_once_in(source, 2) ? trusted_address(source) : NULL;
    if (trusted)
        return slice_of(trusted);
    return slice_of(random_address(source, &v6));
}

/* The header of one of the groups. */
static struct param list_param(const struct random_policy *policy, struct random_source *source)
{
    const struct policy *plain = policy->policy;
    const struct group *group = &plain->groups[random_below(source, (unsigned)plain->ngroups)];
    const char *name = oracle_print("HTTP_%s", oracle_fold(slice_of(group->header)));
    bool forwarded = strcmp(name, "HTTP_FORWARDED") == 0;
    return (struct param){slice_of(name), random_list(source, forwarded != random_once_in(source, 20))};
}

static struct param managed_param(const struct random_policy *policy, struct random_source *source)
{
    bool v6;
    switch (random_below(source, 12)) {
    case 0:
        return (struct param){slice_of(RANDOM_PICK(source, client_headers)),
                              slice_of(random_address(source, &v6))};
    case 1:
        return (struct param){random_once_in(source, 2) ? SLICE("REALIP_REMOTE_ADDR") : SLICE("REALIP_X"),
                              SLICE("1.1.1.1")};
    case 2:
        return (struct param){SLICE("HTTP_PROXY"), SLICE("http://evil/")};
    case 3:
        return (struct param){random_once_in(source, 4) ? SLICE("HTTP_X_KEY") : SLICE("HTTP_X_SECRET"),
                              RANDOM_PICK(source, secrets)};
    case 4:
        return (struct param){SLICE("HTTP_X_FORWARDED_PROTO"), RANDOM_PICK(source, proto_values)};
    case 5:
        return (struct param){SLICE("HTTP_X_FORWARDED_PORT"), RANDOM_PICK(source, port_values)};
    case 6:
        return (struct param){SLICE("HTTP_X_FORWARDED_HOST"), RANDOM_PICK(source, host_values)};
    default:
        break;
    }
    const char *name = RANDOM_PICK(source, list_headers);
    bool forwarded = strcmp(name, "HTTP_FORWARDED") == 0;
    if (!random_once_in(source, 3))
        return list_param(policy, source);
    return (struct param){slice_of(name), random_list(source, forwarded)};
}

static struct param random_param(const struct random_policy *policy, struct random_source *source)
{
    static const char *const ports[] = {"4711", "", "80", "x"};
    static const char *const texts[] = {"", "/index.php", "GET", "a=b&c=10.0.0.1", "on", "https"};
    struct param param;
    switch (random_below(source, 12)) {
    case 0:
        param = (struct param){SLICE("REMOTE_PORT"), slice_of(RANDOM_PICK(source, ports))};
        break;
    case 1:
        param = (struct param){SLICE("REMOTE_HOST"), random_peer(source)};
        break;
    case 2:
        param = (struct param){SLICE("REMOTE_ADDR"), random_peer(source)};
        param.name = random_once_in(source, 2) ? param.name : SLICE("SERVER_SOFTWARE");
        break;
    case 3:
    case 4:
        return (struct param){slice_of(RANDOM_PICK(source, plain_names)),
                              slice_of(RANDOM_PICK(source, texts))};
    default:
        param = managed_param(policy, source);
    }
    if (random_once_in(source, 14))
        param.name = alias_of(source, param.name);
    return param;
}

struct random_request random_request_make(const struct random_policy *policy, struct random_source *source)
{
    unsigned n = 2 + random_below(source, 13);
    source->near = &policy->oracle;
    struct random_request request = {oracle_alloc(n * sizeof(*request.params)), n};
    for (unsigned i = 0; i < n; i++)
        request.params[i] = random_param(policy, source);
    if (!random_once_in(source, 5))
        request.params[random_below(source, n)] = list_param(policy, source);
    if (!random_once_in(source, 30)) {
        unsigned at = random_below(source, n);
        request.params[at] = (struct param){SLICE("REMOTE_ADDR"), random_peer(source)};
    }
    for (unsigned i = 0; i < n; i++) { /* exact allocations: reading over an end shows */
        request.params[i].name = oracle_copy(request.params[i].name);
        request.params[i].value = oracle_copy(request.params[i].value);
    }
    return request;
}

void random_print_slice(struct slice text, FILE *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c < 0x7f && c != '\\')
            putc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
}

void random_print_params(const char *title, const struct param *params, size_t n, FILE *out)
{
    fprintf(out, "%s:\n", title);
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "  ");
        random_print_slice(params[i].name, out);
        fprintf(out, " = [");
        random_print_slice(params[i].value, out);
        fprintf(out, "]\n");
    }
}

void random_print_policy(const struct random_policy *made, FILE *out)
{
    static const char *const selects[] = {"recursive", "single", "hops", "leftmost"};
    static const char *const malformed[] = {"stop", "peer", "reject"};
    static const char *const repeated[] = {"join", "malformed"};
    static const char *const forwarded[] = {"confirmed", "unconfirmed", "client", "keep", "remove"};
    const struct policy *policy = made->policy;
    fprintf(out, "policy: forwarded_for=%s untrusted_headers=%s unmanaged_headers=%s deny_direct=%d\n",
            forwarded[policy->forwarded_for], policy->untrusted_headers == HEADERS_KEEP ? "keep" : "strip",
            policy->unmanaged_headers == HEADERS_KEEP ? "keep" : "strip", policy->deny_direct);
    for (size_t i = 0; i < policy->ngroups; i++) {
        const struct group *g = &policy->groups[i];
        fprintf(out,
                "  [proxy %s] header=%s select=%s:%u on_malformed=%s repeated=%s max_elements=%u "
                "private_clients=%d "
                "require_header=%d require_param=%s:%s accept=%u\n",
                g->name, g->header, selects[g->select], g->hops, malformed[g->on_malformed],
                repeated[g->repeated], g->max_elements, g->private_clients, g->require_header,
                g->require_name ? g->require_name : "", g->require_value ? g->require_value : "", g->accept);
        for (size_t k = 0; k < made->oracle.ntrust; k++)
            if (made->trust[k].payload == (int)i)
                fprintf(out, "    trust %s\n", made->trust[k].text);
    }
    for (size_t k = 0; k < made->oracle.naccess; k++)
        fprintf(out, "  %s %s\n", made->access[k].payload == ACCESS_DENY ? "deny" : "allow",
                made->access[k].text);
}
