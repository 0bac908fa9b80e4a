/*
 * For the tests of the configuration: files in a folder of their own, and what loading them says.
 *
 * Messages are compared as a whole, one line each: "E3: text" is an error in line 3 of test.ini, "W" a
 * warning, "E text" one without a line, "E/folder..." one in another file.
 */
#ifndef TESTS_CONFIG_SUPPORT_H
#define TESTS_CONFIG_SUPPORT_H

#include "realip_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

#define INI "test.ini"

static char support_folder[64];

/* The tests run inside a fresh folder. */
static inline int enter_folder(void **state)
{
    (void)state;
    snprintf(support_folder, sizeof support_folder, "/tmp/fcgi-realip-test-XXXXXX");
    /* Others may enter: one test reads as a user who may not read the file. */
    return mkdtemp(support_folder) && chmod(support_folder, 0755) == 0 ? chdir(support_folder) : -1;
}

static inline int leave_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", support_folder);
    return chdir("/") == 0 ? system(command) : -1;
}

static inline void write_bytes(const char *path, const char *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* The messages in short, malloc'ed. */
static inline char *join_messages(const struct messages *messages)
{
    static const char prefix[] = INI ":";
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    for (size_t i = 0; i < messages->count; i++) {
        const char *message = messages->list[i].text;
        if (strncmp(message, prefix, sizeof prefix - 1) == 0)
            message += sizeof prefix - 1;
        fprintf(out, "%c%s\n", messages->list[i].error ? 'E' : 'W', message);
    }
    fclose(out);
    return text;
}

static inline void check_messages_at(struct messages *messages, const char *expected, const char *file,
                                     int line)
{
    char *text = join_messages(messages);
    if (strcmp(text, expected) != 0)
        print_error("got:\n%swant:\n%s", text, expected);
    _assert_true(strcmp(text, expected) == 0, "messages", file, line);
    size_t errors = 0;
    for (size_t i = 0; i < messages->count; i++)
        errors += messages->list[i].error;
    _assert_int_equal(messages->errors, errors, file, line);
    free(text);
    messages_free(messages);
}
#define check_messages(messages, expected) check_messages_at(messages, expected, __FILE__, __LINE__)

/* Loads test.ini and compares all that is said; the caller frees what it gets. */
static inline struct config *load_at(const char *expected, const char *file, int line)
{
    struct messages messages = {0};
    struct config *config = config_load(INI, &messages);
    _assert_true((config != NULL) == (messages.errors == 0), "a configuration, or errors", file, line);
    check_messages_at(&messages, expected, file, line);
    return config;
}

static inline void check_load_at(const char *text, const char *expected, const char *file, int line)
{
    write_text(INI, text);
    config_free(load_at(expected, file, line));
}
/* What loading this text says. */
#define check_load(text, expected) check_load_at(text, expected, __FILE__, __LINE__)

static inline struct config *load_text_at(const char *text, const char *file, int line)
{
    write_text(INI, text);
    struct config *config = load_at("", file, line);
    _assert_true(config != NULL, "loads", file, line);
    return config;
}
/* A configuration that loads without a word. */
#define load_text(text) load_text_at(text, __FILE__, __LINE__)

/* What config_print says, malloc'ed. */
static inline char *print_text(const struct config *config)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_print(config, out);
    fclose(out);
    /* A copy, since gcc 12 takes what open_memstream allocates for the variable that it was stored in. */
    char *copy = strdup(text);
    assert_non_null(copy);
    free(text);
    return copy;
}

/* A group that satisfies everybody; two lines. */
#define GROUP "[proxy a]\ntrust = 192.0.2.1\n"

static inline void check_trusted(const struct config *config, const char *text, bool trusted)
{
    struct address address;
    assert_true(address_parse(slice_of(text), &address));
    check_number(cidr_set_find(config->policy->trust, &address) == 0, trusted, text);
}

#endif
