/*
 * The environment of a CGI program: a request's parameters, and what programs inherit of ours.
 *
 * Pure but for malloc; thread-safe.
 */
#ifndef RELAY_CGI_VARIABLES_H
#define RELAY_CGI_VARIABLES_H

#include "base/slice.h"

/* So many parameters may be added: room to leave behind a list. */
#define CGI_VARIABLES_ADDED 2

/* One string of an environment is shorter than this, with its NUL: MAX_ARG_STRLEN of execve(2). */
#define CGI_VARIABLES_STRING_MAX 131072

struct cgi_variables {
    char **list; /* for execve(2) */
    char *text;
    struct slice refused; /* a parameter that is none of the web server's affairs, and was left out */
    struct slice longest; /* the name of the longest parameter */
    size_t longest_size;  /* bytes of its string */
};

/*
 * The first parameter of this name: as getenv(3) sees it. One whose name or value cannot stand in an
 * environment counts as none. NULL: there is none.
 */
struct param *cgi_variables_find(struct param *params, size_t n, struct slice name);

/*
 * The file's path in a SCRIPT_FILENAME of Apache's mod_proxy_fcgi, "proxy:fcgi://HOST/PATH?QUERY"; any other
 * as it is. As php-fpm has it.
 */
struct slice cgi_variables_strip_proxy(struct slice filename);

/*
 * Splits the last `extra` bytes of SCRIPT_FILENAME off as PATH_INFO (RFC 3875, 4.1.5): changes
 * SCRIPT_FILENAME, SCRIPT_NAME, PATH_INFO and PATH_TRANSLATED in the list or adds them to it. *text, to be
 * freed, holds what is new. 0 or -ENOMEM.
 */
int cgi_variables_split(struct param *params, size_t *n, size_t extra, char **text);

/*
 * Makes the environment of inherited ("NAME=VALUE", NULL-terminated) and params. Of a name the first counts,
 * and what is inherited goes first. Left out are names that are empty or hold "=" or NUL, values with a NUL,
 * and what would make the linker, a shell or an interpreter run something else. GATEWAY_INTERFACE is added.
 * 0 or -ENOMEM; the slices are of params.
 */
int cgi_variables_make(struct cgi_variables *variables, char *const *inherited, const struct param *params,
                       size_t n);

/* Fine if nothing was made: {0}. */
void cgi_variables_free(struct cgi_variables *variables);

/* Does the web server's client decide how long this parameter is? */
bool cgi_variables_is_clients(struct slice name);

#endif
