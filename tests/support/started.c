/*
 * A FastCGI application on libfcgi that is started with a listening socket as its descriptor 0, for the
 * tests: what it does is chosen by SCRIPT_NAME, with QUERY_STRING as its argument.
 *
 *   started [-t FILE]   -t: on TERM, writes "TERM" to FILE and ends
 *   started -i          does not mind TERM
 *
 *   /echo       the body comes back
 *   /pid        its process id
 *   /params     one NAME=VALUE line a parameter, as libfcgi made its environment of them
 *   /environ    one NAME=VALUE line a variable that it was started with
 *   /arguments  one line an argument
 *   /directory  its working directory
 *   /fds        a line for each descriptor that it has, "NUMBER WHAT"
 *   /say        writes the argument and a line's end to standard error
 *   /print      the same, to standard output
 *   /wait       makes the file ARGUMENT.PID, and answers when there is a file ARGUMENT
 *   /child      starts a process of its group that does not mind TERM, and answers with its id
 *   /finish     answers with its process id, then ends with that status
 *   /exit       ends with that status without an answer
 *   /crash      is ended by that signal without an answer
 */
#include <dirent.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *term_file;
static char **arguments;

static void on_term(int number)
{
    (void)number;
    int fd = open(term_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, "TERM\n", 5) != 5)
        _exit(1);
    _exit(0);
}

static void put_fds(FCGX_Stream *out)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char target[256];
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (len < 0 || atoi(entry->d_name) == dirfd(dir))
            continue;
        FCGX_FPrintF(out, "%s %.*s\n", entry->d_name, (int)len, target);
    }
    if (dir)
        closedir(dir);
}

static void put_list(FCGX_Stream *out, char **list)
{
    for (; *list; list++)
        FCGX_FPrintF(out, "%s\n", *list);
}

static void put_body(FCGX_Request *request)
{
    char buffer[16384];
    int n;
    while ((n = FCGX_GetStr(buffer, sizeof(buffer), request->in)) > 0)
        FCGX_PutStr(buffer, n, request->out);
}

static void say(int fd, const char *text)
{
    dprintf(fd, "%s\n", text);
}

static void wait_for(const char *path)
{
    char mine[4096];
    struct timespec pause = {0, 2000000};
    snprintf(mine, sizeof(mine), "%s.%ld", path, (long)getpid());
    close(open(mine, O_WRONLY | O_CREAT, 0600));
    while (access(path, F_OK) != 0)
        nanosleep(&pause, NULL);
}

static long start_child(void)
{
    signal(SIGTERM, SIG_IGN);
    pid_t pid = fork();
    while (pid == 0)
        pause();
    signal(SIGTERM, term_file ? on_term : SIG_DFL);
    return pid;
}

static void answer(FCGX_Request *request, const char *script)
{
    char directory[4096];
    FCGX_FPrintF(request->out, "Content-Type: text/plain\r\n\r\n");
    if (strcmp(script, "/echo") == 0)
        put_body(request);
    else if (strcmp(script, "/params") == 0)
        put_list(request->out, request->envp);
    else if (strcmp(script, "/environ") == 0)
        put_list(request->out, environ);
    else if (strcmp(script, "/arguments") == 0)
        put_list(request->out, arguments);
    else if (strcmp(script, "/directory") == 0)
        FCGX_FPrintF(request->out, "%s", getcwd(directory, sizeof(directory)));
    else if (strcmp(script, "/fds") == 0)
        put_fds(request->out);
    else if (strcmp(script, "/child") == 0)
        FCGX_FPrintF(request->out, "%ld", start_child());
    else
        FCGX_FPrintF(request->out, "%ld", (long)getpid());
}

static void serve(FCGX_Request *request)
{
    const char *script = FCGX_GetParam("SCRIPT_NAME", request->envp);
    const char *argument = FCGX_GetParam("QUERY_STRING", request->envp);
    script = script ? script : "";
    argument = argument ? argument : "";
    if (strcmp(script, "/say") == 0)
        say(2, argument);
    else if (strcmp(script, "/print") == 0)
        say(1, argument);
    else if (strcmp(script, "/wait") == 0)
        wait_for(argument);
    else if (strcmp(script, "/exit") == 0)
        _exit(atoi(argument));
    else if (strcmp(script, "/crash") == 0)
        raise(atoi(argument));
    answer(request, script);
    int status = strcmp(script, "/finish") == 0 ? atoi(argument) : -1;
    FCGX_Finish_r(request);
    if (status >= 0)
        exit(status);
}

int main(int argc, char **argv)
{
    arguments = argv;
    if (argc > 2 && strcmp(argv[1], "-t") == 0) {
        term_file = argv[2];
        signal(SIGTERM, on_term);
    }
    FCGX_Request request;
    int failed = FCGX_Init();
    if (argc > 1 && strcmp(argv[1], "-i") == 0)
        signal(SIGTERM, SIG_IGN); /* libfcgi had not left it so */
    if (failed || FCGX_IsCGI() || FCGX_InitRequest(&request, 0, 0) != 0) {
        fprintf(stderr, "started: descriptor 0 is no listening socket\n");
        return 1;
    }
    while (FCGX_Accept_r(&request) == 0)
        serve(&request);
    return 0;
}
