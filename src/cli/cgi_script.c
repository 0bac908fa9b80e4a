#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cgi.h"
#include "config/values.h"

#define OURSELVES     "/proc/self/exe"
#define LINE_MAX_READ 1024 /* bytes; the kernel itself reads 256, older ones 128 */

/* 1, 0, or -1 if one of them cannot be looked at. */
static int compare_files(const char *a, const char *b)
{
    struct stat first, second;
    if (stat(a, &first) < 0 || stat(b, &second) < 0)
        return -1;
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

int cgi_find_script(int argc, char **argv)
{
    /* What was executed: the script, though its interpreter runs. A pointer that comes as a number. */
    const unsigned long number = getauxval(AT_EXECFN);
    const char *file;
    _Static_assert(sizeof(number) == sizeof(file), "a pointer fits");
    memcpy(&file, &number, sizeof(file));
    if (!file || compare_files(file, OURSELVES) != 0)
        return 0;
    for (int i = 1; i <= 2 && i < argc; i++)
        if (strcmp(argv[i], file) == 0)
            return i;
    return 0;
}

bool cgi_is_asked_for(void)
{
    const char *file = getenv("SCRIPT_FILENAME");
    return file && getenv("GATEWAY_INTERFACE") && compare_files(file, OURSELVES) == 1;
}

bool cgi_is_script_line(const char *argument)
{
    static const char command[] = "cgi";
    const size_t len = sizeof command - 1;
    return strncmp(argument, command, len) == 0 && value_is_blank(argument[len]);
}

int cgi_words_split(const char *argument, struct cgi_words *words)
{
    size_t len = strlen(argument);
    *words = (struct cgi_words){.text = malloc(len + 1), .list = calloc(len / 2 + 2, sizeof *words->list)};
    if (!words->text || !words->list)
        return -ENOMEM;
    memcpy(words->text, argument, len + 1);
    for (char *at = words->text; *at;) {
        if (value_is_blank(*at)) {
            *at++ = '\0';
            continue;
        }
        words->list[words->count++] = at;
        while (*at && !value_is_blank(*at))
            at++;
    }
    return 0;
}

void cgi_words_free(struct cgi_words *words)
{
    free(words->text);
    free(words->list);
    *words = (struct cgi_words){0};
}

/* The bytes read from the beginning of the file, or -1 with errno set. */
static ssize_t read_beginning(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t n = 0;
    while (len < size && (n = read(fd, buffer + len, size - len)) > 0)
        len += (size_t)n;
    close(fd);
    return n < 0 ? -1 : (ssize_t)len;
}

const char *cgi_check_script(const char *script, const char *argument, const char *program)
{
    char buffer[LINE_MAX_READ];
    ssize_t len = read_beginning(script, buffer, sizeof buffer);
    if (len < 0)
        return "its #! line cannot be read, and so not be compared with what the kernel made of it";
    const char *end = memchr(buffer, '\n', (size_t)len);
    if (!end && len == (ssize_t)sizeof buffer)
        return "its #! line is too long for the kernel, which cuts it";
    struct slice line = value_trim((struct slice){buffer, end ? (size_t)(end - buffer) : (size_t)len});
    struct slice passed = value_trim(slice_of(argument));
    if (line.len < passed.len || !slice_equal(slice_part(line, line.len - passed.len, line.len), passed))
        return "its #! line is too long for the kernel, which cut it";
    if (strchr(program, '/') && compare_files(script, program) == 1)
        return "its #! line names the script itself as the program to run, which would never end";
    return NULL;
}
