/*
 * status: asks a running shim for its status page, as a web server would.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "config/config.h"
#include "fastcgi/params.h"
#include "fastcgi/record.h"
#include "relay/buffer.h"

/* How long the shim may be silent, in seconds. */
#define PATIENCE 10

/* Whom the command is for; [status] allow must hold it. */
#define CLIENT "127.0.0.1"

const struct cli_option cli_status_options[] = {
    {'c', "config", "FILE", "the configuration to read instead of " CONFIG_DEFAULT_PATH},
    {0, "json", NULL, "print the status as JSON"},
    {0, NULL, NULL, NULL},
};
enum { OPTION_CONFIG, OPTION_JSON };

/* ---- asking ---- */

/* The whole request into out; the page's path is the only text that could be long. */
static int encode(struct buffer *out, const char *path, const char *query)
{
    const struct param params[] = {
        {SLICE("GATEWAY_INTERFACE"), SLICE("CGI/1.1")},
        {SLICE("SERVER_PROTOCOL"), SLICE("HTTP/1.1")},
        {SLICE("REQUEST_METHOD"), SLICE("GET")},
        {SLICE("SCRIPT_NAME"), slice_of(path)},
        {SLICE("QUERY_STRING"), slice_of(query)},
        {SLICE("REMOTE_ADDR"), SLICE(CLIENT)},
        {SLICE("SERVER_SOFTWARE"), SLICE("fcgi-realip status")},
    };
    char wire[RECORD_FIXED];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
        len += params_pair_size(params[i].name, params[i].value);
    if (len > RECORD_CONTENT || buffer_reserve(out, len + 4 * RECORD_FIXED) < 0)
        return -ENOMEM;
    record_encode_begin(wire, 1, FCGI_RESPONDER, false);
    buffer_append(out, wire, RECORD_FIXED);
    record_encode(wire, FCGI_PARAMS, 1, (uint16_t)len, 0);
    buffer_append(out, wire, RECORD_HEADER);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
        out->len += params_encode_pair(out->data + out->start + out->len, params[i].name, params[i].value);
    record_encode(wire, FCGI_PARAMS, 1, 0, 0);
    buffer_append(out, wire, RECORD_HEADER);
    record_encode(wire, FCGI_STDIN, 1, 0, 0);
    return buffer_append(out, wire, RECORD_HEADER);
}

/* A connected socket, or a negative errno. */
static int dial(const struct endpoint *endpoint)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    int fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->length) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* 0, or a negative errno. */
static int send_all(int fd, const struct buffer *request)
{
    size_t done = 0;
    while (done < request->len) {
        ssize_t n = send(fd, request->data + request->start + done, request->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* 0, -EPIPE if the connection ends before, or another negative errno. */
static int read_exactly(int fd, char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, data, len, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EPIPE;
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* What comes on STDOUT up to END_REQUEST. 0 or a negative errno; -EPROTO: that is no FastCGI. */
static int receive(int fd, struct buffer *answer)
{
    char wire[RECORD_HEADER];
    static char content[RECORD_CONTENT + UINT8_MAX];
    for (;;) {
        int rc = read_exactly(fd, wire, sizeof(wire));
        struct record record = record_decode(wire);
        if (rc == 0 && record.version != FCGI_VERSION_1)
            rc = -EPROTO;
        if (rc == 0)
            rc = read_exactly(fd, content, (size_t)record.content + record.padding);
        if (rc == 0 && record.type == FCGI_STDOUT)
            rc = buffer_append(answer, content, record.content);
        if (rc < 0 || record.type == FCGI_END_REQUEST)
            return rc;
    }
}

/* ---- telling ---- */

static int fail_to_connect(const struct endpoint *endpoint, int error)
{
    if (error == -ENOENT || error == -ECONNREFUSED)
        cli_error("nobody listens on %s: is fcgi-realip running with this configuration? (%s)",
                  endpoint->text, strerror(-error));
    else
        cli_error("cannot connect to %s: %s", endpoint->text,
                  error == -EAGAIN ? "no answer in time" : strerror(-error));
    return CLI_FAILED;
}

static int fail_to_read(const struct endpoint *endpoint, int error)
{
    if (error == -EPIPE || error == -ECONNRESET)
        cli_error("%s closed the connection without an answer; if [listen] allowed_clients is given, it must "
                  "hold " CLIENT ", too",
                  endpoint->text);
    else
        cli_error("cannot read an answer from %s: %s", endpoint->text,
                  error == -EAGAIN ? "none came in time" : strerror(-error));
    return CLI_FAILED;
}

static bool begins_with(struct slice text, struct slice start)
{
    return text.len >= start.len && memcmp(text.data, start.data, start.len) == 0;
}

static int print_answer(const struct config *config, struct slice answer)
{
    const char *end = answer.len > 0 ? memmem(answer.data, answer.len, "\r\n\r\n", 4) : NULL;
    size_t head = end ? (size_t)(end - answer.data) : 0;
    struct slice body = slice_part(answer, end ? head + 4 : answer.len, answer.len);
    if (begins_with(answer, SLICE("Status: 403 "))) {
        cli_error("the shim does not show its status to " CLIENT
                  "; add that to allow in [status] of %s, and reload it",
                  config->path);
        return CLI_FAILED;
    }
    if (!begins_with(answer, SLICE("Status: 200 OK\r\n")) ||
        (!begins_with(body, SLICE("fcgi-realip ")) &&
         !begins_with(body, SLICE("{\"name\":\"fcgi-realip\",")))) {
        cli_error("what answers at %s is no status page; was %s changed since the shim read it?",
                  config->status.path, config->path);
        return CLI_FAILED;
    }
    fwrite(body.data, 1, body.len, stdout);
    return cli_finish_output();
}

static int ask(const struct config *config, const char *query)
{
    const struct endpoint *endpoint = &config->listen.addresses[0];
    struct buffer request = {0}, answer = {0};
    int status;
    int fd = dial(endpoint);
    if (fd < 0)
        return fail_to_connect(endpoint, fd);
    int rc = encode(&request, config->status.path, query);
    if (rc == 0)
        rc = send_all(fd, &request);
    if (rc == 0)
        rc = receive(fd, &answer);
    close(fd);
    if (rc < 0)
        status = fail_to_read(endpoint, rc);
    else
        status = print_answer(config, (struct slice){answer.data + answer.start, answer.len});
    buffer_free(&request);
    buffer_free(&answer);
    return status;
}

int cli_status(int argc, char **argv)
{
    const char *path = CONFIG_DEFAULT_PATH;
    const char *query = "";
    struct options options = options_start(cli_status_options, "status", argc, argv);
    for (int option; (option = options_next(&options)) >= 0;) {
        if (option == OPTION_CONFIG)
            path = options.value;
        else
            query = "json";
    }
    if (options.done)
        return options.status;

    struct config *config = cli_load_config(path);
    if (!config)
        return CLI_FAILED;
    int status = CLI_FAILED;
    if (!config->status.path)
        cli_error("%s: there is no status page; add path to [status], and reload the shim", path);
    else if (config->listen.naddresses == 0)
        cli_error("%s: no [listen] address to ask at; where the shim inherits its socket, ask for %s through "
                  "the web server",
                  path, config->status.path);
    else
        status = ask(config, query);
    config_free(config);
    return status;
}
