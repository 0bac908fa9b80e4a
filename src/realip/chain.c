#include "realip/chain.h"

#include "realip/list.h"

#define SEPARATOR SLICE(", ")

/* From `from` in one copy to `to` in the same or a later one. */
struct span {
    uint32_t first, last; /* copies */
    size_t from, to;      /* offsets into them */
};

static struct slice copy_value(const struct param *params, const struct workspace *workspace, uint32_t copy)
{
    return params[workspace->managed[copy].index].value;
}

static struct slice span_part(const struct param *params, const struct workspace *workspace,
                              const struct span *span, uint32_t copy)
{
    struct slice value = copy_value(params, workspace, copy);
    size_t from = copy == span->first ? span->from : 0;
    size_t to = copy == span->last ? span->to : value.len;

    return from < to ? slice_part(value, from, to) : SLICE("");
}

/* Empties the span. */
static void clear(struct span *span)
{
    span->first = span->last;
    span->from = span->to = 0;
}

static bool is_trimmed(char c, bool commas)
{
    return list_is_space(c) || (commas && c == ',');
}

/* Takes white space, and commas where wanted, off the right end. False if nothing is left. */
static bool trim_right(const struct param *params, const struct workspace *workspace, struct span *span,
                       bool commas)
{
    for (;;) {
        struct slice part = span_part(params, workspace, span, span->last);

        while (part.len > 0 && is_trimmed(part.data[part.len - 1], commas))
            part.len--;
        if (part.len > 0) {
            span->to = (span->last == span->first ? span->from : 0) + part.len;
            return true;
        }
        if (span->last == span->first)
            return false;
        span->last = workspace->managed[span->last].previous;
        span->to = copy_value(params, workspace, span->last).len;
    }
}

/* The copy behind another one, which is not the last. */
static uint32_t next_copy(const struct workspace *workspace, uint32_t copy)
{
    uint16_t header = workspace->managed[copy].match.index;

    do
        copy++;
    while (workspace->managed[copy].match.kind != NAME_GROUP_HEADER ||
           workspace->managed[copy].match.index != header || workspace->managed[copy].match.alias);
    return copy;
}

/* The span has something that stays: trim_right has said so. */
static void trim_left(const struct param *params, const struct workspace *workspace, struct span *span,
                      bool commas)
{
    for (;;) {
        struct slice part = span_part(params, workspace, span, span->first);
        size_t skip = 0;

        while (skip < part.len && is_trimmed(part.data[skip], commas))
            skip++;
        span->from += skip;
        if (skip < part.len || span->first == span->last)
            return;
        span->first = next_copy(workspace, span->first);
        span->from = 0;
    }
}

/* Nothing at or left of a NUL, CR or LF is sent on. True if there was one. */
static bool cut_controls(const struct param *params, const struct workspace *workspace, struct span *span)
{
    uint32_t copy = span->last;

    for (;;) {
        struct slice part = span_part(params, workspace, span, copy);

        if (slice_has_control(part)) {
            while (!slice_has_control(slice_part(part, part.len - 1, part.len)))
                part.len--;
            span->from = (copy == span->first ? span->from : 0) + part.len;
            span->first = copy;
            return true;
        }
        if (copy == span->first)
            return false;
        copy = workspace->managed[copy].previous;
    }
}

static void put_text(struct workspace *workspace, struct slice text)
{
    memcpy(workspace->text + workspace->text_len, text.data, text.len);
    workspace->text_len += text.len;
}

static struct slice join_span(const struct param *params, struct workspace *workspace,
                              const struct span *span)
{
    size_t start = workspace->text_len;
    uint32_t copy = span->first;

    if (span->first == span->last)
        return span_part(params, workspace, span, span->first);
    for (;;) {
        struct slice part = span_part(params, workspace, span, copy);

        if (list_trim(part).len > 0) {
            if (copy != span->first)
                put_text(workspace, SEPARATOR);
            put_text(workspace, part);
        }
        if (copy == span->last)
            return (struct slice){workspace->text + start, workspace->text_len - start};
        copy = next_copy(workspace, copy);
    }
}

/* `client`: as the header's own syntax has it. */
static struct slice client_value(const struct policy *policy, const struct decision *decision,
                                 struct workspace *workspace, size_t header)
{
    size_t start = workspace->text_len;
    bool forwarded = policy->headers[header].forwarded;
    bool quoted = forwarded && decision->client.kind == ADDRESS_V6;

    if (decision->client.kind == ADDRESS_UNIX)
        return SLICE("");
    if (forwarded)
        put_text(workspace, quoted ? SLICE("for=\"[") : SLICE("for="));
    workspace->text_len += address_format(&decision->client, workspace->text + workspace->text_len);
    if (quoted)
        put_text(workspace, SLICE("]\""));
    return (struct slice){workspace->text + start, workspace->text_len - start};
}

/* The part of the joined copies that is sent on, ends not yet trimmed. *torn: it ends before the client's
 * element. */
static struct span choose_span(const struct policy *policy, const struct param *params,
                               const struct decision *decision, const struct workspace *workspace,
                               const struct cursor *cursor, bool *torn)
{
    struct span span = {cursor->first, cursor->last, 0, copy_value(params, workspace, cursor->last).len};
    bool read = cursor->client_copy != COPY_NONE;

    *torn = false;
    switch (policy->forwarded_for) {
    case FORWARDED_CONFIRMED:
        if (read) {
            span.first = cursor->client_copy;
            span.from = cursor->client_at;
        } else {
            clear(&span);
        }
        break;
    case FORWARDED_UNCONFIRMED:
        /* A second pass from a trusted client would read on, and believe what this one left alone. */
        if (decision->repeated || (decision->nproxies > 0 && decision->resumable)) {
            clear(&span);
        } else if (read) {
            span.last = cursor->client_copy;
            span.to = cursor->client_at;
            *torn = true;
        }
        break;
    case FORWARDED_CLIENT: /* whose value is made otherwise */
    case FORWARDED_REMOVE:
        clear(&span);
        break;
    case FORWARDED_KEEP:
        /* Joined, copies that were not read would pass for one, which a second pass believes. */
        if (decision->repeated)
            clear(&span);
        break;
    }
    return span;
}

struct slice chain_header_value(const struct policy *policy, const struct param *params,
                                const struct decision *decision, struct workspace *workspace, size_t header)
{
    bool torn;

    if (policy->forwarded_for == FORWARDED_CLIENT)
        return client_value(policy, decision, workspace, header);
    struct span span = choose_span(policy, params, decision, workspace, &workspace->cursors[header], &torn);
    /* What a walk vouches for holds no such byte, unless it went on behind malformed elements. */
    if (policy->forwarded_for != FORWARDED_CONFIRMED || decision->walk_reason == REASON_LEFTMOST) {
        bool cut = cut_controls(params, workspace, &span);

        /* A second pass would take what the cut leaves for all that there was, and end elsewhere. */
        if (cut && decision->client_trusted)
            return SLICE("");
        torn = torn || cut;
    }
    if (!trim_right(params, workspace, &span, torn))
        return SLICE("");
    trim_left(params, workspace, &span, torn);
    return join_span(params, workspace, &span);
}

size_t chain_text_max(const struct policy *policy, const struct param *params,
                      const struct workspace *workspace)
{
    size_t most = policy->nheaders * (ADDRESS_TEXT_MAX + sizeof "for=\"[]\"");

    for (size_t i = 0; i < workspace->nmanaged; i++) {
        const struct managed *managed = &workspace->managed[i];

        if (managed->match.kind != NAME_GROUP_HEADER || managed->match.alias)
            continue;
        const struct cursor *cursor = &workspace->cursors[managed->match.index];
        if (cursor->first != cursor->last)
            most += params[managed->index].value.len + SEPARATOR.len;
    }
    return most;
}
