/*
 * The INI file. Whatever it says, there is either a configuration or an error that names the file; and what
 * check -v prints of a configuration is a file that means the same.
 *
 * Host names have the addresses of the unit tests; nothing is asked of the network. Of other files there are
 * only trust files, all alike, whose names end in ".txt". Input: the file.
 */
#include "../unit/config/names.h"

#include <errno.h>
#include <fcntl.h>

#include "config/config.h"
#include "files.h"

int __real_open(const char *path, int flags);
int __wrap_open(const char *path, int flags);

/* What src/config opens, see CMakeLists.txt: what lies on this machine is not to be read. */
int __wrap_open(const char *path, int flags)
{
    static const char list[] = "192.0.2.0/24\n2001:db8::/32 # two\n";
    size_t len = strlen(path);
    if (len > 4 && strcmp(path + len - 4, ".txt") == 0) {
        int fd = memfd_create("list", MFD_CLOEXEC);
        FUZZ_CHECK(fd >= 0 && pwrite(fd, list, sizeof(list) - 1, 0) > 0, "memfd_create");
        return fd;
    }
    if (strncmp(path, "/proc/self/fd/", 14) == 0 && strspn(path + 14, "0123456789") == len - 14)
        return __real_open(path, flags);
    errno = ENOENT;
    return -1;
}

/* To be freed. */
static struct slice print(const struct config *config)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FUZZ_CHECK(out, "no memory");
    config_print(config, out);
    fclose(out);
    return (struct slice){text, len};
}

static void check_messages(const struct messages *messages, const struct config *config)
{
    size_t errors = 0;
    for (size_t i = 0; i < messages->count; i++) {
        const struct message *message = &messages->list[i];
        FUZZ_CHECK(message->text && message->text[0] == '/', "a message that names no file");
        for (const char *c = message->text; *c; c++)
            FUZZ_CHECK(((unsigned char)*c >= 0x20 && *c != 0x7f) || *c == '\t',
                       "a control character in a message");
        errors += message->error;
    }
    FUZZ_CHECK(errors == messages->errors, "miscounted");
    FUZZ_CHECK((config != NULL) == (errors == 0), "neither a configuration nor an error, or both");
}

static struct config *load(struct slice text)
{
    struct messages messages = {0};
    struct config *config = config_load(files_write(text), &messages);
    check_messages(&messages, config);
    messages_free(&messages);
    return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = load((struct slice){(const char *)data, size});
    if (!config)
        return 0;
    struct slice printed = print(config);
    /* A secret is a comment there, and a command line of started programs stays a part of the file. */
    bool whole = !memmem(printed.data, printed.len, "# require_param", strlen("# require_param"));
    struct config *again = load(printed);
    FUZZ_CHECK(again || !whole, "what is printed does not load");
    if (again && whole) {
        struct slice twice = print(again);
        if (!slice_equal(printed, twice))
            fprintf(stderr, "%.*s\n---- and then:\n%.*s\n", (int)printed.len, printed.data, (int)twice.len,
                    twice.data);
        FUZZ_CHECK(slice_equal(printed, twice), "what is printed means something else");
        free((char *)(uintptr_t)twice.data);
    }
    config_free(again);
    config_free(config);
    free((char *)(uintptr_t)printed.data);
    return 0;
}
