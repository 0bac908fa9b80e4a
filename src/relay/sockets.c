#include "relay/sockets.h"

#include <stdlib.h>

static int open_one(struct listen_socket *s, const struct config *config, const struct inherited *inherited,
                    size_t number, struct log *log)
{
    char text[160];
    char error[512];
    const char *name = text;
    int rc;
    if (inherited->count > 0) {
        rc = inherit_adopt(s, inherited->first + (int)number, &config->listen, text, sizeof(text), error,
                           sizeof(error));
    } else {
        const struct endpoint *endpoint = &config->listen.addresses[number];
        rc = listen_open(s, endpoint, &config->listen, true, error, sizeof(error));
        name = endpoint->text;
    }
    if (rc < 0)
        log_write(log, LOG_ERROR, "%s", error);
    else
        log_write(log, LOG_INFO, "listening on %s", name);
    return rc;
}

int sockets_open(struct sockets *sockets, const struct config *config, const struct inherited *inherited,
                 struct log *log)
{
    size_t count = inherited->count > 0 ? (size_t)inherited->count : config->listen.naddresses;
    *sockets = (struct sockets){.list = calloc(count, sizeof(*sockets->list))};
    if (!sockets->list) {
        log_write(log, LOG_ERROR, "cannot listen: out of memory");
        return -1;
    }
    if (inherited->count > 0 && config->listen.naddresses > 0)
        log_write(log, LOG_INFO, "[listen] address is not used: listening sockets were inherited");
    for (size_t i = 0; i < count; i++) {
        sockets->count++;
        if (open_one(&sockets->list[i], config, inherited, i, log) < 0)
            return -1;
    }
    return 0;
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        listen_close(&sockets->list[i]);
    free(sockets->list);
    *sockets = (struct sockets){0};
}

void sockets_disown(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        listen_disown(&sockets->list[i]);
}
