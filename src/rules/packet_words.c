/* Packets in words: "tcp from alice:engineering to bob:ssh port 22". The words are those of the
 * rule language where it has one. Grammar: doc/rules.md. */
#include "rules/number.h"
#include "rules/packet.h"
#include "rules/unicode.h"
#include "rules/words.h"
#include "wire/mac.h"

#include <errno.h>
#include <string.h>

struct reader {
    const struct policy *policy;
    struct rdl_text text;
    size_t at;            /* behind the last word */
    struct rdl_text word; /* the last one */
    size_t word_at;
    struct packet *packet;
    struct packet_error *error;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Next word; false at the end. */
static bool next(struct reader *r)
{
    while (r->at < r->text.len && is_space(r->text.p[r->at])) {
        r->at++;
    }
    size_t start = r->at;
    while (r->at < r->text.len && !is_space(r->text.p[r->at])) {
        r->at++;
    }
    r->word = (struct rdl_text){r->text.p + start, r->at - start};
    r->word_at = start;
    return r->word.len > 0;
}

static int fail_word(struct reader *r, const char *what)
{
    return packet_fail(r->error, r->word_at, "%.*s: %s", (int)r->word.len, r->word.p, what);
}

/* Is a word a name? Names are stored in lower case. */
static bool is_name(struct rdl_text word, struct rdl_text name)
{
    char lower[2 * PACKET_NAME_MAX];
    if (text_equal(word, name) || word.len > PACKET_NAME_MAX) {
        return text_equal(word, name);
    }
    struct rdl_text folded = {lower, unicode_lower_text(word.p, word.len, lower)};
    return text_equal(folded, name);
}

static bool word_is(struct rdl_text word, const char *name)
{
    return is_name(word, text_of(name));
}

/* A number in the next word, up to most. */
static int take_number(struct reader *r, int64_t most, int64_t *ret)
{
    struct rdl_text keyword = r->word;
    if (!next(r)) {
        return packet_fail(r->error, r->word_at, "%.*s: a number is missing", (int)keyword.len,
                           keyword.p);
    }
    int64_t value = number_read(r->word);
    if (!number_is_whole(r->word) || value < 0 || value > most) {
        return packet_fail(r->error, r->word_at, "%.*s: a number from 0 to %lld is expected",
                           (int)r->word.len, r->word.p, (long long)most);
    }
    *ret = value;
    return 0;
}

static int parse_address(struct reader *r, struct rdl_text text, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef";
        const char *found = text.p[i] != '\0' ? strchr(digits, text.p[i] | 0x20) : NULL;
        if (found == NULL || text.p[i] < '0') {
            return fail_word(r, "ten hexadecimal digits are expected");
        }
        value = value << 4 | (uint64_t)(found - digits);
    }
    if (text.len != 10 || value == 0) {
        return fail_word(r, "ten hexadecimal digits are expected");
    }
    *ret = value;
    return 0;
}

static int parse_ip(struct reader *r, struct rdl_text text, struct inetaddr *ret)
{
    struct inetaddr ip;
    if (memchr(text.p, '/', text.len) != NULL || inetaddr_parse(text.p, text.len, &ip) != 0 ||
        ip.family == INETADDR_NIL) {
        return fail_word(r, "an IP address is expected");
    }
    *ret = ip;
    return 0;
}

static int parse_mac(struct reader *r, struct rdl_text text, uint64_t *ret)
{
    return mac_parse(text.p, text.len, ret) == 0 ? 0 : fail_word(r, "a MAC address is expected");
}

/* ---- members ---- */

static const struct rdl_tag *find_tag(const struct reader *r, struct rdl_text word)
{
    const struct rdl_result *result = r->policy->result;
    for (size_t i = 0; i < result->tag_count; i++) {
        const struct rdl_tag *tag = &result->tags[i];
        if (is_name(word, tag->name) ||
            (number_is_whole(word) && number_read(word) == (int64_t)tag->id)) {
            return tag;
        }
    }
    return NULL;
}

static const struct rdl_capability *find_capability(const struct reader *r, struct rdl_text word)
{
    const struct rdl_result *result = r->policy->result;
    for (size_t i = 0; i < result->capability_count; i++) {
        if (is_name(word, result->capabilities[i].name)) {
            return &result->capabilities[i];
        }
    }
    return NULL;
}

/* Value of a flag or enum of a tag; *ret_is_flag tells which. */
static bool find_value(const struct rdl_tag *tag, struct rdl_text word, bool *ret_is_flag,
                       uint32_t *ret)
{
    const struct rdl_values *lists[] = {&tag->flags, &tag->enums};
    for (size_t k = 0; k < COUNT_OF(lists); k++) {
        for (size_t i = 0; i < lists[k]->count; i++) {
            if (is_name(word, lists[k]->items[i].name)) {
                *ret_is_flag = k == 0;
                *ret = (uint32_t)lists[k]->items[i].value;
                return true;
            }
        }
    }
    return false;
}

static int set_tag(struct reader *r, struct packet_member *m, uint32_t id, uint32_t value)
{
    return packet_set_tag(m, id, value) ? 0 : fail_word(r, "too many tags");
}

/* "tag=value": a number, or names of flags and enums joined by plus. */
static int set_named(struct reader *r, struct packet_member *m, struct rdl_text name,
                     struct rdl_text values)
{
    const struct rdl_tag *tag = find_tag(r, name);
    struct rdl_text piece;
    uint32_t sum = 0;
    size_t at = 0;
    int64_t id = tag != NULL ? tag->id : number_read(name);
    if (tag == NULL && (!number_is_whole(name) || id < 0 || id > UINT32_MAX)) {
        return packet_fail(r->error, r->word_at, "%.*s: the script has no such tag", (int)name.len,
                           name.p);
    }
    while (number_next_piece(values, "+", &at, &piece)) {
        bool is_flag;
        uint32_t value;
        int64_t number = number_read(piece);
        if (tag != NULL && find_value(tag, piece, &is_flag, &value)) {
            sum |= value;
        } else if (number_is_whole(piece) && number >= 0 && number <= UINT32_MAX) {
            sum |= (uint32_t)number;
        } else {
            return packet_fail(r->error, r->word_at, "%.*s: no value of tag %.*s", (int)piece.len,
                               piece.p, (int)name.len, name.p);
        }
    }
    return set_tag(r, m, (uint32_t)id, sum);
}

/* A name alone: a capability, or a value that only one tag has. Flags add up. */
static int set_alone(struct reader *r, struct packet_member *m, struct rdl_text name)
{
    const struct rdl_result *result = r->policy->result;
    const struct rdl_capability *cap = find_capability(r, name);
    const struct rdl_tag *of = NULL;
    bool is_flag = false;
    uint32_t value = 0;
    for (size_t i = 0; i < result->tag_count; i++) {
        bool flag;
        uint32_t v;
        if (!find_value(&result->tags[i], name, &flag, &v)) {
            continue;
        }
        if (of != NULL || cap != NULL) {
            return packet_fail(r->error, r->word_at, "%.*s has several meanings: write %.*s=%.*s",
                               (int)name.len, name.p, (int)result->tags[i].name.len,
                               result->tags[i].name.p, (int)name.len, name.p);
        }
        of = &result->tags[i];
        is_flag = flag;
        value = v;
    }
    if (cap != NULL) {
        return packet_give(m, cap->id) ? 0 : fail_word(r, "too many capabilities");
    }
    if (of == NULL) {
        return packet_fail(r->error, r->word_at, "%.*s: no capability, flag or enum of the script",
                           (int)name.len, name.p);
    }
    for (uint16_t i = 0; is_flag && i < m->tag_count; i++) {
        value |= m->tags[i].id == of->id ? m->tags[i].value : 0;
    }
    return set_tag(r, m, of->id, value);
}

/* "-name": without this tag or capability. */
static int take_away(struct reader *r, struct packet_member *m, struct rdl_text name)
{
    const struct rdl_capability *cap = find_capability(r, name);
    const struct rdl_tag *tag = find_tag(r, name);
    for (uint16_t i = 0; cap != NULL && i < m->capability_count; i++) {
        if (m->capabilities[i] == cap->id) {
            m->capabilities[i] = m->capabilities[--m->capability_count];
            break;
        }
    }
    for (uint16_t i = 0; tag != NULL && i < m->tag_count; i++) {
        if (m->tags[i].id == tag->id) {
            m->tags[i] = m->tags[--m->tag_count];
            break;
        }
    }
    if (cap == NULL && tag == NULL) {
        return packet_fail(r->error, r->word_at, "%.*s: the script has no such tag or capability",
                           (int)name.len, name.p);
    }
    return 0;
}

static int set_attribute(struct reader *r, bool is_sender, struct rdl_text a)
{
    struct packet *p = r->packet;
    struct packet_member *m = is_sender ? &p->sender : &p->receiver;
    const char *equals = memchr(a.p, '=', a.len);
    if (a.p[0] == '-') {
        return take_away(r, m, (struct rdl_text){a.p + 1, a.len - 1});
    }
    if (equals == NULL) {
        return set_alone(r, m, a);
    }
    struct rdl_text name = {a.p, (size_t)(equals - a.p)};
    struct rdl_text value = {equals + 1, a.len - name.len - 1};
    if (word_is(name, "ip")) {
        return parse_ip(r, value, is_sender ? &p->source_ip : &p->dest_ip);
    }
    if (word_is(name, "mac")) {
        return parse_mac(r, value, is_sender ? &p->source_mac : &p->dest_mac);
    }
    if (word_is(name, "address")) {
        return parse_address(r, value, &m->address);
    }
    return set_named(r, m, name, value);
}

/* "name", or "name:attribute,attribute". */
static int take_member(struct reader *r, bool is_sender)
{
    struct packet_member *m = is_sender ? &r->packet->sender : &r->packet->receiver;
    if (!next(r)) {
        return packet_fail(r->error, r->word_at, "%s whom?", is_sender ? "from" : "to");
    }
    const char *colon = memchr(r->word.p, ':', r->word.len);
    struct rdl_text name = {r->word.p, colon != NULL ? (size_t)(colon - r->word.p) : r->word.len};
    if (name.len >= PACKET_NAME_MAX) {
        return fail_word(r, "the name is too long");
    }
    memcpy(m->name, name.p, name.len);
    m->name[name.len] = '\0';
    struct packet_error ignored;
    struct reader quiet = *r;
    quiet.error = &ignored;
    if (parse_address(&quiet, name, &m->address) < 0) {
        m->address = 0; /* a name is only for people */
    }
    if (colon == NULL) {
        return 0;
    }
    struct rdl_text list = {colon + 1, r->word.len - name.len - 1};
    struct rdl_text piece;
    size_t at = 0;
    while (number_next_piece(list, ",", &at, &piece)) {
        int error = piece.len > 0 ? set_attribute(r, is_sender, piece) : 0;
        if (error < 0) {
            return error;
        }
    }
    return 0;
}

/* ---- words with an argument ---- */

/* The next word by one of the parsers above. */
static int take_ip(struct reader *r, struct inetaddr *ret)
{
    return next(r) ? parse_ip(r, r->word, ret)
                   : packet_fail(r->error, r->word_at, "an IP address is missing");
}

static int take_mac(struct reader *r, uint64_t *ret)
{
    return next(r) ? parse_mac(r, r->word, ret)
                   : packet_fail(r->error, r->word_at, "a MAC address is missing");
}

static int take_address(struct reader *r, uint64_t *ret)
{
    return next(r) ? parse_address(r, r->word, ret)
                   : packet_fail(r->error, r->word_at, "a node's address is missing");
}

/* A number, or a name that lookup knows. */
static int take_symbol(struct reader *r, int64_t (*lookup)(struct rdl_text), int64_t most,
                       int64_t *ret)
{
    struct reader ahead = *r;
    int64_t value = next(&ahead) ? lookup(ahead.word) : -1;
    if (value < 0) {
        return take_number(r, most, ret);
    }
    *r = ahead;
    *ret = value;
    return 0;
}

/* Characteristics: TCP flags, and what the two members and addresses are. prefix: "tcp_" where the
 * word says so. */
static int take_bits(struct reader *r, bool tcp_only)
{
    struct rdl_text piece;
    size_t at = 0;
    uint64_t mask = 0;
    if (!next(r)) {
        return packet_fail(r->error, r->word_at, "a list of flags is missing");
    }
    while (number_next_piece(r->word, ",", &at, &piece)) {
        char name[16] = "tcp_";
        size_t start = tcp_only ? 4 : 0;
        int64_t bit = -1;
        if (piece.len > 0 && piece.len < sizeof(name) - start) {
            memcpy(name + start, piece.p, piece.len);
            bit = word_characteristic((struct rdl_text){name, start + piece.len});
        }
        if (bit < 0 && piece.len > 0 && !word_is(piece, "none")) {
            return fail_word(r, tcp_only ? "flags are syn, ack, fin, rst, psh, urg, ece, cwr, ns"
                                         : "no characteristic");
        }
        mask |= bit >= 0 ? UINT64_C(1) << bit : 0;
    }
    struct packet *p = r->packet;
    if (tcp_only || (mask & RULE_CHAR_TCP_MASK) != 0) {
        p->tcp_flags =
            (p->tcp_flags >= 0 ? p->tcp_flags : 0) | (int64_t)(mask & RULE_CHAR_TCP_MASK);
    }
    p->is_multicast = p->is_multicast || (mask & RULE_CHAR_MULTICAST) != 0;
    p->is_broadcast = p->is_broadcast || (mask & RULE_CHAR_BROADCAST) != 0;
    p->has_ipauth = p->has_ipauth || (mask & RULE_CHAR_SENDER_IP) != 0;
    p->has_macauth = p->has_macauth || (mask & RULE_CHAR_SENDER_MAC) != 0;
    if ((mask & RULE_CHAR_INBOUND) != 0) {
        return fail_word(r, "inbound is the receiver's side; both are looked at");
    }
    return 0;
}

/* "icmp" with a type and a code, or without. */
static int take_icmp(struct reader *r)
{
    struct packet *p = r->packet;
    struct reader ahead = *r;
    if (!next(&ahead) || !number_is_whole(ahead.word)) {
        p->protocol = word_protocol(text_of("icmp4"));
        return 0;
    }
    int error = take_number(r, UINT8_MAX, &p->icmp_type);
    ahead = *r;
    if (error == 0 && next(&ahead) && number_is_whole(ahead.word)) {
        error = take_number(r, UINT8_MAX, &p->icmp_code);
    }
    return error;
}

static int take_draw(struct reader *r)
{
    if (!next(r) || !number_fraction_is_whole(r->word)) {
        return packet_fail(r->error, r->word_at, "random: a fraction from 0 to 1 is expected");
    }
    int64_t draw = number_read_fraction(r->word);
    if (draw < 0) {
        return -ENOMEM;
    }
    r->packet->draw = (uint32_t)draw;
    return 0;
}

/* Words that say where from and where to. Returns 1 for other words. */
static int take_place(struct reader *r)
{
    struct packet *p = r->packet;
    if (word_is(r->word, "from") || word_is(r->word, "to")) {
        return take_member(r, word_is(r->word, "from"));
    }
    if (word_is(r->word, "ipsrc") || word_is(r->word, "ipdest")) {
        return take_ip(r, word_is(r->word, "ipsrc") ? &p->source_ip : &p->dest_ip);
    }
    if (word_is(r->word, "macsrc") || word_is(r->word, "macdest")) {
        return take_mac(r, word_is(r->word, "macsrc") ? &p->source_mac : &p->dest_mac);
    }
    if (word_is(r->word, "ztsrc") || word_is(r->word, "ztdest")) {
        return take_address(r,
                            word_is(r->word, "ztsrc") ? &p->sender.address : &p->receiver.address);
    }
    return 1;
}

/* Words with a number behind them. Returns 1 for other words. */
static int take_quantity(struct reader *r)
{
    struct packet *p = r->packet;
    const struct {
        const char *word;
        int64_t *to;
        int64_t most;
    } words[] = {{"sport", &p->source_port, UINT16_MAX},
                 {"dport", &p->dest_port, UINT16_MAX},
                 {"port", &p->dest_port, UINT16_MAX},
                 {"iptos", &p->tos, UINT8_MAX},
                 {"vlan", &p->vlan, 4095},
                 {"framesize", &p->size, PACKET_PAYLOAD_MAX}};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (word_is(r->word, words[i].word)) {
            return take_number(r, words[i].most, words[i].to);
        }
    }
    if (word_is(r->word, "ethertype")) {
        return take_symbol(r, word_ethertype, UINT16_MAX, &p->ethertype);
    }
    if (word_is(r->word, "ipprotocol")) {
        return take_symbol(r, word_protocol, UINT8_MAX, &p->protocol);
    }
    return 1;
}

static int take_word(struct reader *r)
{
    struct packet *p = r->packet;
    int done = take_place(r);
    done = done == 1 ? take_quantity(r) : done;
    if (done != 1) {
        return done;
    }
    if (word_is(r->word, "icmp")) {
        return take_icmp(r);
    }
    if (word_is(r->word, "chr") || word_is(r->word, "flags")) {
        return take_bits(r, word_is(r->word, "flags"));
    }
    if (word_is(r->word, "random")) {
        return take_draw(r);
    }
    if (word_is(r->word, "unknown")) {
        p->is_unknown = true;
        return 0;
    }
    int64_t ethertype = word_ethertype(r->word);
    int64_t protocol = word_protocol(r->word);
    if (ethertype < 0 && protocol < 0) {
        const char *near = word_suggest(r->word, WORDS_PACKETS);
        return packet_fail(r->error, r->word_at,
                           near != NULL ? "%.*s: unknown, did you mean %s?"
                                        : "%.*s: no word for packets%s",
                           (int)r->word.len, r->word.p, near != NULL ? near : "");
    }
    p->ethertype = ethertype >= 0 ? ethertype : p->ethertype;
    p->protocol = protocol >= 0 ? protocol : p->protocol;
    return 0;
}

/* What the controller gives to members that nobody gave anything. */
static void give_defaults(const struct rdl_result *result, struct packet_member *m)
{
    for (size_t i = 0; i < result->tag_count; i++) {
        if (result->tags[i].has_default) {
            (void)packet_set_tag(m, result->tags[i].id, (uint32_t)result->tags[i].preset);
        }
    }
    for (size_t i = 0; i < result->capability_count; i++) {
        if (result->capabilities[i].is_default) {
            (void)packet_give(m, result->capabilities[i].id);
        }
    }
}

int packet_read_words(const struct policy *policy, struct rdl_text text, struct packet *ret,
                      struct packet_error *error)
{
    struct reader r = {.policy = policy, .text = text, .packet = ret, .error = error};
    give_defaults(policy->result, &ret->sender);
    give_defaults(policy->result, &ret->receiver);
    int bad = 0;
    while (bad == 0 && next(&r)) {
        bad = take_word(&r);
    }
    return bad;
}
