/*
 * The plain-CGI drop-in: rewrite the environment, become the program. RFC 3875.
 *
 * No process is left behind and nothing is relayed: the program inherits standard input and output, signals
 * and working directory as the web server set them up.
 */
#ifndef CLI_CGI_H
#define CLI_CGI_H

#include <stdbool.h>

#include "config/config.h"

/*
 * The command line of a script whose first line is "#!/PATH/fcgi-realip cgi [OPTION...] -- PROGRAM ARG...":
 * the kernel passes all behind the interpreter as one argument, then the script's path, then what it was run
 * with.
 */
bool cgi_is_script_line(const char *argument);

/*
 * Whether the command line is not the administrator's but the URL's: a web server that runs this very program
 * as a CGI program gives it the words of a query string without "=" (RFC 3875 section 4.4). Rather too often
 * than too seldom: the count of the arguments and the beginning of the first are compared.
 */
bool cgi_is_query(int argc, char **argv);

/* "cgi -c FILE" in such an argument, taken apart at blanks (there are no quotes). */
struct cgi_words {
    char *text; /* malloc'ed; the words point into it */
    char **list;
    int count;
};
/* 0, or -ENOMEM (cgi_words_free is still due). */
int cgi_words_split(const char *argument, struct cgi_words *words);
void cgi_words_free(struct cgi_words *words);

/*
 * Whether the kernel passed the whole of the script's first line as argument: it cuts long ones without a
 * word. NULL, or why the script cannot be run; a literal.
 */
const char *cgi_check_script(const char *script, const char *argument, const char *program);

/* An environment in the making. Entries that do not change are the caller's own strings. */
struct cgi_environment {
    char **list; /* ends with NULL; what execve takes */
    char **made; /* those of list that are malloc'ed */
    size_t nmade;
};

/*
 * Decides on the environment's variables as on a request's parameters. 0, the status of a refusal (400, 403;
 * 431 for more than REALIP_MAX_PARAMS variables), or -ENOMEM. A refusal is said on standard error if the log
 * level wants it. cgi_environment_free is due in any case.
 */
int cgi_environment_make(const struct config *config, char **environment, struct cgi_environment *made);
void cgi_environment_free(struct cgi_environment *environment);

/* "cannot run FILE: " and the two texts, to standard error; nothing of the name reaches a terminal unescaped.
 */
void cgi_tell_fault(const char *file, const char *fault, const char *more);

/*
 * Becomes the program; a name without a slash is looked for in PATH. Returns only if that fails: after a
 * message on standard error, the status for the client: 404 (no such program), 403 (not executable) or 500.
 */
int cgi_exec(char **argv, char **environment);

#endif
