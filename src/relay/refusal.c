#include "relay/refusal.h"

#include "base/page.h"
#include "fastcgi/record.h"

size_t refusal_encode(char *out, uint16_t id, int status)
{
    _Static_assert(PAGE_MAX + 2 * RECORD_HEADER + RECORD_FIXED <= REFUSAL_MAX, "a page fits into a refusal");
    size_t len = page_format(out + RECORD_HEADER, status);
    record_encode(out, FCGI_STDOUT, id, (uint16_t)len, 0);
    char *at = out + RECORD_HEADER + len;
    record_encode(at, FCGI_STDOUT, id, 0, 0);
    record_encode_end(at + RECORD_HEADER, id, 0, FCGI_REQUEST_COMPLETE);
    return len + 2 * RECORD_HEADER + RECORD_FIXED;
}
