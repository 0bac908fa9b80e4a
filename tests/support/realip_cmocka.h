/*
 * cmocka and what its header wants before it, and assertions on slices that show the row of a table.
 */
#ifndef TESTS_REALIP_CMOCKA_H
#define TESTS_REALIP_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/slice.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static inline void check_text_at(struct slice got, struct slice want, const char *what, const char *file,
                                 int line)
{
    if (!slice_equal(got, want))
        print_error("%s: got \"%.*s\" (%zu bytes), want \"%.*s\" (%zu bytes)\n", what, (int)got.len,
                    got.len > 0 ? got.data : "", got.len, (int)want.len, want.len > 0 ? want.data : "",
                    want.len);
    _assert_true(slice_equal(got, want), "slice_equal", file, line);
}

/* Byte for byte; what names the row. */
#define check_text(got, want, what) check_text_at(got, want, what, __FILE__, __LINE__)

static inline void check_number_at(long long got, long long want, const char *what, const char *file,
                                   int line)
{
    if (got != want)
        print_error("%s: got %lld, want %lld\n", what, got, want);
    _assert_true(got == want, "equal", file, line);
}

#define check_number(got, want, what) check_number_at(got, want, what, __FILE__, __LINE__)

#endif
