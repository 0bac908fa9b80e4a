#include "relay/serve.h"

#include <signal.h>

#include "relay/master.h"
#include "relay/worker.h"

/* One process does all. */
static int serve_alone(const struct config *config, const struct inherited *inherited)
{
    struct worker worker;
    struct sockets sockets = {0};
    const struct share all = share_make(config, 1, 0);
    int status = 1;
    if (worker_open(&worker, config, &all) == 0 &&
        sockets_open(&sockets, config, inherited, &worker.relay.log) == 0)
        status = worker_run(&worker, &sockets, -1);
    sockets_close(&sockets);
    worker_close(&worker);
    return status;
}

int serve_run(const struct config *config, const struct inherited *inherited)
{
    signal(SIGPIPE, SIG_IGN);
    process_raise_file_limit(); /* a relay has two descriptors a request */
    return config->workers > 1 ? master_run(config, inherited) : serve_alone(config, inherited);
}
