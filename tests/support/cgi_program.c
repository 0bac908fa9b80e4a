/*
 * A CGI program for the end-to-end tests. QUERY_STRING says what it does with its body:
 *
 *   echo     answers with it while it comes
 *   flood=N  answers with N bytes before it reads any of it, then with its length
 *   count    reads all of it, then answers with its length
 *   ignore   does not read it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(1, data, len);
        if (n <= 0)
            exit(1);
        data += n;
        len -= (size_t)n;
    }
}

static size_t count_body(int echo)
{
    static char chunk[16384];
    size_t total = 0;
    ssize_t n;
    while ((n = read(0, chunk, sizeof(chunk))) > 0) {
        total += (size_t)n;
        if (echo)
            put(chunk, (size_t)n);
    }
    return n < 0 ? 0 : total;
}

static void flood(size_t len)
{
    static char chunk[16384];
    memset(chunk, 'x', sizeof(chunk));
    for (size_t n; len > 0; len -= n) {
        n = len < sizeof(chunk) ? len : sizeof(chunk);
        put(chunk, n);
    }
}

int main(void)
{
    const char *what = getenv("QUERY_STRING");
    char text[32];
    if (!what)
        return 3;
    if (strcmp(what, "count") == 0) {
        snprintf(text, sizeof(text), "\r\n\r\n%zu", count_body(0));
        put("Content-Type: text/plain", 24);
        put(text, strlen(text));
        return 0;
    }
    put("Content-Type: text/plain\r\n\r\n", 28);
    if (strcmp(what, "echo") == 0) {
        count_body(1);
    } else if (strncmp(what, "flood=", 6) == 0) {
        flood(strtoul(what + 6, NULL, 10));
        snprintf(text, sizeof(text), "%zu", count_body(0));
        put(text, strlen(text));
    } else {
        put("ignored", 7);
    }
    return 0;
}
