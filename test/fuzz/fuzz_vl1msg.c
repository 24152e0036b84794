/* Payloads of the small VL1 verbs; the first byte is the verb, unknown ones try everything. */
#include "fuzz.h"

#include "wire/identity.h"
#include "wire/packet.h"
#include "wire/vl1msg.h"

#include <string.h>

static uint8_t out[PACKET_PAYLOAD_MAX];

static void error(struct rd in)
{
    struct error_msg msg;
    struct error_msg back;
    struct wr w = wr_init(out, sizeof(out));

    if (error_decode(in, &msg) < 0) {
        return;
    }
    error_encode(&w, &msg);
    fuzz_require(!w.bad && error_decode(rd_init(out, wr_len(&w)), &back) == 0, "ERROR decodes");
    fuzz_require(msg.head.verb == back.head.verb && msg.head.id == back.head.id &&
                     msg.code == back.code && msg.network_id == back.network_id &&
                     msg.mac == back.mac && msg.adi == back.adi && msg.has_data == back.has_data,
                 "ERROR round trip");
    fuzz_require_same(msg.data, msg.data_len, back.data, back.data_len, "ERROR data");
}

static void ok_whois(struct rd in)
{
    const uint8_t *start = in.p;
    struct reply_head head;
    struct identity id;
    struct wr w = wr_init(out, sizeof(out));
    size_t count = 0;
    int n;

    if (ok_head_read(&in, &head) < 0) {
        return;
    }
    ok_head_write(&w, &head);
    while ((n = ok_whois_next(&in, &id)) > 0) {
        identity_write(&w, &id, false);
        count++;
    }
    fuzz_require(!w.bad && (n == 0 || in.bad), "ends or fails");
    if (n == 0 && (size_t)(in.p - start) == OK_HEAD_LEN + count * IDENTITY_WIRE_PUBLIC) {
        /* no private halves, which would be dropped */
        fuzz_require_same(out, wr_len(&w), start, (size_t)(in.p - start), "OK(WHOIS) round trip");
    }
}

static void whois(struct rd in)
{
    const uint8_t *start = in.p;
    struct wr w = wr_init(out, sizeof(out));
    uint64_t address;

    while (whois_next(&in, &address)) {
        whois_encode(&w, &address, 1);
    }
    fuzz_require(rd_left(&in) < 5, "only a remainder is left");
    fuzz_require_same(out, wr_len(&w), start, (size_t)(in.p - start), "WHOIS round trip");
}

static void rendezvous(struct rd in)
{
    struct rendezvous msg;
    struct rendezvous back;
    struct wr w = wr_init(out, sizeof(out));

    if (rendezvous_decode(in, &msg) < 0) {
        return;
    }
    rendezvous_encode(&w, &msg);
    fuzz_require(!w.bad && rendezvous_decode(rd_init(out, wr_len(&w)), &back) == 0,
                 "RENDEZVOUS decodes");
    fuzz_require(msg.flags == back.flags && msg.address == back.address &&
                     inetaddr_equal(&msg.at, &back.at),
                 "RENDEZVOUS round trip");
}

static void push(struct rd in)
{
    enum { PATHS_MAX = 1024 };
    static struct push_path paths[PATHS_MAX];
    struct push_paths walk;
    struct push_path path;
    struct wr w = wr_init(out, sizeof(out));
    size_t count = 0;
    int n;

    if (push_paths_decode(in, &walk) < 0) {
        return;
    }
    while ((n = push_paths_next(&walk, &path)) > 0) {
        if (count < PATHS_MAX && path.at.family != INETADDR_NIL) {
            paths[count++] = path;
        }
    }
    fuzz_require(n == 0 || push_paths_next(&walk, &path) < 0, "failure stays");
    count = push_paths_encode(&w, paths, count);
    fuzz_require(!w.bad && push_paths_decode(rd_init(out, wr_len(&w)), &walk) == 0, "decodes");
    for (size_t i = 0; i < count; i++) {
        fuzz_require(push_paths_next(&walk, &path) == 1 && path.flags == paths[i].flags &&
                         inetaddr_equal(&path.at, &paths[i].at),
                     "PUSH_DIRECT_PATHS round trip");
    }
    fuzz_require(push_paths_next(&walk, &path) == 0, "no more records");
}

static void trace(struct rd in)
{
    struct dict d;
    size_t total = 0;
    size_t len = rd_left(&in);

    while (remote_trace_next(&in, &d)) {
        fuzz_require(d.len > 0 && memchr(d.text, 0, d.len) == NULL, "pieces hold no NUL");
        total += d.len + 1;
        (void)dict_get_u64(d, "event", 0);
    }
    fuzz_require(total <= len && rd_left(&in) == 0, "pieces lie in the payload");
}

static void others(struct rd in)
{
    struct wr w = wr_init(out, sizeof(out));
    struct user_message msg;
    struct qos_sample sample;
    uint32_t acked;
    int16_t utility;
    int count = qos_decode(in);
    struct rd walk = in;

    if (user_message_decode(in, &msg) == 0) {
        user_message_encode(&w, &msg);
        fuzz_require_same(out, wr_len(&w), in.p, rd_left(&in), "USER_MESSAGE round trip");
    }
    (void)!ack_decode(in, &acked);
    (void)!path_negotiation_decode(in, &utility);
    w = wr_init(out, sizeof(out));
    for (int i = 0; i < count; i++) {
        fuzz_require(qos_next(&walk, &sample), "as many samples as counted");
        qos_write(&w, &sample);
    }
    if (count >= 0) {
        fuzz_require(!qos_next(&walk, &sample), "no more samples");
        fuzz_require_same(out, wr_len(&w), in.p, (size_t)count * QOS_RECORD_LEN, "QOS round trip");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct {
        uint8_t verb;
        void (*run)(struct rd in);
    } runs[] = {
        {VERB_ERROR, error},
        {VERB_OK, ok_whois},
        {VERB_WHOIS, whois},
        {VERB_RENDEZVOUS, rendezvous},
        {VERB_PUSH_DIRECT_PATHS, push},
        {VERB_REMOTE_TRACE, trace},
        {VERB_USER_MESSAGE, others},
    };
    bool known = false;

    if (len == 0 || len > PACKET_PAYLOAD_MAX) {
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        known = known || runs[i].verb == data[0];
    }
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        if (!known || runs[i].verb == data[0]) {
            runs[i].run(rd_init(data + 1, len - 1));
        }
    }
    return 0;
}
