#include "relay/sandbox.h"

#include <errno.h>
#include <time.h>

bool sandbox_wanted(const struct config *config)
{
    return config->process.sandbox && config->upstream.kind == UPSTREAM_ADDRESS;
}

int sandbox_make(struct sandbox *sandbox, const struct config *config)
{
    sandbox->used = true;
    return reach_make(&sandbox->reach, config);
}

static int fail(struct log *log, const char *what, int rc)
{
    log_write(log, LOG_ERROR, "cannot enter the sandbox: %s: %s; sandbox = no in [process] does without one",
              what, strerror(-rc));
    return -1;
}

int sandbox_enter(const struct sandbox *sandbox, struct log *log)
{
    tzset(); /* reads the time zone's file, which is out of reach later */
    if (sandbox_landlock() == 0) {
        log_write(log, LOG_INFO,
                  "sandbox: without Landlock, which this system does not have: files can be opened");
    } else {
        int rc = sandbox_drop_files(&sandbox->reach);
        if (rc < 0)
            return fail(log, "landlock", rc);
    }
    bool missing;
    int rc = sandbox_drop_calls(&missing);
    if (missing)
        log_write(log, LOG_INFO, "sandbox: without a seccomp filter, which this system does not allow: %s",
                  strerror(-rc));
    else if (rc < 0)
        return fail(log, "seccomp", rc);
    return 0;
}

bool sandbox_fits(const struct sandbox *sandbox, const struct config *config, struct messages *messages)
{
    size_t before = messages->errors;
    if (!sandbox->used)
        return true;
    if (config->upstream.kind != UPSTREAM_ADDRESS)
        messages_add(
            messages, true, config->path, 0,
            "no program can be started from the sandbox that was made at the start; `fcgi-realip upgrade` or "
            "a restart does without one where [upstream] has a command or cgi");
    if (sandbox_landlock() > 0)
        reach_covers(&sandbox->reach, config, messages);
    return messages->errors == before;
}

void sandbox_free(struct sandbox *sandbox)
{
    reach_free(&sandbox->reach);
    sandbox->used = false;
}
