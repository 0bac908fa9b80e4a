/*
 * The record scanner: a stream cut into chunks, some of it taken past the scanner as splice(2) does, against
 * a plain reading of the whole stream at once.
 *
 * Input: the seed of the cuts, the id that passing records get (0, 1 or 258), then the stream. What becomes
 * of a record, its type says.
 */
#include "fastcgi/scanner.h"
#include "fuzz.h"

struct output {
    char *passed;
    size_t npassed;
    char *taken; /* pieces, one behind the other */
    size_t ntaken;
    size_t complete; /* records */
    size_t stopped;  /* of them, so many stopped the scanner */
    bool failed;
};

static enum scan_verdict verdict_of(const struct record *record)
{
    if (record->version > 127)
        return SCAN_FAIL;
    static const enum scan_verdict verdicts[] = {SCAN_PASS, SCAN_SKIP, SCAN_TAKE, SCAN_PASS};
    return verdicts[record->type & 3];
}

static void append(char *to, size_t *len, const char *data, size_t n)
{
    if (n > 0)
        memcpy(to + *len, data, n);
    *len += n;
}

static enum scan_verdict on_header(void *context, const struct record *record)
{
    (void)context;
    return verdict_of(record);
}

static void on_pass(void *context, char *data, size_t len)
{
    struct output *out = context;
    append(out->passed, &out->npassed, data, len);
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct output *out = context;
    FUZZ_CHECK(verdict_of(record) == SCAN_TAKE, "a record is taken that should not be");
    append(out->taken, &out->ntaken, piece.data, piece.len);
}

static bool on_complete(void *context, const struct record *record)
{
    struct output *out = context;
    out->complete++;
    out->stopped += record->type >= 128;
    return record->type < 128;
}

static const struct scanner_owner owner = {on_header, on_pass, on_take, on_complete};

static struct output output_new(size_t size)
{
    return (struct output){.passed = fuzz_alloc(size), .taken = fuzz_alloc(size)};
}

static void output_free(struct output *out)
{
    free(out->passed);
    free(out->taken);
}

/* FastCGI specification 3.3, straight on. True: the stream ends between two records. */
static bool read_plainly(struct slice stream, uint16_t id, struct output *out)
{
    size_t at = 0;
    while (stream.len - at >= 8) {
        unsigned char head[8];
        memcpy(head, stream.data + at, 8);
        size_t content = head[4] * 256u + head[5], padding = head[6];
        size_t room = stream.len - at - 8;
        const struct record record = {.version = head[0], .type = head[1]};
        bool strip = content == 0 || content + padding > 65535;
        out->failed = verdict_of(&record) == SCAN_FAIL;
        if (out->failed)
            return false;
        if (verdict_of(&record) == SCAN_PASS) {
            static const char zeros[255];
            head[2] = id ? (unsigned char)(id / 256) : head[2];
            head[3] = id ? (unsigned char)(id % 256) : head[3];
            head[6] = strip ? 0 : head[6];
            head[7] = 0;
            append(out->passed, &out->npassed, (char *)head, 8);
            append(out->passed, &out->npassed, stream.data + at + 8, content < room ? content : room);
            if (content < room && !strip)
                append(out->passed, &out->npassed, zeros,
                       padding < room - content ? padding : room - content);
        } else if (verdict_of(&record) == SCAN_TAKE) {
            append(out->taken, &out->ntaken, stream.data + at + 8, content < room ? content : room);
        }
        if (content + padding > room)
            return false;
        at += 8 + content + padding;
        out->complete++;
        out->stopped += head[1] >= 128;
    }
    return at == stream.len;
}

static unsigned next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Feeds the stream in pieces; true: it ends between two records. */
static bool read_in_pieces(struct slice stream, uint16_t id, uint32_t cuts, struct output *out)
{
    struct scanner scanner = {.pass_id = id};
    size_t at = 0;
    while (at < stream.len) {
        size_t most = scanner_passing(&scanner), left = stream.len - at;
        if (most > 0 && next(&cuts) % 2) {
            size_t n = 1 + next(&cuts) % most;
            n = n < left ? n : left;
            append(out->passed, &out->npassed, stream.data + at, n);
            scanner_bypass(&scanner, n);
            if (scanner_at_boundary(&scanner))
                on_complete(out, &scanner.record);
            at += n;
            continue;
        }
        size_t n = cuts == 0 ? left : 1 + next(&cuts) % (next(&cuts) % 4 ? 12 : 300);
        n = n < left ? n : left;
        char *chunk = fuzz_copy(slice_part(stream, at, at + n));
        ptrdiff_t used = scanner_feed(&scanner, chunk, n, &owner, out);
        free(chunk);
        out->failed = used < 0;
        if (out->failed)
            return false;
        FUZZ_CHECK(used > 0 && (size_t)used <= n, "consumed what was not there");
        FUZZ_CHECK((size_t)used == n || out->stopped > 0, "stopped unasked");
        at += (size_t)used;
    }
    return scanner_at_boundary(&scanner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ids[] = {0, 1, 258};
    struct fuzz_input input = fuzz_input_new(data, size);
    uint32_t cuts = fuzz_byte(&input);
    uint16_t id = ids[fuzz_byte(&input) % 3];
    struct slice stream = {input.at, input.left};
    struct output want = output_new(stream.len), got = output_new(stream.len);
    bool want_whole = read_plainly(stream, id, &want);
    bool got_whole = read_in_pieces(stream, id, cuts, &got);
    FUZZ_CHECK(got.failed == want.failed, "failed where it should not, or not where it should");
    FUZZ_CHECK(got_whole == want_whole, "the end is a record's end, or not");
    FUZZ_CHECK(got.complete == want.complete && got.stopped == want.stopped, "other records");
    FUZZ_CHECK(got.npassed == want.npassed && memcmp(got.passed, want.passed, got.npassed) == 0,
               "other bytes pass");
    FUZZ_CHECK(got.ntaken == want.ntaken && memcmp(got.taken, want.taken, got.ntaken) == 0,
               "other bytes are taken");
    output_free(&want);
    output_free(&got);
    return 0;
}
