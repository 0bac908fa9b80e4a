#include "realip/accept.h"

static bool is_alpha(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* unreserved and sub-delims */
static bool is_name_char(char c)
{
    return is_alpha(c) || is_digit(c) || (c != '\0' && strchr("-._~!$&'()*+,;=", c) != NULL);
}

static bool equals_lower(struct slice text, struct slice lower)
{
    if (text.len != lower.len)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] | 0x20) != lower.data[i])
            return false;
    }
    return true;
}

bool accept_parse_proto(struct slice text, bool *https)
{
    *https = equals_lower(text, SLICE("https"));
    return *https || equals_lower(text, SLICE("http"));
}

/* The length of the reg-name (or IPv4 address, which is one by its letters) that text begins with. */
static size_t scan_name(struct slice text)
{
    size_t i = 0;

    while (i < text.len) {
        if (is_name_char(text.data[i]))
            i++;
        else if (text.data[i] == '%' && text.len - i > 2 && is_hex(text.data[i + 1]) &&
                 is_hex(text.data[i + 2]))
            i += 3;
        else
            break;
    }
    return i;
}

/* "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool is_future(struct slice text)
{
    size_t i = 1;

    if (text.len == 0 || (text.data[0] | 0x20) != 'v')
        return false;
    while (i < text.len && is_hex(text.data[i]))
        i++;
    if (i == 1 || i == text.len || text.data[i] != '.' || i + 1 == text.len)
        return false;
    for (i++; i < text.len; i++) {
        if (!is_name_char(text.data[i]) && text.data[i] != ':')
            return false;
    }
    return true;
}

/* The length of the "[...]" that text begins with, 0 if it is none. */
static size_t scan_literal(struct slice text)
{
    const char *close = memchr(text.data, ']', text.len);
    struct address address;

    if (close == NULL)
        return 0;
    struct slice inside = slice_part(text, 1, (size_t)(close - text.data));
    bool v6 = address_parse_unmapped(inside, &address) && address.kind == ADDRESS_V6;
    return v6 || is_future(inside) ? inside.len + 2 : 0;
}

bool accept_parse_host(struct slice text, struct slice *name)
{
    uint16_t port;

    if (text.len == 0)
        return false;
    size_t len = text.data[0] == '[' ? scan_literal(text) : scan_name(text);
    if (len == 0)
        return false;
    if (len < text.len &&
        (text.data[len] != ':' || !address_parse_port(slice_part(text, len + 1, text.len), &port)))
        return false;
    *name = slice_part(text, 0, len);
    return true;
}
