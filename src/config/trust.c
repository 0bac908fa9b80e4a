#include "config/trust.h"

#include "config/lines.h"
#include "config/values.h"

#define ENTRY_FORMS                                                                                          \
    "write an address, a block such as 192.0.2.0/24, loopback, link-local, private, unix: or a host name"

/* Of one trust file; what has more is none, and asking for all its words as host names would take for ever.
 */
#define ERRORS_MOST 20

static const struct {
    const char *word;
    const char *blocks[4];
} entry_words[] = {
    {"loopback", {"127.0.0.0/8", "::1", NULL, NULL}},
    {"link-local", {"169.254.0.0/16", "fe80::/10", NULL, NULL}},
    {"private", {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}},
};

/* Lines that files of other servers hold beside the addresses, and what to do about them. */
static const char *const foreign_words[] = {
    "real_ip_header",           "real_ip_recursive",
    "RemoteIPHeader",           "RemoteIPProxiesHeader",
    "RemoteIPTrustedProxyList", "RemoteIPInternalProxyList",
    "RemoteIPProxyProtocol",    "RemoteIPProxyProtocolExceptions",
};

static void fail(const struct trust_list *list, struct slice entry, const char *why)
{
    messages_add(list->messages, true, list->file, list->line, "%s = \"%s\": %s", list->key,
                 value_quote(entry).text, why);
}

static void add_block(struct trust_list *list, struct slice entry, const struct cidr *block)
{
    if (list->add(list->user, block) != 0) {
        fail(list, entry, "out of memory");
        return;
    }
    bool all = block->bits == 0 && block->first.kind != ADDRESS_UNIX;
    list->all_v4 = list->all_v4 || (all && block->first.kind == ADDRESS_V4);
    list->all_v6 = list->all_v6 || (all && block->first.kind == ADDRESS_V6);
    if (all && list->trusting)
        messages_add(list->messages, false, list->file, list->line,
                     "%s = \"%s\": trusts everybody, so that any client can choose its own address; "
                     "list only your proxies",
                     list->key, value_quote(entry).text);
}

static void warn_host_bits(const struct trust_list *list, struct slice entry, const struct cidr *block)
{
    char first[ADDRESS_TEXT_MAX];
    int length = (int)address_format(&block->first, first);
    messages_add(list->messages, false, list->file, list->line,
                 "%s = \"%s\": bits are set behind the prefix; taken as %.*s/%u", list->key,
                 value_quote(entry).text, length, first, (unsigned)block->bits);
}

static bool add_word(struct trust_list *list, struct slice entry)
{
    for (size_t i = 0; i < sizeof entry_words / sizeof *entry_words; i++) {
        if (!value_is_word(entry, entry_words[i].word))
            continue;
        for (size_t j = 0; j < 4 && entry_words[i].blocks[j]; j++) {
            struct cidr block;
            bool host_bits;
            if (cidr_parse(slice_of(entry_words[i].blocks[j]), &block, &host_bits))
                add_block(list, entry, &block);
        }
        return true;
    }
    return false;
}

static void add_name(struct trust_list *list, struct slice entry)
{
    const char *trouble;
    const struct resolved *resolved = memory_resolve(list->memory, entry, &trouble);
    if (!resolved) {
        messages_add(list->messages, true, list->file, list->line,
                     "%s = \"%s\": cannot resolve the host name: %s; " ENTRY_FORMS, list->key,
                     value_quote(entry).text, trouble);
        return;
    }
    if (trouble)
        messages_add(list->messages, false, list->file, list->line,
                     "%s = \"%s\": cannot resolve the host name: %s; it keeps the addresses that it had",
                     list->key, value_quote(entry).text, trouble);
    for (size_t i = 0; i < resolved->count; i++) {
        const struct address *address = &resolved->list[i];
        struct cidr block = {*address, address->kind == ADDRESS_V4 ? 32 : 128};
        add_block(list, entry, &block);
    }
}

/* What is wrong with an entry that is of no kind. */
static const char *judge_entry(struct slice entry)
{
    struct address address;
    uint16_t port;
    if (value_is_word(entry, "unix"))
        return "not an address; write unix: with its colon for a web server that connects over a unix socket";
    if (entry.len > 5 && memcmp(entry.data, "unix:", 5) == 0)
        return "a unix peer has no path; write unix: alone";
    if (memchr(entry.data, '%', entry.len))
        return "an address with a zone id; write it without \"%\" and what follows";
    if (address_parse_element(entry, &address, &port))
        return "an address with brackets or a port; write the address alone";
    return "not an address; " ENTRY_FORMS;
}

void trust_add_entry(struct trust_list *list, struct slice entry)
{
    struct cidr block;
    bool host_bits = false;
    if (cidr_parse(entry, &block, &host_bits)) {
        if (host_bits)
            warn_host_bits(list, entry, &block);
        add_block(list, entry, &block);
    } else if (value_is_word(entry, "unix:")) {
        block = (struct cidr){{ADDRESS_UNIX, 0, 0}, 0};
        if (list->no_unix)
            fail(list, entry,
                 "the clients of a unix socket have no address; set the socket's mode, owner and group");
        else
            add_block(list, entry, &block);
    } else if (!add_word(list, entry)) {
        if (resolve_is_name(entry) && !value_is_word(entry, "unix"))
            add_name(list, entry);
        else
            fail(list, entry, judge_entry(entry));
    }
}

/* Takes nginx's or Apache's directive away from the front of a line; false after a message. */
static bool strip_directive(const struct trust_list *list, struct slice *text)
{
    struct slice rest = *text;
    struct slice word;
    if (!value_next_word(&rest, &word))
        return true;
    for (size_t i = 0; i < sizeof foreign_words / sizeof *foreign_words; i++) {
        if (value_is_word(word, foreign_words[i])) {
            fail(list, word, "not a list of proxies; remove this line, and say it in the [proxy] section");
            return false;
        }
    }
    if (slice_equal(word, SLICE("set_real_ip_from"))) {
        rest = value_trim(rest);
        if (rest.len == 0 || rest.data[rest.len - 1] != ';') {
            fail(list, *text, "no \";\" at the end of nginx's line; write set_real_ip_from X;");
            return false;
        }
        rest.len--;
    } else if (!value_is_word(word, "RemoteIPTrustedProxy") &&
               !value_is_word(word, "RemoteIPInternalProxy")) {
        return true;
    }
    struct slice after = rest;
    if (!value_next_word(&after, &word)) {
        fail(list, value_trim(*text), "no address behind it; write one, or remove the line");
        return false;
    }
    *text = rest;
    return true;
}

static size_t add_line(struct trust_list *list, struct slice text)
{
    const char *comment = text.len > 0 ? memchr(text.data, '#', text.len) : NULL;
    if (comment)
        text.len = (size_t)(comment - text.data);
    if (!strip_directive(list, &text))
        return 1;
    size_t entries = 0;
    for (struct slice word; value_next_word(&text, &word); entries++)
        trust_add_entry(list, word);
    return entries;
}

static int collect_block(void *user, const struct cidr *block)
{
    return memory_add_block(user, block);
}

static void read_lines(const struct trust_list *list, struct lines *lines, struct slice written,
                       struct memory_blocks *blocks)
{
    struct trust_list inner = *list;
    struct line line;
    inner.add = collect_block;
    inner.user = blocks;
    inner.key = "trust";
    inner.file = lines->path;
    size_t entries = 0;
    size_t errors = list->messages->errors;
    while (lines_next(lines, &line)) {
        inner.line = lines->number;
        if (list->messages->errors - errors >= ERRORS_MOST) {
            messages_add(list->messages, true, lines->path, lines->number,
                         "too many errors: not read any further; is this a list of proxies?");
            return;
        }
        if (!line.bad)
            entries += add_line(&inner, line.text);
    }
    if (entries > 0 || list->messages->errors > errors)
        return;
    bool kept = memory_find_file(list->memory->old, lines->path);
    messages_add(list->messages, !kept, list->file, list->line,
                 "trust_file = \"%s\": %s holds no entry; write the proxies' addresses into it, one a line",
                 value_quote(written).text, lines->path);
}

/* Its blocks, as far as they are usable; what is wrong with it is in the list's messages. */
static void read_file(const struct trust_list *list, const char *path, struct slice written,
                      struct memory_blocks *blocks, struct memory_stamp *stamp)
{
    struct lines lines;
    int error = lines_open(&lines, path, list->messages);
    if (error == 0) {
        *stamp = memory_stamp(&lines.status);
        list->messages->within = list->line;
        read_lines(list, &lines, written, blocks);
        list->messages->within = 0;
    } else {
        *stamp = memory_stamp_path(path);
        messages_add(list->messages, true, list->file, list->line, "trust_file = \"%s\": cannot read %s: %s",
                     value_quote(written).text, path, lines_reason(error));
    }
    lines_close(&lines);
}

/* What was read of it is of no use: back to what it was before. */
static void keep_file(const struct trust_list *list, const struct memory_file *old, struct memory_blocks *now)
{
    memory_free_blocks(now);
    if (memory_copy_blocks(now, &old->blocks) < 0) {
        messages_add(list->messages, true, list->file, list->line, "%s: out of memory", old->path);
        return;
    }
    list->messages->within = list->line;
    messages_add(list->messages, false, old->path, 0,
                 "its old list of %zu addresses and blocks stays in force", now->count);
    list->messages->within = 0;
}

/* Reads a file that this load has not read yet. NULL if that gives no list. */
static const struct memory_file *learn_file(const struct trust_list *list, const char *path,
                                            struct slice written)
{
    const struct memory_file *old = memory_find_file(list->memory->old, path);
    struct memory_blocks blocks = {0};
    struct memory_stamp stamp;
    size_t errors = list->messages->errors;
    read_file(list, path, written, &blocks, &stamp);
    bool failed = list->messages->errors > errors;
    if (old && (blocks.count == 0 || failed) && (!failed || list->memory->frozen))
        keep_file(list, old, &blocks);
    else if (failed)
        memory_free_blocks(&blocks);
    if (blocks.count == 0)
        return NULL;
    if (memory_add_file(list->memory, path, &stamp, &blocks) == 0)
        return memory_find_file(list->memory, path);
    messages_add(list->messages, true, list->file, list->line, "%s: out of memory", path);
    return NULL;
}

void trust_add_file(const struct trust_list *list, const char *path, struct slice written)
{
    const struct memory_file *file = memory_find_file(list->memory, path);
    if (!file)
        file = learn_file(list, path, written);
    for (size_t i = 0; file && i < file->blocks.count; i++) {
        if (list->add(list->user, &file->blocks.list[i]) == 0)
            continue;
        messages_add(list->messages, true, list->file, list->line, "%s: out of memory", path);
        return;
    }
}
