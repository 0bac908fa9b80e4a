#include "config/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "config/resolve.h"
#include "config/values.h"

#define ENDPOINT_FORMS "write unix:/PATH, HOST:PORT or [IPV6]:PORT"

static bool fail(struct endpoint_fault *fault, const char *why)
{
    snprintf(fault->text, sizeof fault->text, "%s", why);
    return false;
}

/* Takes a copy of text and address; false when memory is short. */
static bool append(struct endpoint **list, size_t *count, struct slice text, const void *address,
                   size_t length, struct endpoint_fault *fault)
{
    struct endpoint *grown = realloc(*list, (*count + 1) * sizeof *grown);
    if (!grown)
        return fail(fault, strerror(ENOMEM));
    *list = grown;
    struct endpoint *endpoint = &grown[*count];
    *endpoint = (struct endpoint){.text = strndup(text.data, text.len), .length = (socklen_t)length};
    if (!endpoint->text)
        return fail(fault, strerror(ENOMEM));
    memcpy(&endpoint->address, address, length);
    ++*count;
    return true;
}

static bool add_unix(struct slice text, struct slice path, bool listening, struct endpoint **list,
                     size_t *count, struct endpoint_fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path.len == 0)
        return fail(fault, "no path; " ENDPOINT_FORMS);
    if (path.len > sizeof address.sun_path - 1) {
        snprintf(fault->text, sizeof fault->text,
                 "the path has %zu bytes, a unix socket's at most %zu; shorten it", path.len,
                 sizeof address.sun_path - 1);
        return false;
    }
    memcpy(address.sun_path, path.data, path.len);
    if (path.data[0] == '/')
        return append(list, count, text, &address, sizeof address, fault);
    if (path.data[0] != '@')
        return fail(fault, "the path is not absolute; begin it with \"/\"");
    if (path.len == 1)
        return fail(fault, "no name behind \"@\"; write the abstract socket's name");
    if (listening)
        return fail(fault, "any user of this machine could connect to an abstract socket; listen on a path");
    address.sun_path[0] = '\0';
    return append(list, count, text, &address, offsetof(struct sockaddr_un, sun_path) + path.len, fault);
}

static bool add_ip(struct slice text, const struct address *ip, uint16_t port, struct endpoint **list,
                   size_t *count, struct endpoint_fault *fault)
{
    if (ip->kind == ADDRESS_V4) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
        address.sin_addr.s_addr = htonl((uint32_t)ip->lo);
        return append(list, count, text, &address, sizeof address, fault);
    }
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    for (unsigned i = 0; i < 8; i++) {
        address.sin6_addr.s6_addr[i] = (uint8_t)(ip->hi >> (56 - 8 * i));
        address.sin6_addr.s6_addr[8 + i] = (uint8_t)(ip->lo >> (56 - 8 * i));
    }
    return append(list, count, text, &address, sizeof address, fault);
}

static bool add_name(struct slice text, struct slice host, uint16_t port, struct endpoint **list,
                     size_t *count, struct endpoint_fault *fault)
{
    struct resolved resolved;
    if (!resolve_name(host, &resolved)) {
        snprintf(fault->text, sizeof fault->text, "cannot resolve the name: %s; " ENDPOINT_FORMS,
                 resolved.why);
        return false;
    }
    bool fine = true;
    for (size_t i = 0; fine && i < resolved.count; i++)
        fine = add_ip(text, &resolved.list[i], port, list, count, fault);
    resolve_free(&resolved);
    return fine;
}

static bool has_brackets(struct slice host)
{
    return host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
}

/* Splits at the last colon; an IPv6 address needs its brackets. */
static bool split_port(struct slice text, struct slice *host, uint16_t *port, struct endpoint_fault *fault)
{
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return fail(fault, "no port; " ENDPOINT_FORMS);
    *host = slice_part(text, 0, colon - 1);

    if (!has_brackets(*host) && memchr(host->data, ':', host->len))
        return fail(fault, "an IPv6 address needs brackets; write [IPV6]:PORT, as in [::1]:9000");
    uint64_t number;
    if (value_parse_number(slice_part(text, colon, text.len), &number) || number < 1 || number > 65535)
        return fail(fault, "the port is not a number from 1 to 65535; " ENDPOINT_FORMS);
    *port = (uint16_t)number;
    return true;
}

bool endpoint_add(struct slice text, bool listening, struct endpoint **list, size_t *count,
                  struct endpoint_fault *fault)
{
    static const char prefix[] = "unix:";
    if (text.len >= sizeof prefix - 1 && memcmp(text.data, prefix, sizeof prefix - 1) == 0)
        return add_unix(text, slice_part(text, sizeof prefix - 1, text.len), listening, list, count, fault);
    if (text.len > 0 && text.data[0] == '/')
        return fail(fault, "a path without its kind; write unix: in front of it");

    struct slice host;
    uint16_t port;
    if (!split_port(text, &host, &port, fault))
        return false;
    if (host.len == 0 || slice_equal(host, SLICE("*")))
        return fail(fault, "no address in front of the port; write 127.0.0.1:PORT for this machine alone, "
                           "0.0.0.0:PORT or [::]:PORT for all");
    struct address ip;
    bool brackets = has_brackets(host);
    if (brackets && address_parse(slice_part(host, 1, host.len - 1), &ip) && memchr(host.data, ':', host.len))
        return add_ip(text, &ip, port, list, count, fault);
    if (!brackets && address_parse(host, &ip))
        return add_ip(text, &ip, port, list, count, fault);
    if (brackets || !resolve_is_name(host))
        return fail(fault, "neither an address nor a host name; " ENDPOINT_FORMS);
    return add_name(text, host, port, list, count, fault);
}

bool endpoint_add_copy(const struct endpoint *endpoint, struct endpoint **list, size_t *count,
                       struct endpoint_fault *fault)
{
    return append(list, count, slice_of(endpoint->text), &endpoint->address, endpoint->length, fault);
}

bool endpoint_is_local(const struct endpoint *endpoint)
{
    if (endpoint->address.ss_family == AF_INET) {
        struct sockaddr_in address;
        memcpy(&address, &endpoint->address, sizeof address);
        return ntohl(address.sin_addr.s_addr) >> 24 == 127;
    }
    if (endpoint->address.ss_family == AF_INET6) {
        struct sockaddr_in6 address;
        memcpy(&address, &endpoint->address, sizeof address);
        return IN6_IS_ADDR_LOOPBACK(&address.sin6_addr);
    }
    return true;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->length == b->length && memcmp(&a->address, &b->address, a->length) == 0;
}

void endpoint_free_list(struct endpoint *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].text);
    free(list);
}
