#include "relay/variables.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PATH "PATH=/usr/local/bin:/usr/bin:/bin"

static const char *const always[] = {"PATH", "LANG", "TZ", "TMPDIR", "HOME", "USER", "LOGNAME"};

/* Another process than the one that they are meant for is misled by them. */
static const char *const never[] = {"LISTEN_FDS",    "LISTEN_PID",   "LISTEN_FDNAMES",
                                    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"};

/* Is text, of len bytes, exactly name? */
static bool is_name(const char *name, const char *text, size_t len)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

static bool is_inherited(const char *text, size_t len, char *const *names)
{
    if (len > 3 && memcmp(text, "LC_", 3) == 0)
        return true;
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        if (is_name(always[i], text, len))
            return true;
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        if (is_name(never[i], text, len))
            return false;
    }
    for (; names && *names; names++) {
        if (is_name(*names, text, len))
            return true;
    }
    return false;
}

/* Of a name that the environment holds twice, the first counts, as for getenv(3). */
static bool is_there(char *const *variables, const char *text, size_t len)
{
    for (; *variables; variables++) {
        if (strncmp(*variables, text, len) == 0 && (*variables)[len] == '=')
            return true;
    }
    return false;
}

char **variables_inherit(char *const *names)
{
    size_t n = 0;
    size_t most = 0;
    while (environ && environ[most])
        most++;
    char **variables = calloc(most + 2, sizeof(*variables)); /* PATH and the end */
    if (!variables)
        return NULL;
    for (size_t i = 0; i < most; i++) {
        size_t len = strcspn(environ[i], "=");
        if (environ[i][len] != '=' || !is_inherited(environ[i], len, names) ||
            is_there(variables, environ[i], len))
            continue;
        variables[n] = strdup(environ[i]);
        if (!variables[n++])
            goto fail;
    }
    if (is_there(variables, "PATH", 4))
        return variables;
    variables[n] = strdup(DEFAULT_PATH);
    if (variables[n])
        return variables;
fail:
    variables_free(variables);
    return NULL;
}

void variables_free(char **variables)
{
    if (!variables)
        return;
    for (size_t i = 0; variables[i]; i++)
        free(variables[i]);
    free(variables);
}
