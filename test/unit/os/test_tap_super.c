/* Super-frames of TAP devices, in a namespace of its own: what is obtained, what the kernel hands
 * over, that our split gives the frames its own segmentation gives, and that it undoes our merging.
 * Checklist: D-12, D-14, D-18, D-26. */
#include "netns.h"
#include "segments.h"

#include "base/cursor.h"
#include "crypto/cpu.h"
#include "datapath/merge.h"
#include "os/tap.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t nwid = 0x8056c2e21c000001;

static uint8_t payload[65536];
static uint8_t super[TEST_FRAME_MAX];
static uint8_t buffer[TAP_SUPER_BUFFER];

static struct tap *open_tap(unsigned offloads, unsigned queues, unsigned tx_queue_len)
{
    const struct tap_config config = {.nwid = nwid,
                                      .mac = 0x02aabbccdd01,
                                      .mtu = 2800,
                                      .queues = queues,
                                      .offloads = offloads,
                                      .tx_queue_len = tx_queue_len};
    struct tap *tap = NULL;
    char error[TAP_ERROR_LEN] = "";

    if (tap_open(&config, &tap, error) != 0) {
        fail_msg("%s", error);
    }
    return tap;
}

static int tx_queue_len(const struct tap *tap)
{
    struct ifreq req = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(req.ifr_name, tap_name(tap), strlen(tap_name(tap)));
    assert_int_equal(ioctl(fd, SIOCGIFTXQLEN, &req), 0);
    (void)close(fd);
    return req.ifr_qlen;
}

/* D-18: every switch; what depends on something missing is not there. */
static void test_switches(void **state)
{
    static const struct {
        unsigned wanted;
        unsigned got; /* of what this system has */
    } cases[] = {
        {0, 0},
        {TAP_OFFLOAD_VNET, TAP_OFFLOAD_VNET},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_VNET, 0},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_CSUM, TAP_OFFLOAD_VNET},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_USO, TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_USO},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO4, TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO4},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO6, TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO6},
        {TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_ECN, TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_ECN},
        {TAP_OFFLOAD_VNET | TAP_OFFLOAD_CSUM | TAP_OFFLOAD_ECN,
         TAP_OFFLOAD_VNET | TAP_OFFLOAD_CSUM},
        {TAP_OFFLOAD_ALL, TAP_OFFLOAD_ALL},
    };
    struct tap *all = open_tap(TAP_OFFLOAD_ALL, 1, 0);
    unsigned here = tap_offloads(all);

    (void)state;
    print_message("obtained: 0x%x\n", here);
    tap_close(all);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tap *tap = open_tap(cases[i].wanted, 1 + i % 2, 0);
        assert_int_equal(tap_offloads(tap), cases[i].got & here);
        assert_int_equal(tap_limit_offloads(tap, TAP_OFFLOAD_TSO4 | TAP_OFFLOAD_TSO6), 0);
        assert_int_equal(tap_offloads(tap),
                         cases[i].got & here & ~(unsigned)(TAP_OFFLOAD_USO | TAP_OFFLOAD_ECN));
        tap_close(tap);
    }
}

/* D-26 */
static void test_queue_length(void **state)
{
    struct tap *plain = open_tap(0, 1, 0);
    int usual = tx_queue_len(plain);
    struct tap *super_frames = open_tap(TAP_OFFLOAD_ALL, 1, 0);
    struct tap *chosen = open_tap(TAP_OFFLOAD_ALL, 1, 77);

    (void)state;
    assert_int_not_equal(usual, 77);
    assert_int_equal(tx_queue_len(super_frames), TAP_TX_QUEUE_LEN);
    assert_int_equal(tx_queue_len(chosen), 77);
    tap_close(plain);
    tap_close(super_frames);
    tap_close(chosen);
}

/* A socket that sends frames with virtio-net headers out of a device. */
static int open_injector(const struct tap *tap)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)tap_ifindex(tap)};
    int one = 1;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* The header in the order of this machine, as these sockets want it. */
static bool inject(int fd, const struct vnet_header *vnet, uint8_t *frame, size_t len)
{
    struct {
        uint8_t flags;
        uint8_t gso_type;
        uint16_t words[4];
    } header = {vnet->flags,
                vnet->gso_type,
                {vnet->hdr_len, vnet->gso_size, vnet->csum_start, vnet->csum_offset}};
    struct iovec parts[2] = {{&header, VNET_HEADER_LEN}, {frame, len}};

    return writev(fd, parts, 2) == (ssize_t)(VNET_HEADER_LEN + len);
}

/* The next frame of this source; the system's own are passed over. */
static bool read_from(struct tap *tap, uint64_t source_mac, struct tap_super *ret)
{
    struct pollfd p = {.fd = tap_fd(tap, 0), .events = POLLIN};

    for (int tries = 0; tries < 100 && poll(&p, 1, 2000) == 1; tries++) {
        *ret = (struct tap_super){.data = buffer, .cap = sizeof(buffer)};
        int n = tap_read_super(tap, 0, ret, 1);
        assert_true(n >= 0);
        if (n == 1 && be64_get(ret->data + 6) >> 16 == source_mac) {
            return true;
        }
    }
    return false;
}

/* A random super-frame such as this kernel itself would make. */
static struct frame_fields random_super(struct test_rng *rng, struct flow *f, uint16_t *gso_size)
{
    *f = flow_random(rng, false);
    f->dest_mac = 0x02aabbccdd02;
    *gso_size = (uint16_t)(500 + test_rng_below(rng, 1900));
    return (struct frame_fields){
        .seq = (uint32_t)test_rng_u64(rng),
        .id = (uint16_t)test_rng_u64(rng),
        .flags = f->is_udp ? 0 : (uint8_t)(0x10 | (test_rng_u64(rng) & 0xd9)),
        .payload = payload,
        .len = *gso_size + 1 + test_rng_below(rng, 20000),
    };
}

/* D-12: the kernel cuts for a device without offloads; we cut what one with offloads gives. */
static void test_split_equals_segmentation_of_kernel(void **state)
{
    struct test_rng rng = test_rng_init("kernel split");
    struct tap *plain = open_tap(0, 1, 1000);
    int fd = open_injector(plain);
    unsigned compared = 0;

    (void)state;
    test_rng_fill(&rng, payload, sizeof(payload));
    for (unsigned i = 0; i < 300; i++) {
        struct flow f;
        uint16_t gso_size;
        struct frame_fields v = random_super(&rng, &f, &gso_size);
        struct vnet_header vnet;
        struct offload_split s;
        struct offload_frame want;
        struct tap_super got;
        size_t len = flow_super(&f, &v, gso_size, super, &vnet);

        if (!inject(fd, &vnet, super, len)) {
            continue; /* UDP super-frames need Linux 6.2 */
        }
        int count = offload_split_begin(&s, &vnet, super, len, checksum_pick(cpu_features()));
        assert_true(count > 1);
        while (offload_split_next(&s, &want)) {
            assert_true(read_from(plain, f.source_mac, &got));
            assert_int_equal(got.len, want.len);
            assert_memory_equal(got.data, want.data, want.len);
        }
        compared++;
    }
    print_message("super-frames compared: %u\n", compared);
    assert_true(compared > 100);
    (void)close(fd);
    tap_close(plain);
}

/* An output of the merger on its way out of the device. */
struct resend {
    int fd;
    unsigned outputs;
};

static void resend(void *ctx, const struct merge_output *out)
{
    struct resend *r = ctx;
    static uint8_t block[OFFLOAD_FRAME_MAX];

    merge_output_copy(out, block);
    assert_true(inject(r->fd, &out->vnet, block, out->len));
    r->outputs++;
}

/* D-14: what we merge, the kernel cuts into what it was. */
static void test_kernel_undoes_merging(void **state)
{
    struct test_rng rng = test_rng_init("kernel merge");
    struct tap *plain = open_tap(0, 1, 1000);
    static uint8_t frames[20][3000];
    size_t lens[20];
    struct resend r = {.fd = open_injector(plain)};
    struct tap_super got;
    struct merger m;

    (void)state;
    test_rng_fill(&rng, payload, sizeof(payload));
    for (unsigned i = 0; i < 200; i++) {
        struct flow f = flow_random(&rng, true);
        unsigned count = 2 + (unsigned)test_rng_below(&rng, 18);
        size_t size = 100 + test_rng_below(&rng, 2500);
        struct frame_fields v = {.seq = (uint32_t)test_rng_u64(&rng),
                                 .id = (uint16_t)test_rng_u64(&rng),
                                 .payload = payload};

        f.df = true;
        f.dest_mac = 0x02aabbccdd02;
        merger_init(&m, checksum_pick(cpu_features()), resend, &r);
        r.outputs = 0;
        for (unsigned k = 0; k < count; k++) {
            bool is_last = k + 1 == count;

            v.len = is_last ? 1 + test_rng_below(&rng, size) : size;
            v.flags = is_last ? 0x18 : 0x10;
            lens[k] = flow_frame(&f, &v, frames[k]);
            const struct merge_input in = {.dest_mac = f.dest_mac,
                                           .source_mac = f.source_mac,
                                           .payload = frames[k] + ETHERNET_LEN,
                                           .len = lens[k] - ETHERNET_LEN,
                                           .kinds = MERGE_TCP4 | MERGE_TCP6,
                                           .ethertype = be16_get(frames[k] + 12)};
            merger_add(&m, &in);
            v.seq += (uint32_t)v.len;
            v.id++;
        }
        merger_flush(&m);
        assert_true(r.outputs == (f.is_udp ? count : 1));
        for (unsigned k = 0; k < count; k++) {
            assert_true(read_from(plain, f.source_mac, &got));
            assert_int_equal(got.len, lens[k]);
            assert_memory_equal(got.data, frames[k], lens[k]);
        }
    }
    (void)close(r.fd);
    tap_close(plain);
}

/* With offloads the super-frame itself comes; whatever is switched off comes in segments, and those
 * of both ways are equal. */
static void check_handed_over(struct test_rng *rng, unsigned offloads)
{
    struct tap *tap = open_tap(offloads, 1, 1000);
    int fd = open_injector(tap);

    for (unsigned i = 0; i < 40; i++) {
        struct flow f;
        uint16_t gso_size;
        struct frame_fields v = random_super(rng, &f, &gso_size);
        struct vnet_header vnet;
        size_t len = flow_super(&f, &v, gso_size, super, &vnet);

        if (!inject(fd, &vnet, super, len)) {
            continue;
        }
        size_t done = 0;
        unsigned frames = 0;
        while (done < v.len) {
            struct tap_super got;
            struct offload_split s;
            struct offload_frame frame;

            assert_true(read_from(tap, f.source_mac, &got));
            frames++;
            assert_true(offload_split_begin(&s, &got.vnet, got.data, got.len, checksum_portable) >
                        0);
            while (offload_split_next(&s, &frame)) {
                struct frame_fields part = flow_segment(&v, gso_size, (unsigned)(done / gso_size));
                size_t want = flow_frame(&f, &part, super);

                assert_int_equal(frame.len, want);
                assert_memory_equal(frame.data, super, want);
                done += part.len;
            }
        }
        unsigned needed = f.is_udp ? TAP_OFFLOAD_USO : TAP_OFFLOAD_TSO4;
        needed = !f.is_udp && f.is_v6 ? TAP_OFFLOAD_TSO6 : needed;
        needed |= !f.is_udp && (v.flags & 0x80) != 0 ? TAP_OFFLOAD_ECN : 0;
        if ((tap_offloads(tap) & needed) != needed) {
            assert_true(frames > 1);
        } else if (f.tags < 2) {
            assert_int_equal(frames, 1);
        }
    }
    (void)close(fd);
    tap_close(tap);
}

static void test_every_switch_hands_over_the_same(void **state)
{
    static const unsigned cases[] = {
        TAP_OFFLOAD_ALL,
        TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_USO,
        TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO4,
        TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_TSO6,
        TAP_OFFLOAD_ALL & ~TAP_OFFLOAD_ECN,
        TAP_OFFLOAD_VNET | TAP_OFFLOAD_CSUM,
        TAP_OFFLOAD_VNET,
        0,
    };
    struct test_rng rng = test_rng_init("switches");

    (void)state;
    test_rng_fill(&rng, payload, sizeof(payload));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_handed_over(&rng, cases[i]);
    }
}

/* The plain calls on a device with headers, and the calls for super-frames on one without. */
static void test_both_kinds_of_calls(void **state)
{
    struct tap *vnet = open_tap(TAP_OFFLOAD_ALL, 1, 0);
    struct tap *plain = open_tap(0, 1, 0);
    static const struct vnet_header none;
    const struct vnet_header gso = {.flags = VNET_NEEDS_CSUM,
                                    .gso_type = VNET_GSO_TCPV4,
                                    .hdr_len = 54,
                                    .gso_size = 2747,
                                    .csum_start = 65000,
                                    .csum_offset = 16};
    uint8_t frame[14 + 2801] = {2, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 0, 0, 0, 0, 5, 0x99, 0x99};
    struct tap_frame batch = {.data = frame, .cap = sizeof(frame)};
    struct offload_piece pieces[TAP_PIECES_MAX + 1] = {{frame, 14}, {frame, 100}};

    (void)state;
    assert_int_equal(tap_read(vnet, 0, &batch, 1), -EOPNOTSUPP);
    assert_int_equal(tap_write(vnet, 0, frame, 114), 0);
    assert_int_equal(tap_write_parts(vnet, 0, 0x02aabbccdd01, 1, 0x9999, frame, 100), 0);
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, 2), 0);
    assert_int_equal(tap_write_super(plain, 0, &none, pieces, 2), 0);
    assert_int_equal(tap_write_super(plain, 0, &gso, pieces, 2), -EOPNOTSUPP);
    assert_int_equal(tap_write_super(vnet, 0, &gso, pieces, 2), -EINVAL);
    pieces[1].len = 2800;
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, 2), 0);
    pieces[1].len = 2801;
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, 2), -EMSGSIZE);
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, 1), -EMSGSIZE);
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, 0), -EMSGSIZE);
    assert_int_equal(tap_write_super(vnet, 0, &none, pieces, TAP_PIECES_MAX + 1), -EMSGSIZE);
    tap_close(vnet);
    tap_close(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_queue_length),
        cmocka_unit_test(test_split_equals_segmentation_of_kernel),
        cmocka_unit_test(test_kernel_undoes_merging),
        cmocka_unit_test(test_every_switch_hands_over_the_same),
        cmocka_unit_test(test_both_kinds_of_calls),
    };
    netns_enter();
    netns_need_tun();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
