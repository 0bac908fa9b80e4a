/* See bench.h. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

void bench_die(const char *format, ...)
{
    va_list arguments;
    int error = errno;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (error != 0)
        fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(2);
}

static struct bench_address parse_unix(const char *path)
{
    struct bench_address result = {0};
    struct sockaddr_un *address = (struct sockaddr_un *)&result.address;
    size_t len = strlen(path);

    errno = 0;
    if (len == 0 || len >= sizeof(address->sun_path))
        bench_die("unix:%s: the path is empty or too long", path);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, len + 1);
    result.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return result;
}

struct bench_address bench_parse_address(const char *text)
{
    struct bench_address result = {0};
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(text, ':');
    const char *host = text;
    char buffer[64];

    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5);
    errno = 0;
    if (colon == NULL || (size_t)(colon - text) >= sizeof(buffer))
        bench_die("%s: not an address (unix:PATH, HOST:PORT, [V6]:PORT)", text);
    memcpy(buffer, text, (size_t)(colon - text));
    buffer[colon - text] = '\0';
    host = buffer;
    if (buffer[0] == '[' && colon[-1] == ']') {
        buffer[colon - text - 1] = '\0';
        host = buffer + 1;
    }
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        bench_die("%s: not an address (unix:PATH, HOST:PORT, [V6]:PORT)", text);
    memcpy(&result.address, found->ai_addr, found->ai_addrlen);
    result.length = found->ai_addrlen;
    freeaddrinfo(found);
    return result;
}

uint64_t bench_parse_number(const char *option, const char *text, uint64_t max)
{
    char *end = NULL;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > max) {
        errno = 0;
        bench_die("%s %s: not a number from 0 to %llu", option, text, (unsigned long long)max);
    }
    return value;
}

uint64_t bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void bench_put_header(uint8_t *wire, uint8_t type, uint16_t content, uint8_t padding)
{
    const uint8_t header[WIRE_HEADER] = {1,       type, 0, 1, (uint8_t)(content >> 8), (uint8_t)content,
                                         padding, 0};

    memcpy(wire, header, sizeof(header));
}

void bench_client(unsigned variant, char out[16])
{
    snprintf(out, 16, "203.0.113.%u", 1 + variant % BENCH_VARIANTS * 7);
}

void bench_peer(unsigned variant, char out[16])
{
    snprintf(out, 16, "10.0.7.%u", 1 + variant % BENCH_VARIANTS * 5);
}

static size_t put_length(uint8_t *wire, size_t len)
{
    if (len < 128) {
        wire[0] = (uint8_t)len;
        return 1;
    }
    wire[0] = (uint8_t)(len >> 24 | 0x80);
    wire[1] = (uint8_t)(len >> 16);
    wire[2] = (uint8_t)(len >> 8);
    wire[3] = (uint8_t)len;
    return 4;
}

static size_t put_pair(uint8_t *wire, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    size_t n = put_length(wire, name_len);

    n += put_length(wire + n, value_len);
    memcpy(wire + n, name, name_len);
    memcpy(wire + n + name_len, value, value_len);
    return n + name_len + value_len;
}

char *bench_forwarded(unsigned variant, size_t length)
{
    char client[16], *text = malloc(length + 80), *at = text;
    unsigned n = variant % BENCH_VARIANTS;

    if (text == NULL)
        bench_die("X-Forwarded-For of %zu bytes", length);
    bench_client(variant, client);
    for (unsigned i = 0; (size_t)(at - text) + 42 < length; i++)
        at += sprintf(at, "198.18.%u.%u, ", (n * 37 + i * 11) % 256, i % 256);
    sprintf(at, "%s, 172.16.44.%u, 198.51.100.%u", client, 1 + n * 3, 250 - n * 4);
    return text;
}

size_t bench_params(uint8_t *wire, unsigned variant, const char *forwarded_for, const char *script,
                    size_t body)
{
    char peer[16], length[24], port[8];
    unsigned n = variant % BENCH_VARIANTS;

    bench_peer(variant, peer);
    snprintf(length, sizeof(length), "%zu", body);
    snprintf(port, sizeof(port), "%u", 40000 + n * 101);
    const struct {
        const char *name, *value;
    } pairs[] = {
        {"QUERY_STRING", "page=3&sort=date"},
        {"REQUEST_METHOD", body > 0 ? "POST" : "GET"},
        {"CONTENT_TYPE", body > 0 ? "application/octet-stream" : ""},
        {"CONTENT_LENGTH", body > 0 ? length : ""},
        {"SCRIPT_NAME", "/index.php"},
        {"REQUEST_URI", "/articles/list?page=3&sort=date"},
        {"DOCUMENT_URI", "/index.php"},
        {"DOCUMENT_ROOT", "/var/www/example.com/public"},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"REQUEST_SCHEME", "https"},
        {"HTTPS", "on"},
        {"GATEWAY_INTERFACE", "CGI/1.1"},
        {"SERVER_SOFTWARE", "nginx/1.22.1"},
        {"REMOTE_ADDR", peer},
        {"REMOTE_PORT", port},
        {"SERVER_ADDR", "10.0.7.250"},
        {"SERVER_PORT", "443"},
        {"SERVER_NAME", "www.example.com"},
        {"REDIRECT_STATUS", "200"},
        {"SCRIPT_FILENAME", script != NULL ? script : "/var/www/example.com/public/index.php"},
        {"HTTP_HOST", "www.example.com"},
        {"HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0"},
        {"HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"},
        {"HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.7,de;q=0.3"},
        {"HTTP_ACCEPT_ENCODING", "gzip, deflate, br"},
        {"HTTP_REFERER", "https://www.example.com/articles/"},
        {"HTTP_COOKIE", "session=4f1c9ad2b7e8430fa1d26c05"},
        {"HTTP_X_FORWARDED_PROTO", "https"},
        {"HTTP_X_FORWARDED_FOR", forwarded_for},
    };
    size_t used = 0;

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        used += put_pair(wire + used, pairs[i].name, pairs[i].value);
    return used;
}

uint8_t *bench_body(size_t body, size_t *len)
{
    const size_t most = 32752;
    size_t records = (body + most - 1) / most;
    uint8_t *bytes, *at;

    *len = body + (records + 1) * WIRE_HEADER;
    at = bytes = malloc(*len);
    if (bytes == NULL)
        bench_die("body of %zu bytes", body);
    while (body > 0) {
        size_t content = body < most ? body : most;

        bench_put_header(at, WIRE_STDIN, (uint16_t)content, 0);
        memset(at + WIRE_HEADER, 'b', content);
        at += WIRE_HEADER + content;
        body -= content;
    }
    bench_put_header(at, WIRE_STDIN, 0, 0);
    return bytes;
}
