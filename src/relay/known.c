#include "relay/known.h"

#include "realip/names.h"

/* Which of several copies the application reads is its own affair. */
enum { METHOD_REPEATABLE = 1, METHOD_OTHER = 2 };

static unsigned read_method(struct slice method)
{
    if (slice_equal(method, SLICE("GET")) || slice_equal(method, SLICE("HEAD")))
        return METHOD_REPEATABLE;
    return METHOD_OTHER;
}

/* `script` is a constant in each of its two uses: who has no status page does not pay for it. */
static inline enum params_error read_all(struct known *known, const struct policy *policy,
                                         struct slice content, bool script)
{
    const struct name_table *names = policy->names;
    const char *at = content.data, *end = slice_end(content);
    unsigned methods = 0, left = REALIP_MAX_PARAMS;
    struct param param;

    known->n = 0;
    known->script = (struct slice){NULL, 0};
    while (at != end) {
        const char *start = at;

        at = params_next(at, end, &param);
        if (at == NULL)
            return PARAMS_TRUNCATED;
        if (left-- == 0)
            return PARAMS_TOO_MANY;
        if (slice_equal(param.name, SLICE("REQUEST_METHOD")))
            methods |= read_method(param.value);
        if (script && slice_equal(param.name, SLICE("SCRIPT_NAME")))
            known->script = param.value;
        if (!names_may_know(names, param.name))
            continue;
        known->params[known->n] = param;
        known->starts[known->n++] = (uint32_t)(start - content.data);
    }
    known->idempotent = methods == METHOD_REPEATABLE;
    return PARAMS_OK;
}

enum params_error known_read(struct known *known, const struct policy *policy, struct slice content,
                             bool script)
{
    return script ? read_all(known, policy, content, true) : read_all(known, policy, content, false);
}
