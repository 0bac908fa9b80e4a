#include "adapters/middleware.h"

#include <fastcgi.h>
#include <stdlib.h>

#include "base/page.h"
#include "realip/names.h"

/*
 * Whose memory is whose. libfcgi keeps a vector of strings, each a malloc of its own, in a place that only it
 * knows, and hands it out as request->envp. When the request ends, in whichever way and on whichever thread,
 * it frees every string and the vector, and does not look at request->envp again.
 *
 * So request->envp gets a vector of ours, which stands in one block with the texts that are new. The block
 * takes the place of the first string in libfcgi's vector: libfcgi itself frees it at the right moment.
 * Nothing has to be found again, and there is no end of a request that one could miss. (The first string is
 * copied into the block.)
 */

/* --- libfcgi's strings as parameters --- */

/*
 * Decides what is worth reading: of most strings only the name is looked at. libfcgi writes "=" behind it; a
 * name that holds one itself is cut there, as the application does. False: there are too many.
 */
static bool read_environment(const struct policy *policy, char **envp, struct desk *desk)
{
    size_t i = 0;

    desk->nparams = 0;
    for (; envp[i] != NULL; i++) {
        if (i == REALIP_MAX_PARAMS)
            return false;
        const char *equals = strchr(envp[i], '=');
        struct slice name =
            equals != NULL ? (struct slice){envp[i], (size_t)(equals - envp[i])} : slice_of(envp[i]);
        if (!names_may_know(policy->names, name))
            continue;
        desk->params[desk->nparams] = (struct param){name, slice_of(equals != NULL ? equals + 1 : "")};
        desk->places[desk->nparams++] = (uint32_t)i;
    }
    desk->nstrings = i;
    return true;
}

/* --- the new vector --- */

/* Fills one block: first the vector, then the texts. */
struct filling {
    char **envp; /* libfcgi's */
    char **entry;
    char *text;
};

static void put_text(struct filling *filling, struct slice part)
{
    if (part.len > 0)
        memcpy(filling->text, part.data, part.len);
    filling->text += part.len;
}

static void put_param(struct filling *filling, struct slice name, struct slice value)
{
    *filling->entry++ = filling->text;
    put_text(filling, name);
    put_text(filling, SLICE("="));
    put_text(filling, value);
    *filling->text++ = '\0';
}

/* libfcgi's strings [from, to) as they are. */
static void put_range(struct filling *filling, size_t from, size_t to)
{
    memcpy(filling->entry, filling->envp + from, (to - from) * sizeof *filling->entry);
    filling->entry += to - from;
}

static void fill(struct filling *filling, const struct desk *desk, struct slice first,
                 const struct rewrite *rewrite)
{
    size_t done = 0;

    if (first.data != NULL) {
        *filling->entry++ = filling->text;
        put_text(filling, first);
        *filling->text++ = '\0';
        done = 1;
    }
    for (size_t i = 0; i < rewrite->nedits; i++) {
        const struct edit *edit = &rewrite->edits[i];
        size_t place = desk->places[edit->index];
        put_range(filling, done, place);
        if (!edit->drop)
            put_param(filling, desk->params[edit->index].name, edit->value);
        done = place + 1;
    }
    put_range(filling, done, desk->nstrings);
    for (size_t i = 0; i < rewrite->nadded; i++)
        put_param(filling, rewrite->added[i].name, rewrite->added[i].value);
    *filling->entry = NULL;
}

static size_t measure(const struct desk *desk, struct slice first, const struct rewrite *rewrite)
{
    size_t size = first.len + 1;

    for (size_t i = 0; i < rewrite->nedits; i++) {
        if (!rewrite->edits[i].drop)
            size += desk->params[rewrite->edits[i].index].name.len + rewrite->edits[i].value.len + 2;
    }
    for (size_t i = 0; i < rewrite->nadded; i++)
        size += rewrite->added[i].name.len + rewrite->added[i].value.len + 2;
    return size;
}

/* false: memory is short. */
static bool hang_in(FCGX_Request *request, const struct desk *desk, const struct rewrite *rewrite)
{
    if (rewrite->nedits == 0 && rewrite->nadded == 0)
        return true;
    /* Its memory makes room for the block, so its text moves, unless an edit takes its place. */
    bool edited = rewrite->nedits > 0 && desk->places[rewrite->edits[0].index] == 0;
    struct slice first = edited ? (struct slice){NULL, 0} : slice_of(request->envp[0]);
    size_t vector = (desk->nstrings + rewrite->nadded + 1) * sizeof(char *);
    char **block = malloc(vector + measure(desk, first, rewrite));
    if (block == NULL)
        return false;
    struct filling filling = {request->envp, block, (char *)block + vector};
    fill(&filling, desk, first, rewrite);
    free(request->envp[0]);
    request->envp[0] = (char *)block;
    request->envp = block;
    return true;
}

/* --- a request --- */

/* 0, or the status to refuse with. */
static int rewrite_request(const struct policy *policy, struct desk *desk, FCGX_Request *request)
{
    if (!read_environment(policy, request->envp, desk))
        return 431;
    struct decision decision;
    decide_request(policy, desk->params, desk->nparams, desk->workspace, &decision);
    if (decision.rejected != 0)
        return decision.rejected;
    struct rewrite rewrite;
    if (rewrite_params(policy, desk->params, desk->nparams, &decision, desk->workspace, &rewrite) < 0)
        return 503;
    return hang_in(request, desk, &rewrite) ? 0 : 503;
}

static int handle(struct fcgi_realip_policy *policy, FCGX_Request *request)
{
    struct desk *desk = adapter_desk_take(policy);
    if (desk == NULL)
        return 503;
    int status = rewrite_request(policy->config->policy, desk, request);
    adapter_desk_give(policy, desk);
    return status;
}

/* libfcgi cannot find the next request of a kept connection before this one's body has been read. */
static void drain(const struct middleware_calls *calls, FCGX_Stream *in)
{
    char scratch[8192];

    while (calls->get_str(scratch, sizeof scratch, in) == (int)sizeof scratch)
        continue;
}

/*
 * The page goes out before the body is read: the web server may be waiting for it. END_REQUEST goes out
 * behind that, for it is what lets the web server send the next request. Authorizers have no body. A
 * connection that is not kept is closed by libfcgi, which waits a moment for a web server that is still
 * sending.
 */
static void refuse(const struct middleware_calls *calls, FCGX_Request *request, int status)
{
    char page[PAGE_MAX];
    size_t len = page_format(page, status);

    calls->put_str(page, (int)len, request->out);
    if (request->keepConnection && request->role != FCGI_AUTHORIZER) {
        calls->f_flush(request->out);
        drain(calls, request->in);
        if (request->role == FCGI_FILTER && calls->start_filter_data(request->in) == 0)
            drain(calls, request->in);
    }
    calls->finish_r(request);
}

int middleware_accept(struct fcgi_realip_policy *policy, const struct middleware_calls *calls,
                      FCGX_Request *request)
{
    for (;;) {
        int result = calls->accept_r(request);
        if (result != 0)
            return result;
        int status = handle(policy, request);
        if (status == 0)
            return 0;
        refuse(calls, request, status);
    }
}
