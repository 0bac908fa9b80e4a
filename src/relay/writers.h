/*
 * Who can write a directory, or put another one in its place?
 *
 * Looks users and groups up by name; not thread-safe.
 */
#ifndef RELAY_WRITERS_H
#define RELAY_WRITERS_H

#include <limits.h>
#include <sys/types.h>

struct writers {
    char path[PATH_MAX]; /* the directory on the way that they can write */
    char who[300];       /* "every user of this machine", "alice, by the group staff" */
    const char *remedy;  /* "chmod o-w" */
};

/*
 * Looks at an absolute path and at all that leads there, symbolic links followed one by one. Root, the user
 * and the owner of a directory may write it, and so may a group in which there is nobody else. A directory on
 * the way may be writable by all if it is sticky, as /tmp is: then nobody can replace what others have made.
 * 1: somebody else can write, see *found; 0: nobody; or a negative errno: it could not be looked at.
 */
int writers_find(const char *path, uid_t user, struct writers *found);

#endif
