/*
 * The commands that speak to a running shim by its pid file.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "config/config.h"
#include "relay/pid_file.h"

/* How long a new process may take to serve, in s: host names may have to be asked for. */
#define PATIENCE 120
/* Between two looks at the pid file, in ms. */
#define INTERVAL 20

const struct cli_option cli_signal_options[] = {
    {'c', "config", "FILE", "the configuration of the shim, instead of " CONFIG_DEFAULT_PATH},
    {0, NULL, NULL, NULL},
};

/* The process that holds the pid file; 0 after a message. */
static pid_t find_process(const char *path)
{
    pid_t pid = pid_file_read(path);
    if (pid == 0)
        cli_error("pid_file %s: no shim that runs has written it", path);
    else if (pid < 0)
        cli_error("cannot read pid_file %s: %s", path,
                  pid == -EINVAL ? "it holds no process id" : strerror((int)-pid));
    return pid > 0 ? pid : 0;
}

/* CLI_OK, or what to return after a message. */
static int send_signal(const char *path, int number, pid_t *pid)
{
    *pid = find_process(path);
    if (*pid == 0)
        return CLI_FAILED;
    if (kill(*pid, number) == 0)
        return CLI_OK;
    cli_error("cannot signal process %ld of pid_file %s: %s", (long)*pid, path, strerror(errno));
    return CLI_FAILED;
}

/*
 * Does `act` with the pid file that the configuration names. A configuration that the shim would refuse is
 * refused here, where somebody sees it.
 */
static int with_pid_file(int argc, char **argv, const char *command, int (*act)(const char *path))
{
    const char *path = CONFIG_DEFAULT_PATH;
    struct options options = options_start(cli_signal_options, command, argc, argv);
    while (options_next(&options) >= 0)
        path = options.value;
    if (options.done)
        return options.status;
    struct config *config = cli_load_config(path);
    if (!config)
        return CLI_FAILED;
    int status = CLI_FAILED;
    if (config->process.pid_file)
        status = act(config->process.pid_file);
    else
        cli_error("%s: no pid_file in [process], so nobody knows which process it is; add one, and start the "
                  "shim again",
                  path);
    config_free(config);
    return status;
}

/* ---- reload ---- */

static int reload(const char *path)
{
    pid_t pid;
    return send_signal(path, SIGHUP, &pid);
}

int cli_reload(int argc, char **argv)
{
    return with_pid_file(argc, argv, "reload", reload);
}

/* ---- upgrade ---- */

/* A shim that could not hand over touches its pid file; another file is that of one which has taken over. */
static bool was_touched(const char *path, const struct stat *before)
{
    struct stat now;
    return stat(path, &now) == 0 && now.st_dev == before->st_dev && now.st_ino == before->st_ino &&
           (now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec);
}

static int wait_for_another(const char *path, pid_t old, const struct stat *before)
{
    const struct timespec pause = {0, INTERVAL * 1000000L};
    for (int turn = 0; turn < PATIENCE * 1000 / INTERVAL; turn++) {
        nanosleep(&pause, NULL);
        pid_t pid = pid_file_read(path);
        if (pid > 0 && pid != old) {
            printf("process %ld has taken over from %ld\n", (long)pid, (long)old);
            return cli_finish_output();
        }
        if (pid != old) {
            cli_error("process %ld has ended, and no other one is in its place; see its log", (long)old);
            return CLI_FAILED;
        }
        if (was_touched(path, before)) {
            cli_error("the new process could not take over, and %ld carries on; see its log", (long)old);
            return CLI_FAILED;
        }
    }
    cli_error("the new process has not taken over yet; see the log of %ld", (long)old);
    return CLI_FAILED;
}

static int upgrade(const char *path)
{
    struct stat status;
    pid_t pid;
    if (stat(path, &status) < 0) {
        cli_error("cannot read pid_file %s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    int rc = send_signal(path, SIGUSR2, &pid);
    return rc == CLI_OK ? wait_for_another(path, pid, &status) : rc;
}

int cli_upgrade(int argc, char **argv)
{
    return with_pid_file(argc, argv, "upgrade", upgrade);
}
