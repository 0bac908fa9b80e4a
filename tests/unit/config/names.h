/*
 * A getaddrinfo of the tests' own, in place of the C library's: no test asks the network. To be included by
 * one file of a test program.
 */
#ifndef TESTS_CONFIG_NAMES_H
#define TESTS_CONFIG_NAMES_H

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    const char *addresses[4];
} known_names[] = {
    {"localhost", {"127.0.0.1", "::1", "127.0.0.1", NULL}},
    {"lb.example", {"192.0.2.7", "2001:db8::7", NULL, NULL}},
    {"mapped.example", {"::ffff:192.0.2.9", NULL, NULL, NULL}},
    {"my_proxy", {"192.0.2.8", NULL, NULL, NULL}},
    {"header", {"192.0.2.66", NULL, NULL, NULL}},
};

static unsigned lookups; /* how many names were asked for */
static bool names_fail;  /* the name servers do not answer */

static struct addrinfo *make_info(const char *text, struct addrinfo *next)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in6 address;
    } *made = calloc(1, sizeof *made);
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (is_v4)
        memcpy(&made->address, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&made->address, &v6, sizeof v6);
    made->info.ai_family = is_v4 ? AF_INET : AF_INET6;
    made->info.ai_addr = (struct sockaddr *)&made->address;
    made->info.ai_addrlen = is_v4 ? sizeof v4 : sizeof v6;
    made->info.ai_next = next;
    return &made->info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service;
    (void)hints;
    lookups++;
    if (names_fail)
        return EAI_AGAIN;
    for (size_t i = 0; i < sizeof known_names / sizeof *known_names; i++) {
        if (strcmp(name, known_names[i].name) != 0)
            continue;
        *out = NULL;
        for (size_t j = 4; j-- > 0;) {
            if (known_names[i].addresses[j])
                *out = make_info(known_names[i].addresses[j], *out);
        }
        return 0;
    }
    return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

#endif
