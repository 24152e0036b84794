/* Merging of frames against what went in: cutting every output gives the input of each flow, in
 * order, byte for byte. Checklist: D-11 (builder side), D-14 to D-17, D-36. */
#include "segments.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "datapath/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FLOWS = 12, STEPS = 4000 };

static uint8_t payload[65536];

/* A frame on its way through the merger. */
struct sample {
    uint8_t *frame; /* heap, exact */
    size_t len;
};

/* What came out. */
struct result {
    struct sample frames[STEPS + 10]; /* after cutting */
    bool merged[STEPS + 10];          /* was part of a super-frame */
    size_t count;
    unsigned outputs;
    unsigned longest; /* frames in one output */
    uint64_t port;    /* of the last output */
};

static struct result result;

static void collect(void *ctx, const struct merge_output *out)
{
    struct result *r = ctx;
    uint8_t *block = malloc(out->len);
    struct offload_split s;
    struct offload_frame frame;
    size_t sum = 0;

    assert_non_null(block);
    assert_true(out->frames >= 1 && out->frames <= MERGE_SEGMENTS_MAX);
    assert_true(out->count >= 2 && out->count <= MERGE_PIECES_MAX);
    for (size_t i = 0; i < out->count; i++) {
        sum += out->pieces[i].len;
    }
    assert_int_equal(sum, out->len);
    assert_true(out->frames == 1 || out->len <= MERGE_FRAME_MAX);
    merge_output_copy(out, block);
    if (out->frames == 1) {
        assert_int_equal(out->vnet.gso_type, VNET_GSO_NONE);
        assert_int_equal(out->vnet.flags, 0);
    } else {
        size_t header = out->pieces[0].len;
        assert_int_equal(out->vnet.hdr_len, header);
        assert_int_equal(out->vnet.flags, VNET_NEEDS_CSUM);
    }
    assert_int_equal(
        offload_split_begin(&s, &out->vnet, block, out->len, checksum_pick(cpu_features())),
        out->frames);
    while (offload_split_next(&s, &frame)) {
        r->merged[r->count] = out->frames > 1;
        r->frames[r->count++] = (struct sample){exact_copy(frame.data, frame.len), frame.len};
    }
    r->outputs++;
    r->longest = out->frames > r->longest ? out->frames : r->longest;
    r->port = out->port;
    free(block);
}

static void result_clear(struct result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->frames[i].frame);
    }
    memset(r, 0, sizeof(*r));
}

static int set_up(void **state)
{
    struct test_rng rng = test_rng_init("payload");

    (void)state;
    test_rng_fill(&rng, payload, sizeof(payload));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    result_clear(&result);
    return 0;
}

static void add(struct merger *m, uint64_t port, unsigned kinds, const uint8_t *frame, size_t len)
{
    const struct merge_input in = {
        .dest_mac = be64_get(frame) >> 16,
        .source_mac = be64_get(frame + 6) >> 16,
        .payload = frame + ETHERNET_LEN,
        .len = len - ETHERNET_LEN,
        .port = port,
        .kinds = kinds,
        .ethertype = be16_get(frame + 12),
    };

    merger_add(m, &in);
}

static void init(struct merger *m)
{
    merger_init(m, checksum_pick(cpu_features()), collect, &result);
    assert_true(merger_is_empty(m));
}

/* A flow such as merging is for. */
static struct flow clean_flow(struct test_rng *rng)
{
    struct flow f = flow_random(rng, true);

    f.tcp_options = 12;
    f.is_udp = false;
    return f;
}

static struct sample make(const struct flow *f, const struct frame_fields *v)
{
    static uint8_t frame[TEST_FRAME_MAX];
    size_t len = flow_frame(f, v, frame);

    return (struct sample){exact_copy(frame, len), len};
}

/* A train of equal frames, ended by a short one, becomes one super-frame. */
static void check_train(struct test_rng *rng, bool v6, bool udp, size_t size, unsigned count)
{
    struct flow f = clean_flow(rng);
    struct merger m;
    struct sample in[MERGE_SEGMENTS_MAX];
    struct frame_fields v = {.seq = 0xffffff00, .id = 0xfff0, .flags = 0x10, .payload = payload};

    f.is_v6 = v6;
    f.is_udp = udp;
    f.df = udp;
    init(&m);
    for (unsigned i = 0; i < count; i++) {
        v.len = i + 1 < count ? size : size - 1;
        v.flags = i + 1 < count ? 0x10 : 0x18;
        in[i] = make(&f, &v);
        add(&m, 7, MERGE_ALL, in[i].frame, in[i].len);
        v.seq += (uint32_t)v.len;
        v.id++;
        v.payload += v.len;
    }
    assert_true(merger_is_empty(&m)); /* the short one closed it */
    assert_int_equal(result.outputs, 1);
    assert_int_equal(result.longest, count);
    assert_int_equal(result.port, 7);
    assert_int_equal(result.count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(result.frames[i].len, in[i].len);
        assert_memory_equal(result.frames[i].frame, in[i].frame, in[i].len);
        free(in[i].frame);
    }
    result_clear(&result);
}

static void test_trains_become_one(void **state)
{
    struct test_rng rng = test_rng_init("trains");

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        check_train(&rng, i & 1, i & 2, 1448, 44);
        check_train(&rng, i & 1, i & 2, 2, 64);
        check_train(&rng, i & 1, i & 2, 9000, 7);
        check_train(&rng, i & 1, i & 2, 60, 2);
    }
}

/* Neither more frames nor more bytes than allowed. */
static void test_bounds(void **state)
{
    struct test_rng rng = test_rng_init("bounds");
    struct flow f = clean_flow(&rng);
    struct merger m;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        struct frame_fields v = {.flags = 0x10, .payload = payload, .len = round == 0 ? 10 : 3000};
        struct sample in[200];

        init(&m);
        for (unsigned i = 0; i < 200; i++) {
            in[i] = make(&f, &v);
            add(&m, 0, MERGE_ALL, in[i].frame, in[i].len);
            v.seq += (uint32_t)v.len;
            v.id++;
        }
        merger_flush(&m);
        assert_true(merger_is_empty(&m));
        assert_int_equal(result.count, 200);
        assert_int_equal(result.longest, round == 0 ? MERGE_SEGMENTS_MAX : 21);
        for (unsigned i = 0; i < 200; i++) {
            assert_memory_equal(result.frames[i].frame, in[i].frame, in[i].len);
            free(in[i].frame);
        }
        result_clear(&result);
    }
}

/* One way in which the second of two frames differs. */
struct difference {
    const char *what;
    bool v6;
    bool udp;
    bool no_df;
    bool bare;      /* by offset from the Ethernet header, not l3 or l4 */
    bool is_l4;     /* offset from the TCP or UDP header, else from the IP header */
    int at;         /* byte that is changed, -1 none */
    uint8_t value;  /* XORed to it */
    bool no_mend;   /* checksums are not made right again */
    int seq;        /* added to the sequence number */
    int id;         /* added to the ID */
    uint8_t flags;  /* of the second, 0 = ACK */
    int len;        /* added to the payload */
    uint64_t port;  /* of the second */
    unsigned kinds; /* taken away */
    bool trailer;   /* a byte behind the packet */
    unsigned first_flags;
    unsigned outputs;
};

static void mend(const struct flow *f, uint8_t *frame, size_t len)
{
    uint8_t *ip = frame + flow_l3(f);
    uint8_t *l4 = frame + flow_l4(f);
    size_t n = len - flow_l4(f);
    size_t at = f->is_udp ? 6 : 16;
    size_t addresses = f->is_v6 ? 32 : 8;

    if (!f->is_v6) {
        be16_put(ip + 10, 0);
        be16_put(ip + 10, (uint16_t)~naive_sum(ip, 20, 0));
    }
    be16_put(l4 + at, 0);
    uint16_t sum =
        naive_sum(ip + (f->is_v6 ? 8 : 12), addresses, (uint32_t)n + (f->is_udp ? 17 : 6));
    be16_put(l4 + at, (uint16_t)~naive_sum(l4, n, sum));
}

static void check_difference(struct test_rng *rng, const struct difference *d)
{
    struct flow f = clean_flow(rng);
    struct merger m;
    struct sample in[2];

    f.is_v6 = d->v6;
    f.is_udp = d->udp;
    f.df = !d->no_df;
    f.tags = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct frame_fields v = {.seq = 1000, .id = 50, .payload = payload, .len = 500};

        v.flags = d->first_flags != 0 ? (uint8_t)d->first_flags : 0x10;
        if (i == 1) {
            v.seq += (uint32_t)(500 + d->seq);
            v.id = (uint16_t)(v.id + 1 + d->id);
            v.flags = d->flags != 0 ? d->flags : 0x10;
            v.len = (size_t)(500 + d->len);
        }
        in[i] = make(&f, &v);
    }
    if (d->at >= 0) {
        size_t base = d->is_l4 ? flow_l4(&f) : flow_l3(&f);
        in[1].frame[(d->bare ? 0 : base) + (size_t)d->at] ^= d->value;
        if (!d->no_mend) {
            mend(&f, in[1].frame, in[1].len);
        }
    }
    if (d->trailer) {
        in[1].frame = realloc(in[1].frame, in[1].len + 1);
        in[1].frame[in[1].len++] = 0;
    }
    init(&m);
    add(&m, 0, MERGE_ALL, in[0].frame, in[0].len);
    add(&m, d->port, MERGE_ALL & ~d->kinds, in[1].frame, in[1].len);
    merger_flush(&m);
    if (result.outputs != d->outputs) {
        fail_msg("%s: %u outputs", d->what, result.outputs);
    }
    assert_int_equal(result.count, 2);
    for (unsigned i = 0; i < 2; i++) {
        size_t at = i;
        /* different flows may change places */
        if (result.frames[at].len != in[i].len ||
            memcmp(result.frames[at].frame, in[i].frame, in[i].len) != 0) {
            at = 1 - i;
        }
        assert_int_equal(result.frames[at].len, in[i].len);
        assert_memory_equal(result.frames[at].frame, in[i].frame, in[i].len);
        free(in[i].frame);
    }
    result_clear(&result);
}

/* Spec 09 section 6.6, rule by rule; D-15. */
static void test_what_keeps_frames_apart(void **state)
{
    static const struct difference cases[] = {
        {.what = "nothing", .at = -1, .outputs = 1},
        {.what = "nothing, v6", .v6 = true, .at = -1, .outputs = 1},
        {.what = "nothing, no DF", .no_df = true, .at = -1, .outputs = 1},
        {.what = "nothing, UDP", .udp = true, .at = -1, .outputs = 1},
        {.what = "nothing, UDP v6", .v6 = true, .udp = true, .at = -1, .outputs = 1},
        {.what = "PSH", .at = -1, .flags = 0x18, .outputs = 1},
        {.what = "shorter", .at = -1, .len = -1, .outputs = 1},
        {.what = "longer", .at = -1, .len = 1, .outputs = 2},
        {.what = "longer UDP", .udp = true, .at = -1, .len = 1, .outputs = 2},
        {.what = "empty", .at = -1, .len = -500, .outputs = 2},
        {.what = "empty UDP", .udp = true, .at = -1, .len = -500, .outputs = 2},
        {.what = "first PSH", .at = -1, .first_flags = 0x18, .outputs = 2},
        {.what = "port", .at = -1, .port = 1, .outputs = 2},
        {.what = "dest MAC", .bare = true, .at = 5, .value = 1, .no_mend = true, .outputs = 2},
        {.what = "source MAC", .bare = true, .at = 11, .value = 1, .no_mend = true, .outputs = 2},
        {.what = "VLAN", .bare = true, .at = 15, .value = 1, .no_mend = true, .outputs = 2},
        {.what = "TOS", .at = 1, .value = 4, .outputs = 2},
        {.what = "ECN", .at = 1, .value = 1, .outputs = 2},
        {.what = "traffic class", .v6 = true, .at = 1, .value = 0x10, .outputs = 2},
        {.what = "flow label", .v6 = true, .at = 3, .value = 1, .outputs = 2},
        {.what = "TTL", .at = 8, .value = 1, .outputs = 2},
        {.what = "hop limit", .v6 = true, .at = 7, .value = 1, .outputs = 2},
        {.what = "DF", .at = 6, .value = 0x40, .outputs = 2},
        {.what = "more fragments", .no_df = true, .at = 6, .value = 0x20, .outputs = 2},
        {.what = "ID gap", .no_df = true, .at = -1, .id = 1, .outputs = 2},
        {.what = "ID gap with DF, UDP", .udp = true, .at = 10, .value = 0, .outputs = 1},
        {.what = "UDP without DF", .udp = true, .no_df = true, .at = -1, .outputs = 2},
        {.what = "source address", .at = 15, .value = 1, .outputs = 2},
        {.what = "dest address", .at = 19, .value = 1, .outputs = 2},
        {.what = "source address v6", .v6 = true, .at = 23, .value = 1, .outputs = 2},
        {.what = "dest address v6", .v6 = true, .at = 39, .value = 1, .outputs = 2},
        {.what = "extension", .v6 = true, .at = 6, .value = 6, .no_mend = true, .outputs = 2},
        {.what = "source port", .is_l4 = true, .at = 1, .value = 1, .outputs = 2},
        {.what = "dest port", .is_l4 = true, .at = 3, .value = 1, .outputs = 2},
        {.what = "sequence gap", .at = -1, .seq = 1, .outputs = 2},
        {.what = "sequence overlap", .at = -1, .seq = -1, .outputs = 2},
        {.what = "repeated", .at = -1, .seq = -500, .id = -1, .outputs = 2},
        {.what = "acknowledgement", .is_l4 = true, .at = 11, .value = 1, .outputs = 2},
        {.what = "AE flag", .is_l4 = true, .at = 12, .value = 1, .outputs = 2},
        {.what = "window", .is_l4 = true, .at = 15, .value = 1, .outputs = 2},
        {.what = "urgent pointer", .is_l4 = true, .at = 19, .value = 1, .outputs = 2},
        {.what = "options", .is_l4 = true, .at = 31, .value = 1, .outputs = 2},
        {.what = "data offset", .is_l4 = true, .at = 12, .value = 0x10, .outputs = 2},
        {.what = "FIN", .at = -1, .flags = 0x11, .outputs = 2},
        {.what = "SYN", .at = -1, .flags = 0x12, .outputs = 2},
        {.what = "RST", .at = -1, .flags = 0x14, .outputs = 2},
        {.what = "URG", .at = -1, .flags = 0x30, .outputs = 2},
        {.what = "ECE", .at = -1, .flags = 0x50, .outputs = 2},
        {.what = "CWR", .at = -1, .flags = 0x90, .outputs = 2},
        {.what = "both CWR", .at = -1, .first_flags = 0x90, .flags = 0x90, .outputs = 2},
        {.what = "no ACK", .at = -1, .flags = 0x08, .outputs = 2},
        {.what = "TCP checksum",
         .is_l4 = true,
         .at = 17,
         .value = 1,
         .no_mend = true,
         .outputs = 2},
        {.what = "data", .is_l4 = true, .at = 100, .value = 1, .no_mend = true, .outputs = 2},
        {.what = "data v6",
         .v6 = true,
         .is_l4 = true,
         .at = 100,
         .value = 1,
         .no_mend = true,
         .outputs = 2},
        {.what = "IP checksum", .at = 11, .value = 1, .no_mend = true, .outputs = 2},
        {.what = "UDP data",
         .udp = true,
         .is_l4 = true,
         .at = 50,
         .value = 1,
         .no_mend = true,
         .outputs = 2},
        {.what = "UDP length", .udp = true, .is_l4 = true, .at = 5, .value = 1, .outputs = 2},
        {.what = "trailer", .at = -1, .trailer = true, .outputs = 2},
        {.what = "kind v4", .at = -1, .kinds = MERGE_TCP4, .outputs = 2},
        {.what = "kind v6", .v6 = true, .at = -1, .kinds = MERGE_TCP6, .outputs = 2},
        {.what = "kind UDP", .udp = true, .at = -1, .kinds = MERGE_UDP, .outputs = 2},
        {.what = "other kinds", .at = -1, .kinds = MERGE_UDP | MERGE_TCP6, .outputs = 1},
    };
    struct test_rng rng = test_rng_init("apart");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_difference(&rng, &cases[i]);
    }
}

/* UDP without checksum is legal over IPv4 and stays without (pitfall 6). */
static void test_udp_without_checksum(void **state)
{
    struct test_rng rng = test_rng_init("no checksum");
    struct flow f = clean_flow(&rng);
    struct frame_fields v = {.payload = payload, .len = 100};
    struct merger m;

    (void)state;
    f.is_udp = true;
    f.is_v6 = false;
    f.df = true;
    struct sample in = make(&f, &v);
    be16_put(in.frame + flow_l4(&f) + 6, 0);
    init(&m);
    add(&m, 0, MERGE_ALL, in.frame, in.len);
    assert_true(merger_is_empty(&m));
    add(&m, 0, MERGE_ALL, in.frame, in.len);
    assert_int_equal(result.outputs, 2);
    assert_memory_equal(result.frames[1].frame, in.frame, in.len);
    free(in.frame);
}

/* D-15: the first of two is the damaged one. */
static void test_damaged_first_frame(void **state)
{
    struct test_rng rng = test_rng_init("first");
    struct flow f = clean_flow(&rng);
    struct frame_fields v = {.flags = 0x10, .payload = payload, .len = 500};
    struct merger m;
    struct sample in[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        in[i] = make(&f, &v);
        v.seq += 500;
        v.id++;
    }
    in[0].frame[in[0].len - 1] ^= 1;
    init(&m);
    for (unsigned i = 0; i < 3; i++) {
        add(&m, 0, MERGE_ALL, in[i].frame, in[i].len);
    }
    merger_flush(&m);
    assert_int_equal(result.outputs, 2);
    for (unsigned i = 0; i < 3; i++) {
        assert_memory_equal(result.frames[i].frame, in[i].frame, in[i].len);
        free(in[i].frame);
    }
}

/* Frames of no flow leave others alone; those that might belong to one let all out. */
static void test_frames_without_flow(void **state)
{
    struct test_rng rng = test_rng_init("no flow");
    struct flow f = clean_flow(&rng);
    struct frame_fields v = {.flags = 0x10, .payload = payload, .len = 500};
    struct merger m;

    (void)state;
    f.is_v6 = false;
    f.tags = 0;
    struct sample in = make(&f, &v);
    struct sample other = make(&f, &v);
    init(&m);
    add(&m, 0, MERGE_ALL, in.frame, in.len);
    be16_put(other.frame + 12, 0x0806);
    add(&m, 0, MERGE_ALL, other.frame, other.len); /* ARP */
    be16_put(other.frame + 12, 0x0800);
    other.frame[14 + 9] = 1;
    add(&m, 0, MERGE_ALL, other.frame, other.len); /* ICMP */
    assert_int_equal(result.outputs, 2);
    assert_false(merger_is_empty(&m));
    other.frame[14 + 9] = 6;
    other.frame[14 + 7] = 1;
    add(&m, 0, MERGE_ALL, other.frame, other.len); /* a fragment */
    assert_true(merger_is_empty(&m));
    assert_int_equal(result.outputs, 4);
    assert_memory_equal(result.frames[2].frame, in.frame, in.len);
    free(in.frame);
    free(other.frame);
}

/* State of a random sender. */
struct sender {
    struct flow flow;
    struct frame_fields next;
    size_t size;
};

/* The next frame of a sender: mostly the next of a train, sometimes anything. */
static struct sample random_frame(struct test_rng *rng, struct sender *s)
{
    struct frame_fields v = s->next;
    size_t mood = test_rng_below(rng, 60);

    v.len = mood < 4 ? test_rng_below(rng, s->size + 1) : s->size;
    v.payload = payload + test_rng_below(rng, 1000);
    v.flags = 0x10;
    if (mood == 5 || mood == 6) {
        v.flags |= 0x08;
    } else if (mood == 7) {
        v.flags = (uint8_t)test_rng_u64(rng);
    } else if (mood == 8) {
        v.seq -= (uint32_t)test_rng_below(rng, 3000); /* repeated */
    } else if (mood == 9) {
        v.seq += (uint32_t)test_rng_below(rng, 3000); /* lost */
        v.id = (uint16_t)(v.id + test_rng_below(rng, 3));
    } else if (mood == 10) {
        s->flow.ack++;
    } else if (mood == 11) {
        s->flow.window++;
    } else if (mood == 12) {
        s->flow.tos ^= (uint8_t)(1 << test_rng_below(rng, 8));
    } else if (mood == 13) {
        s->size = 1 + test_rng_below(rng, 2700);
        v.len = s->size;
    } else if (mood == 14) {
        s->flow.fill++;
    }
    s->next = v;
    s->next.seq += (uint32_t)v.len;
    s->next.id++;
    struct sample out = make(&s->flow, &v);
    if (mood == 15) {
        size_t at = flow_l3(&s->flow) + test_rng_below(rng, out.len - flow_l3(&s->flow));
        if (at < flow_l4(&s->flow) + 4) { /* must stay in its flow */
            at = flow_l3(&s->flow) + (s->flow.is_v6 ? 5 : 11);
        }
        out.frame[at] ^= (uint8_t)(1 << test_rng_below(rng, 8));
    } else if (mood == 16) {
        out.len -= test_rng_below(rng, out.len - ETHERNET_LEN);
        uint8_t *cut = exact_copy(out.frame, out.len);
        free(out.frame);
        out.frame = cut;
    }
    return out;
}

/* Equal but for the ID of an IPv4 frame with DF. */
static bool is_same(const struct flow *f, const struct sample *a, const struct sample *b)
{
    size_t l3 = flow_l3(f);

    if (a->len != b->len) {
        return false;
    }
    if (f->is_v6 || a->len < l3 + 20 || (a->frame[l3 + 6] & 0x40) == 0) {
        return memcmp(a->frame, b->frame, a->len) == 0;
    }
    return memcmp(a->frame, b->frame, l3 + 4) == 0 &&
           memcmp(a->frame + l3 + 6, b->frame + l3 + 6, 4) == 0 &&
           memcmp(a->frame + l3 + 12, b->frame + l3 + 12, a->len - l3 - 12) == 0;
}

/* Each output frame is the next of its flow's inputs. Flows are told by their MAC. */
static void check_order(const struct sender *senders, const struct sample *in, const uint8_t *of,
                        size_t count)
{
    size_t next[FLOWS] = {0};

    assert_int_equal(result.count, count);
    for (size_t i = 0; i < result.count; i++) {
        size_t flow = result.frames[i].frame[5];

        while (next[flow] < count && of[next[flow]] != flow) {
            next[flow]++;
        }
        assert_true(next[flow] < count);
        const struct sample *want = &in[next[flow]++];
        if (!result.merged[i]) {
            assert_int_equal(result.frames[i].len, want->len);
            assert_memory_equal(result.frames[i].frame, want->frame, want->len);
        } else {
            assert_true(is_same(&senders[flow].flow, &result.frames[i], want));
        }
    }
}

/* D-14, D-16, D-17 */
static unsigned check_random_traffic(struct test_rng *rng)
{
    static struct sample in[STEPS];
    static uint8_t of[STEPS];
    struct sender senders[FLOWS];
    struct merger m;
    unsigned kinds = test_rng_below(rng, 3) == 0 ? (unsigned)test_rng_below(rng, 8) : MERGE_ALL;
    size_t flows = 1 + test_rng_below(rng, FLOWS);

    for (size_t i = 0; i < FLOWS; i++) {
        struct sender *s = &senders[i];
        *s = (struct sender){.flow = flow_random(rng, i % 4 != 0)};
        s->flow.dest_mac = 0x020000000000 + i;
        s->next.seq = (uint32_t)test_rng_u64(rng);
        s->next.id = (uint16_t)test_rng_u64(rng);
        s->size = 1 + test_rng_below(rng, 2700);
    }
    init(&m);
    for (size_t i = 0; i < STEPS;) {
        size_t flow = test_rng_below(rng, flows);
        size_t train = 1 + test_rng_below(rng, 40);

        for (; train > 0 && i < STEPS; train--, i++) {
            in[i] = random_frame(rng, &senders[flow]);
            of[i] = (uint8_t)flow;
            add(&m, 0, kinds, in[i].frame, in[i].len);
        }
        if (test_rng_below(rng, 10) == 0) {
            merger_flush(&m);
            assert_true(merger_is_empty(&m));
            assert_int_equal(result.count, i);
        }
    }
    merger_flush(&m);
    check_order(senders, in, of, STEPS);
    unsigned outputs = result.outputs;
    for (size_t i = 0; i < STEPS; i++) {
        free(in[i].frame);
    }
    result_clear(&result);
    return outputs;
}

static void test_random_traffic(void **state)
{
    struct test_rng rng = test_rng_init("traffic");

    (void)state;
    unsigned outputs = 0;
    for (unsigned i = 0; i < 12; i++) {
        outputs += check_random_traffic(&rng);
    }
    print_message("%u outputs of %u frames\n", outputs, 12 * STEPS);
    assert_true(outputs < 12 * STEPS * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_trains_become_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_keeps_frames_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_udp_without_checksum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_first_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames_without_flow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_traffic, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
