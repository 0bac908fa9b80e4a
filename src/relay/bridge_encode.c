/*
 * The environment of a CGI program as a FastCGI request.
 */
#include <errno.h>

#include "fastcgi/params.h"
#include "fastcgi/record.h"
#include "relay/bridge.h"

/*
 * What a process has in its environment whoever starts it. RFC 3875 leaves servers free to invent variables,
 * and administrators set their own: everything else is passed on. http_proxy and its kin are of libraries; no
 * header becomes a name in lower case.
 */
static bool is_own(struct slice name)
{
    static const char *const names[] = {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "TMPDIR",
        "TERM",
        "MAIL",
        "TZ",
        "LANG",
        "LANGUAGE",
        "MAINPID",
        "MANAGERPID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "http_proxy",
        "https_proxy",
        "ftp_proxy",
        "all_proxy",
        "no_proxy",
    };
    static const char *const beginnings[] = {"LD_", "LC_", "LISTEN_", "GLIBC_", "MALLOC_", "ASAN_", "UBSAN_"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal(name, slice_of(names[i])))
            return true;
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        struct slice beginning = slice_of(beginnings[i]);
        if (name.len >= beginning.len && slice_equal(slice_part(name, 0, beginning.len), beginning))
            return true;
    }
    return false;
}

static int append_pair(struct buffer *pairs, const char *entry)
{
    struct slice text = slice_of(entry);
    const char *equals = memchr(text.data, '=', text.len);
    if (!equals || equals == text.data)
        return 0; /* no variable */
    size_t at = (size_t)(equals - text.data);
    struct slice name = slice_part(text, 0, at), value = slice_part(text, at + 1, text.len);
    if (is_own(name))
        return 0;
    if (buffer_reserve(pairs, params_pair_size(name, value)) < 0)
        return -ENOMEM;
    pairs->len += params_encode_pair(pairs->data + pairs->start + pairs->len, name, value);
    return 0;
}

/* The whole stream; a pair may be cut by a record's end, which the specification allows and we understand. */
static int append_stream(struct buffer *out, const char *data, size_t len)
{
    char wire[RECORD_HEADER];
    while (len > 0) {
        size_t n = len < RECORD_CONTENT ? len : RECORD_CONTENT;
        record_encode(wire, FCGI_PARAMS, 1, (uint16_t)n, 0);
        if (buffer_append(out, wire, sizeof(wire)) < 0 || buffer_append(out, data, n) < 0)
            return -ENOMEM;
        data += n;
        len -= n;
    }
    record_encode(wire, FCGI_PARAMS, 1, 0, 0);
    return buffer_append(out, wire, sizeof(wire));
}

int bridge_encode(char *const *environment, struct buffer *out)
{
    struct buffer pairs = {0};
    char begin[RECORD_FIXED];
    record_encode_begin(begin, 1, FCGI_RESPONDER, false);
    int rc = buffer_append(out, begin, sizeof(begin));
    for (size_t i = 0; rc == 0 && environment[i]; i++)
        rc = append_pair(&pairs, environment[i]);
    if (rc == 0)
        rc = append_stream(out, pairs.len > 0 ? pairs.data + pairs.start : "", pairs.len);
    buffer_free(&pairs);
    return rc;
}
