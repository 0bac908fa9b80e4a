/*
 * Decisions, told in the error log so that `explain --line` can walk them again.
 */
#ifndef RELAY_DECISION_LOG_H
#define RELAY_DECISION_LOG_H

#include "relay/relay.h"

/* Is a decision that did not refuse the request to be told? */
static inline bool decision_log_wants(const struct config *config, const struct decision *decision)
{
    return config->log_decisions == DECISIONS_ALL ||
           (config->log_decisions == DECISIONS_CHANGED && decision->changed);
}

/* Tells one just made on relay->known in relay->workspace, if the log's level lets it. */
void decision_log(struct relay *relay, const struct decision *decision);

#endif
