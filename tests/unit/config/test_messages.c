/*
 * Errors and warnings: their text, their order, how they are printed.
 */
#include "support.h"

static void test_text(void **state)
{
    (void)state;
    struct messages messages = {0};
    messages_add(&messages, true, "a.ini", 12, "\"%s\": wrong", "x");
    messages_add(&messages, false, "a.ini", 0, "odd");
    assert_int_equal(messages.count, 2);
    assert_int_equal(messages.errors, 1);
    assert_true(messages.list[0].error);
    assert_string_equal(messages.list[0].text, "a.ini:12: \"x\": wrong");
    assert_false(messages.list[1].error);
    assert_string_equal(messages.list[1].text, "a.ini: odd");
    messages_free(&messages);
    assert_int_equal(messages.count, 0);
    assert_int_equal(messages.errors, 0);
    assert_null(messages.list);
}

static void test_print(void **state)
{
    (void)state;
    struct messages messages = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    messages_add(&messages, true, "a.ini", 12, "wrong");
    messages_add(&messages, false, "a.ini", 13, "odd");
    messages_print(&messages, out);
    fclose(out);
    assert_string_equal(text, "fcgi-realip: error: a.ini:12: wrong\n"
                              "fcgi-realip: warning: a.ini:13: odd\n");
    free(text);
    messages_free(&messages);
}

static void test_sort(void **state)
{
    (void)state;
    struct messages messages = {0};
    messages_add(&messages, true, INI, 99, "of an earlier file");
    messages_add(&messages, true, INI, 7, "first of 7");
    messages_add(&messages, false, INI, 7, "second of 7");
    messages_add(&messages, true, INI, 3, "of 3");
    messages.within = 5;
    messages_add(&messages, true, "list.txt", 80, "found because of line 5");
    messages_add(&messages, true, "list.txt", 2, "found because of line 5");
    messages.within = 0;
    messages_add(&messages, true, INI, 0, "of the file");
    messages_add(&messages, true, INI, 7, "third of 7");
    messages_sort(&messages, 1);
    check_messages(&messages, "E99: of an earlier file\n"
                              "E of the file\n"
                              "E3: of 3\n"
                              "Elist.txt:80: found because of line 5\n"
                              "Elist.txt:2: found because of line 5\n"
                              "E7: first of 7\n"
                              "W7: second of 7\n"
                              "E7: third of 7\n");
}

static void test_sort_of_nothing(void **state)
{
    (void)state;
    struct messages messages = {0};
    messages_sort(&messages, 0);
    check_messages(&messages, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_sort_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
