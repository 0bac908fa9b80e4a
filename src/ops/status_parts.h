/*
 * The page for people, as src/ops/page/ has it, compiled into the program: see src/ops/page/embed.cmake.
 */
#ifndef OPS_STATUS_PARTS_H
#define OPS_STATUS_PARTS_H

#include <stddef.h>

#define STATUS_PART_HASH 32

struct status_part {
    const char *data;
    size_t len;
    unsigned char sha256[STATUS_PART_HASH];
};

extern const struct status_part
    status_part_html; /* with an empty <style> and an empty <script> for the others */
extern const struct status_part status_part_css;
extern const struct status_part status_part_js;

#endif
