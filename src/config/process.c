/*
 * What the settings of [process] say together: who the shim becomes, and where it says which process it is.
 */
#include <stdlib.h>

#include "config/account.h"
#include "config/settings.h"

static unsigned find_line(const struct config *config, const char *key)
{
    return settings_find_line(config->source->given, SLICE("process"), slice_of(key));
}

static void build_user(struct config *config, struct messages *messages)
{
    const struct config_process *process = &config->process;
    gid_t group = process->group;
    /* What is given but no good has been reported, and is -1 as well. */
    if (process->group != (gid_t)-1 && find_line(config, "user") == 0)
        messages_add(messages, true, config->path, find_line(config, "group"),
                     "group = \"%s\": without user the shim stays who it is; add user, or remove it",
                     account_format_group(process->group).text);
    if (process->user != (uid_t)-1 && find_line(config, "group") == 0 &&
        account_find_group(process->user, &group) < 0)
        messages_add(messages, true, config->path, find_line(config, "user"),
                     "user = \"%s\": not in this machine's list of users, so nobody knows its group; add "
                     "group",
                     account_format_user(process->user).text);
    config->listen.user = process->user;
    config->listen.users = group;
}

static void build_pid_file(struct config *config, struct messages *messages)
{
    const struct words *words = &config->source->pid_file;
    if (words->count == 0)
        return;
    const char *why = NULL;
    if (words->list[0].text[0] != '/')
        why = "a relative path; write an absolute one";
    config->process.pid_file = strdup(words->list[0].text);
    if (!config->process.pid_file)
        why = "out of memory";
    if (why)
        messages_add(messages, true, config->path, words->list[0].line, "pid_file = \"%s\": %s",
                     value_quote(slice_of(words->list[0].text)).text, why);
}

void build_process(struct config *config, struct messages *messages)
{
    build_user(config, messages);
    build_pid_file(config, messages);
}
