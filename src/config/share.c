#include "config/share.h"

unsigned share_part(unsigned total, unsigned count, unsigned number)
{
    return total / count + (number < total % count ? 1 : 0);
}

struct share share_make(const struct config *config, unsigned count, unsigned number)
{
    const struct config_upstream *upstream = &config->upstream;
    return (struct share){.connections = share_part(upstream->connections, count, number),
                          .queue = share_part(upstream->queue, count, number),
                          .processes = share_part(upstream->processes, count, number),
                          .max_processes = share_part(upstream->max_processes, count, number),
                          .requests = share_part(config->limit_requests, count, number)};
}
