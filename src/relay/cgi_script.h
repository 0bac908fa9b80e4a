/*
 * The program that SCRIPT_FILENAME names: found under one directory, and nowhere else.
 *
 * The kernel resolves the path and stops where it would leave the directory, be it by "..", by a symbolic
 * link or by an absolute path (openat2(2), RESOLVE_BENEATH). A kernel without that gets the path step by
 * step, and symbolic links are refused. Blocks on the disk; thread-safe.
 */
#ifndef RELAY_CGI_SCRIPT_H
#define RELAY_CGI_SCRIPT_H

#include <limits.h>

#include "base/slice.h"

/*
 * A directory that programs may be run from. Only its path is kept: what is put in its place, as installing
 * a new version does, counts from the next request on.
 */
struct cgi_root {
    char *path;    /* as written, without slashes at the end: "" is the directory "/" */
    bool by_steps; /* there is no openat2(2) */
};

/* Looks at an absolute path. 0 or a negative errno; cgi_root_close is due in either case. */
int cgi_root_open(struct cgi_root *root, const char *path);
void cgi_root_close(struct cgi_root *root);

struct cgi_script {
    char path[PATH_MAX]; /* absolute, without symbolic links */
    size_t extra;        /* so many bytes at the end of SCRIPT_FILENAME are PATH_INFO; 0: none */
};

/*
 * Finds the regular file that filename, a SCRIPT_FILENAME, means. With `split`, what stands behind a regular
 * file is PATH_INFO, as Apache has it (RFC 3875, 4.1.5). 0, or a negative errno: -EXDEV it is not under root,
 * -ELOOP a symbolic link (by_steps), -ENOENT or -ENOTDIR there is none, -EISDIR, -ENXIO no regular file, and
 * what open(2) says.
 */
int cgi_script_find(const struct cgi_root *root, struct slice filename, bool split,
                    struct cgi_script *script);

#endif
