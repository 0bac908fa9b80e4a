/*
 * What every fuzz target has: libFuzzer's entry, bytes to draw decisions from, and checks that end the
 * process.
 *
 * A target holds the program's answer against what must be true of it; a crash is only one of the findings.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

/* Called with one input after the other, by libFuzzer, by AFL++'s driver, or by replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, which is what a fuzzer takes for a finding. */
#define FUZZ_CHECK(condition, what)                                                                          \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, (what));                                      \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* What is left of an input. */
struct fuzz_input {
    const char *at;
    size_t left;
};

static inline struct fuzz_input fuzz_input_new(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){(const char *)data, size};
}

/* The next byte, 0 at the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return (unsigned char)*input->at++;
}

/* The next n bytes, or as many as there are. */
static inline struct slice fuzz_bytes(struct fuzz_input *input, size_t n)
{
    struct slice bytes = {input->at, n < input->left ? n : input->left};
    input->at += bytes.len;
    input->left -= bytes.len;
    return bytes;
}

/* malloc that cannot fail; never of 0 bytes. */
static inline void *fuzz_alloc(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    FUZZ_CHECK(memory, "no memory");
    return memory;
}

/* A copy that is no longer than the bytes, so that a read over its end shows; to be freed. */
static inline char *fuzz_copy(struct slice bytes)
{
    char *copy = fuzz_alloc(bytes.len);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

#endif
