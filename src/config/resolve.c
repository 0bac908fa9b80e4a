#include "config/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 253
#define LABEL_MAX    63

/* NUL-terminated in out, which has NAME_MAX_LEN + 1 bytes. */
static void copy_name(struct slice name, char *out)
{
    memcpy(out, name.data, name.len);
    out[name.len] = '\0';
}

bool resolve_is_name(struct slice text)
{
    if (text.len == 0 || text.len > NAME_MAX_LEN)
        return false;
    size_t label = 0;
    bool letters = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool edge = label == 0 || i + 1 == text.len || text.data[i + 1] == '.';
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (!letter && !(c >= '0' && c <= '9') && !((c == '-' || c == '_') && !(edge && c == '-')))
            return false;
        letters = letters || letter;
        if (++label > LABEL_MAX)
            return false;
    }

    char name[NAME_MAX_LEN + 1];
    struct in_addr number;
    copy_name(text, name);
    return letters && inet_aton(name, &number) == 0;
}

static bool take_address(const struct addrinfo *info, struct address *out)
{
    char text[INET6_ADDRSTRLEN];
    const void *raw = NULL;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (info->ai_family == AF_INET) {
        memcpy(&v4, info->ai_addr, sizeof v4);
        raw = &v4.sin_addr;
    } else if (info->ai_family == AF_INET6) {
        memcpy(&v6, info->ai_addr, sizeof v6);
        raw = &v6.sin6_addr;
    }
    return raw && inet_ntop(info->ai_family, raw, text, sizeof text) && address_parse(slice_of(text), out);
}

static bool has_address(const struct resolved *resolved, const struct address *address)
{
    for (size_t i = 0; i < resolved->count; i++) {
        if (address_equal(&resolved->list[i], address))
            return true;
    }
    return false;
}

bool resolve_name(struct slice name, struct resolved *resolved)
{
    *resolved = (struct resolved){0};
    char host[NAME_MAX_LEN + 1];
    copy_name(name, host);

    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0) {
        resolved->why = error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error);
        return false;
    }
    size_t count = 0;
    for (const struct addrinfo *info = found; info; info = info->ai_next)
        count++;
    resolved->list = calloc(count, sizeof *resolved->list);
    for (const struct addrinfo *info = found; resolved->list && info; info = info->ai_next) {
        struct address address;
        if (take_address(info, &address) && !has_address(resolved, &address))
            resolved->list[resolved->count++] = address;
    }
    freeaddrinfo(found);
    if (resolved->count > 0)
        return true;
    resolved->why = resolved->list ? "it has no address" : strerror(ENOMEM);
    resolve_free(resolved);
    return false;
}

void resolve_free(struct resolved *resolved)
{
    free(resolved->list);
    resolved->list = NULL;
    resolved->count = 0;
}
