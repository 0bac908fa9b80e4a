#include "config/origin.h"

#include "config/source.h"
#include "config/trust.h"

struct search {
    const struct address *address;
    struct origin here; /* where the entries come from that are being looked at */
    struct origin *best;
    bool found;
};

static bool holds(const struct cidr *block, const struct address *address)
{
    struct cidr_set *set = cidr_set_new();
    bool held = set && cidr_set_add(set, block, 0) == 0 && cidr_set_compile(set) == 0 &&
                cidr_set_find(set, address) == 0;
    cidr_set_free(set);
    return held;
}

static int look_at_block(void *user, const struct cidr *block)
{
    struct search *search = user;
    if (block->first.kind != search->address->kind ||
        (search->found && block->bits <= search->best->block.bits) || !holds(block, search->address))
        return 0;
    *search->best = search->here;
    search->best->block = *block;
    search->found = true;
    return 0;
}

bool origin_find(const struct config *config, size_t group, const struct address *address,
                 struct origin *origin)
{
    const struct proxy_source *proxy = &config->source->proxies[group];
    struct search search = {.address = address, .here = {.file = config->path}, .best = origin};
    struct messages unheard = {0}; /* loading has said it all */
    struct memory memory = {.old = &config->source->memory, .frozen = true};
    struct trust_list list = {.add = look_at_block,
                              .user = &search,
                              .key = "trust",
                              .memory = &memory,
                              .messages = &unheard,
                              .file = config->path};
    for (size_t i = 0; i < proxy->trust.count; i++) {
        const struct word *word = &proxy->trust.list[i];
        list.line = search.here.line = word->line;
        search.here.entry = word->text;
        trust_add_entry(&list, slice_of(word->text));
    }
    search.here.entry = NULL;
    for (size_t i = 0; i < proxy->trust_files.count; i++) {
        const struct word *word = &proxy->trust_files.list[i];
        list.line = search.here.line = word->line;
        search.here.file = word->text;
        trust_add_file(&list, word->text, slice_of(word->text));
    }
    memory_free(&memory);
    messages_free(&unheard);
    return search.found;
}
