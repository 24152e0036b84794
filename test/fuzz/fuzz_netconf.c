/* Network configurations and the meta-data of requests. */
#include "fuzz.h"

#include "wire/netconf.h"

#include <stdlib.h>

static void check_meta(const uint8_t *data, size_t len)
{
    static char text[4096];
    struct netconf_meta meta;
    struct netconf_meta back;
    size_t text_len;

    netconf_meta_decode(data, len, &meta);
    fuzz_require(netconf_meta_encode(&meta, text, sizeof(text), &text_len) == 0, "meta is written");
    netconf_meta_decode(text, text_len, &back);
    fuzz_require(meta.version == back.version && meta.rules_revision == back.rules_revision,
                 "meta round trip");
    fuzz_require_same(meta.os, sizeof(meta.os), back.os, sizeof(back.os), "os");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct netconf conf;
    struct netconf back;
    char *text;
    size_t text_len;

    check_meta(data, len);
    if (netconf_decode(data, len, &conf) < 0) {
        return 0;
    }
    text = malloc(netconf_encode_bound(&conf));
    if (text != NULL) {
        fuzz_require(netconf_encode(&conf, text, netconf_encode_bound(&conf), &text_len) == 0,
                     "the bound holds");
        fuzz_require(netconf_decode(text, text_len, &back) == 0, "what was written is read");
        fuzz_require(netconf_equal(&conf, &back), "round trip");
        netconf_free(&back);
    }
    free(text);
    netconf_free(&conf);
    return 0;
}
