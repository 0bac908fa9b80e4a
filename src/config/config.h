/*
 * The INI file, read into plain structs.
 *
 * config_load reads the file, its trust files and the names to resolve, checks everything, and gives either a
 * whole configuration or all of the file's errors. What it returns is immutable; nothing of a bad file is
 * used.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <sys/socket.h>
#include <sys/types.h>

#include "config/messages.h"
#include "realip/policy.h"

#define CONFIG_DEFAULT_PATH "/etc/fcgi-realip/fcgi-realip.ini"

/* A socket address to listen on or to connect to. */
struct endpoint {
    char *text; /* as written, for messages: "unix:/run/app.sock", "127.0.0.1:9000"; malloc'ed */
    struct sockaddr_storage address;
    socklen_t length;
};

struct config_listen {
    struct endpoint *addresses; /* a name that resolves to several addresses gives several */
    size_t naddresses;
    mode_t mode; /* of unix sockets, as owner and group */
    uid_t owner; /* (uid_t)-1: as the process */
    gid_t group; /* (gid_t)-1: as the process */
    int backlog;
    struct cidr_set *allowed_clients; /* NULL: not given */
};

struct config_upstream {
    struct endpoint *addresses; /* of the one application: to be tried in this order */
    size_t naddresses;          /* 0: the file has no [upstream] */
    unsigned connections;       /* cap, 0: none */
    unsigned queue;             /* requests that may wait for a connection */
    bool keepalive;
    uint64_t queue_timeout_ms, idle_timeout_ms, connect_timeout_ms, send_timeout_ms, read_timeout_ms;
    uint64_t request_timeout_ms; /* 0: none */
};

struct config_source; /* what the file says, for config_print; private to src/config */

struct config {
    char *path;
    struct config_listen listen;
    struct config_upstream upstream;
    struct policy *policy; /* compiled */
    int log_level;         /* enum log_level */
    uint64_t shutdown_timeout_ms;
    size_t limit_params_size; /* bytes of one request's PARAMS stream */
    unsigned limit_requests;  /* concurrent */
    uint64_t header_timeout_ms;
    struct config_source *source;
};

/*
 * Reads and checks the file at path. Errors and warnings are appended to messages, in the order of the file's
 * lines. NULL after any error.
 */
struct config *config_load(const char *path, struct messages *messages);

/* Frees all of it, the policy included; copes with NULL. */
void config_free(struct config *config);

/*
 * Prints every effective setting as an INI file that means the same: all sections, all keys, defaults
 * included, trust files by their absolute paths. What is not set, and the secret of require_param, is a
 * comment. For `check -v`.
 */
void config_print(const struct config *config, FILE *out);

#endif
