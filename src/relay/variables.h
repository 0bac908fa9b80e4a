/*
 * The environment of programs that the shim starts: what each program needs, and what the INI file names.
 *
 * Nothing else of the shim's own environment is theirs: it may hold secrets, sockets of a service manager
 * (LISTEN_FDS, NOTIFY_SOCKET) or settings of the linker. Reads the environment; not thread-safe.
 */
#ifndef RELAY_VARIABLES_H
#define RELAY_VARIABLES_H

/*
 * "NAME=VALUE" of our environment, NULL-terminated: PATH (a usual one if we have none), LANG, LC_*, TZ,
 * TMPDIR, HOME, USER, LOGNAME, and names (NULL-terminated; NULL: none). What we do not have is left out, and
 * each comes once. What a service manager addresses to the shim alone (LISTEN_*, NOTIFY_SOCKET, WATCHDOG_*)
 * is left out, named or not. NULL without memory.
 */
char **variables_inherit(char *const *names);

/* Copes with NULL. */
void variables_free(char **variables);

#endif
