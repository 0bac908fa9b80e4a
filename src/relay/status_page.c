#include "relay/status_page.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "fastcgi/record.h"
#include "ops/status.h"

/* Content of one of its records: a multiple of 8, as records without padding should have it. */
#define PIECE 65528

struct query {
    struct slice query, accept;
};

/* Of several copies the last one, as php reads them. The content has been decoded before. */
static struct query read_query(struct slice content)
{
    struct query found = {{NULL, 0}, {NULL, 0}};
    const char *at = content.data, *end = content.data + content.len;
    struct param param;
    while (at != end && (at = params_next(at, end, &param)) != NULL) {
        if (slice_equal(param.name, SLICE("QUERY_STRING")))
            found.query = param.value;
        else if (slice_equal(param.name, SLICE("HTTP_ACCEPT")))
            found.accept = param.value;
    }
    return found;
}

/* malloc'ed; NULL without memory. */
static struct status_file *list_files(const struct config *config, size_t *count)
{
    struct config_trust_file file;
    size_t n = 0;
    while (config_find_trust_file(config, n, NULL, &file))
        n++;
    struct status_file *files = calloc(n + 1, sizeof(*files));
    if (!files)
        return NULL;
    for (*count = 0; *count < n && config_find_trust_file(config, *count, NULL, &file); ++*count)
        files[*count] = (struct status_file){file.path, file.group, file.entries, (uint64_t)file.modified};
    return files;
}

/* 0 or -ENOMEM; *text is malloc'ed. */
static int render(struct relay *relay, struct slice content, char **text, size_t *len)
{
    struct status status;
    relay_publish(relay);
    status_gather(&status, relay->metrics, (uint64_t)time(NULL), poller_clock(&relay->poller));
    struct status_file *files = list_files(relay->config, &status.nfiles);
    FILE *out = files ? open_memstream(text, len) : NULL;
    if (!out) {
        free(files);
        return -ENOMEM;
    }
    status.files = files;
    struct query query = read_query(content);
    status_answer(out, status_choose(query.query, query.accept), &status);
    bool failed = ferror(out);
    failed = fclose(out) != 0 || failed;
    free(files);
    return failed ? -ENOMEM : 0;
}

static int append_records(struct buffer *out, uint16_t id, struct slice text)
{
    char wire[RECORD_FIXED];
    while (text.len > 0) {
        size_t len = text.len < PIECE ? text.len : PIECE;
        record_encode(wire, FCGI_STDOUT, id, (uint16_t)len, 0);
        if (buffer_append(out, wire, RECORD_HEADER) < 0 || buffer_append(out, text.data, len) < 0)
            return -ENOMEM;
        text = slice_part(text, len, text.len);
    }
    record_encode(wire, FCGI_STDOUT, id, 0, 0);
    if (buffer_append(out, wire, RECORD_HEADER) < 0)
        return -ENOMEM;
    record_encode_end(wire, id, 0, FCGI_REQUEST_COMPLETE);
    return buffer_append(out, wire, RECORD_FIXED);
}

int status_page_make(struct relay *relay, uint16_t id, struct slice content, struct buffer *out)
{
    char *text = NULL;
    size_t len = 0;
    int rc = render(relay, content, &text, &len);
    if (rc == 0)
        rc = append_records(out, id, (struct slice){text, len});
    if (rc < 0)
        buffer_free(out);
    free(text);
    return rc;
}
