/* Admission to the TCP relay. */
#include "daemon/relay_gate.h"

#include "base/bucket.h"
#include "base/hmap.h"
#include "wire/identity.h"
#include "wire/packet.h"

#include <string.h>

enum { SUITES = 4 };

void gate_init(struct gate *gate, uint64_t seed)
{
    memset(gate, 0, sizeof(*gate));
    gate->seed = seed;
    for (size_t i = 0; i < GATE_TARGETS; i++) {
        gate->targets[i] = INT64_MIN;
    }
    for (size_t i = 0; i < GATE_NEWCOMERS; i++) {
        gate->newcomers[i] = INT64_MIN;
    }
}

void gate_client_init(struct gate_client *client)
{
    memset(client, 0, sizeof(*client));
    client->credit_ms = INT64_MIN;
    client->bytes_at_ms[0] = client->bytes_at_ms[1] = INT64_MIN;
}

/* Could it be a packet of the virtual network, or a part of one? */
static bool is_packet(const uint8_t *data, size_t len)
{
    uint64_t dest;
    if (len <= FRAGMENT_AT_DATA) {
        return false;
    }
    dest = packet_dest(data);
    if (address_is_reserved(dest)) {
        return false;
    }
    if (data[FRAGMENT_AT_INDICATOR] == 0xff) {
        return true;
    }
    return len >= PACKET_AT_PAYLOAD && !address_is_reserved(packet_source(data)) &&
           packet_source(data) != dest && packet_suite(data) < SUITES;
}

static bool is_machine(const struct gate_rules *rules, const struct inetaddr *to)
{
    bool hit = false;
    for (size_t i = 0; i < rules->self_count && !hit; i++) {
        hit = inetaddr_ip_equal(&rules->self[i].endpoint, to) ||
              inetaddr_ip_equal(&rules->self[i].local, to);
    }
    for (size_t i = 0; i < rules->machine_count && !hit; i++) {
        hit = inetaddr_ip_equal(&rules->machine[i], to);
    }
    return hit;
}

static bool is_allowed(const struct gate_rules *rules, const struct inetaddr *to)
{
    enum inet_scope scope = inetaddr_scope(to);
    bool is_private = scope == INET_SCOPE_PRIVATE || scope == INET_SCOPE_SHARED ||
                      scope == INET_SCOPE_PSEUDO_PRIVATE;
    return to->port >= GATE_PORT_MIN &&
           (scope == INET_SCOPE_GLOBAL || (is_private && rules->private_too));
}

static uint64_t target_hash(const struct gate *gate, const struct inetaddr *a)
{
    return hash_mix(inetaddr_key(a), gate->seed);
}

/* The memory of a destination; the longest unused of its set makes room for a new one. */
static struct gate_known *known_find(const struct gate *gate, struct gate_client *client,
                                     const struct inetaddr *to, bool make)
{
    size_t index = target_hash(gate, to) % (GATE_KNOWN / GATE_WAYS);
    struct gate_known *set = &client->known[index * GATE_WAYS];
    struct gate_known *oldest = set;
    for (size_t i = 0; i < GATE_WAYS; i++) {
        if (inetaddr_equal(&set[i].to, to)) {
            return &set[i];
        }
        oldest = set[i].used_ms < oldest->used_ms ? &set[i] : oldest;
    }
    if (!make) {
        return NULL;
    }
    *oldest = (struct gate_known){.to = *to, .answer_ms = INT64_MIN / 2};
    return oldest;
}

/* Hash of an IP, of IPv6 of its /64. */
static uint64_t net_hash(const struct gate *gate, const struct inetaddr *a)
{
    struct inetaddr net = *a;
    net.port = 0;
    if (net.family == INETADDR_V6) {
        memset(net.ip + 8, 0, 8);
    }
    return target_hash(gate, &net);
}

bool gate_admit(struct gate *gate, const struct inetaddr *from, int64_t now_ms)
{
    return bucket_take(&gate->newcomers[net_hash(gate, from) % GATE_NEWCOMERS], GATE_NEW_BURST,
                       GATE_NEW_MS, now_ms);
}

/* May this go to somebody who did not answer? */
static bool unanswered_allows(struct gate *gate, struct gate_client *client,
                              const struct inetaddr *to, int64_t now_ms)
{
    return bucket_take(&client->credit_ms, GATE_CLIENT_BURST, GATE_CLIENT_MS, now_ms) &&
           bucket_take(&gate->targets[net_hash(gate, to) % GATE_TARGETS], GATE_TARGET_BURST,
                       GATE_TARGET_MS, now_ms);
}

/* Does the client's rate allow these bytes? */
static bool rate_allows(const struct gate *gate, struct gate_client *client, unsigned way,
                        size_t len, int64_t now_ms)
{
    uint64_t rate = gate->rules.rate;
    uint64_t full = rate * GATE_RATE_MS / 1000 + 2 * GATE_PAYLOAD_MAX;
    int64_t since = client->bytes_at_ms[way];
    uint64_t gained = since == INT64_MIN || now_ms - since > 1000
                          ? full
                          : rate * (uint64_t)(now_ms - since) / 1000;
    if (rate == 0) {
        return true;
    }
    if (gained > 0) {
        client->bytes_at_ms[way] = now_ms;
        client->bytes[way] += gained;
        client->bytes[way] = client->bytes[way] < full ? client->bytes[way] : full;
    }
    if (client->bytes[way] < len) {
        return false;
    }
    client->bytes[way] -= len;
    return true;
}

/* The place in rules->self with this endpoint, or NULL. */
static const struct gate_self *find_self(const struct gate_rules *rules, const struct inetaddr *to)
{
    for (size_t i = 0; i < rules->self_count; i++) {
        if (inetaddr_equal(&rules->self[i].endpoint, to)) {
            return &rules->self[i];
        }
    }
    return NULL;
}

static bool is_root(const struct gate_rules *rules, const struct inetaddr *to)
{
    for (size_t i = 0; i < rules->root_count; i++) {
        if (inetaddr_equal(&rules->roots[i], to)) {
            return true;
        }
    }
    return false;
}

enum gate_verdict gate_out(struct gate *gate, struct gate_client *client, const struct inetaddr *to,
                           const uint8_t *data, size_t len, int64_t now_ms, struct inetaddr *ret_to)
{
    const struct gate_rules *rules = &gate->rules;
    const struct gate_self *self = find_self(rules, to);
    bool machine = self == NULL && is_machine(rules, to);
    if (len < GATE_PAYLOAD_MIN || len > GATE_PAYLOAD_MAX) {
        return GATE_SIZE;
    }
    if (!is_packet(data, len)) {
        return GATE_FORM;
    }
    if (self == NULL && !is_root(rules, to) &&
        (machine ? to->port < GATE_PORT_MIN : !is_allowed(rules, to))) {
        return GATE_ADDRESS;
    }
    struct gate_known *known = known_find(gate, client, to, true);
    known->used_ms = now_ms;
    if (self == NULL && now_ms - known->answer_ms > GATE_ANSWER_MS &&
        !unanswered_allows(gate, client, to, now_ms)) {
        return GATE_UNANSWERED;
    }
    if (!rate_allows(gate, client, 0, len, now_ms)) {
        return GATE_RATE;
    }
    if (self != NULL) {
        *ret_to = self->local;
    }
    return self != NULL ? GATE_SELF : machine ? GATE_CLIENT : GATE_SEND;
}

enum gate_verdict gate_in(struct gate *gate, struct gate_client *client,
                          const struct inetaddr *from, const uint8_t *data, size_t len,
                          int64_t now_ms, struct inetaddr *ret_from)
{
    const struct gate_rules *rules = &gate->rules;
    struct inetaddr source = *from;
    if (len < GATE_PAYLOAD_MIN || len > GATE_PAYLOAD_MAX) {
        return GATE_SIZE;
    }
    if (!rate_allows(gate, client, 1, len, now_ms)) {
        return GATE_RATE;
    }
    for (size_t i = 0; i < rules->self_count; i++) {
        if (inetaddr_equal(&rules->self[i].local, from)) {
            source = rules->self[i].endpoint;
            break;
        }
    }
    struct gate_known *known = known_find(gate, client, &source, false);
    if (known != NULL && is_packet(data, len)) {
        known->answer_ms = now_ms;
        client->answered = true;
    }
    *ret_from = source;
    return GATE_SEND;
}

const char *gate_reason(enum gate_verdict verdict)
{
    static const char *const names[GATE_VERDICTS] = {
        [GATE_SIZE] = "size",       [GATE_FORM] = "form",
        [GATE_ADDRESS] = "address", [GATE_UNANSWERED] = "unanswered",
        [GATE_RATE] = "rate",
    };
    return names[verdict];
}

const char *gate_overdue(const struct gate_times *times, int64_t now_ms)
{
    if (!times->greeted && now_ms - times->accepted_ms >= GATE_GREET_MS) {
        return "no greeting";
    }
    if (times->carry_ms >= 0 && now_ms - times->carry_ms >= GATE_RECORD_MS) {
        return "slow sender";
    }
    if (times->blocked_ms >= 0 && now_ms - times->blocked_ms >= GATE_BLOCKED_MS) {
        return "slow reader";
    }
    return now_ms - times->record_ms >= GATE_IDLE_MS ? "idle" : NULL;
}
