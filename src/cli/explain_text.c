#include "cli/explain_words.h"
#include "cli/text.h"

void explain_say_address(const struct address *address, FILE *out)
{
    char text[ADDRESS_TEXT_MAX];
    size_t len = address_format(address, text);
    fwrite(text, 1, len, out);
}

void explain_say_hop(const struct explanation *explanation, const struct address *hop, FILE *out)
{
    if (hop->kind == ADDRESS_NONE)
        text_quote(out, explanation->decision.peer_text);
    else if (hop->kind == ADDRESS_UNIX)
        fputs("the unix socket", out);
    else
        explain_say_address(hop, out);
}

void explain_say_sender(const struct explanation *explanation, FILE *out)
{
    const struct decision *decision = &explanation->decision;
    char text[ADDRESS_TEXT_MAX];
    struct slice canonical = {text, address_format(&decision->peer, text)};
    if (decision->peer.kind == ADDRESS_UNIX)
        fputs("The request reached the web server through a unix socket", out);
    else
        fprintf(out, "%.*s sent the request to the web server", (int)canonical.len, text);
    if (!slice_equal(decision->peer_text, canonical)) {
        fputs(" (REMOTE_ADDR ", out);
        text_quote(out, decision->peer_text);
        fputc(')', out);
    }
    fputc('.', out);
}

/* --- the result --- */

static void say_denial(const struct explanation *explanation, FILE *out)
{
    const struct policy *policy = explanation->policy;
    const struct decision *decision = &explanation->decision;
    if (policy->deny_direct && !decision->trusted)
        fputs(" [access] refuses what comes from no trusted proxy (deny_direct = yes).", out);
    else if (cidr_set_find(policy->access, &decision->client) == ACCESS_DENY)
        fputs(" It is in the deny list of [access].", out);
    else
        fputs(" It is not in the allow list of [access].", out);
}

static void tell_result(const struct explanation *explanation, FILE *out)
{
    const struct decision *decision = &explanation->decision;
    if (decision->rejected)
        fprintf(out, "The request is refused with status %d, the application never sees it. ",
                decision->rejected);
    fputs("The client is ", out);
    explain_say_hop(explanation, &decision->client, out);
    if (decision->client_port)
        fprintf(out, ", port %u", decision->client_port);
    if (!decision->changed)
        fputs(", as the web server said", out);
    fprintf(out, " (reason: %s).", reason_word(decision->reason));
    if (decision->rejected == 403)
        say_denial(explanation, out);
}

/* --- what changes --- */

/* Why a client-address header is not passed on. */
static const char *find_header_reason(const struct explanation *explanation, const struct name_match *match)
{
    static const char *const forwarded_for[] = {[FORWARDED_CONFIRMED] = "no trusted proxy wrote any of it",
                                                [FORWARDED_UNCONFIRMED] = "forwarded_for = unconfirmed",
                                                [FORWARDED_CLIENT] = "forwarded_for = client",
                                                [FORWARDED_KEEP] = "forwarded_for = keep",
                                                [FORWARDED_REMOVE] = "forwarded_for = remove"};
    if (!explanation->decision.trusted)
        return "untrusted_headers = strip";
    if (match->kind != NAME_GROUP_HEADER)
        return "unmanaged_headers = strip";
    if (!explanation->workspace->cursors[match->index].on_chain)
        return "no proxy on this way vouches for it";
    if (explanation->decision.repeated && explanation->policy->forwarded_for == FORWARDED_KEEP)
        return "not kept: joined, its copies would be believed";
    return forwarded_for[explanation->policy->forwarded_for];
}

/* What a reader might wonder about; NULL: nothing. */
static const char *find_reason(const struct explanation *explanation, const struct change *change)
{
    struct name_match match = policy_match_name(explanation->policy, change->name);
    if (change->after)
        return change->copies > 1 && match.kind == NAME_REMOTE_ADDR ? "the last one counts" : NULL;
    if (match.alias)
        return "its name could be mistaken for another";
    switch (match.kind) {
    case NAME_REALIP:
        return "only fcgi-realip may send it";
    case NAME_HTTP_PROXY:
        return "never passed on: httpoxy";
    case NAME_REQUIRED:
        return "the secret of require_param";
    case NAME_GROUP_HEADER:
    case NAME_CLIENT_HEADER:
    case NAME_X_FORWARDED_PROTO:
    case NAME_X_FORWARDED_PORT:
    case NAME_X_FORWARDED_HOST:
        return find_header_reason(explanation, &match);
    default:
        return NULL;
    }
}

static void say_before(const struct explanation *explanation, const struct change *change, FILE *out)
{
    if (explanation->hides_secrets &&
        policy_match_name(explanation->policy, change->name).kind == NAME_REQUIRED) {
        fputs("(not shown)", out);
        return;
    }
    if (!change->before)
        fputs("(none)", out);
    const struct param *end = explanation->params + explanation->nparams;
    for (const struct param *copy = change->before; copy;
         copy = explain_find(copy + 1, (size_t)(end - copy - 1), change->name)) {
        fputs(copy == change->before ? "" : " and ", out);
        text_quote(out, copy->value);
    }
}

static void tell_change(const struct explanation *explanation, const struct change *change, size_t width,
                        FILE *out)
{
    fputs("   ", out);
    text_escape(out, change->name);
    size_t blanks = change->name.len < width ? width - change->name.len : 0;
    fprintf(out, "%*s  ", (int)blanks, "");
    say_before(explanation, change, out);
    fputs(" -> ", out);
    if (change->after)
        text_quote(out, change->after->value);
    else
        fputs("removed", out);
    const char *reason = find_reason(explanation, change);
    if (reason)
        fprintf(out, "  (%s)", reason);
    fputc('\n', out);
}

/* Of what is accepted besides the address; the peer is trusted. */
static bool wants_one_copy(const struct explanation *explanation)
{
    return explanation->policy->groups[explanation->decision.peer_group].repeated == REPEATED_MALFORMED;
}

static void tell_changes(const struct explanation *explanation, FILE *out)
{
    const size_t widest = 24;
    size_t width = 0;
    if (explanation->decision.rejected)
        return;
    if (explanation->nchanges == 0) {
        fputs("The application sees exactly what the web server sent.\n", out);
        return;
    }
    fputs("The application sees other values than the web server sent:\n", out);
    for (size_t i = 0; i < explanation->nchanges; i++)
        if (explanation->changes[i].name.len > width && explanation->changes[i].name.len <= widest)
            width = explanation->changes[i].name.len;
    for (size_t i = 0; i < explanation->nchanges; i++)
        tell_change(explanation, &explanation->changes[i], width, out);
    if (explanation->rewrite.junk)
        fprintf(out, "An X-Forwarded-Proto, -Port or -Host that the group accepts held nothing usable%s.\n",
                wants_one_copy(explanation) ? ",\nor came more than once (repeated = malformed)" : "");
}

/* --- what to do about it --- */

static const struct step *last_step(const struct explanation *explanation)
{
    return &explanation->workspace->steps[explanation->workspace->nsteps - 1];
}

/* The walk ended at an address that a trust list could hold, but none does. */
static bool ends_unlisted(const struct explanation *explanation)
{
    const struct step *step = last_step(explanation);
    return step->group < 0 && step->hop.kind != ADDRESS_NONE &&
           cidr_set_find(explanation->policy->trust, &step->hop) < 0;
}

static void advise_trust(const struct explanation *explanation, FILE *out)
{
    const struct policy *policy = explanation->policy;
    const struct step *step = last_step(explanation);
    if (step->hop.kind == ADDRESS_UNIX) {
        fputs("If only proxies of yours can reach that unix socket, write in ", out);
    } else {
        fputs("If ", out);
        explain_say_address(&step->hop, out);
        fputs(" is a proxy of yours, write in ", out);
    }
    text_escape(out, slice_of(explanation->config->path));
    if (policy->ngroups == 1)
        fprintf(out, ", section [proxy %s]:", policy->groups[0].name);
    else if (policy->ngroups == 0)
        fputs(":\n   [proxy NAME]", out);
    else
        fputs(", in the [proxy NAME] section that fits it:", out);
    fputs("\n   trust = ", out);
    explain_say_address(&step->hop, out);
}

/* A parameter that carries another client-address header; NULL: there is none. */
static const struct param *find_other_header(const struct explanation *explanation)
{
    for (size_t i = 0; i < explanation->nparams; i++) {
        struct name_match match = policy_match_name(explanation->policy, explanation->params[i].name);
        if ((match.kind == NAME_CLIENT_HEADER || match.kind == NAME_GROUP_HEADER) && !match.alias)
            return &explanation->params[i];
    }
    return NULL;
}

/* HTTP_X_REAL_IP as X-Real-Ip. */
static void say_header_name(struct slice param, FILE *out)
{
    bool start = true;
    for (size_t i = strlen("HTTP_"); i < param.len; i++) {
        char byte = param.data[i];
        if (byte >= 'A' && byte <= 'Z' && !start)
            byte = (char)(byte - 'A' + 'a');
        start = byte == '_';
        fputc(start ? '-' : byte, out);
    }
}

static void advise_header(const struct explanation *explanation, FILE *out)
{
    const struct step *step = last_step(explanation);
    const struct group *group = &explanation->policy->groups[step->group];
    const struct param *other = find_other_header(explanation);
    fputs("If ", out);
    explain_say_hop(explanation, &step->hop, out);
    fprintf(out,
            " passes on requests of others, it has to say whose in %s, and the web server has to hand that "
            "on as %s.",
            group->header, explanation->policy->headers[group->header_index].param);
    if (other) {
        fputs(" The request does have ", out);
        say_header_name(other->name, out);
        fprintf(out, ": if it is the proxy that sets it, write in [proxy %s]:\n   header = ", group->name);
        say_header_name(other->name, out);
    }
}

/* Only where the outcome may be a mistake: an untrusted hop with nothing to its left is how it should be. */
static bool needs_advice(const struct explanation *explanation)
{
    const struct workspace *workspace = explanation->workspace;
    const struct group *groups = explanation->policy->groups;
    switch (explanation->decision.walk_reason) {
    case REASON_UNTRUSTED_PEER:
        return ends_unlisted(explanation) && find_other_header(explanation) != NULL;
    case REASON_UNTRUSTED_HOP:
        return ends_unlisted(explanation) &&
               explain_say_unread(explanation, &groups[workspace->steps[workspace->nsteps - 2].group], "",
                                  NULL);
    default:
        return explanation->decision.walk_reason == REASON_NO_HEADER;
    }
}

static void tell_advice(const struct explanation *explanation, FILE *out)
{
    struct paragraph paragraph;
    fputc('\n', out);
    FILE *words = paragraph_begin(&paragraph, out);
    if (explanation->decision.walk_reason == REASON_NO_HEADER)
        advise_header(explanation, words);
    else
        advise_trust(explanation, words);
    paragraph_end(&paragraph, "");
}

void explain_print_text(const struct explanation *explanation, FILE *out)
{
    struct paragraph paragraph;
    explain_tell_walk(explanation, out);
    fputc('\n', out);
    tell_result(explanation, paragraph_begin(&paragraph, out));
    paragraph_end(&paragraph, "");
    tell_changes(explanation, out);
    if (needs_advice(explanation))
        tell_advice(explanation, out);
}
