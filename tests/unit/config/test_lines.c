/*
 * The line reader: any length, every kind of line end, nothing but text, nothing but regular files.
 */
#include "support.h"

#include <sys/wait.h>

#include "config/lines.h"

/* Reads test.ini; the lines in brackets, bad ones with "!", and then the messages. malloc'ed. */
static char *read_lines(const char *bytes, size_t length)
{
    struct messages messages = {0};
    struct lines lines;
    struct line line;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    write_bytes(INI, bytes, length);
    assert_int_equal(lines_open(&lines, INI, &messages), 0);
    while (lines_next(&lines, &line))
        fprintf(out, "%u%s[%.*s]\n", lines.number, line.bad ? "!" : "", (int)line.text.len, line.text.data);
    lines_close(&lines);
    char *said = join_messages(&messages);
    fputs(said, out);
    fclose(out);
    free(said);
    messages_free(&messages);
    return text;
}

/* SLICE for a static table: gcc takes a compound literal for no constant. */
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct slice bytes;
        const char *expected;
    } rows[] = {
        {"empty file", BYTES(""), ""},
        {"one line", BYTES("a\n"), "1[a]\n"},
        {"no end", BYTES("a\nb"), "1[a]\n2[b]\n"},
        {"empty lines", BYTES("\n\na\n"), "1[]\n2[]\n3[a]\n"},
        {"CRLF", BYTES("a\r\n\r\nb\r\n"), "1[a]\n2[]\n3[b]\n"},
        {"CR at the very end", BYTES("a\r"), "1[a]\n"},
        {"byte order mark", BYTES("\xEF\xBB\xBF[x]\n"), "1[[x]]\n"},
        {"byte order mark alone", BYTES("\xEF\xBB\xBF"), "1[]\n"},
        {"no byte order mark", BYTES("a\n\xEF\xBB\xBFz\n"), "1[a]\n2[\xEF\xBB\xBFz]\n"},
        {"white space stays", BYTES(" a\t \n"), "1[ a\t ]\n"},
        {"other languages", BYTES("# gr\xC3\xBC\xC3\x9F\n# gr\xFC\xDF\n"),
         "1[# gr\xC3\xBC\xC3\x9F]\n2[# gr\xFC\xDF]\n"},
        {"control character", BYTES("a\nb\033c\nd\n"),
         "1[a]\n2![b\033c]\n3[d]\nE2: control character 0x1b in column 2; remove it\n"},
        {"stand-in of the INI reader", BYTES("a = \001\n"),
         "1![a = \001]\nE1: control character 0x01 in column 5; remove it\n"},
        {"DEL", BYTES("\x7f\n"), "1![\x7f]\nE1: control character 0x7f in column 1; remove it\n"},
        {"CR inside", BYTES("a\rb\n"), "1![a\rb]\nE1: control character 0x0d in column 2; remove it\n"},
        {"form feed", BYTES("a\f\n"), "1![a\f]\nE1: control character 0x0c in column 2; remove it\n"},
        {"one message a line", BYTES("\001\002\003\n"),
         "1![\001\002\003]\nE1: control character 0x01 in column 1; remove it\n"},
        {"little-endian UTF-16", BYTES("\xFF\xFE[\0x\0]\0\n\0"),
         "E the file is in UTF-16; save it as UTF-8 or plain text\n"},
        {"big-endian UTF-16", BYTES("\xFE\xFF\0[\0x\0]\0\n"),
         "E the file is in UTF-16; save it as UTF-8 or plain text\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *got = read_lines(rows[i].bytes.data, rows[i].bytes.len);
        check_text(slice_of(got), slice_of(rows[i].expected), rows[i].what);
        free(got);
    }
}

static void test_nul(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct lines lines;
    struct line line;
    write_bytes(INI, "a\nb\0c\nd\n", 8);
    assert_int_equal(lines_open(&lines, INI, &messages), 0);
    assert_true(lines_next(&lines, &line));
    assert_false(line.bad);
    assert_true(lines_next(&lines, &line));
    assert_true(line.bad);
    assert_int_equal(line.text.len, 3);
    assert_true(lines_next(&lines, &line));
    assert_false(line.bad);
    assert_false(lines_next(&lines, &line));
    lines_close(&lines);
    check_messages(&messages, "E2: NUL byte in column 2; this is not a plain text file\n");
}

static void test_long_lines(void **state)
{
    (void)state;
    enum { LENGTH = 1000000 };
    char *bytes = malloc(LENGTH + 3);
    assert_non_null(bytes);
    memset(bytes, 'x', LENGTH);
    memcpy(bytes + LENGTH, "\ny\n", 3);
    struct messages messages = {0};
    struct lines lines;
    struct line line;
    write_bytes(INI, bytes, LENGTH + 3);
    assert_int_equal(lines_open(&lines, INI, &messages), 0);
    assert_true(lines_next(&lines, &line));
    assert_int_equal(line.text.len, LENGTH);
    assert_memory_equal(line.text.data, bytes, LENGTH);
    assert_true(lines_next(&lines, &line));
    assert_true(slice_equal(line.text, SLICE("y")));
    assert_int_equal(lines.number, 2);
    assert_false(lines_next(&lines, &line));
    lines_close(&lines);
    check_messages(&messages, "");
    free(bytes);
}

static int try_open(const char *path)
{
    struct messages messages = {0};
    struct lines lines;
    int error = lines_open(&lines, path, &messages);
    if (error != 0)
        assert_null(lines.file);
    lines_close(&lines);
    lines_close(&lines); /* copes with being called again */
    check_messages(&messages, "");
    return error;
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    assert_int_equal(try_open("nothing"), -ENOENT);
    assert_int_equal(try_open("/tmp"), -EISDIR);
    assert_int_equal(try_open("/dev/null"), -EINVAL);
    /* Without a writer, a careless open would wait for one for ever. */
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(try_open("fifo"), -EINVAL);
    assert_string_equal(lines_reason(-ENOENT), "No such file or directory");
    assert_string_equal(lines_reason(-EISDIR), "it is a folder");
    assert_string_equal(lines_reason(-EINVAL), "it is not a regular file");
}

/* Root may read everything, so the attempt is made as somebody else. */
static void test_unreadable(void **state)
{
    (void)state;
    write_text(INI, "a\n");
    assert_int_equal(chmod(INI, 0), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct messages messages = {0};
        struct lines lines;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(1);
        _exit(lines_open(&lines, INI, &messages) == -EACCES ? 42 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_int_equal(unlink(INI), 0);
}

static void test_read_error(void **state)
{
    (void)state;
    struct messages messages = {0};
    struct lines lines;
    struct line line;
    write_text(INI, "a\nb\n");
    assert_int_equal(lines_open(&lines, INI, &messages), 0);
    assert_true(lines_next(&lines, &line));
    /* The folder in its place makes the next read fail, as a broken disk would. */
    int folder = open(".", O_RDONLY | O_DIRECTORY);
    assert_true(dup2(folder, fileno(lines.file)) >= 0);
    close(folder);
    while (lines_next(&lines, &line))
        continue;
    lines_close(&lines);
    check_messages(&messages, "E2: cannot read on after this line: Is a directory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),      cmocka_unit_test(test_nul),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_read_error),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
