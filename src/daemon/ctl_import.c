/* Import at the first start: controller.d/network/<nwid>.json and <nwid>/member/<address>.json.
 * Source: spec 04 sections 3.1, 3.2. */
#include "daemon/ctl_import.h"

#include "controller/import_note.h"
#include "controller/import_set.h"
#include "daemon/import_source.h"
#include "daemon/log.h"
#include "os/clock.h"

#include <errno.h>
#include <string.h>

enum { REASON_LEN = 512 };

static void log_findings(struct import_set *set, const char *list, const char *what)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(import_set_report(set), list), i, entry)
    {
        log_write(LOG_LEVEL_WARN, "controller", "import %s=%s reason=\"%s\"", what,
                  json_string_value(json_object_get(entry, "where")),
                  json_string_value(json_object_get(entry, "text")));
    }
}

static int fill(struct import_set *set, struct import_source *src, struct store_backend *backend,
                const char *dir, char *why)
{
    const struct store_change *changes = NULL;
    int err = import_source_controller(src, dir);
    err = err == 0 ? import_set_take(set, src->files, src->count) : err;
    err = err == 0 ? import_set_finish(set, &changes) : err;
    if (err < 0 || changes == NULL) {
        return err;
    }
    log_findings(set, "leftOut", "left out");
    log_findings(set, "warnings", "of");
    err = backend->open(backend, import_set_load, set, why, REASON_LEN);
    struct import_note note = {0};
    const json_t *report = import_set_report(set);
    err = err == 0 ? import_note_add(&note, report, NULL, clock_wall_ms(), &changes) : err;
    err = err == 0 ? backend->apply(backend, changes, why, REASON_LEN) : err;
    import_note_done(&note);
    json_t *networks = json_object_get(import_set_report(set), "networks");
    return err < 0 ? err : (int)json_integer_value(json_object_get(networks, "imported"));
}

int ctl_import(const char *dir, struct store_backend *backend)
{
    struct import_options options = {.foreign = true};
    struct import_source src = {0};
    char why[REASON_LEN] = "";
    struct import_set *set = import_set_new(&options);
    int result = set == NULL ? -ENOMEM : fill(set, &src, backend, dir, why);
    import_set_free(set);
    if (result < 0) {
        log_write(LOG_LEVEL_ERROR, "controller", "import failed directory=%s reason=\"%s\"",
                  src.trouble[0] != '\0' ? src.trouble : dir,
                  why[0] != '\0' ? why : strerror(-result));
    }
    import_source_done(&src);
    return result;
}
