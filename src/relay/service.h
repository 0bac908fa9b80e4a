/*
 * What a process of a service owes the machine that it runs on: to be no more than it has to be, to say where
 * it is (pid_file), and to tell the service manager how it is (sd_notify).
 *
 * Not thread-safe.
 */
#ifndef RELAY_SERVICE_H
#define RELAY_SERVICE_H

#include "config/config.h"
#include "ops/log.h"
#include "relay/handover.h"
#include "relay/notify.h"
#include "relay/pid_file.h"

#define SERVICE_ERROR_MAX 8192

struct service {
    const struct config *config; /* the one of the start, until service_enter */
    struct log *log;
    struct pid_file pid_file;
    struct notify notify;
    struct handover_program program;
    int word; /* where to say that we serve, to the process that hands over to us; -1: there is none */
};

/*
 * As soon as the configuration is read, before there are threads: what started programs are may not gain
 * privileges, unless the configuration needs that. Copies nothing; service_leave is due from now on. 0, or -1
 * after a message.
 */
int service_open(struct service *service, const struct config *config, const struct inherited *inherited,
                 struct log *log);

/* Once the listening sockets are open, before anything is started: becomes [process] user, refuses a cgi_root
 * that others can write, prepares the pid file. 0, or -1 after a message: then the process ends. */
int service_enter(struct service *service);

/*
 * Whether nobody but its owner and root can write a cgi_root, if there is one, so that nobody else's programs
 * are run: 0, or -1 and a whole sentence in error, SERVICE_ERROR_MAX bytes. Of a configuration that is read
 * later, too. Thread-safe.
 */
int service_judge_cgi_root(const struct config *config, char *error, size_t error_size);

/* Requests are served: the pid file is there, and the service manager knows, and who hands over to us. */
void service_say_ready(struct service *service);

/* Another process serves from now on: the service manager knows, the pid file is that one's. */
void service_hand_on(struct service *service, pid_t pid);

/* None does that was to: whoever waits for it sees it from the pid file's time. */
void service_say_failed(const struct service *service);

/* No new requests are taken. */
void service_say_stopping(const struct service *service);

/* So often, in ms, the service manager wants to be told that the loop turns; 0: it does not. */
uint64_t service_beat_ms(const struct service *service);
void service_beat(const struct service *service);

/* In a child: what is to be told or removed is its parent's affair. */
void service_disown(struct service *service);

/* Removes the pid file; fine to call twice. */
void service_leave(struct service *service);

#endif
