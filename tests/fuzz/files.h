/*
 * Files that are nowhere: what is written there can be opened by a path. One at a time; never fails.
 */
#ifndef FUZZ_FILES_H
#define FUZZ_FILES_H

#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

/* Fills a file with the text, in place of what it had; its path, for as long as the process lives. */
static inline const char *files_write(struct slice text)
{
    static int fd = -1;
    static char path[32];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        FUZZ_CHECK(fd >= 0, "memfd_create");
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    FUZZ_CHECK(ftruncate(fd, 0) == 0, "ftruncate");
    FUZZ_CHECK(pwrite(fd, text.data, text.len, 0) == (ssize_t)text.len, "pwrite");
    return path;
}

#endif
