/*
 * Error pages: what is answered in the application's stead, as a CGI response (RFC 3875 section 6.3).
 *
 * Pure and thread-safe.
 */
#ifndef BASE_PAGE_H
#define BASE_PAGE_H

#include <stddef.h>
#include <stdio.h>

#define PAGE_MAX 400 /* bytes; more than any page has */

struct page {
    int status;
    const char *reason;
    const char *text;
};

/*
 * Writes a page into out, PAGE_MAX bytes; returns its length, the NUL behind it not counted.
 */
static inline size_t page_print(char *out, const struct page *page)
{
    int n = snprintf(out, PAGE_MAX, "Status: %d %s\r\nContent-Type: text/plain\r\n%s\r\n%d %s\n%s\n",
                     page->status, page->reason, page->status == 503 ? "Retry-After: 1\r\n" : "",
                     page->status, page->reason, page->text);
    return (size_t)n;
}

/*
 * Writes the page of a status into out, PAGE_MAX bytes; returns its length, the NUL behind it not counted.
 * status: 400, 403, 431, 502, 503 (with Retry-After) or 504; any other is answered as 400.
 */
static inline size_t page_format(char *out, int status)
{
    static const struct page pages[] = {
        {400, "Bad Request", "The request's client address cannot be determined."},
        {403, "Forbidden", "Access from this address is not allowed."},
        {431, "Request Header Fields Too Large", "The request's header is too large."},
        {502, "Bad Gateway", "The application did not answer."},
        {503, "Service Unavailable", "The service is busy. Please try again."},
        {504, "Gateway Timeout", "The application did not answer in time."},
    };
    const struct page *page = &pages[0];
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (pages[i].status == status)
            page = &pages[i];
    return page_print(out, page);
}

#endif
