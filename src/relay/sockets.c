#include "relay/sockets.h"

#include <stdlib.h>
#include <unistd.h>

/* One that was inherited from a launcher. */
static int adopt_one(struct listen_socket *s, int fd, const struct config_listen *config, struct log *log)
{
    char text[160];
    char error[512];
    if (inherit_adopt(s, fd, config, text, sizeof(text), error, sizeof(error)) < 0) {
        log_write(log, LOG_ERROR, "%s", error);
        return -1;
    }
    log_write(log, LOG_INFO, "listening on %s", text);
    return 0;
}

/* One that [listen] names, if it is not handed over. */
static int open_one(struct listen_socket *s, const struct endpoint *endpoint,
                    const struct config_listen *config, struct inherited *inherited, struct log *log)
{
    char error[512];
    int fd = inherit_match(inherited, endpoint);
    int rc = 0;
    if (fd < 0) {
        rc = listen_open(s, endpoint, config, true, error, sizeof(error));
    } else {
        rc = listen_take_over(s, fd, config);
        snprintf(error, sizeof(error), "cannot take over %s: %s", endpoint->text, strerror(-rc));
    }
    if (rc < 0)
        log_write(log, LOG_ERROR, "%s", error);
    else
        log_write(log, LOG_INFO, "listening on %s%s", endpoint->text, fd < 0 ? "" : ", taken over");
    return rc < 0 ? -1 : 0;
}

static bool is_listed(const struct sockets *sockets, int fd)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->list[i].fd == fd)
            return true;
    }
    return false;
}

/* What was handed over and [listen] does not name any more, ends with who handed it over. */
static int leave_the_rest(struct sockets *sockets, const struct inherited *inherited, struct log *log)
{
    char text[160];
    sockets->left = calloc((size_t)inherited->count, sizeof(*sockets->left));
    if (!sockets->left)
        return -1;
    for (int fd = inherited->first; fd < inherited->first + inherited->count; fd++) {
        if (is_listed(sockets, fd))
            continue;
        inherit_name(fd, text, sizeof(text));
        log_write(log, LOG_INFO, "no longer listening on %s", text);
        listen_take_over(&sockets->left[sockets->nleft++], fd, NULL);
    }
    return 0;
}

static int open_own(struct sockets *sockets, const struct config *config, const struct inherited *inherited,
                    struct log *log)
{
    struct inherited handed = inherited->own ? *inherited : (struct inherited){.word = -1, .fronts = -1};
    sockets->own = true;
    if (config->listen.naddresses == 0) {
        log_write(log, LOG_ERROR, "no place to listen; write a [listen] section with an address");
        return -1;
    }
    for (size_t i = 0; i < config->listen.naddresses; i++) {
        const struct endpoint *endpoint = &config->listen.addresses[i];
        sockets->count++;
        if (open_one(&sockets->list[i], endpoint, &config->listen, &handed, log) < 0)
            return -1;
    }
    return handed.count > 0 ? leave_the_rest(sockets, &handed, log) : 0;
}

static int open_lent(struct sockets *sockets, const struct config *config, const struct inherited *inherited,
                     struct log *log)
{
    if (config->listen.naddresses > 0)
        log_write(log, LOG_INFO, "[listen] address is not used: listening sockets were inherited");
    for (int i = 0; i < inherited->count; i++) {
        struct listen_socket *s = &sockets->list[sockets->count++];
        if (adopt_one(s, inherited->first + i, &config->listen, log) < 0)
            return -1;
    }
    return 0;
}

int sockets_open(struct sockets *sockets, const struct config *config, const struct inherited *inherited,
                 struct log *log)
{
    bool lent = inherited->count > 0 && !inherited->own;
    size_t count = lent ? (size_t)inherited->count : config->listen.naddresses;
    *sockets = (struct sockets){.list = calloc(count + 1, sizeof(*sockets->list)), .fronts = -1};
    if (!sockets->list) {
        log_write(log, LOG_ERROR, "cannot listen: out of memory");
        return -1;
    }
    sockets->fronts = inherited->fronts;
    return lent ? open_lent(sockets, config, inherited, log) : open_own(sockets, config, inherited, log);
}

static void close_list(struct listen_socket *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        listen_close(&list[i]);
    free(list);
}

void sockets_keep(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        listen_keep(&sockets->list[i]);
    for (size_t i = 0; i < sockets->nleft; i++)
        listen_keep(&sockets->left[i]);
    close_list(sockets->left, sockets->nleft);
    sockets->left = NULL;
    sockets->nleft = 0;
}

void sockets_close(struct sockets *sockets)
{
    if (sockets->list && sockets->fronts >= 0)
        close(sockets->fronts);
    close_list(sockets->list, sockets->count);
    close_list(sockets->left, sockets->nleft);
    *sockets = (struct sockets){0};
}

void sockets_disown(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        listen_disown(&sockets->list[i]);
    for (size_t i = 0; i < sockets->nleft; i++)
        listen_disown(&sockets->left[i]);
}
