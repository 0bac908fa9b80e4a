#include "realip/list.h"

struct slice list_trim(struct slice text)
{
    while (text.len > 0 && list_is_space(text.data[text.len - 1]))
        text.len--;
    while (text.len > 0 && list_is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    return text;
}

bool list_previous(struct slice value, size_t *at, struct slice *element)
{
    size_t end = *at;

    while (end > 0 && (value.data[end - 1] == ',' || list_is_space(value.data[end - 1])))
        end--;
    const char *comma = end > 0 ? memrchr(value.data, ',', end) : NULL;
    size_t start = comma != NULL ? (size_t)(comma - value.data) + 1 : 0;
    while (start < end && list_is_space(value.data[start]))
        start++;
    *at = start;
    if (start == end)
        return false;
    *element = slice_part(value, start, end);
    return true;
}
