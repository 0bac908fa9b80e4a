#include "fastcgi/scanner.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Collects a header; NULL while it is incomplete. A header that lies whole in the chunk is used there. */
static char *collect_header(struct scanner *s, char *data, size_t len, size_t *at)
{
    char *head = data + *at;
    if (s->have == 0 && len - *at >= RECORD_HEADER) {
        *at += RECORD_HEADER;
        s->have = RECORD_HEADER;
        return head;
    }
    size_t n = smaller((size_t)(RECORD_HEADER - s->have), len - *at);
    char *collected = s->head[s->turn];
    memcpy(collected + s->have, head, n);
    s->have = (uint8_t)(s->have + n);
    *at += n;
    if (s->have < RECORD_HEADER)
        return NULL;
    s->turn ^= 1;
    return collected;
}

static bool begin_record(struct scanner *s, char *head, const struct scanner_owner *owner, void *context)
{
    s->record = record_decode(head);
    s->content_left = s->record.content;
    s->padding_left = s->record.padding;
    s->strip = s->record.content == 0 || (uint32_t)s->record.content + s->record.padding > RECORD_CONTENT;
    enum scan_verdict verdict = owner->header(context, &s->record);
    s->verdict = (uint8_t)verdict;
    if (verdict == SCAN_FAIL)
        return false;
    if (verdict == SCAN_PASS) {
        head[7] = 0;
        if (s->strip)
            head[6] = 0;
        if (s->pass_id != 0) {
            head[2] = (char)(s->pass_id >> 8);
            head[3] = (char)s->pass_id;
        }
        owner->pass(context, head, RECORD_HEADER);
    }
    return true;
}

static void walk_content(struct scanner *s, char *data, size_t len, size_t *at,
                         const struct scanner_owner *owner, void *context)
{
    size_t n = smaller(s->content_left, len - *at);
    if (n > 0) {
        if (s->verdict == SCAN_PASS)
            owner->pass(context, data + *at, n);
        else if (s->verdict == SCAN_TAKE)
            owner->take(context, &s->record, (struct slice){data + *at, n});
        s->content_left = (uint16_t)(s->content_left - n);
        *at += n;
    }
    if (s->content_left > 0)
        return;
    n = smaller(s->padding_left, len - *at);
    if (n > 0) {
        if (s->verdict == SCAN_PASS && !s->strip) {
            memset(data + *at, 0, n);
            owner->pass(context, data + *at, n);
        }
        s->padding_left = (uint8_t)(s->padding_left - n);
        *at += n;
    }
}

ptrdiff_t scanner_feed(struct scanner *s, char *data, size_t len, const struct scanner_owner *owner,
                       void *context)
{
    size_t at = 0;
    while (at < len) {
        if (s->have < RECORD_HEADER) {
            char *head = collect_header(s, data, len, &at);
            if (!head)
                break;
            if (!begin_record(s, head, owner, context))
                return -1;
        }
        walk_content(s, data, len, &at, owner, context);
        if (s->content_left > 0 || s->padding_left > 0)
            break;
        s->have = 0;
        if (!owner->complete(context, &s->record))
            break;
    }
    return (ptrdiff_t)at;
}
