/*
 * A request's parameters on their way: decoded, decided on, rewritten, and encoded for the application.
 *
 * The rewrite is held against the oracle and against the properties that unit tests have; what goes out, on
 * the wire, against what came in. Input: the number of a policy, then the content of a PARAMS stream.
 */
#include "fuzz.h"
#include "relay/encode.h"
#include "rewrite_checks.h"

#define POLICIES 48
#define PAIRS    512

static struct random_policy policies[POLICIES];

static const struct random_policy *policy_of(unsigned number)
{
    struct random_policy *policy = &policies[number % POLICIES];
    if (!policy->policy) {
        struct random_source source = random_source_new(20, number % POLICIES);
        random_policy_make(policy, &source);
    }
    return policy;
}

/* ---- decoding ---- */

/* FastCGI specification 3.4, straight on: false where the content ends too early. */
static bool read_length(struct fuzz_input *in, size_t *len)
{
    if (in->left == 0)
        return false;
    size_t bytes = (unsigned char)*in->at < 128 ? 1 : 4;
    if (in->left < bytes)
        return false;
    *len = 0;
    for (size_t i = 0; i < bytes; i++)
        *len = *len * 256 + fuzz_byte(in);
    *len &= 0x7fffffff;
    return true;
}

static bool read_pair(struct fuzz_input *in, struct param *pair)
{
    size_t name_len, value_len;
    if (!read_length(in, &name_len) || !read_length(in, &value_len) || name_len > in->left)
        return false;
    pair->name = fuzz_bytes(in, name_len);
    if (value_len > in->left)
        return false;
    pair->value = fuzz_bytes(in, value_len);
    return true;
}

static void check_decoding(struct slice content)
{
    static struct param pairs[PAIRS];
    struct fuzz_input in = {content.data, content.len};
    size_t n = 99;
    enum params_error error = params_decode(content, pairs, PAIRS, &n);
    for (size_t i = 0; i < n; i++) {
        struct param want;
        FUZZ_CHECK(read_pair(&in, &want), "a pair that is not there");
        FUZZ_CHECK(pairs[i].name.data == want.name.data && pairs[i].name.len == want.name.len, "name");
        FUZZ_CHECK(pairs[i].value.data == want.value.data && pairs[i].value.len == want.value.len, "value");
    }
    if (error == PARAMS_OK)
        FUZZ_CHECK(in.left == 0, "bytes are left");
    else if (error == PARAMS_TOO_MANY)
        FUZZ_CHECK(n == PAIRS && in.left > 0, "too many, but not more than there is room");
    else
        FUZZ_CHECK(!read_pair(&in, &pairs[0]), "an end that is none");
}

/* ---- deciding and rewriting ---- */

static struct random_request request_of(struct slice content)
{
    struct random_request request = {oracle_alloc(PAIRS * sizeof(struct param)), 0};
    if (params_decode(content, request.params, PAIRS, &request.n) != PARAMS_OK)
        request.n = 0;
    return request;
}

/* No header of an untrusted peer changes anything: without all of them the answer is the same. */
static void check_untrusted(const struct random_policy *policy, const struct random_request *request,
                            const struct applied *got)
{
    if (got->decision.trusted || policy->has_secret || policy->policy->untrusted_headers != HEADERS_STRIP)
        return;
    struct random_request bare = {oracle_alloc(request->n * sizeof(struct param)), 0};
    for (size_t i = 0; i < request->n; i++) {
        struct name_match match = policy_match_name(policy->policy, request->params[i].name);
        bool is_header = (match.kind >= NAME_REALIP && match.kind <= NAME_X_FORWARDED_HOST) || match.alias;
        if (!is_header)
            bare.params[bare.n++] = request->params[i];
    }
    struct applied without = applied_request(policy->policy, policy->workspace, bare.params, bare.n);
    FUZZ_CHECK(without.n == got->n, "an untrusted peer's header adds or drops a parameter");
    for (size_t i = 0; i < got->n; i++)
        FUZZ_CHECK(slice_equal(got->params[i].name, without.params[i].name) &&
                       slice_equal(got->params[i].value, without.params[i].value),
                   "an untrusted peer's header changes a parameter");
}

static void check_rewrite(const struct random_policy *policy, const struct random_request *request)
{
    struct oracle_answer want = oracle_decide(&policy->oracle, request->params, request->n);
    oracle_rewrite(&policy->oracle, request->params, request->n, &want);
    struct applied got = applied_request(policy->policy, policy->workspace, request->params, request->n);
    const char *fault = rewrite_find_fault(policy, request, &got, &want);
    if (fault) {
        random_print_policy(policy, stderr);
        random_print_params("request", request->params, request->n, stderr);
        random_print_params("real", got.params, got.n, stderr);
        random_print_params("oracle", want.out, want.nout, stderr);
    }
    FUZZ_CHECK(!fault, fault);
    FUZZ_CHECK(got.decision.rejected == want.rejected, "rejected or not");
    FUZZ_CHECK(strcmp(reason_word(got.decision.reason), want.reason) == 0, "another reason");
    struct applied twice = applied_request(policy->policy, policy->workspace, got.params, got.n);
    FUZZ_CHECK(!rewrite_must_be_stable(policy) || rewrite_same_client(&got, &twice),
               "a second pass changed the answer");
    check_untrusted(policy, request, &got);
}

/* ---- encoding ---- */

/* The next record's content; its header must be one of PARAMS with this id. */
static struct slice next_record(struct fuzz_input *wire, uint16_t id)
{
    FUZZ_CHECK(wire->left >= RECORD_HEADER, "a record is cut short");
    struct record record = record_decode(fuzz_bytes(wire, RECORD_HEADER).data);
    FUZZ_CHECK(record.version == 1 && record.type == FCGI_PARAMS && record.id == id && record.padding == 0,
               "not a PARAMS record");
    FUZZ_CHECK(wire->left >= record.content, "a record is cut short");
    return fuzz_bytes(wire, record.content);
}

/* Each record by itself, as php reads them; no pair here is longer than a record. */
static size_t read_wire(struct slice bytes, uint16_t id, struct param *pairs, size_t room)
{
    struct fuzz_input wire = {bytes.data, bytes.len};
    size_t total = 0, n;
    fuzz_bytes(&wire, RECORD_FIXED);
    for (;;) {
        struct slice content = next_record(&wire, id);
        if (content.len == 0)
            break;
        FUZZ_CHECK(params_decode(content, pairs + total, room - total, &n) == PARAMS_OK,
                   "a record ends inside a pair");
        total += n;
    }
    FUZZ_CHECK(wire.left == 0, "bytes behind the end of the parameters");
    return total;
}

static void check_encoding(const struct random_policy *policy, struct slice content,
                           const struct random_request *plain)
{
    static struct known known;
    if (known_read(&known, policy->policy, content, false) != PARAMS_OK)
        return;
    struct decision decision;
    struct rewrite rewrite;
    decide_request(policy->policy, known.params, known.n, policy->workspace, &decision);
    FUZZ_CHECK(
        rewrite_params(policy->policy, known.params, known.n, &decision, policy->workspace, &rewrite) == 0,
        "no memory");
    const struct encode_request request = {
        .id = 0x102, .role = FCGI_RESPONDER, .content = content, .known = &known, .rewrite = &rewrite};
    struct buffer scratch = {0}, wire = {0};
    struct gather gather;
    gather_clear(&gather);
    FUZZ_CHECK(encode_request(&request, &scratch, &gather) == 0, "no memory");
    FUZZ_CHECK(buffer_append_gather(&wire, &gather, 0) == 0, "no memory");
    static struct param pairs[PAIRS + REWRITE_MAX_ADDED];
    size_t n = read_wire((struct slice){wire.data + wire.start, wire.len}, 0x102, pairs,
                         sizeof(pairs) / sizeof(*pairs));
    /* What goes over the wire, made of the few parameters that are known, is what all of them give. */
    struct applied want = applied_request(policy->policy, policy->workspace, plain->params, plain->n);
    FUZZ_CHECK(n == want.n, "the application gets another number of parameters");
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(slice_equal(pairs[i].name, want.params[i].name) &&
                       slice_equal(pairs[i].value, want.params[i].value),
                   "the application gets another parameter");
    buffer_free(&wire);
    buffer_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_new(data, size);
    const struct random_policy *policy = policy_of(fuzz_byte(&input));
    struct slice content = oracle_copy((struct slice){input.at, input.left});
    check_decoding(content);
    struct random_request request = request_of(content);
    if (request.n > 0) {
        check_rewrite(policy, &request);
        check_encoding(policy, content, &request);
    }
    oracle_reset();
    return 0;
}
