#include <stdlib.h>

#include "cli/explain_words.h"
#include "cli/text.h"
#include "config/origin.h"

static const struct group *group_of(const struct explanation *explanation, const struct step *step)
{
    return &explanation->policy->groups[step->group];
}

static const struct cursor *cursor_of(const struct explanation *explanation, const struct group *group)
{
    return &explanation->workspace->cursors[group->header_index];
}

/* malloc'ed; NULL if there is nothing. */
static char *join_unread(const struct explanation *explanation, const struct group *group, size_t *len)
{
    const struct managed *managed = explanation->workspace->managed;
    const struct cursor *cursor = cursor_of(explanation, group);
    char *text = NULL;
    FILE *joined = cursor->copy == COPY_NONE ? NULL : open_memstream(&text, len);
    if (!joined)
        return NULL;
    for (uint32_t i = 0; i <= cursor->copy; i++) {
        struct slice value = explanation->params[managed[i].index].value;
        if (managed[i].match.kind != NAME_GROUP_HEADER || managed[i].match.alias ||
            managed[i].match.index != group->header_index)
            continue;
        if (i == cursor->copy)
            value.len = cursor->at;
        fputs(ftell(joined) > 0 ? ", " : "", joined);
        fwrite(value.data, 1, value.len, joined);
    }
    fclose(joined);
    while (*len > 0 && memchr(" \t,", text[*len - 1], 3))
        --*len;
    return text;
}

bool explain_say_unread(const struct explanation *explanation, const struct group *group, const char *before,
                        FILE *out)
{
    size_t len = 0;
    char *text = join_unread(explanation, group, &len);
    if (text && len > 0 && out) {
        fputs(before, out);
        text_quote(out, (struct slice){text, len});
        fputc('.', out);
    }
    free(text);
    return len > 0;
}

/* --- hops that nobody trusts --- */

/* False if the hop is in no group's list. */
static bool say_missing_secret(const struct explanation *explanation, const struct step *step, FILE *out)
{
    int index = cidr_set_find(explanation->policy->trust, &step->hop);
    if (index < 0)
        return false;
    const struct group *group = &explanation->policy->groups[index];
    bool sent =
        explain_find(explanation->params, explanation->nparams, slice_of(group->require_name)) != NULL;
    fprintf(
        out,
        "is in the list of [proxy %s], but that group also wants its secret in %s (require_param), which %s",
        group->name, group->require_name, sent ? "holds something else" : "was not sent");
    return true;
}

static void tell_untrusted_peer(const struct explanation *explanation, const struct step *step, FILE *out)
{
    if (step->hop.kind == ADDRESS_NONE) {
        fputs("The web server sent REMOTE_ADDR ", out);
        text_quote(out, explanation->decision.peer_text);
        fputs(", which is no address, so no trust list can hold it.", out);
    } else {
        explain_say_sender(explanation, out);
        fputs(" It ", out);
        if (!say_missing_secret(explanation, step, out))
            fputs("is in no trust list", out);
        fputs(", so it is not trusted.", out);
    }
    fputs(" It counts as the client itself, and no header that names another address is believed: whoever "
          "connects directly can write anything there.",
          out);
}

static void tell_untrusted_hop(const struct explanation *explanation, const struct step *step, FILE *out)
{
    explain_say_address(&step->hop, out);
    fputc(' ', out);
    if (!say_missing_secret(explanation, step, out))
        fputs("is in no trust list", out);
    fputs(": this is the client.", out);
    explain_say_unread(explanation, group_of(explanation, step - 1),
                       " Whatever stands to its left was written by the client and is not believed: ", out);
}

/* --- hops that a group trusts --- */

/* "[proxy lb] (10.0.0.0/8, lb.ini:7)" */
static void say_group(const struct explanation *explanation, const struct step *step, FILE *out)
{
    struct origin origin;
    fprintf(out, "[proxy %s]", group_of(explanation, step)->name);
    if (!origin_find(explanation->config, (size_t)step->group, &step->hop, &origin))
        return;
    if (origin.entry) {
        fprintf(out, " (%s, %s:%u)", origin.entry, origin.file, origin.line);
        return;
    }
    fputs(" (", out);
    explain_say_address(&origin.block.first, out);
    if (origin.block.first.kind != ADDRESS_UNIX)
        fprintf(out, "/%u", origin.block.bits);
    fprintf(out, ", %s)", origin.file);
}

static void say_trusted(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct step *step = &explanation->workspace->steps[at];
    if (at == 0) {
        explain_say_sender(explanation, out);
        fputs(" It", out);
    } else {
        explain_say_address(&step->hop, out);
    }
    fputs(" is trusted by ", out);
    say_group(explanation, step, out);
}

/* Where in the header the step's element stood. */
static void say_place(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct step *steps = explanation->workspace->steps;
    const struct group *group = group_of(explanation, &steps[at]);
    bool first = true;
    for (size_t i = 0; i < at; i++)
        if (group_of(explanation, &steps[i])->header_index == group->header_index)
            first = false;
    if (group->select == SELECT_LEFTMOST)
        fputs("the leftmost address", out);
    else if (group->select == SELECT_HOPS && explanation->decision.walk_reason == REASON_MALFORMED)
        fprintf(out, "one of the last %u elements", group->hops);
    else if (group->select == SELECT_HOPS && group->hops > 1)
        fprintf(out, first ? "element %u from the right" : "element %u further to the left", group->hops);
    else
        fputs(first ? "the last element" : "the next element to the left", out);
    fprintf(out, " of %s", group->header);
}

/* The element as it was written, and as it was understood if that reads otherwise. */
static void say_element(const struct step *step, FILE *out)
{
    char text[ADDRESS_TEXT_MAX];
    struct slice canonical = {text, address_format(&step->address, text)};
    if (canonical.len > 0 && slice_equal(step->element, canonical)) {
        explain_say_address(&step->address, out);
        return;
    }
    text_quote(out, step->element);
    if (step->address.kind == ADDRESS_NONE)
        return;
    fputs(" (", out);
    explain_say_address(&step->address, out);
    if (step->port)
        fprintf(out, ", port %u", step->port);
    fputc(')', out);
}

static void say_report(const struct explanation *explanation, size_t at, FILE *out)
{
    fputs("; it reported ", out);
    say_element(&explanation->workspace->steps[at], out);
    fputs(" as ", out);
    say_place(explanation, at, out);
}

/* --- where the walk ends at a trusted hop --- */

static void say_consequence(const struct explanation *explanation, const struct group *group, FILE *out)
{
    switch (group->on_malformed) {
    case MALFORMED_STOP:
        fputs(" So the walk stops at the last address that is sure: the client is ", out);
        explain_say_hop(explanation, &explanation->decision.client, out);
        fputs(" (on_malformed = stop).", out);
        break;
    case MALFORMED_PEER:
        fputs(" So the whole chain counts for nothing: the client is the peer, ", out);
        explain_say_hop(explanation, &explanation->decision.peer, out);
        fputs(" (on_malformed = peer).", out);
        break;
    case MALFORMED_REJECT:
        fputs(" So the request is refused (on_malformed = reject).", out);
    }
}

static size_t count_copies(const struct explanation *explanation, const struct group *group)
{
    const struct managed *managed = explanation->workspace->managed;
    size_t copies = 0;
    for (uint32_t i = cursor_of(explanation, group)->last; i != COPY_NONE; i = managed[i].previous)
        copies++;
    return copies;
}

static void tell_repeated(const struct explanation *explanation, const struct group *group, FILE *out)
{
    fprintf(out,
            ", but %s came %zu times, and which of them the proxies wrote cannot be told (repeated = "
            "malformed).",
            group->header, count_copies(explanation, group));
    say_consequence(explanation, group, out);
    explain_say_unread(explanation, group, " Not read: ", out);
}

static void tell_malformed(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct step *step = &explanation->workspace->steps[at];
    const struct group *group = group_of(explanation, step);
    if (explanation->decision.repeated) {
        tell_repeated(explanation, group, out);
        return;
    }
    if (group->select == SELECT_LEFTMOST) {
        fprintf(out, "; it reported no usable address at all in %s, the leftmost element read is ",
                group->header);
        text_quote(out, step->element);
    } else {
        say_report(explanation, at, out);
    }
    if (group->select == SELECT_LEFTMOST)
        fputc('.', out);
    else if (cursor_of(explanation, group)->count > group->max_elements)
        fprintf(out, ", but no more than %u elements are read (max_elements).", group->max_elements);
    else if (step->address.kind != ADDRESS_NONE)
        fputs(", a private address, which this group must not report (private_clients = no).", out);
    else
        fputs(", which is no address.", out);
    say_consequence(explanation, group, out);
    explain_say_unread(explanation, group, " Nothing to its left was read: ", out);
}

static void tell_nothing_left(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct step *step = &explanation->workspace->steps[at];
    const struct group *group = group_of(explanation, step);
    if (explanation->decision.walk_reason == REASON_NO_HEADER)
        fprintf(out, ", but the request has no %s header.", group->header);
    else if (cursor_of(explanation, group)->count == 0)
        fprintf(out, ", but %s is empty.", group->header);
    else if (group->select == SELECT_HOPS)
        fprintf(out, ", but %s has fewer elements than the %u of select = hops:%u.", group->header,
                group->hops, group->hops);
    else
        fprintf(out, ", and all of %s is read.", group->header);
    if (explanation->decision.rejected == 400) {
        fputs(" So the request is refused (require_header = yes).", out);
        return;
    }
    fputs(" So ", out);
    explain_say_hop(explanation, &step->hop, out);
    fputs(" itself is the client.", out);
}

static void tell_selected(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct group *group = group_of(explanation, &explanation->workspace->steps[at]);
    say_report(explanation, at, out);
    fputs(". This is the client: ", out);
    if (group->select == SELECT_LEFTMOST) {
        fputs("select = leftmost believes whatever stands there, even if the client wrote it.", out);
        return;
    }
    if (group->select == SELECT_SINGLE)
        fputs("select = single goes one step only.", out);
    else
        fprintf(out, "select = hops:%u counts elements and looks no further.", group->hops);
    explain_say_unread(explanation, group, " What stands to its left is not believed: ", out);
}

static void tell_step(const struct explanation *explanation, size_t at, FILE *out)
{
    const struct workspace *workspace = explanation->workspace;
    const struct step *step = &workspace->steps[at];
    if (step->group < 0) {
        if (at == 0)
            tell_untrusted_peer(explanation, step, out);
        else
            tell_untrusted_hop(explanation, step, out);
        return;
    }
    say_trusted(explanation, at, out);
    if (at + 1 < workspace->nsteps) {
        say_report(explanation, at, out);
        fputc('.', out);
        return;
    }
    switch (explanation->decision.walk_reason) {
    case REASON_EXHAUSTED:
    case REASON_NO_HEADER:
        tell_nothing_left(explanation, at, out);
        break;
    case REASON_MALFORMED:
        tell_malformed(explanation, at, out);
        break;
    default:
        tell_selected(explanation, at, out);
    }
}

void explain_tell_walk(const struct explanation *explanation, FILE *out)
{
    for (size_t i = 0; i < explanation->workspace->nsteps; i++) {
        char mark[24];
        struct paragraph paragraph;
        snprintf(mark, sizeof mark, "%2zu. ", i + 1);
        tell_step(explanation, i, paragraph_begin(&paragraph, out));
        paragraph_end(&paragraph, mark);
    }
}
