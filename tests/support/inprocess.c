/*
 * A program on libfcgi-realip, for the tests.
 *
 *   inprocess check CONFIG                  loads it; the messages on standard error
 *   inprocess list CONFIG                   one request, NAME=VALUE and NUL each, on standard input;
 * rewritten likewise inprocess serve CONFIG PATH THREADS     an application as app.c, its threads all on the
 * unix socket PATH inprocess measure CONFIG PATH REQUESTS  what fcgi_realip_accept_r adds to a request, in
 * processor time
 *
 *   /params   one NAME=VALUE line a parameter
 *   /quit     the thread that has it ends
 */
#include <fastcgi.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fcgi_realip.h"

static fcgi_realip_policy *policy;
static int listener;

static void load(const char *path)
{
    char *messages;
    policy = fcgi_realip_load(path, &messages);
    if (messages != NULL)
        fputs(messages, stderr);
    free(messages);
    if (policy == NULL)
        exit(1);
}

/* --- list --- */

static int list(void)
{
    static char text[1 << 20];
    static struct fcgi_realip_param params[FCGI_REALIP_MAX_PARAMS];
    size_t len = fread(text, 1, sizeof text, stdin), n = 0;
    for (char *at = text; at < text + len;) {
        char *end = memchr(at, '\0', (size_t)(text + len - at));
        char *equals = memchr(at, '=', (size_t)(end - at));
        params[n++] =
            (struct fcgi_realip_param){at, (size_t)(equals - at), equals + 1, (size_t)(end - equals - 1)};
        at = end + 1;
    }

    fcgi_realip_decision *decision;
    const struct fcgi_realip_param *rewritten;
    size_t count;
    if (fcgi_realip_decide(policy, params, n, &decision) != 0 ||
        fcgi_realip_rewrite(decision, &rewritten, &count) != 0)
        return 1;
    fprintf(stderr, "%d %s %s %u %d %s\n", fcgi_realip_decision_status(decision),
            fcgi_realip_decision_client(decision), fcgi_realip_decision_peer(decision),
            fcgi_realip_decision_port(decision), fcgi_realip_decision_changed(decision),
            fcgi_realip_decision_reason(decision));
    for (size_t i = 0; i < count; i++) {
        fwrite(rewritten[i].name, 1, rewritten[i].name_len, stdout);
        putchar('=');
        fwrite(rewritten[i].value, 1, rewritten[i].value_len, stdout);
        putchar('\0');
    }
    fcgi_realip_decision_free(decision);
    return 0;
}

/* --- serve --- */

static void start(const char *path)
{
    if (FCGX_Init() != 0 || (listener = FCGX_OpenSocket(path, 128)) < 0) {
        perror(path);
        exit(1);
    }
}

/* false: this was the last one. Ends requests in each of the ways that libfcgi has, in turn. */
static int answer(FCGX_Request *request, unsigned turn)
{
    const char *script = FCGX_GetParam("SCRIPT_NAME", request->envp);
    FCGX_FPrintF(request->out, "Status: 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n");
    if (script != NULL && strcmp(script, "/params") == 0) {
        for (char **entry = request->envp; *entry; entry++)
            FCGX_FPrintF(request->out, "%s\n", *entry);
    }
    int quit = script != NULL && strcmp(script, "/quit") == 0;
    if (turn % 3 == 0 || quit)
        FCGX_Finish_r(request);
    else if (turn % 3 == 1)
        FCGX_FFlush(request->out);
    else {
        FCGX_FClose(request->err);
        FCGX_FClose(request->out);
        FCGX_Free(request, 1);
    }
    return !quit;
}

static void *serve_thread(void *unused)
{
    (void)unused;
    FCGX_Request request;
    FCGX_InitRequest(&request, listener, 0);
    for (unsigned turn = 0; fcgi_realip_accept_r(policy, &request) == 0; turn++) {
        if (!answer(&request, turn))
            break;
    }
    FCGX_Free(&request, 1);
    return NULL;
}

static int serve(unsigned count)
{
    pthread_t threads[64];
    if (count > 64)
        return 2;
    for (unsigned i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, serve_thread, NULL);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* --- measure --- */

static unsigned long requests;
static const char *socket_path;

static size_t add_record(char *out, int type, const char *content, size_t len)
{
    FCGI_Header header = {.version = 1, .type = (unsigned char)type, .requestIdB0 = 1};
    header.contentLengthB1 = (unsigned char)(len >> 8);
    header.contentLengthB0 = (unsigned char)len;
    memcpy(out, &header, sizeof header);
    memcpy(out + sizeof header, content, len);
    return sizeof header + len;
}

static size_t make_request(char *out)
{
    static const char *const params[][2] = {
        {"SCRIPT_FILENAME", "/var/www/html/index.php"},
        {"QUERY_STRING", "page=1"},
        {"REQUEST_METHOD", "GET"},
        {"CONTENT_TYPE", ""},
        {"CONTENT_LENGTH", ""},
        {"SCRIPT_NAME", "/index.php"},
        {"REQUEST_URI", "/index.php?page=1"},
        {"DOCUMENT_URI", "/index.php"},
        {"DOCUMENT_ROOT", "/var/www/html"},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"REQUEST_SCHEME", "https"},
        {"GATEWAY_INTERFACE", "CGI/1.1"},
        {"SERVER_SOFTWARE", "nginx/1.22.1"},
        {"REMOTE_ADDR", "10.0.0.1"},
        {"REMOTE_PORT", "51234"},
        {"SERVER_ADDR", "10.0.0.9"},
        {"SERVER_PORT", "443"},
        {"SERVER_NAME", "www.example.org"},
        {"HTTPS", "on"},
        {"REDIRECT_STATUS", "200"},
        {"HTTP_HOST", "www.example.org"},
        {"HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"},
        {"HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
        {"HTTP_ACCEPT_LANGUAGE", "en-US,en;q=0.5"},
        {"HTTP_ACCEPT_ENCODING", "gzip, deflate, br"},
        {"HTTP_X_FORWARDED_FOR", "203.0.113.7, 10.0.0.3, 10.0.0.2"},
        {"HTTP_X_FORWARDED_PROTO", "https"},
        {"HTTP_COOKIE", "session=0123456789abcdef0123456789abcdef"}};
    char pairs[4096], *at = pairs;
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        *at++ = (char)strlen(params[i][0]);
        *at++ = (char)strlen(params[i][1]);
        at = stpcpy(stpcpy(at, params[i][0]), params[i][1]);
    }
    size_t len = add_record(out, FCGI_BEGIN_REQUEST, "\0\1\1\0\0\0\0\0", 8);
    len += add_record(out + len, FCGI_PARAMS, pairs, (size_t)(at - pairs));
    len += add_record(out + len, FCGI_PARAMS, "", 0);
    return len + add_record(out + len, FCGI_STDIN, "", 0);
}

/* An answer is one write of libfcgi's: it ends with END_REQUEST. */
static void *client_thread(void *unused)
{
    (void)unused;
    char request[8192], response[8192];
    size_t len = make_request(request);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        exit(1);
    for (unsigned long i = 0; i < requests; i++) {
        if (write(fd, request, len) != (ssize_t)len || read(fd, response, sizeof response) <= 16)
            exit(1);
    }
    close(fd);
    return NULL;
}

/* Nanoseconds of this thread's processor time a request. */
static double run(int with)
{
    pthread_t client;
    struct timespec begin, end;
    FCGX_Request request;
    FCGX_InitRequest(&request, listener, 0);
    pthread_create(&client, NULL, client_thread, NULL);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (unsigned long i = 0; i < requests; i++) {
        int result = with ? fcgi_realip_accept_r(policy, &request) : FCGX_Accept_r(&request);
        if (result != 0 ||
            strcmp(FCGX_GetParam("REMOTE_ADDR", request.envp), with ? "203.0.113.7" : "10.0.0.1") != 0)
            exit(1);
        FCGX_FPrintF(request.out, "Content-Type: text/plain\r\n\r\nok");
        FCGX_Finish_r(&request);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    FCGX_Free(&request, 1);
    pthread_join(client, NULL);
    return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
           (double)requests;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static int measure(void)
{
    enum { ROUNDS = 15 };
    double bare[ROUNDS], with[ROUNDS], added[ROUNDS]; /* of rounds next to each other: machines wander */
    for (int i = 0; i < ROUNDS; i++) {
        bare[i] = run(0);
        with[i] = run(1);
        added[i] = with[i] - bare[i];
    }
    qsort(bare, ROUNDS, sizeof bare[0], compare);
    qsort(with, ROUNDS, sizeof with[0], compare);
    qsort(added, ROUNDS, sizeof added[0], compare);
    printf("processor time of the application a request, %d rounds in turn\n", ROUNDS);
    printf("%-8s %8s %8s %8s\n", "", "bare", "with", "added");
    printf("%-8s %5.0f ns %5.0f ns %+5.0f ns\n", "best", bare[0], with[0], with[0] - bare[0]);
    printf("%-8s %5.0f ns %5.0f ns %+5.0f ns\n", "median", bare[ROUNDS / 2], with[ROUNDS / 2],
           added[ROUNDS / 2]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: inprocess check|list|serve|measure CONFIG ...\n");
        return 2;
    }
    load(argv[2]);
    int status = 0;
    if (strcmp(argv[1], "list") == 0) {
        status = list();
    } else if (argc > 4) {
        socket_path = argv[3];
        start(socket_path);
        requests = strtoul(argv[4], NULL, 10);
        status = strcmp(argv[1], "serve") == 0 ? serve((unsigned)requests) : measure();
    }
    fcgi_realip_free(policy);
    return status;
}
