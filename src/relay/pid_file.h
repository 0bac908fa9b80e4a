/*
 * The file that holds the process id, for whoever wants to signal it.
 *
 * It is locked (flock(2)) as long as the process lives, so that one which was left behind is told from one in
 * use, whoever has the number by now. Not thread-safe.
 */
#ifndef RELAY_PID_FILE_H
#define RELAY_PID_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Starts as {.fd = -1}. */
struct pid_file {
    int fd; /* of the file, locked; -1: there is none */
    char *path;
    char *temporary; /* what it is called until it is published; NULL: it has been */
};

/*
 * Makes it beside path, under another name, so that what can go wrong goes wrong at the start. What lies at
 * path must be a pid file. 0, or -1 with a whole sentence in error; pid_file_close is due in either case.
 */
int pid_file_open(struct pid_file *file, const char *path, char *error, size_t error_size);

/* Writes our process id and puts the file at its path, in place of any other, in one step. *replaced: who
 * held it until now, 0: nobody who lives. 0, or -1 as above. */
int pid_file_publish(struct pid_file *file, pid_t *replaced, char *error, size_t error_size);

/* Lets go of it without removing it: in a child. */
void pid_file_disown(struct pid_file *file);

/* Removes it unless another file is at its path by now; fine to call twice. */
void pid_file_close(struct pid_file *file);

/* The living process that holds the file at path; 0: none; or a negative errno: -EINVAL if it is no pid file.
 */
pid_t pid_file_read(const char *path);

#endif
