/*
 * A fuzz target without a fuzzer: gives it every file that is named, and every file of every folder that is
 * named. What once was a finding, and what reached code that nothing else did, is so tested with any
 * compiler.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t replayed;

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file, path);
    char *text = NULL;
    size_t len = 0, room = 0, n;
    do {
        room = room * 2 + 4096;
        text = realloc(text, room);
        FUZZ_CHECK(text, "no memory");
        n = fread(text + len, 1, room - len, file);
        len += n;
    } while (n > 0);
    FUZZ_CHECK(!ferror(file), path);
    fclose(file);
    /* As long as the input and no longer, so that sanitizers see its end. */
    char *exact = fuzz_copy((struct slice){text, len});
    free(text);
    /* The last line of output names the input that ended us. */
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput((const uint8_t *)exact, len);
    free(exact);
    replayed++;
}

static void replay_folder(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    FUZZ_CHECK(n >= 0, path);
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay_file(name);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat status;
        FUZZ_CHECK(stat(argv[i], &status) == 0, argv[i]);
        if (S_ISDIR(status.st_mode))
            replay_folder(argv[i]);
        else
            replay_file(argv[i]);
    }
    FUZZ_CHECK(replayed > 0, "no input");
    printf("%zu inputs\n", replayed);
    return 0;
}
