/*
 * Run by a web server as a CGI program. RFC 3875. What of a command line is the administrator's and what the
 * URL's; and the drop-in: rewrite the environment, become the program.
 *
 * The drop-in leaves no process behind and relays nothing: the program inherits standard input and output,
 * signals and working directory as the web server set them up.
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
 * Whether the kernel made the command line of a script's first line, of any command: the index of the
 * script's path in it (1 if nothing stands behind the interpreter, else 2), or 0 if not. What stands in front
 * is the administrator's, what stands behind is the web server's.
 */
int cgi_find_script(int argc, char **argv);

/*
 * Whether the web server was asked for this very program, not for a script or wrapper that runs it; then all
 * of its arguments are the URL's. False also where the web server does not send SCRIPT_FILENAME.
 */
bool cgi_is_asked_for(void);

/*
 * Whether the command line is not the administrator's but the URL's: a web server that runs this very program
 * as a CGI program gives it the words of a query string without "=" (RFC 3875 section 4.4). Rather too often
 * than too seldom: the count of the arguments and the beginning of the first are compared, and the last one
 * with each word, for it may stand behind the administrator's.
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
 * word. NULL, or why the script cannot be run; a literal. program: what will be run, "" if it is ourselves.
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

/*
 * Answers 404, 403 or 500 in the program's stead, after the reason was said on standard error: the client is
 * told no more. Reads what is left of the body. CLI_FAILED.
 */
int cgi_answer_failure(int status);

/*
 * As cli_load_config, but what check warns of would fill the web server's log with every request: only errors
 * are said.
 */
struct config *cgi_load(const char *path);

/* Becomes the program argv, with the environment rewritten. Returns only if it was not run, and an answer was
 * given: the exit status. */
int cgi_run(const struct config *config, char **argv);

#endif
