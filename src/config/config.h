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
#include <time.h>

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
    uid_t owner; /* (uid_t)-1: not given */
    gid_t group; /* (gid_t)-1: not given */
    uid_t user;  /* who owns them otherwise, if root makes them; (uid_t)-1: root */
    gid_t users; /* the group that they have otherwise */
    int backlog;
    struct cidr_set *allowed_clients; /* NULL: not given */
};

enum config_upstream_kind {
    UPSTREAM_NONE,    /* the file does not say: serve -- APPLICATION does */
    UPSTREAM_ADDRESS, /* a FastCGI application that listens on a socket */
    UPSTREAM_COMMAND, /* a FastCGI application that we start */
    UPSTREAM_CGI,     /* a CGI program, one process a request */
};

struct config_upstream {
    enum config_upstream_kind kind;
    struct endpoint *addresses; /* of the one application: to be tried in this order */
    size_t naddresses;
    char **command;     /* argv of what is started; NULL with a cgi_root. The first word is an absolute
                           path, or a name to look for in PATH (from the command line: any path) */
    unsigned processes; /* of a started application */
    char *cgi_root;     /* SCRIPT_FILENAME under it is the program; NULL: command is. Absolute, without "/"
                           at its end (but "/" itself), "//", "/./" and "/../" */
    unsigned max_processes; /* CGI programs at a time */
    char **environment;     /* variables that programs get from our own environment; may be NULL */
    unsigned connections;   /* cap, 0: none; with CGI, max_processes */
    unsigned queue;         /* requests that may wait for a connection */
    bool keepalive;
    uint64_t queue_timeout_ms, idle_timeout_ms, connect_timeout_ms, send_timeout_ms, read_timeout_ms;
    uint64_t request_timeout_ms; /* 0: none */
};

struct config_process {
    uid_t user;      /* to become, if started as root; (uid_t)-1: not given */
    gid_t group;     /* with it; (gid_t)-1: that of the user */
    char *pid_file;  /* absolute; NULL: none */
    bool core_dumps; /* a crash may leave one */
    bool sandbox;    /* processes that relay are in one, if they have to start no programs */
    bool io_uring;   /* they may send to several connections in one system call */
};

/* Which decisions the error log tells. */
enum config_decisions { DECISIONS_REFUSED, DECISIONS_CHANGED, DECISIONS_ALL };

struct config_status {
    char *path;             /* compared with SCRIPT_NAME; NULL: there is no status page */
    struct cidr_set *allow; /* clients that may see it */
};

struct config_source; /* what the file says, for config_print; private to src/config */

struct config {
    char *path;
    struct config_listen listen;
    struct config_upstream upstream;
    struct policy *policy; /* compiled */
    bool trust_watch;      /* trust files are read again when they change */
    int log_level;         /* enum log_level */
    unsigned workers;      /* processes that relay; 1: there is no master */
    struct config_process process;
    char *log_error;  /* "stderr", "syslog" or a path */
    char *log_access; /* "off", "stdout" or a path */
    int log_format;   /* enum access_format */
    enum config_decisions log_decisions;
    struct config_status status;
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

/*
 * The same, but the application is COMMAND (an argv, at least one word, not kept), whatever the file says of
 * address, command and cgi. The other keys of [upstream] hold as far as they are for a command; no one is an
 * error.
 */
struct config *config_load_command(const char *path, char *const *command, struct messages *messages);

/*
 * Reads the file of a configuration that is in force again, and checks it just so, but what may fail for a
 * while does no harm: a host name that cannot be resolved keeps the addresses that it has in old, and an
 * empty trust file its list, with warnings. Where old has an application, none is an error. What [listen] and
 * [process] say is not to be used, see config_keep_fixed. Only reads old, so that others may do so as well.
 * NULL after any error.
 */
struct config *config_load_again(const struct config *old, struct messages *messages);

/*
 * The configuration in force, with its trust files read again; all the rest, also the addresses of host
 * names, is as in old, whatever the file says now. A trust file that is missing, empty or wrong keeps the
 * list that it has in old: what is wrong is said, and is no reason to fail. Only reads old. NULL if something
 * else goes wrong, as memory.
 */
struct config *config_load_trust(const struct config *old, struct messages *messages);

/*
 * Puts what old has in [listen] and [process] into the new configuration; each setting that says something
 * else there gets a warning. old gets the other's settings in return: it is only good for being freed.
 */
void config_keep_fixed(struct config *config, struct config *old, struct messages *messages);

/* A trust file, as far as the configuration knows it. */
struct config_trust_file {
    const char *path;  /* absolute; the configuration's */
    const char *group; /* the first [proxy NAME] that names it */
    size_t entries;    /* addresses and blocks that are in force */
    time_t modified;   /* wall clock: what was last read of it */
    bool changed;      /* they are not those that old has */
    bool touched;      /* what stands at path now is not what was read */
};

/*
 * The trust files, each once, by their number from 0. False: there are no more. old: to compare with, or
 * NULL: nothing is `changed`. Asks the file system for `touched`.
 */
bool config_find_trust_file(const struct config *config, size_t number, const struct config *old,
                            struct config_trust_file *file);

/* The line in which the file first gives a setting, for messages; 0: nowhere. Not for those of [proxy NAME].
 */
unsigned config_find_line(const struct config *config, const char *section, const char *key);

/* Frees all of it, the policy included; copes with NULL. */
void config_free(struct config *config);

/*
 * Prints every effective setting as an INI file that means the same: all sections, all keys, defaults
 * included, trust files by their absolute paths. What is not set, what does not fit the kind of upstream, and
 * the secret of require_param, is a comment. A command of config_load_command is not in it. For `check -v`.
 */
void config_print(const struct config *config, FILE *out);

#endif
