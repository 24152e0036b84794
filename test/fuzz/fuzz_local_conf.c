/* local.conf: any text parses or is refused with a place; merging settings gives a text that
 * parses.
 */
#include "fuzz.h"

#include "daemon/config.h"

#include <stdlib.h>
#include <string.h>

static void check(const struct config *c)
{
    fuzz_require(json_is_object(c->raw), "the root is an object");
    fuzz_require(c->physical_count <= CONFIG_PHYSICAL_MAX && c->virt_count <= CONFIG_VIRTUAL_MAX,
                 "tables are bounded");
    for (size_t i = 0; i < c->physical_count; i++) {
        unsigned mtu = c->physical[i].mtu;
        fuzz_require(mtu == 0 || (mtu >= 1400 && mtu <= 10324), "mtu in range");
    }
    for (size_t i = 0; i < c->virt_count; i++) {
        fuzz_require(c->virt[i].try_count <= CONFIG_PATHS_MAX &&
                         c->virt[i].blacklist_count <= CONFIG_PATHS_MAX,
                     "lists are bounded");
    }
    fuzz_require(c->primary_port >= -1 && c->primary_port <= 65535, "port in range");
    fuzz_require(c->warning_count <= CONFIG_WARNINGS_MAX, "warnings are bounded");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config *c = NULL;
    struct config *again = NULL;
    struct config_error error;
    char *text = NULL;
    if (config_parse((const char *)data, len, &c, &error) < 0) {
        fuzz_require(c == NULL && error.text[0] != '\0', "refused with a reason");
        return 0;
    }
    check(c);
    json_t *changes = json_pack("{s:i}", "primaryPort", 1234);
    fuzz_require(config_merge_settings(c, changes, &text) == 0, "settings merge");
    fuzz_require(config_parse(text, strlen(text), &again, &error) == 0, "merged text parses");
    fuzz_require(again->primary_port == 1234, "merged setting counts");
    check(again);
    json_decref(changes);
    config_free(again);
    config_free(c);
    free(text);
    return 0;
}
