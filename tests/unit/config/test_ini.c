/*
 * The INI syntax: what the visitor is told, what is refused, and that length makes no difference.
 */
#include "support.h"

#include "config/ini.h"

struct visit {
    FILE *out;
};

static void on_section(void *user, struct slice name, unsigned line)
{
    struct visit *visit = user;
    fprintf(visit->out, "%u[%.*s]\n", line, (int)name.len, name.data);
}

static void on_value(void *user, struct slice key, struct slice value, unsigned line, bool continued)
{
    struct visit *visit = user;
    if (continued)
        fprintf(visit->out, "%u+{%.*s}\n", line, (int)value.len, value.data);
    else
        fprintf(visit->out, "%u{%.*s}{%.*s}\n", line, (int)key.len, key.data, (int)value.len, value.data);
}

/* Sections, values and then messages, one line each; malloc'ed. */
static char *read_ini(const char *bytes, size_t length)
{
    char *text = NULL;
    size_t size = 0;
    struct messages messages = {0};
    struct lines lines;
    struct visit visit = {open_memstream(&text, &size)};
    const struct ini_visitor visitor = {on_section, on_value, &visit};
    write_bytes(INI, bytes, length);
    assert_int_equal(lines_open(&lines, INI, &messages), 0);
    ini_read(&lines, &visitor);
    lines_close(&lines);
    char *said = join_messages(&messages);
    fputs(said, visit.out);
    fclose(visit.out);
    free(said);
    messages_free(&messages);
    return text;
}

struct row {
    const char *what;
    const char *text;
    const char *expected;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *got = read_ini(rows[i].text, strlen(rows[i].text));
        check_text(slice_of(got), slice_of(rows[i].expected), rows[i].what);
        free(got);
    }
}

static void test_syntax(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"nothing", "", ""},
        {"key and value", "[a]\nk = v\n", "1[a]\n2{k}{v}\n"},
        {"no white space", "[a]\nk=v", "1[a]\n2{k}{v}\n"},
        {"colon", "[a]\nk: v:w=x\n", "1[a]\n2{k}{v:w=x}\n"},
        {"equals inside", "[a]\nk = v=w\n", "1[a]\n2{k}{v=w}\n"},
        {"white space around all", "[ a  b ] \n\nk \t=\t v w \t\n", "1[a  b]\n3{k}{v w}\n"},
        {"CRLF", "[a]\r\nk = v\r\n l \r\n", "1[a]\n2{k}{v}\n3+{l}\n"},
        {"byte order mark", "\xEF\xBB\xBF[a]\nk = v\n", "1[a]\n2{k}{v}\n"},
        {"empty value", "[a]\nk =\nl = ;c\n", "1[a]\n2{k}{}\n3{l}{}\n"},
        {"empty sections", "[a]\n[b]\n[a]\n[]\n", "1[a]\n2[b]\n3[a]\n4[]\n"},
        {"comments", "# c\n; c\n[a] ; c\n  # c\n\t; c\n#k = v\nk = v ; c\n", "3[a]\n7{k}{v}\n"},
        {"comment right behind ]", "[a];c\n", "1[a]\n"},
        {"no comments", "[a]\nk = v # w\nl = v;w\nm =;w\nn = \"a ;b\"\n",
         "1[a]\n2{k}{v # w}\n3{l}{v;w}\n4{m}{;w}\n5{n}{\"a}\n"},
        {"comment behind TAB", "[a]\nk = v\t;c\n", "1[a]\n2{k}{v}\n"},
        {"continuation", "[a]\nk = v\n w ; c\n\tx\n", "1[a]\n2{k}{v}\n3+{w}\n4+{x}\n"},
        {"continuation behind comments and empty lines", "[a]\nk = v\n# c\n\n  # c\n w\n",
         "1[a]\n2{k}{v}\n6+{w}\n"},
        {"continuation with = and :", "[a]\nk =\n w = x\n 2001:db8::/32\n",
         "1[a]\n2{k}{}\n3+{w = x}\n4+{2001:db8::/32}\n"},
        {"continuation in brackets", "[a]\nk = v\n [::1]:9000\n", "1[a]\n2{k}{v}\n3+{[::1]:9000}\n"},
        {"first key indented", "[a]\n  k = v\n", "1[a]\n2{k}{v}\n"},
        {"first section indented", "  [a]\nk = v\n", "1[a]\n2{k}{v}\n"},
        {"49 bytes of section", "[a23456789 123456789 123456789 123456789 123456789]\n",
         "1[a23456789 123456789 123456789 123456789 123456789]\n"},
        {"bracket in a value", "[a]\nk = [v]\n", "1[a]\n2{k}{[v]}\n"},
    };
    check_rows(rows, COUNT(rows));
}

#define OUTSIDE    "outside of any section; write a section such as [realip] above it\n"
#define NO_EQUALS  "no \"=\" in this line; write KEY = VALUE, and \"#\" in front of a comment\n"
#define NO_KEY     "no key in front of \"=\"; write KEY = VALUE\n"
#define BARE       "an address without a key; to continue the list above it, indent this line\n"
#define NO_BRACKET "the section's name has no end; write \"]\" behind it\n"
#define BEHIND     "text behind \"]\"; put it on a line of its own, a comment behind \" ;\"\n"
#define INDENTED   "a section begins at the start of a line; remove the white space in front of it\n"

static void test_errors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"no =", "[a]\nword\nk = v\n", "1[a]\n3{k}{v}\nE2: \"word\": " NO_EQUALS},
        {"= in a comment", "[a]\nword ; k = v\n", "1[a]\nE2: \"word ; k = v\": " NO_EQUALS},
        {"no key", "[a]\n= v\n: v\n", "1[a]\nE2: \"= v\": " NO_KEY "E3: \": v\": " NO_KEY},
        {"outside", "k = v\n\nl = w\n w\n[a]\n", "5[a]\nE1: \"k = v\": " OUTSIDE "E3: \"l = w\": " OUTSIDE},
        {"bare IPv4 block", "[a]\nk = v\n10.0.0.0/8\n", "1[a]\n2{k}{v}\nE3: \"10.0.0.0/8\": " BARE},
        {"bare IPv6 block, which has colons", "[a]\nk = v\n2001:db8::/32 ; c\n",
         "1[a]\n2{k}{v}\nE3: \"2001:db8::/32 ; c\": " BARE},
        {"below a bad line nothing is continued", "[a]\nk = v\nword\n w\nl = x\n y\n",
         "1[a]\n2{k}{v}\n5{l}{x}\n6+{y}\nE3: \"word\": " NO_EQUALS},
        {"no ]", "[a\nk = v\n", "1[a]\n2{k}{v}\nE1: \"[a\": " NO_BRACKET},
        {"] in a comment", "[a ;]\nk = v\n", "1[a]\n2{k}{v}\nE1: \"[a ;]\": " NO_BRACKET},
        {"text behind ]", "[a] b\nk = v\n", "1[a]\n2{k}{v}\nE1: \"b\": " BEHIND},
        {"# behind ]", "[a] # b\n", "1[a]\nE1: \"# b\": " BEHIND},
        {"indented section", "[a]\nk = v\n [b]\nl = w\n",
         "1[a]\n2{k}{v}\n3[b]\n4{l}{w}\nE3: \"[b]\": " INDENTED},
        {"50 bytes of section",
         "[a]\n[a23456789 123456789 123456789 123456789 1234567890]\nk = v\nword\n[b]\nl = w\n",
         "1[a]\n5[b]\n6{l}{w}\nE2: \"a23456789 123456789 123456789 123456789 1234567890\": the section's "
         "name has 50 "
         "bytes; use at most 49\nE4: \"word\": " NO_EQUALS},
        {"control character in a key line", "[a]\nk = v\nl\001 = v\n w\n",
         "1[a]\n2{k}{v}\nE3: control character 0x01 in column 2; remove it\n"},
        {"control character in a section", "[a]\nk = v\n[b\001]\nl = w\n[c]\nm = x\n",
         "1[a]\n2{k}{v}\n5[c]\n6{m}{x}\nE3: control character 0x01 in column 3; remove it\n"},
        {"control character in a comment", "# \001\n[a]\nk = v\n",
         "2[a]\n3{k}{v}\nE1: control character 0x01 in column 3; remove it\n"},
        {"all of them", "k = v\n[a\nword\n= v\n[b] c\n",
         "2[a]\n5[b]\nE1: \"k = v\": " OUTSIDE "E2: \"[a\": " NO_BRACKET "E3: \"word\": " NO_EQUALS
         "E4: \"= v\": " NO_KEY "E5: \"c\": " BEHIND},
    };
    check_rows(rows, COUNT(rows));
}

/* inih's buffer holds 200 bytes: around that border, and far behind it, nothing may change. */
static void test_every_length(void **state)
{
    (void)state;
    static const char *const forms[][2] = {
        {"[a]\nk = %s\n", "1[a]\n2{k}{%s}\n"},
        {"[a]\nk=%s \t; comment = : [x]\n", "1[a]\n2{k}{%s}\n"},
        {"[a]\nk =\n  %s  \n w\n", "1[a]\n2{k}{}\n3+{%s}\n4+{w}\n"},
        {"[a]\n# %s\nk = v\n", "1[a]\n3{k}{v}\n"},
        {"[a] ; %1$s\nk = v ; %1$s\n", "1[a]\n2{k}{v}\n"},
    };
    static char value[12001];
    static char text[40000];
    static char expected[40000];
    for (size_t length = 1; length <= 12000; length = length < 420 ? length + 1 : length + 1447) {
        /* Words, "=", ":" and "[" throughout, as inih would see them at the start of a cut-off tail. */
        for (size_t i = 0; i < length; i++)
            value[i] = "10.0.0.0/8,2001:db8::/32 [::1]=x ;"[(i * 7 + length) % 33];
        value[0] = 'a';
        value[length - 1] = 'z';
        for (size_t i = 1; i < length; i++)
            value[i] = value[i] == ';' ? '.' : value[i];
        value[length] = '\0';
        for (size_t form = 0; form < COUNT(forms); form++) {
            int size = snprintf(text, sizeof text, forms[form][0], value, value);
            snprintf(expected, sizeof expected, forms[form][1], value);
            char *got = read_ini(text, (size_t)size);
            check_text(slice_of(got), slice_of(expected), forms[form][0]);
            free(got);
        }
    }
}

static void test_long_keys_and_sections(void **state)
{
    (void)state;
    char name[401];
    char text[1000];
    char cut[84];
    char expected[1000];
    for (size_t length = 190; length <= 400; length++) {
        memset(name, 'n', length);
        name[length] = '\0';
        snprintf(cut, sizeof cut, "%.80s...", name);
        snprintf(text, sizeof text, "[a]\n%s = v\n w\nk = v\n", name);
        char *got = read_ini(text, strlen(text));
        /* inih can take it or not; either way it is one line, and nothing of it is lost silently. */
        snprintf(expected, sizeof expected, "1[a]\n2{%s}{v}\n3+{w}\n4{k}{v}\n", name);
        if (strcmp(got, expected) != 0) {
            assert_true(length > 194);
            snprintf(expected, sizeof expected, "1[a]\n4{k}{v}\nE2: \"%s\": no key is so long\n", cut);
            check_text(slice_of(got), slice_of(expected), "long key");
        }
        free(got);

        snprintf(text, sizeof text, "[%s]\nk = v\n", name);
        got = read_ini(text, strlen(text));
        snprintf(expected, sizeof expected, "E1: \"%s\": the section's name has %zu bytes; use at most 49\n",
                 cut, length);
        check_text(slice_of(got), slice_of(expected), "long section");
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_long_keys_and_sections),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
