/*
 * Passing descriptors from process to process (SCM_RIGHTS, unix(7)).
 *
 * A channel is one end of a socket pair; it does not block, and is closed on exec.
 */
#ifndef RELAY_PASS_H
#define RELAY_PASS_H

/* Both ends; 0 or a negative errno. */
int pass_open(int ends[2]);

/* A copy of fd goes to the other end; ours stays ours. 0 or a negative errno: -EAGAIN if it is full of those
 * that nobody has taken yet, -EPIPE or -ECONNRESET if nobody can take any. */
int pass_send(int channel, int fd);

/* 1 and the next one, which is closed on exec; 0: there is none, and the other end is closed; or a negative
 * errno, -EAGAIN if there is none yet. */
int pass_receive(int channel, int *fd);

#endif
