#include "relay/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/process.h"

bool upgrade_begin(struct upgrade *u, struct service *service, const struct sockets *sockets)
{
    pid_t pid = handover_start(&service->program, sockets, &u->ready, &u->fronts);
    if (pid < 0) {
        u->ready = u->fronts = -1;
        log_write(service->log, LOG_ERROR, "cannot start the program again: %s; carrying on",
                  strerror((int)-pid));
        service_say_failed(service);
        return false;
    }
    u->pid = pid;
    u->reload = false;
    log_write(service->log, LOG_INFO, "started process %ld, which is to take over", (long)pid);
    return true;
}

void upgrade_note_reload(struct upgrade *u)
{
    u->reload = true;
}

static void stop_reading(struct upgrade *u)
{
    close(u->ready);
    u->ready = -1;
}

/* It has ended, or is about to. */
static void reap(struct upgrade *u, const struct service *service)
{
    char how[128] = "has ended";
    int status;
    pid_t pid;
    do
        pid = waitpid(u->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    if (pid > 0)
        process_describe(status, how, sizeof(how));
    log_write(service->log, LOG_ERROR, "process %ld, which was to take over, %s; carrying on", (long)u->pid,
              how);
    u->pid = 0;
}

enum upgrade_word upgrade_read(struct upgrade *u, struct service *service)
{
    char word;
    ssize_t n = read(u->ready, &word, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return UPGRADE_PENDING;
    stop_reading(u);
    if (n != 1) {
        upgrade_close(u);
        reap(u, service);
        service_say_failed(service);
        return UPGRADE_FAILED;
    }
    log_write(service->log, LOG_INFO, "process %ld has taken over", (long)u->pid);
    service_hand_on(service, u->pid);
    if (u->reload)
        kill(u->pid, SIGHUP);
    return UPGRADE_SERVES;
}

void upgrade_close(struct upgrade *u)
{
    if (u->fronts >= 0)
        close(u->fronts);
    u->fronts = -1;
}

void upgrade_cancel(struct upgrade *u)
{
    if (u->ready < 0)
        return;
    stop_reading(u);
    upgrade_close(u);
    kill(u->pid, SIGTERM);
    u->pid = 0;
}
