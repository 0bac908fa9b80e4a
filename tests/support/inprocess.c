/*
 * A program on libfcgi-realip, for the tests.
 *
 *   inprocess check CONFIG
 *       loads it; the messages on standard error
 *   inprocess list CONFIG
 *       one request, NAME=VALUE and NUL each, on standard input; rewritten likewise
 *   inprocess serve CONFIG PATH THREADS
 *       an application as app.c, its threads all on the unix socket PATH
 *
 *   /params   one NAME=VALUE line a parameter
 *   /quit     the thread that has it ends
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: inprocess check|list|serve CONFIG ...\n");
        return 2;
    }
    load(argv[2]);
    int status = 0;
    if (strcmp(argv[1], "list") == 0) {
        status = list();
    } else if (argc > 4) {
        start(argv[3]);
        status = serve((unsigned)strtoul(argv[4], NULL, 10));
    }
    fcgi_realip_free(policy);
    return status;
}
