#include "relay/service.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/account.h"
#include "relay/privileges.h"
#include "relay/writers.h"

static void tell(const struct service *service, const char *message)
{
    int rc = notify_send(&service->notify, message);
    if (rc < 0)
        log_write(service->log, LOG_WARNING, "cannot tell the service manager %s: %s", message,
                  strerror(-rc));
}

/* ---- starting ---- */

/*
 * Where programs are started, some may need the group that their set-group-ID bit gives them, as those of
 * mail systems do. They keep it where nothing has been said about privileges.
 */
static bool wants_no_new_privileges(const struct config *config)
{
    return config->upstream.kind == UPSTREAM_ADDRESS || config->process.user != (uid_t)-1;
}

int service_open(struct service *service, const struct config *config, const struct inherited *inherited,
                 struct log *log)
{
    *service =
        (struct service){.config = config, .log = log, .pid_file = {.fd = -1}, .word = inherited->word};
    handover_remember(&service->program);
    if (notify_open(&service->notify) < 0)
        log_write(log, LOG_WARNING, "cannot use NOTIFY_SOCKET: not the path of a unix socket");
    int rc = wants_no_new_privileges(config) ? privileges_forbid_new() : 0;
    if (rc < 0)
        log_write(log, LOG_ERROR, "cannot renounce new privileges: %s", strerror(-rc));
    return rc < 0 ? -1 : 0;
}

static int become_user(const struct service *service)
{
    const struct config_process *process = &service->config->process;
    char error[512];
    if (geteuid() != 0) {
        if (process->user != (uid_t)-1 && process->user != geteuid())
            log_write(service->log, LOG_WARNING,
                      "user = %s is not obeyed: only root can become another user, and this is %s",
                      account_format_user(process->user).text, account_format_user(geteuid()).text);
        return 0;
    }
    if (process->user == (uid_t)-1) {
        log_write(service->log, LOG_WARNING,
                  "running as root: name an ordinary user in [process] user, or start as one");
        return 0;
    }
    gid_t group = process->group;
    if (group == (gid_t)-1 && account_find_group(process->user, &group) < 0) {
        log_write(service->log, LOG_ERROR, "cannot become user %s: it has no entry any more",
                  account_format_user(process->user).text);
        return -1;
    }
    if (privileges_drop(process->user, group, error, sizeof(error)) == 0)
        return 0;
    log_write(service->log, LOG_ERROR, "%s", error);
    return -1;
}

int service_judge_cgi_root(const struct config *config, char *error, size_t error_size)
{
    const char *root = config->upstream.cgi_root;
    struct writers found;
    int rc = root ? writers_find(root, geteuid(), &found) : 0;
    if (rc > 0)
        snprintf(error, error_size,
                 "cgi_root = %s: %s can write %s, and so have programs run as this user; take that "
                 "permission away (%s)",
                 root, found.who, found.path, found.remedy);
    else if (rc < 0)
        snprintf(error, error_size, "cgi_root = %s: cannot see who can write it: %s", root, strerror(-rc));
    return rc != 0 ? -1 : 0;
}

int service_enter(struct service *service)
{
    const char *path = service->config->process.pid_file;
    char error[SERVICE_ERROR_MAX];
    if (become_user(service) < 0)
        return -1;
    if (service_judge_cgi_root(service->config, error, sizeof(error)) < 0) {
        log_write(service->log, LOG_ERROR, "%s", error);
        return -1;
    }
    if (!path || pid_file_open(&service->pid_file, path, error, sizeof(error)) == 0)
        return 0;
    log_write(service->log, LOG_ERROR, "%s", error);
    return -1;
}

/* ---- running ---- */

static void close_word(struct service *service)
{
    if (service->word >= 0)
        close(service->word);
    service->word = -1;
}

static void say_word(struct service *service)
{
    ssize_t n = 0;
    while (service->word >= 0 && (n = write(service->word, "r", 1)) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        log_write(service->log, LOG_WARNING, "cannot tell the process that hands over that we serve: %s",
                  strerror(errno));
    close_word(service);
}

void service_say_ready(struct service *service)
{
    pid_t replaced;
    char error[512];
    if (pid_file_publish(&service->pid_file, &replaced, error, sizeof(error)) < 0)
        log_write(service->log, LOG_ERROR, "%s", error);
    if (replaced > 0 && service->word < 0)
        log_write(service->log, LOG_WARNING, "pid_file %s was that of process %ld, which still runs",
                  service->pid_file.path, (long)replaced);
    /* Where we take over it knows, and who we are it hears from the other one. */
    if (service->word < 0)
        tell(service, "READY=1");
    say_word(service);
}

void service_hand_on(struct service *service, pid_t pid)
{
    char message[32];
    snprintf(message, sizeof(message), "MAINPID=%ld", (long)pid);
    tell(service, message);
    service->notify.length = 0;
    pid_file_disown(&service->pid_file);
}

void service_say_failed(const struct service *service)
{
    if (service->pid_file.fd >= 0)
        futimens(service->pid_file.fd, NULL);
}

void service_say_stopping(const struct service *service)
{
    tell(service, "STOPPING=1");
}

uint64_t service_beat_ms(const struct service *service)
{
    /* Half of the limit, as sd_watchdog_enabled(3) has it. */
    uint64_t half = service->notify.watchdog_ms / 2;
    return service->notify.watchdog_ms > 0 && half == 0 ? 1 : half;
}

void service_beat(const struct service *service)
{
    tell(service, "WATCHDOG=1");
}

/* ---- the end ---- */

void service_disown(struct service *service)
{
    pid_file_disown(&service->pid_file);
    service->notify.length = 0;
    close_word(service);
}

void service_leave(struct service *service)
{
    pid_file_close(&service->pid_file);
    close_word(service);
    handover_forget(&service->program);
}
