#include "relay/access_log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fastcgi/params.h"
#include "ops/meter.h"
#include "relay/logs.h"

/* Bytes of lines that may wait. */
#define WAIT_MAX (256 * 1024)

/* What web servers log for a client that did not wait; nginx's number, which log analysers know. */
#define STATUS_GONE 499

/* A request's notes. The entry's texts are in `text`. */
struct access {
    struct access_entry entry;
    struct meter meter;
    uint64_t began; /* poller_clock */
    bool ended;     /* the application has ended its answer */
    char text[];
};

/* ---- life ---- */

static void on_waits(struct sink *sink)
{
    logs_retry_later(((struct access_log *)((char *)sink - offsetof(struct access_log, sink)))->relay);
}

int access_log_make(struct access_log **access, struct relay *relay, const struct config *config)
{
    const char *where = config->log_access;
    *access = NULL;
    if (strcmp(where, "off") == 0)
        return 0;
    struct access_log *log = calloc(1, sizeof(*log));
    if (!log)
        return -ENOMEM;
    int rc = strcmp(where, "stdout") == 0 ? sink_open_fd(&log->sink, STDOUT_FILENO, WAIT_MAX)
                                          : sink_open_path(&log->sink, where, WAIT_MAX);
    if (rc < 0) {
        free(log);
        return rc;
    }
    log->sink.waits = on_waits;
    log->format = (enum access_format)config->log_format;
    log->relay = relay;
    *access = log;
    return 0;
}

void access_log_free(struct access_log *log)
{
    if (!log)
        return;
    sink_close(&log->sink);
    free(log);
}

void access_log_put(struct relay *relay, struct access_log *next)
{
    struct access_log *log = relay->access;
    relay->access = next;
    if (!log)
        return;
    log->sink.waits = NULL;
    sink_flush(&log->sink);
    uint64_t lost = log->sink.dropped + sink_count(&log->sink);
    if (lost > 0)
        log_write(&relay->log, LOG_WARNING,
                  "%ju lines could not be written and are missing in the access log %s", (uintmax_t)lost,
                  relay->config->log_access);
    log->sink.len = 0;
    access_log_free(log);
}

void access_log_set_format(struct relay *relay, const struct config *config)
{
    if (!relay->access)
        return;
    relay->access->format = (enum access_format)config->log_format;
    relay->access->clock.length = 0; /* it shows the time as the other format has it */
}

int access_log_reopen(struct relay *relay)
{
    return relay->access ? sink_reopen(&relay->access->sink) : 0;
}

void access_log_flush(struct relay *relay)
{
    struct access_log *log = relay->access;
    if (!log)
        return;
    sink_flush(&log->sink);
    int error = log->sink.error;
    /* A reader that is slow for a moment is no trouble until something is lost. */
    if (!log->failing && error != 0 && (error != EAGAIN || log->sink.dropped > 0)) {
        log->failing = true;
        log_write(&relay->log, LOG_ERROR, "cannot write the access log %s: %s; lines wait, then are dropped",
                  relay->config->log_access, strerror(error));
    }
    uint64_t dropped = sink_take_dropped(&log->sink);
    if (dropped > 0)
        log_write(&relay->log, LOG_WARNING,
                  "%ju lines could not be written and are missing in the access log %s", (uintmax_t)dropped,
                  relay->config->log_access);
    log->failing = log->failing && error != 0;
}

/* ---- what a request was ---- */

/* What the parameters say, in the memory that they came in. */
static void read_params(struct access_entry *entry, struct slice content)
{
    struct slice script = {0};
    const struct {
        struct slice name;
        struct slice *value;
    } wanted[] = {{SLICE("REQUEST_METHOD"), &entry->method},    {SLICE("REQUEST_URI"), &entry->uri},
                  {SLICE("SERVER_PROTOCOL"), &entry->protocol}, {SLICE("HTTP_REFERER"), &entry->referer},
                  {SLICE("HTTP_USER_AGENT"), &entry->agent},    {SLICE("REMOTE_USER"), &entry->user},
                  {SLICE("REMOTE_ADDR"), &entry->peer},         {SLICE("SCRIPT_NAME"), &script}};
    const char *at = content.data, *end = slice_end(content);
    struct param param;
    while (at != end && (at = params_next(at, end, &param)) != NULL) {
        for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
            if (slice_equal(param.name, wanted[i].name))
                *wanted[i].value = param.value.data ? param.value : SLICE("");
        }
    }
    if (!entry->uri.data)
        entry->uri = script;
}

/* The copies of a header, joined, into out, from the right; the last `size` bytes of that. data NULL: none.
 */
static struct slice join_copies(const struct relay *relay, size_t header, char *out, size_t size)
{
    const struct workspace *workspace = relay->workspace;
    uint32_t copy = workspace->cursors[header].last;
    size_t at = size;
    if (copy == COPY_NONE)
        return (struct slice){0};
    for (;;) {
        struct slice value = relay->known->params[workspace->managed[copy].index].value;
        size_t n = value.len < at ? value.len : at;
        at -= n;
        if (n > 0)
            memcpy(out + at, value.data + value.len - n, n);
        copy = workspace->managed[copy].previous;
        if (copy == COPY_NONE)
            return (struct slice){out + at, size - at};
        if (at < 2) {
            memset(out, ',', at); /* there is more, and so it shows */
            return (struct slice){out, size};
        }
        at -= 2;
        memcpy(out + at, ", ", 2);
    }
}

/* What was decided; `client` and `chain` are room for that. */
static void read_decision(const struct relay *relay, const struct decision *decision,
                          struct access_entry *entry, char *client, char *chain)
{
    const struct policy *policy = relay->config->policy;
    int group = decision->peer_group < 0 && policy->ngroups > 0 ? 0 : decision->peer_group;
    entry->reason = reason_word(decision->reason);
    entry->peer = decision->peer_text;
    entry->client = (struct slice){client, address_format(&decision->client, client)};
    if (decision->client.kind == ADDRESS_NONE)
        entry->client = decision->peer_text;
    if (group < 0)
        return;
    entry->header = slice_of(policy->groups[group].header);
    entry->chain =
        join_copies(relay, (size_t)policy->groups[group].header_index, chain, ACCESS_CHAIN_MAX + 1);
}

/* Copies a text behind *at, no more of it than can be told. */
static void keep(struct slice *text, size_t most, char **at)
{
    if (!text->data)
        return;
    if (text->len > most + 1)
        text->len = most + 1;
    if (text->len > 0)
        memcpy(*at, text->data, text->len);
    text->data = *at;
    *at += text->len;
}

static struct access *copy_entry(struct access_entry *entry)
{
    const struct {
        struct slice *text;
        size_t most;
    } texts[] = {{&entry->client, ACCESS_WORD_MAX},     {&entry->user, ACCESS_WORD_MAX},
                 {&entry->method, ACCESS_METHOD_MAX},   {&entry->uri, ACCESS_URI_MAX},
                 {&entry->protocol, ACCESS_METHOD_MAX}, {&entry->referer, ACCESS_REFERER_MAX},
                 {&entry->agent, ACCESS_AGENT_MAX},     {&entry->peer, ACCESS_WORD_MAX},
                 {&entry->header, ACCESS_WORD_MAX},     {&entry->chain, ACCESS_CHAIN_MAX}};
    size_t size = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        size += texts[i].text->len < texts[i].most ? texts[i].text->len : texts[i].most + 1;
    struct access *access = malloc(sizeof(*access) + size);
    if (!access)
        return NULL;
    char *at = access->text;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        keep(texts[i].text, texts[i].most, &at);
    access->entry = *entry;
    access->meter = (struct meter){0};
    access->ended = false;
    return access;
}

void access_begin(struct front *f, struct slice content, const struct decision *decision)
{
    char client[ADDRESS_TEXT_MAX];
    char chain[ACCESS_CHAIN_MAX + 1];
    struct access_entry entry = {.first = ACCESS_NEVER};
    read_params(&entry, content);
    if (decision)
        read_decision(f->relay, decision, &entry, client, chain);
    else
        entry.client = entry.peer;
    clock_gettime(CLOCK_REALTIME, &entry.time);
    f->request.access = copy_entry(&entry);
    if (f->request.access)
        f->request.access->began = poller_clock(&f->relay->poller);
    else
        f->relay->access->sink.dropped++;
}

void access_begin_undecided(struct front *f, struct slice content)
{
    struct relay *relay = f->relay;
    const struct policy *policy = relay->config->policy;
    struct decision decision;
    bool whole = known_read(relay->known, policy, content, false) == PARAMS_OK;
    if (whole)
        decide_request(policy, relay->known->params, relay->known->n, relay->workspace, &decision);
    access_begin(f, content, whole ? &decision : NULL);
}

/* ---- what became of it ---- */

static uint64_t measure(const struct front *f)
{
    return poller_clock(&f->relay->poller) - f->request.access->began;
}

void access_wait(struct front *f)
{
    f->request.access->entry.queue = measure(f);
}

static void take(struct front *f, const char *data, size_t len)
{
    struct access *access = f->request.access;
    if (access->entry.first == ACCESS_NEVER)
        access->entry.first = measure(f);
    meter_take(&access->meter, data, len);
}

void access_answer(struct front *f, const struct gather *pieces, bool end)
{
    for (int i = 0; i < pieces->count; i++)
        take(f, pieces->piece[i].iov_base, pieces->piece[i].iov_len);
    f->request.access->ended = end;
}

void access_page(struct front *f, const char *page, size_t len)
{
    struct request *r = &f->request;
    if (!r->access && f->state == FRONT_PARAMS)
        access_begin(
            f, (struct slice){r->params.data ? r->params.data + r->params.start : NULL, r->params.len}, NULL);
    if (!r->access)
        return;
    r->access->meter = (struct meter){0};
    take(f, page, len);
}

void access_skip(struct front *f, size_t len)
{
    meter_skip(&f->request.access->meter, len);
}

void access_end(struct front *f)
{
    struct access *access = f->request.access;
    struct access_log *log = f->relay->access;
    struct access_entry *entry = &access->entry;
    char line[ACCESS_LINE_MAX];
    entry->total = measure(f);
    if (f->request.ticket.next)
        entry->queue = entry->total; /* it still waited */
    entry->outcome =
        f->request.outcome == OUTCOME_STATUS ? "status" : metrics_outcome_word(f->request.outcome);
    bool none = entry->first == ACCESS_NEVER && !access->ended;
    entry->status = none ? STATUS_GONE : meter_status(&access->meter);
    entry->bytes = access->meter.body;
    if (log) /* a reload may have put an end to it */
        sink_put(&log->sink, line, access_format(log->format, &log->clock, entry, line));
    f->request.access = NULL;
    free(access);
}
