/*
 * bench-application: an application on libfcgi, one thread, that answers as bench-responder does; bare, or
 * with fcgi_realip_accept_r in the place of FCGX_Accept_r.
 *
 *     bench-application PATH [CONFIG]
 */
#include <fcgiapp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "fcgi_realip.h"

#define LENGTH 1024

static fcgi_realip_policy *load_policy(const char *path)
{
    char *messages = NULL;
    fcgi_realip_policy *policy = fcgi_realip_load(path, &messages);

    if (messages != NULL)
        fputs(messages, stderr);
    free(messages);
    if (policy == NULL)
        exit(1);
    return policy;
}

static void answer_request(FCGX_Request *request)
{
    const char *address = FCGX_GetParam("REMOTE_ADDR", request->envp);
    char text[LENGTH];
    int n = snprintf(text, sizeof(text), BENCH_ANSWER "%.45s\r\nContent-Type: text/plain\r\n\r\n",
                     address != NULL ? address : "none");

    memset(text + n, 'x', sizeof(text) - (size_t)n);
    FCGX_PutStr(text, sizeof(text), request->out);
    FCGX_Finish_r(request);
}

int main(int argc, char **argv)
{
    fcgi_realip_policy *policy = NULL;
    FCGX_Request request;
    int listener;

    if (argc != 2 && argc != 3) {
        fputs("usage: bench-application PATH [CONFIG]\n", stderr);
        return 2;
    }
    if (argc == 3)
        policy = load_policy(argv[2]);
    if (FCGX_Init() != 0 || (listener = FCGX_OpenSocket(argv[1], 128)) < 0) {
        perror(argv[1]);
        return 1;
    }
    FCGX_InitRequest(&request, listener, 0);
    while ((policy != NULL ? fcgi_realip_accept_r(policy, &request) : FCGX_Accept_r(&request)) == 0)
        answer_request(&request);
    fcgi_realip_free(policy);
    return 1;
}
