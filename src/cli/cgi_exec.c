#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cgi.h"
#include "cli/text.h"

#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

static bool exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/*
 * Not execvp: it hands a file that the kernel cannot run to a shell, which is not what a web server would
 * have done with it. Returns the errno that says most; *tried: the file that it is about.
 */
static int search_path(char **argv, char **environment, char *tried)
{
    const char *path = getenv("PATH");
    struct slice rest = slice_of(path ? path : PATH_DEFAULT), name = slice_of(argv[0]);
    int found = ENOENT;
    while (true) {
        const char *colon = memchr(rest.data, ':', rest.len);
        struct slice directory = colon ? slice_part(rest, 0, (size_t)(colon - rest.data)) : rest;
        if (directory.len == 0)
            directory = SLICE(".");
        if (directory.len + 1 + name.len < PATH_MAX) {
            char file[PATH_MAX];
            memcpy(file, directory.data, directory.len);
            file[directory.len] = '/';
            memcpy(file + directory.len + 1, name.data, name.len + 1);
            execve(file, argv, environment);
            bool missing = (errno == ENOENT || errno == ENOTDIR) && !exists(file);
            if (!missing) {
                found = errno;
                memcpy(tried, file, directory.len + 1 + name.len + 1);
            }
            if (!missing && found != EACCES)
                return found;
        }
        if (!colon)
            return found;
        rest = slice_part(rest, (size_t)(colon - rest.data) + 1, rest.len);
    }
}

void cgi_tell_fault(const char *file, const char *fault, const char *more)
{
    fputs("fcgi-realip: error: cgi: cannot run ", stderr);
    text_quote(stderr, slice_of(file));
    fprintf(stderr, ": %s%s\n", fault, more);
}

static int tell_failure(const char *file, int error)
{
    const char *more = "";
    int status = 500;
    if (error == ENOENT && exists(file)) {
        more = ": its interpreter (the #! line, or the dynamic loader) does not exist";
    } else if (error == ENOENT || error == ENOTDIR) {
        status = 404;
    } else if (error == EACCES || error == EPERM) {
        status = 403;
        more = "; its file, its interpreter and the directories above must be executable for the web "
               "server's user";
    } else if (error == ENOEXEC) {
        more = "; a script needs a #! line";
    } else if (error == E2BIG) {
        more = "; the kernel takes no variable of 128 KiB or more";
    }
    cgi_tell_fault(file, strerror(error), more);
    return status;
}

int cgi_exec(char **argv, char **environment)
{
    if (strchr(argv[0], '/')) {
        execve(argv[0], argv, environment);
        return tell_failure(argv[0], errno);
    }
    char tried[PATH_MAX] = "";
    int error = argv[0][0] ? search_path(argv, environment, tried) : ENOENT;
    return tell_failure(tried[0] ? tried : argv[0], error);
}
