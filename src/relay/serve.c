#include "relay/serve.h"

#include <signal.h>

#include "relay/worker.h"

int serve_run(const struct config *config, const struct inherited *inherited)
{
    struct worker worker;
    struct sockets sockets = {0};
    const struct share all = share_make(config, 1, 0);
    int status = 1;
    signal(SIGPIPE, SIG_IGN);
    process_raise_file_limit(); /* a relay has two descriptors a request */
    if (worker_open(&worker, config, &all) == 0 &&
        sockets_open(&sockets, config, inherited, &worker.relay.log) == 0)
        status = worker_run(&worker, &sockets);
    sockets_close(&sockets);
    worker_close(&worker);
    return status;
}
