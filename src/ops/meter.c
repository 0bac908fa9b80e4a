#include "ops/meter.h"

#include <strings.h>

/* ---- the CGI header ---- */

/* What stands behind the name, in any case; NULL: the line is another one. */
static const char *match_name(const struct meter *meter, const char *name)
{
    size_t length = strlen(name);
    return meter->nline >= length && strncasecmp(meter->line, name, length) == 0 ? meter->line + length
                                                                                 : NULL;
}

/* Three digits, and no fourth. */
static void read_status(struct meter *meter, const char *at)
{
    const char *end = meter->line + meter->nline;
    unsigned status = 0;
    int digits = 0;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    for (; at < end && *at >= '0' && *at <= '9'; at++, digits++)
        status = 10 * status + (unsigned)(*at - '0');
    if (digits == 3 && status >= 100)
        meter->status = status;
}

static void end_line(struct meter *meter)
{
    const char *value;
    if (meter->nline == 0 || (meter->nline == 1 && meter->line[0] == '\r'))
        meter->in_body = true;
    else if ((value = match_name(meter, "Status:")))
        read_status(meter, value);
    else if (match_name(meter, "Location:"))
        meter->located = true;
    meter->nline = 0;
}

/* Returns how many bytes belong to the header. */
static size_t take_header(struct meter *meter, const char *data, size_t len)
{
    size_t at = 0;
    while (at < len && !meter->in_body) {
        const char *end = memchr(data + at, '\n', len - at);
        size_t piece = end ? (size_t)(end - data) - at : len - at;
        size_t room = sizeof meter->line - meter->nline;
        size_t kept = piece < room ? piece : room;
        memcpy(meter->line + meter->nline, data + at, kept);
        meter->nline = (uint8_t)(meter->nline + kept);
        at += piece;
        if (end) {
            at++;
            end_line(meter);
        }
    }
    return at;
}

/* ---- records ---- */

static size_t take_head(struct meter *meter, const char *data, size_t len)
{
    size_t want = RECORD_HEADER - meter->nhead;
    size_t n = len < want ? len : want;
    memcpy(meter->head + meter->nhead, data, n);
    meter->nhead = (uint8_t)(meter->nhead + n);
    if (n < want)
        return n;
    struct record record = record_decode(meter->head);
    meter->nhead = 0;
    meter->is_stdout = record.type == FCGI_STDOUT;
    meter->content = record.content;
    meter->padding = record.padding;
    return n;
}

static void take_content(struct meter *meter, const char *data, size_t len)
{
    if (meter->is_stdout)
        meter->body += len - (meter->in_body ? 0 : take_header(meter, data, len));
    meter->content = (uint16_t)(meter->content - len);
}

void meter_take(struct meter *meter, const char *data, size_t len)
{
    while (len > 0) {
        size_t n = len;
        if (meter->content > 0) {
            n = n < meter->content ? n : meter->content;
            take_content(meter, data, n);
        } else if (meter->padding > 0) {
            n = n < meter->padding ? n : meter->padding;
            meter->padding = (uint16_t)(meter->padding - n);
        } else {
            n = take_head(meter, data, n);
        }
        data += n;
        len -= n;
    }
}

void meter_skip(struct meter *meter, size_t len)
{
    size_t n = len < meter->content ? len : meter->content;
    if (meter->is_stdout) {
        meter->in_body = true; /* a header of which a part is unseen has no end */
        meter->body += n;
    }
    meter->content = (uint16_t)(meter->content - n);
}

unsigned meter_status(const struct meter *meter)
{
    if (meter->status != 0)
        return meter->status;
    return meter->located ? 302 : 200;
}
