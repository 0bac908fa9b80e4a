#include "relay/serve.h"

#include <signal.h>
#include <time.h>

#include "relay/master.h"
#include "relay/sandbox.h"
#include "relay/worker.h"

/* One process does all. */
static int serve_alone(struct config *config, const struct inherited *inherited, struct service *service)
{
    struct worker worker;
    struct sockets sockets = {0};
    struct metrics *metrics = metrics_new(1, (uint64_t)time(NULL));
    const struct share all = share_make(config, 1, 0);
    int status = 1;
    if (worker_open(&worker, config, &all, metrics, NULL) == 0 &&
        sockets_open(&sockets, config, inherited, &worker.relay.log) == 0 && service_enter(service) == 0)
        status = worker_run(&worker, &sockets, service);
    sockets_close(&sockets);
    worker_close(&worker);
    metrics_free(metrics);
    return status;
}

void serve_hold_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR1);
    sigaddset(&held, SIGUSR2);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

int serve_run(struct config *config, const struct inherited *inherited)
{
    struct service service;
    struct log log;
    int status = 1;
    log_open(&log, (enum log_level)config->log_level, NULL);
    signal(SIGPIPE, SIG_IGN);
    process_set_limits(config->process.core_dumps); /* a relay has two descriptors a request */
    if (service_open(&service, config, inherited, &log) == 0)
        status = config->workers > 1 || sandbox_wanted(config) ? master_run(config, inherited, &service)
                                                               : serve_alone(config, inherited, &service);
    else
        config_free(config);
    service.log = &log; /* those of whoever has served have ended */
    service_leave(&service);
    log_close(&log);
    return status;
}
