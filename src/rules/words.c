/* Tables of words, and which is nearest to a misspelt one. */
#include "rules/words.h"

#include "rules/unicode.h"
#include "wire/rule.h"

#include <string.h>

static const char *const openers[] = {"macro", "tag",   "cap",      "drop",  "accept",
                                      "tee",   "watch", "redirect", "break", "priority"};

/* The last two are refused as names by an accident of the reference (spec 06 section 5.1). */
static const char *const reserved[] = {
    "macro",     "tag",     "cap",         "default",   "drop",   "accept", "tee",        "watch",
    "redirect",  "break",   "priority",    "ztsrc",     "ztdest", "vlan",   "vlanpcp",    "vlandei",
    "ethertype", "macsrc",  "macdest",     "ipsrc",     "ipdest", "iptos",  "ipprotocol", "icmp",
    "sport",     "dport",   "chr",         "framesize", "random", "tand",   "tor",        "txor",
    "tdiff",     "teq",     "tseq",        "treq",      "type",   "enum",   "class",      "define",
    "import",    "include", "log",         "not",       "xor",    "or",     "and",        "set",
    "var",       "let",     "constructor", "__proto__"};

static const struct match_word matches[] = {
    {"ztsrc", "zt", RULE_SOURCE_ADDRESS, MATCH_ZT, 1},
    {"ztdest", "zt", RULE_DEST_ADDRESS, MATCH_ZT, 1},
    {"vlan", "vlanId", RULE_VLAN_ID, MATCH_NUMBER, 1},
    {"vlanpcp", "vlanPcp", RULE_VLAN_PCP, MATCH_NUMBER, 1},
    {"vlandei", "vlanDei", RULE_VLAN_DEI, MATCH_NUMBER, 1},
    {"ethertype", "etherType", RULE_ETHERTYPE, MATCH_ETHERTYPE, 1},
    {"ipprotocol", "ipProtocol", RULE_IP_PROTOCOL, MATCH_PROTOCOL, 1},
    {"macsrc", "mac", RULE_MAC_SOURCE, MATCH_MAC, 1},
    {"macdest", "mac", RULE_MAC_DEST, MATCH_MAC, 1},
    {"ipsrc", "ip", RULE_IPV4_SOURCE, MATCH_IP, 1},
    {"ipdest", "ip", RULE_IPV4_DEST, MATCH_IP, 1},
    {"iptos", NULL, RULE_IP_TOS, MATCH_TOS, 2},
    {"icmp", NULL, RULE_ICMP, MATCH_ICMP, 2},
    {"sport", NULL, RULE_SOURCE_PORT, MATCH_RANGE, 1},
    {"dport", NULL, RULE_DEST_PORT, MATCH_RANGE, 1},
    {"framesize", NULL, RULE_FRAME_SIZE, MATCH_RANGE, 1},
    {"chr", NULL, RULE_CHARACTERISTICS, MATCH_CHARACTERISTICS, 1},
    {"random", "probability", RULE_RANDOM, MATCH_RANDOM, 1},
    {"tand", NULL, RULE_TAGS_AND, MATCH_TAG, 2},
    {"tor", NULL, RULE_TAGS_OR, MATCH_TAG, 2},
    {"txor", NULL, RULE_TAGS_XOR, MATCH_TAG, 2},
    {"tdiff", NULL, RULE_TAGS_DIFFERENCE, MATCH_TAG, 2},
    {"teq", NULL, RULE_TAGS_EQUAL, MATCH_TAG, 2},
    {"tseq", NULL, RULE_TAG_SENDER, MATCH_TAG, 2},
    {"treq", NULL, RULE_TAG_RECEIVER, MATCH_TAG, 2},
};

static const struct symbol ethertypes[] = {
    {"ipv4", 0x0800},  {"arp", 0x0806},  {"wol", 0x0842},   {"rarp", 0x8035},  {"ipv6", 0x86dd},
    {"atalk", 0x809b}, {"aarp", 0x80f3}, {"ipx_a", 0x8137}, {"ipx_b", 0x8138},
};

static const struct symbol protocols[] = {
    {"icmp", 1},   {"icmp4", 1},   {"icmpv4", 1}, {"igmp", 2},   {"ipip", 4},      {"tcp", 6},
    {"egp", 8},    {"igp", 9},     {"udp", 17},   {"rdp", 27},   {"esp", 50},      {"ah", 51},
    {"icmp6", 58}, {"icmpv6", 58}, {"l2tp", 115}, {"sctp", 132}, {"udplite", 136},
};

static const struct symbol bits[] = {
    {"inbound", 63}, {"multicast", 62}, {"broadcast", 61}, {"ipauth", 60}, {"macauth", 59},
    {"tcp_fin", 0},  {"tcp_syn", 1},    {"tcp_rst", 2},    {"tcp_psh", 3}, {"tcp_ack", 4},
    {"tcp_urg", 5},  {"tcp_ece", 6},    {"tcp_cwr", 7},    {"tcp_ns", 8},  {"tcp_rs2", 9},
    {"tcp_rs1", 10}, {"tcp_rs0", 11},
};

bool text_is(struct rdl_text a, const char *b)
{
    return strlen(b) == a.len && memcmp(a.p, b, a.len) == 0;
}

bool text_equal(struct rdl_text a, struct rdl_text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

struct rdl_text text_of(const char *terminated)
{
    return (struct rdl_text){terminated, strlen(terminated)};
}

static bool is_among(struct rdl_text word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text_is(word, list[i])) {
            return true;
        }
    }
    return false;
}

bool word_is_opener(struct rdl_text word)
{
    return is_among(word, openers, COUNT_OF(openers));
}

bool word_is_reserved(struct rdl_text word)
{
    return is_among(word, reserved, COUNT_OF(reserved));
}

bool word_is_name(struct rdl_text word)
{
    if (word.len == 0 || (word.p[0] >= '0' && word.p[0] <= '9')) {
        return false;
    }
    for (size_t i = 0; i < word.len;) {
        uint32_t c;
        int n = unicode_read(word.p + i, word.len - i, &c);
        if (n < 0 || !((c >= '0' && c <= '9') || c == '_' || unicode_is_letter(c))) {
            return false;
        }
        i += (size_t)n;
    }
    return true;
}

const struct match_word *word_match(struct rdl_text lower)
{
    for (size_t i = 0; i < COUNT_OF(matches); i++) {
        if (text_is(lower, matches[i].word)) {
            return &matches[i];
        }
    }
    return NULL;
}

const struct match_word *word_match_of_type(unsigned type)
{
    unsigned wanted = type == RULE_IPV6_SOURCE || type == RULE_IPV6_DEST ? type - 2 : type;
    for (size_t i = 0; i < COUNT_OF(matches); i++) {
        if (matches[i].type == wanted) {
            return &matches[i];
        }
    }
    return NULL;
}

static int64_t symbol_value(struct rdl_text name, const struct symbol *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text_is(name, table[i].name)) {
            return table[i].value;
        }
    }
    return -1;
}

int64_t word_ethertype(struct rdl_text name)
{
    return symbol_value(name, ethertypes, COUNT_OF(ethertypes));
}

int64_t word_protocol(struct rdl_text name)
{
    return symbol_value(name, protocols, COUNT_OF(protocols));
}

int64_t word_characteristic(struct rdl_text name)
{
    return symbol_value(name, bits, COUNT_OF(bits));
}

const char *word_characteristic_name(unsigned bit)
{
    for (size_t i = 0; i < COUNT_OF(bits); i++) {
        if (bits[i].value == bit) {
            return bits[i].name;
        }
    }
    return NULL;
}

/* ---- suggestions ---- */

enum { WORD_LEN_MAX = 32, DISTANCE_MAX = 2 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (change, insert, remove, swap of neighbours) between two words of at most WORD_LEN_MAX. */
static unsigned distance(struct rdl_text a, struct rdl_text b)
{
    unsigned cost[WORD_LEN_MAX + 1][WORD_LEN_MAX + 1];
    for (unsigned i = 0; i <= a.len; i++) {
        for (unsigned j = 0; j <= b.len; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            bool same = a.p[i - 1] == b.p[j - 1];
            cost[i][j] = least(least(cost[i - 1][j], cost[i][j - 1]) + 1,
                               cost[i - 1][j - 1] + (same ? 0U : 1U));
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1]) {
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
            }
        }
    }
    return cost[a.len][b.len];
}

struct word_nearest word_nearest_to(struct rdl_text lower)
{
    return (struct word_nearest){.wanted = lower, .distance = DISTANCE_MAX + 1};
}

void word_nearest_offer(struct word_nearest *n, struct rdl_text word)
{
    unsigned limit = n->wanted.len > 3 ? DISTANCE_MAX : 1;
    if (n->wanted.len == 0 || n->wanted.len > WORD_LEN_MAX || word.len > WORD_LEN_MAX) {
        return;
    }
    unsigned d = distance(n->wanted, word);
    if (d <= limit && d < n->distance) {
        n->found = word;
        n->distance = d;
    }
}

static void consider(struct word_nearest *n, const char *word)
{
    word_nearest_offer(n, text_of(word));
}

const char *word_suggest(struct rdl_text lower, enum word_list list)
{
    struct word_nearest n = word_nearest_to(lower);
    bool is_protocol = list == WORDS_PROTOCOLS || list == WORDS_PACKETS;
    const struct symbol *table = list == WORDS_ETHERTYPES ? ethertypes
                                 : is_protocol            ? protocols
                                                          : bits;
    size_t count = list == WORDS_ETHERTYPES ? COUNT_OF(ethertypes)
                   : is_protocol            ? COUNT_OF(protocols)
                                            : COUNT_OF(bits);
    if (list == WORDS_PACKETS) {
        static const char *const words[] = {"from", "to",        "port",       "flags", "unknown",
                                            "icmp", "macsrc",    "macdest",    "ipsrc", "ipdest",
                                            "vlan", "random",    "framesize",  "ztsrc", "ztdest",
                                            "chr",  "ethertype", "ipprotocol", "sport", "dport"};
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            consider(&n, words[i]);
        }
        for (size_t i = 0; i < COUNT_OF(ethertypes); i++) {
            consider(&n, ethertypes[i].name);
        }
    }
    if (list == WORDS_MATCHES) {
        for (size_t i = 0; i < COUNT_OF(matches); i++) {
            consider(&n, matches[i].word);
        }
        return n.found.p;
    }
    if (list == WORDS_ACTIONS) {
        for (size_t i = 0; i + 1 < COUNT_OF(openers); i++) { /* all but priority */
            consider(&n, openers[i]);
        }
        consider(&n, "include");
        return n.found.p;
    }
    for (size_t i = 0; i < count; i++) {
        consider(&n, table[i].name);
    }
    return n.found.p;
}
