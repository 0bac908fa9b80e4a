#include "relay/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/pass.h"
#include "relay/process.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

extern char **environ;

/* ---- the program ---- */

/* All that there is to read, malloc'ed; NULL without memory. */
static char *read_all(int fd, size_t *length)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    *length = 0;
    do {
        if (*length == room) {
            char *more = realloc(text, room += 4096);
            if (!more) {
                free(text);
                return NULL;
            }
            text = more;
        }
        n = read(fd, text + *length, room - *length);
        *length += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return text;
}

/* Our arguments, each ended by NUL, malloc'ed; NULL: they cannot be read. */
static char *read_arguments(size_t *length)
{
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = read_all(fd, length);
    close(fd);
    return text;
}

void handover_remember(struct handover_program *program)
{
    char file[PATH_MAX];
    size_t length;
    size_t count = 0;
    *program = (struct handover_program){0};
    ssize_t n = readlink("/proc/self/exe", file, sizeof(file) - 1);
    program->file = n > 0 ? strndup(file, (size_t)n) : NULL;
    program->memory = read_arguments(&length);
    for (size_t i = 0; program->memory && i < length; i++)
        count += program->memory[i] == '\0';
    program->arguments = count > 0 ? calloc(count + 1, sizeof(*program->arguments)) : NULL;
    char *at = program->memory;
    for (size_t i = 0; program->arguments && i < count; i++) {
        program->arguments[i] = at;
        at += strlen(at) + 1;
    }
}

void handover_forget(struct handover_program *program)
{
    free(program->arguments);
    free(program->memory);
    free(program->file);
    *program = (struct handover_program){0};
}

/* Where it is now: a package manager may have put another one in its place, and a symbolic link on the way
 * may lead elsewhere by now. 0 or a negative errno. */
static int find_program(const struct handover_program *program, char *path, size_t size)
{
    int rc = program->arguments ? process_find(program->arguments[0], path, size) : -ENOENT;
    if (rc == 0 && access(path, X_OK) == 0)
        return 0;
    if (!program->file)
        return rc < 0 ? rc : -errno;
    return (size_t)snprintf(path, size, "%s", program->file) < size ? 0 : -ENAMETOOLONG;
}

/* ---- its environment ---- */

static const char *const own_names[] = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID",
                                        "FCGI_REALIP_HANDOVER"};

static bool is_own(const char *variable)
{
    for (size_t i = 0; i < sizeof(own_names) / sizeof(own_names[0]); i++) {
        size_t length = strlen(own_names[i]);
        if (strncmp(variable, own_names[i], length) == 0 && variable[length] == '=')
            return true;
    }
    return false;
}

/* What the child has to fill in itself: it is the first to know its pid. */
struct blanks {
    char listen[48];
    char watchdog[48];
};

/* Ours, but for what is about one process alone. malloc'ed, the strings are not; NULL without memory. */
static const char **make_environment(char *fds, char *handover, struct blanks *blanks)
{
    size_t count = 0;
    while (environ[count])
        count++;
    const char **variables = calloc(count + 5, sizeof(*variables));
    size_t at = 0;
    for (size_t i = 0; variables && i < count; i++) {
        if (!is_own(environ[i]))
            variables[at++] = environ[i];
    }
    if (!variables)
        return NULL;
    variables[at++] = fds;
    variables[at++] = handover;
    variables[at++] = blanks->listen;
    if (getenv("WATCHDOG_PID"))
        variables[at++] = blanks->watchdog;
    return variables;
}

/* ---- the child ---- */

/* No memory, no locks: it is between vfork and exec. */
static void put_pid(char *out, const char *name)
{
    char digits[24];
    size_t n = 0;
    for (long pid = (long)getpid(); pid > 0; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (*name)
        *out++ = *name++;
    while (n > 0)
        *out++ = digits[--n];
    *out = '\0';
}

static void fill_blanks(void *user)
{
    struct blanks *blanks = user;
    put_pid(blanks->listen, "LISTEN_PID=");
    put_pid(blanks->watchdog, "WATCHDOG_PID=");
}

/* Standard input may be one of the sockets, which is not its place any more; then *null is to be closed. */
static int find_input(const struct sockets *sockets, int *null)
{
    *null = -1;
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->list[i].fd == 0)
            return *null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    return 0;
}

static pid_t spawn(const struct handover_program *program, const struct sockets *sockets, int *more)
{
    char path[PATH_MAX];
    char fds[32];
    char word[64];
    struct blanks blanks;
    int null;
    int rc = find_program(program, path, sizeof(path));
    if (rc < 0)
        return rc;
    snprintf(fds, sizeof(fds), "LISTEN_FDS=%zu", sockets->count);
    snprintf(word, sizeof(word), "FCGI_REALIP_HANDOVER=%zu %zu %s", FIRST_FD + sockets->count,
             FIRST_FD + sockets->count + 1, sockets->own ? "own" : "lent");
    const char **variables = make_environment(fds, word, &blanks);
    if (!variables)
        return -ENOMEM;
    const struct process_plan plan = {.file = path,
                                      .arguments = program->arguments,
                                      .variables = (char *const *)variables,
                                      .fds = {find_input(sockets, &null), 1, 2},
                                      .more = more,
                                      .nmore = sockets->count + 2,
                                      .joins = true,
                                      .in_child = fill_blanks,
                                      .user = &blanks};
    enum process_step failed;
    pid_t pid = process_spawn(&plan, &failed);
    if (null >= 0)
        close(null);
    free(variables);
    return pid;
}

static pid_t spawn_with(const struct handover_program *program, const struct sockets *sockets, int word,
                        int fronts)
{
    int *more = calloc(sockets->count + 2, sizeof(*more));
    if (!more)
        return -ENOMEM;
    for (size_t i = 0; i < sockets->count; i++)
        more[i] = sockets->list[i].fd;
    more[sockets->count] = word;
    more[sockets->count + 1] = fronts;
    pid_t pid = spawn(program, sockets, more);
    free(more);
    return pid;
}

pid_t handover_start(const struct handover_program *program, const struct sockets *sockets, int *ready,
                     int *fronts)
{
    int words[2];
    int channel[2];
    if (!program->arguments)
        return -ENOENT;
    if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    int rc = pass_open(channel);
    if (rc < 0) {
        close(words[0]);
        close(words[1]);
        return rc;
    }
    pid_t pid = spawn_with(program, sockets, words[1], channel[1]);
    close(words[1]);
    close(channel[1]);
    if (pid < 0) {
        close(words[0]);
        close(channel[0]);
        return pid;
    }
    *ready = words[0];
    *fronts = channel[0];
    return pid;
}
