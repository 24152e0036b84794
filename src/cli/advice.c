/* What the short words of the API mean for a person. Source: spec 05 section 12. */
#include "cli/advice.h"

#include "base/attr.h"
#include "vl1/nat.h"

#include <stddef.h>
#include <string.h>

static const char relay_unknown[] = "not explained further";

const char *advice_relay(const char *reason)
{
    static const char *const text[] = {
        [RELAY_REASON_NONE] = "there is a direct path",
        [RELAY_REASON_NOT_TRIED] =
            "no traffic yet that needs a direct path; ping the peer and look again",
        [RELAY_REASON_SILENT] = "nothing was heard of it: it is off, asleep or offline",
        [RELAY_REASON_NO_UDP] =
            "UDP does not get out of this network: open outgoing UDP (ports 9993 and above 1024)",
        [RELAY_REASON_NO_ADDRESS] =
            "nobody told where it is: it shares no network with this node, or "
            "its addresses were not pushed yet",
        [RELAY_REASON_POLICY] =
            "all its addresses are excluded by local.conf (blacklist) or are of a "
            "virtual network",
        [RELAY_REASON_NO_ANSWER] =
            "its addresses were tried and none answered: a firewall or NAT on one "
            "side drops UDP; open or forward UDP port 9993 on one side",
        [RELAY_REASON_BOTH_SYMMETRIC] =
            "both sides are behind symmetric NATs: forward UDP port 9993 on "
            "one side, or switch on port mapping (NAT-PMP, PCP, UPnP) in its router",
    };
    for (size_t i = 0; i < COUNT_OF(text); i++) {
        if (text[i] != NULL && strcmp(relay_reason_text((enum relay_reason)i), reason) == 0) {
            return text[i];
        }
    }
    return relay_unknown;
}

const char *advice_nat(const char *kind)
{
    static const char *const text[] = {
        [NAT_UNKNOWN] = "fewer than two nodes told what they see of us",
        [NAT_NONE] =
            "others see the address this machine has: nothing is in between but perhaps a firewall",
        [NAT_CONE] = "a router translates addresses in a friendly way: direct paths to most peers",
        [NAT_SEQUENTIAL] =
            "a router gives each destination another port, in small steps: direct paths "
            "often, by guessing",
        [NAT_RANDOM] =
            "a router gives each destination another port at random: direct paths only to "
            "peers that are not behind the like",
    };
    for (size_t i = 0; i < COUNT_OF(text); i++) {
        if (text[i] != NULL && strcmp(nat_kind_text((enum nat_kind)i), kind) == 0) {
            return text[i];
        }
    }
    return "a kind of NAT that this command does not know";
}
