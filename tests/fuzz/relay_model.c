/*
 * The relay's invariants; see the header.
 */
#include "relay_model.h"

#include <fastcgi.h>

#include "base/page.h"

#define REQUESTS 96

/* ---- bytes ---- */

static void append(char **data, size_t *len, size_t *room, const char *more, size_t n)
{
    if (n == 0)
        return;
    if (*len + n > *room) {
        *room = (*len + n) * 2;
        *data = realloc(*data, *room);
        FUZZ_CHECK(*data, "no memory");
    }
    memcpy(*data + *len, more, n);
    *len += n;
}

void model_sent(struct model_end *end, const char *data, size_t len)
{
    append(&end->sent, &end->nsent, &end->sent_room, data, len);
}

void model_got(struct model_end *end, const char *data, size_t len)
{
    append(&end->got, &end->ngot, &end->got_room, data, len);
}

struct text {
    char *data;
    size_t len, room;
};

static void add(struct text *text, struct slice more)
{
    append(&text->data, &text->len, &text->room, more.data, more.len);
}

static bool same_text(const struct text *a, const struct text *b)
{
    return slice_equal((struct slice){a->data, a->len}, (struct slice){b->data, b->len});
}

struct wire_record {
    unsigned version, type, id;
    struct slice content, padding;
};

/* The next whole record; false: there is none. */
static bool next_record(struct fuzz_input *in, struct wire_record *record)
{
    if (in->left < 8)
        return false;
    const unsigned char *head = (const unsigned char *)in->at;
    size_t content = head[4] * 256u + head[5];
    if (in->left - 8 < content + head[6])
        return false;
    *record = (struct wire_record){.version = head[0], .type = head[1], .id = head[2] * 256u + head[3]};
    size_t padding = head[6];
    fuzz_bytes(in, 8);
    record->content = fuzz_bytes(in, content);
    record->padding = fuzz_bytes(in, padding);
    return true;
}

/* ---- requests ---- */

struct seen_request {
    unsigned id, role;
    struct text params, in, data;
    bool params_ended, in_ended, data_ended;
    bool dead; /* nothing can complete it any more */
};

static bool is_complete(const struct seen_request *r)
{
    if (!r->params_ended || r->role == FCGI_AUTHORIZER)
        return r->params_ended;
    return r->in_ended && (r->role != FCGI_FILTER || r->data_ended);
}

static void feed_stream(struct text *text, bool *ended, struct slice content)
{
    if (*ended)
        return;
    add(text, content);
    *ended = content.len == 0;
}

static void feed_request(struct seen_request *r, const struct wire_record *record)
{
    bool is_stream = record->type == FCGI_STDIN || record->type == FCGI_DATA;
    if (r->dead || record->id != r->id || is_complete(r))
        return;
    if (record->type == FCGI_ABORT_REQUEST || (is_stream && !r->params_ended))
        r->dead = true;
    else if (record->type == FCGI_PARAMS)
        feed_stream(&r->params, &r->params_ended, record->content);
    else if (record->type == FCGI_STDIN)
        feed_stream(&r->in, &r->in_ended, record->content);
    else if (record->type == FCGI_DATA && r->role == FCGI_FILTER)
        feed_stream(&r->data, &r->data_ended, record->content);
}

struct seen {
    struct seen_request list[REQUESTS];
    size_t n;
    bool aborted[65536 / 8]; /* by the lower 13 bits of an id */
};

static void begin_request(struct seen *seen, const struct wire_record *record)
{
    FUZZ_CHECK(seen->n < REQUESTS, "the script has too many requests");
    seen->list[seen->n++] = (struct seen_request){.id = record->id,
                                                  .role = (unsigned char)record->content.data[0] * 256u +
                                                          (unsigned char)record->content.data[1]};
}

/* Every BEGIN_REQUEST of a client may be the one that counts. */
static void read_client(const struct model_end *front, struct seen *seen)
{
    struct fuzz_input in = {front->sent, front->nsent};
    struct wire_record record;
    while (next_record(&in, &record) && record.version == 1) {
        if (record.type == FCGI_BEGIN_REQUEST && record.content.len != 8)
            return;
        if (record.type == FCGI_ABORT_REQUEST)
            seen->aborted[record.id % sizeof(seen->aborted)] = true;
        for (size_t i = 0; i < seen->n; i++)
            feed_request(&seen->list[i], &record);
        if (record.type == FCGI_BEGIN_REQUEST && seen->n < REQUESTS)
            begin_request(seen, &record);
    }
}

static bool has_ended(const struct model_end *app, unsigned id);

/* One request after the other, and nothing but. */
static void read_application(const struct model_end *app, struct seen *seen)
{
    struct fuzz_input in = {app->got, app->ngot};
    struct wire_record record;
    while (next_record(&in, &record)) {
        FUZZ_CHECK(record.version == 1, "the application gets another version");
        for (size_t i = 0; i < record.padding.len; i++)
            FUZZ_CHECK(record.padding.data[i] == 0, "the application gets bytes as padding");
        if (record.type == FCGI_BEGIN_REQUEST) {
            FUZZ_CHECK(record.content.len == 8, "the application gets a bad BEGIN_REQUEST");
            FUZZ_CHECK(seen->n == 0 || has_ended(app, seen->list[seen->n - 1].id),
                       "the application gets a request before it ended the last one");
            begin_request(seen, &record);
            continue;
        }
        FUZZ_CHECK(seen->n > 0 && record.id == seen->list[seen->n - 1].id,
                   "the application gets a record of no request");
        FUZZ_CHECK(record.type == FCGI_PARAMS || record.type == FCGI_STDIN || record.type == FCGI_DATA,
                   "the application gets a record that is not for it");
        FUZZ_CHECK(!is_complete(&seen->list[seen->n - 1]), "the application gets more than a request");
        feed_request(&seen->list[seen->n - 1], &record);
    }
}

static void free_seen(struct seen *seen)
{
    for (size_t i = 0; i < seen->n; i++) {
        free(seen->list[i].params.data);
        free(seen->list[i].in.data);
        free(seen->list[i].data.data);
    }
    seen->n = 0;
}

unsigned model_last_id(const struct model_end *app)
{
    struct fuzz_input in = {app->got, app->ngot};
    struct wire_record record;
    unsigned id = 0;
    while (next_record(&in, &record))
        id = record.type == FCGI_BEGIN_REQUEST ? record.id : id;
    return id;
}

/* ---- parameters ---- */

static bool next_pair(struct fuzz_input *in, struct param *pair)
{
    size_t len[2];
    for (int i = 0; i < 2; i++) {
        if (in->left == 0)
            return false;
        len[i] = fuzz_byte(in);
        if (len[i] < 128)
            continue;
        if (in->left < 3)
            return false;
        len[i] = (len[i] - 128) << 24 | fuzz_byte(in) << 16;
        len[i] |= fuzz_byte(in) << 8;
        len[i] |= fuzz_byte(in);
    }
    if (len[0] > in->left || len[1] > in->left - len[0])
        return false;
    pair->name = fuzz_bytes(in, len[0]);
    pair->value = fuzz_bytes(in, len[1]);
    return true;
}

static char fold(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
}

static bool begins_with(struct slice name, const char *prefix)
{
    for (size_t i = 0; prefix[i]; i++)
        if (i >= name.len || fold(name.data[i]) != prefix[i])
            return false;
    return true;
}

/* The next one that the shim has no business with. */
static bool next_foreign_pair(struct fuzz_input *in, struct param *pair)
{
    while (next_pair(in, pair))
        if (!begins_with(pair->name, "REMOTE_") && !begins_with(pair->name, "REALIP_") &&
            !begins_with(pair->name, "HTTP_"))
            return true;
    return false;
}

static bool same_params(const struct text *a, const struct text *b)
{
    struct fuzz_input in = {a->data, a->len}, other = {b->data, b->len};
    struct param pair, another;
    for (;;) {
        bool more = next_foreign_pair(&in, &pair);
        if (next_foreign_pair(&other, &another) != more)
            return false;
        if (!more)
            return true;
        if (!slice_equal(pair.name, another.name) || !slice_equal(pair.value, another.value))
            return false;
    }
}

static bool may_be_repeated(const struct text *params)
{
    struct fuzz_input in = {params->data, params->len};
    struct param pair;
    bool may = false;
    while (next_pair(&in, &pair)) {
        if (!slice_equal(pair.name, SLICE("REQUEST_METHOD")))
            continue;
        may = slice_equal(pair.value, SLICE("GET")) || slice_equal(pair.value, SLICE("HEAD"));
        if (!may)
            return false;
    }
    return may;
}

/* ---- answers ---- */

struct answer {
    unsigned id;
    struct text out, err;
    bool ended, taken;
    char end[8];
};

struct answers {
    struct answer list[REQUESTS];
    size_t n;
};

static struct answer *open_answer(struct answers *answers, unsigned id)
{
    for (size_t i = 0; i < answers->n; i++)
        if (answers->list[i].id == id && !answers->list[i].ended)
            return &answers->list[i];
    if (answers->n == REQUESTS)
        return NULL;
    answers->list[answers->n] = (struct answer){.id = id};
    return &answers->list[answers->n++];
}

static void read_answers(const struct model_end *app, struct answers *answers)
{
    struct fuzz_input in = {app->sent, app->nsent};
    struct wire_record record;
    while (next_record(&in, &record) && record.version == 1) {
        bool is_end = record.type == FCGI_END_REQUEST;
        if (record.type != FCGI_STDOUT && record.type != FCGI_STDERR && !is_end)
            continue;
        struct answer *answer = open_answer(answers, record.id);
        if (!answer || (is_end && record.content.len != 8))
            return;
        if (!is_end) {
            add(record.type == FCGI_STDOUT ? &answer->out : &answer->err, record.content);
            continue;
        }
        answer->ended = true;
        memcpy(answer->end, record.content.data, 5);
    }
}

static bool has_ended(const struct model_end *app, unsigned id)
{
    struct fuzz_input in = {app->sent, app->nsent};
    struct wire_record record;
    while (next_record(&in, &record))
        if (record.type == FCGI_END_REQUEST && record.id == id)
            return true;
    return false;
}

static void free_answers(struct answers *answers)
{
    for (size_t i = 0; i < answers->n; i++) {
        free(answers->list[i].out.data);
        free(answers->list[i].err.data);
    }
    answers->n = 0;
}

/* The application's answer of just these bytes, which nobody else has had. */
static bool take_answer(struct answers *answers, size_t n, const struct answer *wanted)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < answers[i].n; k++) {
            struct answer *answer = &answers[i].list[k];
            if (!answer->ended || answer->taken || !same_text(&answer->out, &wanted->out) ||
                !same_text(&answer->err, &wanted->err) || memcmp(answer->end, wanted->end, 5) != 0)
                continue;
            answer->taken = true;
            return true;
        }
    return false;
}

static bool is_page(const struct answer *answer)
{
    static const int statuses[] = {400, 403, 431, 502, 503, 504};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        char page[PAGE_MAX];
        struct slice text = {page, page_format(page, statuses[i])};
        if (slice_equal(text, (struct slice){answer->out.data, answer->out.len}))
            return answer->err.len == 0 && memcmp(answer->end, "\0\0\0\0\0", 5) == 0;
    }
    return false;
}

/* What the client has got until here, for who looks into a finding. */
static void show(const struct model_end *front, const struct wire_record *last, const struct answer *answer)
{
    struct fuzz_input in = {front->got, front->ngot};
    struct wire_record record;
    while (next_record(&in, &record)) {
        fprintf(stderr, "type %u id %u, %zu bytes%s\n", record.type, record.id, record.content.len,
                record.content.data == last->content.data ? ": this" : "");
    }
    fprintf(stderr, "%zu bytes of an answer, %zu of errors, protocol status %d\n", answer->out.len,
            answer->err.len, answer->end[4]);
}

static void check_client(const struct model_end *front, const struct seen *seen, struct answers *answers,
                         size_t n)
{
    struct fuzz_input in = {front->got, front->ngot};
    struct wire_record record;
    struct answer now = {.id = 0};
    while (next_record(&in, &record)) {
        FUZZ_CHECK(record.version == 1, "the client gets another version");
        for (size_t i = 0; i < record.padding.len; i++)
            FUZZ_CHECK(record.padding.data[i] == 0, "the client gets bytes as padding");
        if (record.id == 0)
            continue;
        bool known = false;
        for (size_t i = 0; i < seen->n; i++)
            known = known || seen->list[i].id == record.id;
        FUZZ_CHECK(known, "the client gets an answer to what it did not ask");
        if (record.type != FCGI_END_REQUEST) {
            FUZZ_CHECK(record.type == FCGI_STDOUT || record.type == FCGI_STDERR, "not for a client");
            FUZZ_CHECK(now.id == 0 || now.id == record.id, "two answers at a time");
            now.id = record.id;
            add(record.type == FCGI_STDOUT ? &now.out : &now.err, record.content);
            continue;
        }
        FUZZ_CHECK(record.content.len == 8, "the client gets a bad END_REQUEST");
        memcpy(now.end, record.content.data, 5);
        if (now.id != 0 && now.id != record.id) {
            FUZZ_CHECK(now.end[4] != FCGI_REQUEST_COMPLETE, "another request ends well amid an answer");
            continue;
        }
        /* Who asks for an end gets one, of whatever it had; an answer may not be counted for that. */
        bool asked = seen->aborted[record.id % sizeof(seen->aborted)];
        bool whole = asked || take_answer(answers, n, &now);
        if (now.end[4] != FCGI_REQUEST_COMPLETE && !whole)
            continue; /* of a second request with this id, while the first one runs */
        if (!(whole || is_page(&now)))
            show(front, &record, &now);
        FUZZ_CHECK(whole || is_page(&now),
                   "the client gets a clean end of an answer that no application ended");
        now.out.len = now.err.len = 0;
        now.id = 0;
    }
    free(now.out.data);
    free(now.err.data);
}

size_t model_count_ends(const struct model_end *front)
{
    struct fuzz_input in = {front->got, front->ngot};
    struct wire_record record;
    size_t n = 0;
    while (next_record(&in, &record))
        n += record.type == FCGI_END_REQUEST && record.content.data[4] == FCGI_REQUEST_COMPLETE;
    return n;
}

/* ---- together ---- */

static void check_request(const struct seen_request *r, const struct seen *clients, size_t n,
                          const struct seen *applications, size_t napplications)
{
    size_t allowed = 0, there = 0;
    bool whole = false;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < clients[i].n; k++) {
            const struct seen_request *c = &clients[i].list[k];
            if (!c->params_ended || c->role != r->role || !same_params(&c->params, &r->params))
                continue;
            allowed += may_be_repeated(&c->params) ? 2 : 1;
            whole = whole || (is_complete(c) && (r->role == FCGI_AUTHORIZER || same_text(&c->in, &r->in)) &&
                              (r->role != FCGI_FILTER || same_text(&c->data, &r->data)));
        }
    for (size_t i = 0; i < napplications; i++)
        for (size_t k = 0; k < applications[i].n; k++) {
            const struct seen_request *a = &applications[i].list[k];
            there += a->params_ended && a->role == r->role && same_params(&a->params, &r->params);
        }
    FUZZ_CHECK(allowed > 0, "the application gets parameters that no client sent");
    FUZZ_CHECK(there <= allowed, "the application gets a request too often");
    FUZZ_CHECK(whole || !is_complete(r), "the application gets a complete request that no client completed");
}

void model_check(const struct model *model)
{
    static struct seen clients[MODEL_ENDS], applications[MODEL_ENDS];
    static struct answers answers[MODEL_ENDS];
    for (size_t i = 0; i < model->nfronts; i++)
        read_client(&model->fronts[i], &clients[i]);
    for (size_t i = 0; i < model->napps; i++) {
        read_application(&model->apps[i], &applications[i]);
        read_answers(&model->apps[i], &answers[i]);
    }
    for (size_t i = 0; i < model->napps; i++)
        for (size_t k = 0; k < applications[i].n; k++)
            if (applications[i].list[k].params_ended)
                check_request(&applications[i].list[k], clients, model->nfronts, applications, model->napps);
    for (size_t i = 0; i < model->nfronts; i++)
        check_client(&model->fronts[i], &clients[i], answers, model->napps);
    for (size_t i = 0; i < model->nfronts; i++) {
        free_seen(&clients[i]);
        memset(clients[i].aborted, 0, sizeof(clients[i].aborted));
    }
    for (size_t i = 0; i < model->napps; i++) {
        free_seen(&applications[i]);
        free_answers(&answers[i]);
    }
}

void model_free(struct model *model)
{
    for (size_t i = 0; i < MODEL_ENDS; i++) {
        free(model->fronts[i].sent);
        free(model->fronts[i].got);
        free(model->apps[i].sent);
        free(model->apps[i].got);
    }
    *model = (struct model){.nfronts = 0};
}
