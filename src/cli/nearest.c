#include "cli/nearest.h"

#include "config/values.h"

struct nearest nearest_start(struct slice word)
{
    return (struct nearest){.word = word};
}

void nearest_offer(struct nearest *nearest, const char *name)
{
    struct slice text = slice_of(name);
    if (!value_is_near(nearest->word, text))
        return;
    size_t distance = value_measure_distance(nearest->word, text);
    if (nearest->name && distance >= nearest->distance)
        return;
    nearest->name = name;
    nearest->distance = distance;
}
