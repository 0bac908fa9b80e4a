/*
 * bench-program: the CGI program of the benchmark. Answers as bench-responder does: REMOTE_ADDR in the first
 * line, 1,024 bytes in one write. Linked statically, it needs a millisecond's fraction: what is measured is
 * who starts it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

int main(void)
{
    const char *address = getenv("REMOTE_ADDR");
    char answer[1024];
    int n = snprintf(answer, sizeof(answer), BENCH_ANSWER "%.45s\r\nContent-Type: text/plain\r\n\r\n",
                     address != NULL ? address : "none");

    memset(answer + n, 'x', sizeof(answer) - (size_t)n);
    return write(STDOUT_FILENO, answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1;
}
