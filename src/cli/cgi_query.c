#include <stdlib.h>

#include "base/slice.h"
#include "cli/cgi.h"

#define COMPARED 3   /* bytes: as many as tell commands apart */
#define WHOLE    256 /* bytes: as many as tell files apart */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The first bytes of the text without backslashes, which Apache puts before what means something to a shell.
 */
static struct slice decode_beginning(struct slice text, bool percent, char *out, size_t most)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < most; i++) {
        char byte = text.data[i];
        if (percent && byte == '%' && i + 2 < text.len) {
            int high = hex_value(text.data[i + 1]), low = hex_value(text.data[i + 2]);
            if (high >= 0 && low >= 0) {
                byte = (char)(high * 16 + low);
                i += 2;
            }
        }
        if (byte == '\0')
            break;
        if (byte != '\\')
            out[len++] = byte;
    }
    return (struct slice){out, len};
}

/* most: bytes to compare, WHOLE at most. */
static bool is_word(const char *query, const char *argument, size_t most)
{
    char word[WHOLE], other[WHOLE];
    return slice_equal(decode_beginning((struct slice){query, strcspn(query, "+")}, true, word, most),
                       decode_beginning(slice_of(argument), false, other, most));
}

/* All arguments are the query's. */
static bool is_all(const char *query, int argc, char **argv)
{
    int words = 1;
    for (const char *at = query; *at; at++)
        words += *at == '+';
    /* Apache leaves out words beyond its limit. */
    if (words < argc - 1)
        return false;
    /* Some web servers leave out empty words. */
    return is_word(query, argv[1], COMPARED) || is_word(query + strspn(query, "+"), argv[1], COMPARED);
}

/* The last argument is the query's: somebody's own stand before it. Behind "--" it is not ours to read. */
static bool is_end(const char *query, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            return false;
    for (const char *at = query; *at; at += strspn(at, "+")) {
        if (is_word(at, argv[argc - 1], WHOLE))
            return true;
        at += strcspn(at, "+");
    }
    return false;
}

bool cgi_is_query(int argc, char **argv)
{
    const char *query = getenv("QUERY_STRING");
    if (argc < 2 || !getenv("GATEWAY_INTERFACE") || !query || strchr(query, '='))
        return false;
    return is_all(query, argc, argv) || is_end(query, argc, argv);
}
