/*
 * A FastCGI application on libfcgi, for the tests: what it does is chosen by SCRIPT_NAME.
 *
 *   app PATH [PROCESSES]    listens on the unix socket PATH with so many processes (1), a request at a time
 * each
 *
 *   /echo     the body comes back
 *   /params   one NAME=VALUE line a parameter, as libfcgi made its environment of them
 *   /early    answers without reading the body
 *   /stderr   lines on STDERR between the lines on STDOUT
 *   /zeros    QUERY_STRING bytes of zeros
 *   /status   ends with the application status of QUERY_STRING
 *   /sleep    answers after QUERY_STRING milliseconds
 *   /exit     the process ends without an answer
 */
#include <fcgiapp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char head[] = "Status: 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";

static const char *param(const FCGX_Request *request, const char *name)
{
    const char *value = FCGX_GetParam(name, request->envp);
    return value ? value : "";
}

static void answer_echo(FCGX_Request *request)
{
    char buffer[16384];
    int n;
    while ((n = FCGX_GetStr(buffer, sizeof(buffer), request->in)) > 0) {
        FCGX_PutStr(buffer, n, request->out);
    }
}

static void answer_stderr(FCGX_Request *request)
{
    for (int i = 0; i < 5; i++) {
        FCGX_FPrintF(request->out, "out %d\n", i);
        FCGX_FFlush(request->out);
        FCGX_FPrintF(request->err, "err %d\n", i);
        FCGX_FFlush(request->err);
    }
}

static void answer_zeros(FCGX_Request *request)
{
    static char buffer[65536];
    long left = atol(param(request, "QUERY_STRING"));
    while (left > 0) {
        int n = left < (long)sizeof(buffer) ? (int)left : (int)sizeof(buffer);
        if (FCGX_PutStr(buffer, n, request->out) != n) {
            return;
        }
        left -= n;
    }
}

static void answer_sleep(FCGX_Request *request)
{
    long ms = atol(param(request, "QUERY_STRING"));
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    FCGX_FPrintF(request->out, "slept\n");
}

static void answer(FCGX_Request *request)
{
    const char *script = param(request, "SCRIPT_NAME");
    if (strcmp(script, "/exit") == 0) {
        _exit(0);
    }
    FCGX_PutStr(head, (int)sizeof(head) - 1, request->out);
    if (strcmp(script, "/echo") == 0) {
        answer_echo(request);
    } else if (strcmp(script, "/params") == 0) {
        for (char **entry = request->envp; *entry; entry++) {
            FCGX_FPrintF(request->out, "%s\n", *entry);
        }
    } else if (strcmp(script, "/stderr") == 0) {
        answer_stderr(request);
    } else if (strcmp(script, "/zeros") == 0) {
        answer_zeros(request);
    } else if (strcmp(script, "/status") == 0) {
        FCGX_SetExitStatus(atoi(param(request, "QUERY_STRING")), request->out);
    } else if (strcmp(script, "/sleep") == 0) {
        answer_sleep(request);
    } else {
        FCGX_FPrintF(request->out, "%s\n", script);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || FCGX_Init() != 0) {
        fprintf(stderr, "usage: app PATH [PROCESSES]\n");
        return 2;
    }
    int fd = FCGX_OpenSocket(argv[1], 128);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    int processes = argc > 2 ? atoi(argv[2]) : 1;
    for (int i = 1; i < processes; i++) {
        if (fork() == 0) {
            break;
        }
    }
    FCGX_Request request;
    if (FCGX_InitRequest(&request, fd, 0) != 0) {
        return 1;
    }
    while (FCGX_Accept_r(&request) == 0) {
        answer(&request);
        FCGX_Finish_r(&request);
    }
    return 1;
}
