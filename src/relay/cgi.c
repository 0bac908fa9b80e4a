#include "relay/cgi.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/cgi_request.h"

/* libuv has as many, unless UV_THREADPOOL_SIZE says otherwise. */
#define THREADS 4

static void wait_for_post(void *all)
{
    uv_sem_wait(all);
}

/* Can there be as many threads as libuv starts programs with, at the same time? */
static int try_threads(void)
{
    uv_thread_t threads[THREADS];
    uv_sem_t all;
    int rc = uv_sem_init(&all, 0);
    int n = 0;
    if (rc < 0)
        return rc;
    while (rc == 0 && n < THREADS) {
        rc = uv_thread_create(&threads[n], wait_for_post, &all);
        n += rc == 0;
    }
    for (int i = 0; i < n; i++)
        uv_sem_post(&all);
    for (int i = 0; i < n; i++)
        uv_thread_join(&threads[i]);
    uv_sem_destroy(&all);
    return rc;
}

static void do_nothing(uv_work_t *work)
{
    (void)work;
}

static void on_first_worked(uv_work_t *work, int status)
{
    struct cgi *cgi = (struct cgi *)((char *)work - offsetof(struct cgi, first_work));
    (void)status;
    cgi->first_working = false;
    if (cgi->emptied && cgi_is_empty(cgi))
        cgi->emptied(cgi);
}

/*
 * libuv makes its threads when the first work comes, and if it cannot have them it ends the process: better
 * now than with the first request, and not without a word.
 */
static int open_threads(struct cgi *cgi)
{
    int rc = try_threads();
    if (rc == 0) {
        rc = uv_queue_work(cgi->loop, &cgi->first_work, do_nothing, on_first_worked);
        cgi->first_working = rc == 0;
        return rc;
    }
    log_write(cgi->log, LOG_ERROR,
              "cgi: cannot have %d threads to start programs with: %s; raise the limit of processes "
              "(ulimit -u, LimitNPROC, TasksMax) or of memory",
              THREADS, uv_strerror(rc));
    return rc;
}

int cgi_open(struct cgi *cgi, uv_loop_t *loop, struct poller *poller, struct deadlines *deadlines,
             struct log *log, const struct config_upstream *config, unsigned max_processes)
{
    char error[512];
    *cgi = (struct cgi){
        .loop = loop, .poller = poller, .deadlines = deadlines, .log = log, .emptied = cgi->emptied};
    cgi->max_processes = max_processes;
    int rc = cgi_programs_open(&cgi->programs, config, error, sizeof(error));
    if (rc < 0) {
        log_write(log, LOG_ERROR, "%s", error);
        return rc;
    }
    if (!config->cgi_root && access(cgi->programs.command[0], X_OK) < 0)
        log_write(log, LOG_WARNING, "cgi = %s: it cannot be run now: %s", cgi->programs.command[0],
                  strerror(errno));
    cgi->buffer = malloc(CGI_BUFFER_SIZE);
    return cgi->buffer ? open_threads(cgi) : -ENOMEM;
}

void cgi_change(struct cgi *cgi, unsigned max_processes)
{
    cgi->max_processes = max_processes;
    cgi_request_serve(cgi);
}

bool cgi_is_empty(const struct cgi *cgi)
{
    return !cgi->oldest && !cgi->first_working;
}

int cgi_dial(void *dialled)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    int rc = cgi_request_open(dialled, ends[0]);
    if (rc == 0)
        return ends[1];
    close(ends[1]);
    return rc;
}

void cgi_close(struct cgi *cgi)
{
    struct cgi_request *next;
    cgi->closed = true;
    for (struct cgi_request *r = cgi->oldest; r; r = next) {
        next = r->newer;
        cgi_request_close(r);
    }
}

void cgi_free(struct cgi *cgi)
{
    if (!cgi->loop)
        return;
    cgi_programs_close(&cgi->programs);
    free(cgi->buffer);
    cgi->buffer = NULL;
}
