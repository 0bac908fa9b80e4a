#include "relay/refusal.h"

#include <stdio.h>

#include "fastcgi/record.h"

struct page {
    int status;
    const char *reason;
    const char *text;
};

static const struct page pages[] = {
    {400, "Bad Request", "The request's client address cannot be determined."},
    {403, "Forbidden", "Access from this address is not allowed."},
    {431, "Request Header Fields Too Large", "The request's header is too large."},
    {502, "Bad Gateway", "The application did not answer."},
    {503, "Service Unavailable", "The service is busy. Please try again."},
    {504, "Gateway Timeout", "The application did not answer in time."},
};

size_t refusal_encode(char *out, uint16_t id, int status)
{
    const struct page *page = &pages[0];
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (pages[i].status == status)
            page = &pages[i];
    const size_t room = REFUSAL_MAX - 2 * RECORD_HEADER - RECORD_FIXED;
    int n =
        snprintf(out + RECORD_HEADER, room, "Status: %d %s\r\nContent-Type: text/plain\r\n%s\r\n%d %s\n%s\n",
                 page->status, page->reason, page->status == 503 ? "Retry-After: 1\r\n" : "", page->status,
                 page->reason, page->text);
    size_t len = (size_t)n;
    record_encode(out, FCGI_STDOUT, id, (uint16_t)len, 0);
    char *at = out + RECORD_HEADER + len;
    record_encode(at, FCGI_STDOUT, id, 0, 0);
    record_encode_end(at + RECORD_HEADER, id, 0, FCGI_REQUEST_COMPLETE);
    return len + 2 * RECORD_HEADER + RECORD_FIXED;
}
