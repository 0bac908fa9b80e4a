/*
 * libfcgi-realip-preload.so: FCGX_Accept_r in front of libfcgi's own, for programs that know nothing of it.
 *
 * FCGX_Accept and FCGI_Accept of libfcgi call FCGX_Accept_r through the dynamic linker too, so that is all
 * that needs to be interposed. Whatever is wrong ends the program: it must not run without what it was given
 * for.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapters/middleware.h"

#define EXPORT __attribute__((visibility("default")))

/* Tells a libfcgi-realip in the same process that it is not alone. */
extern const char fcgi_realip_preloaded;
EXPORT const char fcgi_realip_preloaded = 1;

static struct fcgi_realip_policy *policy;
static struct middleware_calls calls;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Not exit(3): handlers of a program that has not even begun must not run. */
static void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("fcgi-realip: error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    fflush(stderr);
    _exit(1);
}

static void load_policy(void)
{
    const char *path = getenv("FCGI_REALIP_CONFIG");
    struct messages messages = {0};

    if (path == NULL || *path == '\0')
        fail("FCGI_REALIP_CONFIG is not set: libfcgi-realip-preload.so takes from it which configuration to "
             "apply");
    policy = adapter_policy_load(path, &messages);
    messages_print(&messages, stderr);
    if (policy == NULL && messages.errors == 0)
        fail("%s: out of memory", path);
    messages_free(&messages);
    fflush(stderr);
    if (policy == NULL)
        _exit(1);
}

/* scope: RTLD_NEXT, or an object to look into. A function pointer cannot be cast from void *, only copied. */
static bool find_function(void *scope, const char *name, void *function)
{
    void *found = dlsym(scope, name);

    memcpy(function, &found, sizeof found);
    return found != NULL;
}

static bool find_libfcgi(void *scope)
{
    return find_function(scope, "FCGX_Accept_r", &calls.accept_r) &&
           find_function(scope, "FCGX_Finish_r", &calls.finish_r) &&
           find_function(scope, "FCGX_PutStr", &calls.put_str) &&
           find_function(scope, "FCGX_GetStr", &calls.get_str) &&
           find_function(scope, "FCGX_FFlush", &calls.f_flush) &&
           find_function(scope, "FCGX_StartFilterData", &calls.start_filter_data);
}

/*
 * A libfcgi that came later, with a module of an interpreter, is no part of the process's global scope.
 * Whoever calls has it, or depends on it.
 */
static void find_libfcgi_of(const void *caller)
{
    Dl_info info;
    void *object = NULL;

    if (find_libfcgi(RTLD_NEXT))
        return;
    if (dladdr(caller, &info) != 0 && info.dli_fname != NULL)
        object = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (object == NULL || !find_libfcgi(object))
        fail("libfcgi-realip-preload.so cannot find the libfcgi that this program calls");
}

/* A program that is linked with libfcgi is stopped before its main; spawn-fcgi, or a shell, is left alone. */
__attribute__((constructor)) static void start(void)
{
    if (find_libfcgi(RTLD_NEXT))
        load_policy();
}

/* The first of a module that was loaded later; for all others the constructor has done it. */
static void prepare(const void *caller)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    if (policy == NULL) {
        find_libfcgi_of(caller);
        load_policy();
    }
    pthread_mutex_unlock(&mutex);
}

/* __builtin_return_address, an extension of gcc and clang: C has no other way to ask who calls. */
EXPORT int FCGX_Accept_r(FCGX_Request *request)
{
    prepare(__builtin_return_address(0));
    return middleware_accept(policy, &calls, request);
}
