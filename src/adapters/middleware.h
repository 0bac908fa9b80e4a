/*
 * Accepting requests of libfcgi with their parameters rewritten.
 *
 * libfcgi itself is reached through pointers only: the preload library must not bring a libfcgi of its own
 * into a process, and one process may hold several.
 */
#ifndef ADAPTERS_MIDDLEWARE_H
#define ADAPTERS_MIDDLEWARE_H

#include <fcgiapp.h>

#include "adapters/policy.h"

/* The functions of <fcgiapp.h> with these names. */
struct middleware_calls {
    int (*accept_r)(FCGX_Request *request);
    void (*finish_r)(FCGX_Request *request);
    int (*put_str)(const char *text, int n, FCGX_Stream *stream);
    int (*get_str)(char *text, int n, FCGX_Stream *stream);
    int (*f_flush)(FCGX_Stream *stream);
    int (*start_filter_data)(FCGX_Stream *stream);
};

/* As fcgi_realip_accept_r of the public header. */
int middleware_accept(struct fcgi_realip_policy *policy, const struct middleware_calls *calls,
                      FCGX_Request *request);

#endif
