#include "relay/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* A positive decimal number; 0 if the text is none. */
static uint64_t parse_number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    return value > 0 && errno == 0 && *end == '\0' ? value : 0;
}

static uint64_t find_watchdog(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    if (pid && parse_number(pid) != (uint64_t)getpid())
        return 0;
    return parse_number(getenv("WATCHDOG_USEC")) / 1000;
}

int notify_open(struct notify *notify)
{
    *notify = (struct notify){.length = 0};
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || *path == '\0')
        return 0;
    size_t length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length >= sizeof(notify->address.sun_path))
        return -EINVAL;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, length);
    if (path[0] == '@')
        notify->address.sun_path[0] = '\0';
    /* The name of an abstract socket ends where its length says. */
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
    notify->watchdog_ms = find_watchdog();
    return 0;
}

int notify_send(const struct notify *notify, const char *message)
{
    if (notify->length == 0)
        return 0;
    const struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    ssize_t n;
    do
        n = sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
                   notify->length);
    while (n < 0 && errno == EINTR);
    int error = errno;
    close(fd);
    return n < 0 ? -error : 0;
}
