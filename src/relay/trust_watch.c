#include "relay/trust_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever writes a file makes several events of it, and is given this time, in ms, to end; but no more than
 * that, or who never ends would never be heard. */
#define QUIET_MS   100
#define LONGEST_MS 400

/* As the kernel has it. */
#define LINKS_MAX 40

struct watched_folder {
    uv_fs_event_t event;
    struct trust_watch *watch;
    char *path;
    char **names; /* NULL-terminated */
    size_t nnames;
    struct watched_folder *next;
};

/* ---- something happens ---- */

static void on_quiet(uv_timer_t *timer)
{
    struct trust_watch *w = timer->data;
    w->changed(w);
}

static void note(struct trust_watch *w)
{
    uint64_t now = uv_now(w->loop);
    if (!uv_is_active((uv_handle_t *)&w->pause))
        w->since = now;
    uint64_t left = w->since + LONGEST_MS > now ? w->since + LONGEST_MS - now : 0;
    uv_timer_start(&w->pause, on_quiet, left < QUIET_MS ? left : QUIET_MS, 0);
}

/* Without a name it is about the folder itself, or the kernel has lost count. */
static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    const struct watched_folder *folder = handle->data;
    (void)events;
    bool ours = !name || status < 0;
    for (size_t i = 0; !ours && i < folder->nnames; i++)
        ours = strcmp(folder->names[i], name) == 0;
    if (ours)
        note(folder->watch);
}

/* ---- folders ---- */

static void free_folder(struct watched_folder *folder)
{
    for (size_t i = 0; i < folder->nnames; i++)
        free(folder->names[i]);
    free(folder->names);
    free(folder->path);
    free(folder);
}

static void on_closed(uv_handle_t *handle)
{
    free_folder(handle->data);
}

static void close_folders(struct watched_folder *folders)
{
    while (folders) {
        struct watched_folder *next = folders->next;
        uv_close((uv_handle_t *)&folders->event, on_closed);
        folders = next;
    }
}

/* NULL without memory. */
static struct watched_folder *add_folder(struct trust_watch *w, const char *path)
{
    struct watched_folder *folder = calloc(1, sizeof(*folder));
    char *copy = folder ? strdup(path) : NULL;
    if (!copy || uv_fs_event_init(w->loop, &folder->event) < 0) {
        free(folder);
        free(copy);
        return NULL;
    }
    folder->event.data = folder;
    folder->watch = w;
    folder->path = copy;
    folder->next = w->folders;
    w->folders = folder;
    return folder;
}

static bool has_name(const struct watched_folder *folder, const char *name)
{
    for (size_t i = 0; i < folder->nnames; i++) {
        if (strcmp(folder->names[i], name) == 0)
            return true;
    }
    return false;
}

/* 0 or -ENOMEM. */
static int add_name(struct trust_watch *w, const char *path, const char *name)
{
    struct watched_folder *folder = w->folders;
    while (folder && strcmp(folder->path, path) != 0)
        folder = folder->next;
    if (!folder)
        folder = add_folder(w, path);
    if (!folder)
        return -ENOMEM;
    if (has_name(folder, name))
        return 0;
    char **names = realloc(folder->names, (folder->nnames + 1) * sizeof(*names));
    if (names)
        folder->names = names;
    char *copy = names ? strdup(name) : NULL;
    if (!copy)
        return -ENOMEM;
    names[folder->nnames++] = copy;
    return 0;
}

/* ---- the way to a file ---- */

/* Where the walk along a path stands. */
struct way {
    char folder[PATH_MAX]; /* without symbolic links, and without "/" at its end: "" is the root */
    char rest[PATH_MAX];   /* what is still to go */
    char name[NAME_MAX + 1];
    unsigned links;
};

/* Cuts the next part off the rest. False: there is none, or none of a possible length. */
static bool next_name(struct way *way)
{
    size_t start = strspn(way->rest, "/");
    size_t length = strcspn(way->rest + start, "/");
    if (length == 0 || length > NAME_MAX)
        return false;
    memcpy(way->name, way->rest + start, length);
    way->name[length] = '\0';
    memmove(way->rest, way->rest + start + length, strlen(way->rest + start + length) + 1);
    return true;
}

/* False: the way ends here. */
static bool follow_link(struct way *way, const char *path)
{
    char target[PATH_MAX];
    char rest[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length <= 0 || way->links++ == LINKS_MAX)
        return false;
    target[length] = '\0';
    if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", target, way->rest) >= sizeof(rest))
        return false;
    memcpy(way->rest, rest, sizeof(rest));
    if (target[0] == '/')
        way->folder[0] = '\0';
    return true;
}

static void go_up(struct way *way)
{
    char *slash = strrchr(way->folder, '/');
    if (slash)
        *slash = '\0';
}

/* False: the way ends here. */
static bool go_on(struct way *way)
{
    char path[PATH_MAX];
    struct stat status;
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", way->folder, way->name) >= sizeof(path) ||
        lstat(path, &status) < 0)
        return false;
    if (S_ISLNK(status.st_mode))
        return follow_link(way, path);
    memcpy(way->folder, path, sizeof(path));
    return true;
}

/* 0 or -ENOMEM. */
static int add_way(struct trust_watch *w, const char *path)
{
    struct way way = {.links = 0};
    snprintf(way.rest, sizeof(way.rest), "%s", path);
    while (next_name(&way)) {
        if (strcmp(way.name, ".") == 0)
            continue;
        if (strcmp(way.name, "..") == 0) {
            go_up(&way);
            continue;
        }
        if (add_name(w, way.folder[0] ? way.folder : "/", way.name) < 0)
            return -ENOMEM;
        if (!go_on(&way))
            return 0;
    }
    return 0;
}

/* ---- all of it ---- */

int trust_watch_open(struct trust_watch *w, uv_loop_t *loop, struct log *log)
{
    w->loop = loop;
    w->log = log;
    w->folders = NULL;
    w->incomplete = false;
    w->pause.data = w;
    return uv_timer_init(loop, &w->pause);
}

static void start(struct trust_watch *w)
{
    bool incomplete = false;
    for (struct watched_folder *f = w->folders; f; f = f->next) {
        int rc = uv_fs_event_start(&f->event, on_event, f->path, 0);
        if (rc < 0 && !w->incomplete)
            log_write(w->log, LOG_WARNING,
                      "cannot watch %s: %s; changes of trust files there are only seen at a reload", f->path,
                      uv_strerror(rc));
        incomplete = incomplete || rc < 0;
    }
    w->incomplete = incomplete;
}

void trust_watch_set(struct trust_watch *w, const struct config *config)
{
    struct config_trust_file file;
    struct watched_folder *before = w->folders;
    bool touched = false;
    int rc = 0;
    w->folders = NULL;
    for (size_t i = 0; config->trust_watch && config_find_trust_file(config, i, NULL, &file); i++)
        rc = add_way(w, file.path) < 0 ? -ENOMEM : rc;
    if (rc < 0)
        log_write(w->log, LOG_WARNING, "cannot watch all trust files: %s", strerror(-rc));
    /* The new ones begin before the old ones end, and only then is looked: nothing slips through. */
    start(w);
    close_folders(before);
    for (size_t i = 0; config->trust_watch && config_find_trust_file(config, i, NULL, &file); i++)
        touched = touched || file.touched;
    if (touched)
        note(w);
    else if (!config->trust_watch)
        uv_timer_stop(&w->pause);
}

void trust_watch_close(struct trust_watch *w)
{
    close_folders(w->folders);
    w->folders = NULL;
    uv_close((uv_handle_t *)&w->pause, NULL);
}
