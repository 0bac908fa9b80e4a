/*
 * What one of several processes gets of what the configuration grants all of them together.
 */
#ifndef CONFIG_SHARE_H
#define CONFIG_SHARE_H

#include "config/config.h"

/* The share of process `number`, from 0, of `count`: the shares of all sum to total, and differ by one at
 * most. */
unsigned share_part(unsigned total, unsigned count, unsigned number);

/* Named as in struct config. */
struct share {
    unsigned count, number; /* whose it is */
    unsigned connections;   /* 0: no cap */
    unsigned queue;
    unsigned processes;
    unsigned max_processes;
    unsigned requests;
};

/* No total but 0 may be less than count. */
struct share share_make(const struct config *config, unsigned count, unsigned number);

#endif
