/*
 * Becoming another user for good.
 *
 * Concerns the whole process, all threads included; not thread-safe.
 */
#ifndef RELAY_PRIVILEGES_H
#define RELAY_PRIVILEGES_H

#include <stddef.h>
#include <sys/types.h>

/*
 * From now on no program that this thread or a later one starts gains privileges by its set-user-ID or
 * set-group-ID bit or by file capabilities (prctl(2), PR_SET_NO_NEW_PRIVS). Threads that there are already
 * are not concerned, so it goes before the first. 0 or a negative errno.
 */
int privileges_forbid_new(void);

/*
 * From root to user and group, with the supplementary groups that the user has in the list of groups and no
 * others, and makes sure that there is no way back. Looks names up. 0, or -1 with a whole sentence in error:
 * then nothing may be served any more, for what has been dropped so far is not known.
 */
int privileges_drop(uid_t user, gid_t group, char *error, size_t error_size);

#endif
