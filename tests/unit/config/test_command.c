/*
 * A program and its arguments as one line of text.
 */
#include "realip_cmocka.h"

#include <stdlib.h>

#include "config/command.h"

#define OPEN    "a quote is not closed; close it, and mind that \" ;\" begins a comment between quotes, too"
#define NOTHING "names no program; write its path, then its arguments"

/* The words of a vector, each in brackets; malloc'ed. */
static char *join(char *const *command)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    for (; *command; command++)
        fprintf(out, "[%s]", *command);
    fclose(out);
    return text;
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words; /* NULL: refused */
        const char *why;
    } rows[] = {
        {"x", "[x]", NULL},
        {"/usr/bin/php-cgi", "[/usr/bin/php-cgi]", NULL},
        {"/usr/bin/php-cgi -b  1\t-d\t \tx=y ", "[/usr/bin/php-cgi][-b][1][-d][x=y]", NULL},
        {"  a b", "[a][b]", NULL},
        {"\"a b\" 'c d'", "[a b][c d]", NULL},
        {"a\"b c\"d'e f'", "[ab cde f]", NULL},
        {"a \"it's\" 'say \"x\"'", "[a][it's][say \"x\"]", NULL},
        {"a '' \"\" b", "[a][][][b]", NULL},
        {"a ''", "[a][]", NULL},
        {"a b\"\"", "[a][b]", NULL},
        {"a \\' $HOME", NULL, OPEN},
        {"a \\ \\n $HOME * ~ | & > (x) ; #", "[a][\\][\\n][$HOME][*][~][|][&][>][(x)][;][#]", NULL},
        {"a,b, c", "[a,b,][c]", NULL},
        {"\xc3\xa9 \xff", "[\xc3\xa9][\xff]", NULL},
        {"a \"b", NULL, OPEN},
        {"a b'", NULL, OPEN},
        {"\"", NULL, OPEN},
        {"a \"b'", NULL, OPEN},
        {"", NULL, NOTHING},
        {" \t ", NULL, NOTHING},
        {"''", NULL, NOTHING},
        {"\"\" x", NULL, NOTHING},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        /* Of exactly this size, so that a byte too much is found. */
        size_t length = strlen(rows[i].text);
        char *text = malloc(length > 0 ? length : 1);
        assert_non_null(text);
        memcpy(text, rows[i].text, length);
        const char *why = "not set";
        char **command = command_split((struct slice){text, length}, &why);
        free(text);
        check_number(command != NULL, rows[i].words != NULL, rows[i].text);
        if (command) {
            assert_null(why);
            char *words = join(command);
            assert_string_equal(words, rows[i].words);
            free(words);
        } else {
            assert_string_equal(why, rows[i].why);
        }
        command_free(command);
    }
}

static void test_copy(void **state)
{
    (void)state;
    char one[] = "one";
    char empty[] = "";
    char *words[] = {one, empty, one, NULL};
    char **copy = command_copy(words);
    assert_non_null(copy);
    for (size_t i = 0; i < COUNT(words) - 1; i++) {
        assert_string_equal(copy[i], words[i]);
        assert_ptr_not_equal(copy[i], words[i]);
    }
    assert_null(copy[3]);
    command_free(copy);
    copy = command_copy(words + 3);
    assert_non_null(copy);
    assert_null(copy[0]);
    command_free(copy);
    command_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
