#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/whoami_answer.h"
#include "config/endpoint.h"
#include "config/values.h"
#include "realip/policy.h"
#include "relay/listen.h"

#define THREADS_DEFAULT 4
#define THREADS_MAX     256
#define GRACE_SECONDS   5 /* for requests that run when the end is asked for */

extern char **environ;

const struct cli_option cli_whoami_options[] = {
    {'l', "listen", "ADDRESS",
     "listen on unix:PATH, HOST:PORT or [V6]:PORT; else on descriptor 0, or be a CGI program"},
    {'n', "threads", "NUMBER", "requests, or kept connections, served at the same moment (4)"},
    {0, NULL, NULL, NULL},
};
enum { OPTION_LISTEN, OPTION_THREADS };

/* What the threads share. */
struct server {
    int listener;
    const struct policy *names;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned busy;    /* requests that run */
    int accept_error; /* why a thread had to end, errno; 0: none did */
};

static size_t read_fcgi(void *context, char *buffer, size_t size)
{
    FCGX_Request *request = context;
    int len = FCGX_GetStr(buffer, (int)size, request->in);
    return len > 0 ? (size_t)len : 0;
}

static bool write_fcgi(void *context, const char *data, size_t len)
{
    FCGX_Request *request = context;
    while (len > 0) {
        int part = len < 1 << 20 ? (int)len : 1 << 20;
        if (FCGX_PutStr(data, part, request->out) != part)
            return false;
        data += part;
        len -= (size_t)part;
    }
    return true;
}

static void count_busy(struct server *server, int change)
{
    pthread_mutex_lock(&server->lock);
    server->busy += (unsigned)change;
    if (server->busy == 0)
        pthread_cond_signal(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

static void *serve_requests(void *context)
{
    struct server *server = context;
    FCGX_Request request;
    int error = FCGX_InitRequest(&request, server->listener, 0);
    while (!error && (error = FCGX_Accept_r(&request)) == 0) {
        count_busy(server, 1);
        struct exchange exchange = {
            .environment = request.envp, .read = read_fcgi, .write = write_fcgi, .context = &request};
        whoami_answer(&exchange, server->names);
        FCGX_Finish_r(&request);
        count_busy(server, -1);
    }
    pthread_mutex_lock(&server->lock);
    server->accept_error = error < 0 ? -error : error;
    pthread_mutex_unlock(&server->lock);
    /* Wakes the main thread; if it was TERM that ended the accepting, that is nothing new to it. */
    kill(getpid(), SIGTERM);
    return NULL;
}

static int start_threads(struct server *server, unsigned count)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (unsigned i = 0; i < count && !error; i++) {
        pthread_t thread;
        error = pthread_create(&thread, &attributes, serve_requests, server);
    }
    pthread_attr_destroy(&attributes);
    return error;
}

/* Threads that wait on idle connections cannot be woken; the process ends around them. */
static void wait_until_idle(struct server *server)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GRACE_SECONDS;
    pthread_mutex_lock(&server->lock);
    while (server->busy > 0 && pthread_cond_timedwait(&server->idle, &server->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&server->lock);
}

/* ends: the signals that end it, blocked already. own: nobody else accepts on the listener. */
static int serve_fcgi(struct server *server, unsigned threads, bool own, const sigset_t *ends)
{
    int error = FCGX_Init();
    if (error) {
        cli_error("whoami: libfcgi cannot start (%d)", error);
        return CLI_FAILED;
    }
    error = start_threads(server, threads);
    if (error) {
        cli_error("whoami: cannot start a thread: %s", strerror(error));
        return CLI_FAILED;
    }
    int received;
    sigwait(ends, &received);
    pthread_mutex_lock(&server->lock);
    error = server->accept_error;
    pthread_mutex_unlock(&server->lock);

    FCGX_ShutdownPending();
    if (own)
        shutdown(server->listener, SHUT_RDWR);
    wait_until_idle(server);
    if (error) {
        cli_error("whoami: cannot accept connections: %s", strerror(error));
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* A CGI program's body: CONTENT_LENGTH bytes, no end of file is promised behind them (RFC 3875 section 4.2).
 */
struct cgi_body {
    unsigned long long left;
};

static size_t read_cgi(void *context, char *buffer, size_t size)
{
    struct cgi_body *body = context;
    size_t len = fread(buffer, 1, body->left < size ? (size_t)body->left : size, stdin);
    body->left -= len;
    return len;
}

static bool write_cgi(void *context, const char *data, size_t len)
{
    (void)context;
    return fwrite(data, 1, len, stdout) == len;
}

static int serve_cgi(const struct policy *names)
{
    const char *length = getenv("CONTENT_LENGTH");
    struct cgi_body body = {.left = length ? strtoull(length, NULL, 10) : 0};
    struct exchange exchange = {
        .environment = environ, .read = read_cgi, .write = write_cgi, .context = &body};
    whoami_answer(&exchange, names);
    return cli_finish_output();
}

static bool is_listener(int fd)
{
    int accepts = 0;
    socklen_t len = sizeof accepts;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && accepts;
}

/* The mode and the backlog of the shim's own listeners. */
static int open_listener(const char *address, struct listen_socket *socket)
{
    const struct config_listen settings = {
        .mode = 0660, .owner = (uid_t)-1, .group = (gid_t)-1, .backlog = 1024};
    struct endpoint *endpoints = NULL;
    size_t count = 0;
    struct endpoint_fault fault;
    char why[512];
    int result = -1;
    if (!endpoint_add(slice_of(address), true, &endpoints, &count, &fault)) {
        cli_error("whoami: cannot listen on %s: %s", address, fault.text);
    } else {
        /* libfcgi accepts on one socket: of a name's addresses, the first. */
        result = listen_open(socket, &endpoints[0], &settings, false, why, sizeof why);
        if (result != 0) {
            cli_error("whoami: %s", why);
            listen_close(socket);
        }
    }
    endpoint_free_list(endpoints, count);
    return result;
}

static int run(const char *address, unsigned threads, const struct policy *names)
{
    if (!address && !is_listener(0)) {
        if (getenv("GATEWAY_INTERFACE"))
            return serve_cgi(names);
        return cli_usage_error("whoami", "descriptor 0 is no listening socket and this is no CGI request: "
                                         "say where to listen, as in `-l unix:/tmp/whoami.sock`");
    }
    /* Before the socket exists, so that none is left behind; the threads inherit it. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    struct listen_socket socket = {.fd = 0};
    if (address && open_listener(address, &socket) != 0)
        return CLI_FAILED;
    struct server server = {.listener = socket.fd,
                            .names = names,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .idle = PTHREAD_COND_INITIALIZER};
    if (address)
        fprintf(stderr, "fcgi-realip: whoami listens on %s\n", address);
    int status = serve_fcgi(&server, threads, address != NULL, &ends);
    listen_close(&socket);
    /* Threads may still wait on idle connections; they use what this function's frame holds, so no way back.
     */
    fflush(NULL);
    _exit(status);
}

int cli_whoami(int argc, char **argv)
{
    const char *address = NULL;
    uint64_t threads = THREADS_DEFAULT;
    struct options options = options_start(cli_whoami_options, "whoami", argc, argv);
    for (int option; (option = options_next(&options)) >= 0;) {
        if (option == OPTION_LISTEN) {
            address = options.value;
            continue;
        }
        const char *fault = value_parse_number(slice_of(options.value), &threads);
        if (fault || threads < 1 || threads > THREADS_MAX)
            options_refuse(&options, "the number of threads is 1 to 256");
    }
    if (options.done)
        return options.status;

    struct policy *names = policy_new();
    if (!names || policy_compile(names) != 0) {
        policy_free(names);
        cli_error("whoami: out of memory");
        return CLI_FAILED;
    }
    int status = run(address, (unsigned)threads, names);
    policy_free(names);
    return status;
}
