/* Answers of a gateway that speaks PCP or NAT-PMP, and the text of /proc/net/route. */
#include "fuzz.h"

#include "daemon/portmap_msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct portmap_answer a;
    struct inetaddr gateway;
    if (portmap_answer_read(data, len, &a) == 0) {
        struct portmap_epoch last = {.known = true, .server_s = a.epoch_s, .at_ms = 1000};
        fuzz_require(a.op <= PORTMAP_OP_MAP, "known operations only");
        fuzz_require(a.version == PORTMAP_VERSION_PCP || a.version == PORTMAP_VERSION_NATPMP,
                     "known versions only");
        fuzz_require(!portmap_epoch_lost(&last, a.epoch_s, 1000), "no time passed, nothing lost");
        (void)portmap_epoch_lost(&last, a.lifetime_s, INT64_MAX);
        struct portmap_request request = {.local = a.external, .wanted = a.external};
        uint8_t out[PORTMAP_REQUEST_MAX];
        struct wr w = wr_init(out, sizeof(out));
        portmap_write_pcp(&w, &request);
        fuzz_require(!w.bad && wr_len(&w) == sizeof(out), "a request is always whole");
    }
    char *text = malloc(len + 1);
    fuzz_require(text != NULL, "memory");
    if (len > 0) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    if (portmap_gateway_parse(text, &gateway) == 0) {
        fuzz_require(gateway.family == INETADDR_V4, "an address");
    }
    free(text);
    return 0;
}
