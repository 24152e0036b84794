/* TAP devices in a namespace of their own. Checklist: SV-15, SV-80, SV-81, SV-86 (device goes with
 * its descriptors), SV-95, SV-98, SV-99. */
#include "netns.h"

#include "base/cursor.h"
#include "os/addr.h"
#include "os/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t nwid = 0x8056c2e21c000001;
static const uint64_t mac = 0x02aabbccdd01;
static const uint64_t peer_mac = 0x02aabbccdd02;

static struct net *net;

static int set_up(void **state)
{
    (void)state;
    return net_open(&net);
}

static int tear_down(void **state)
{
    (void)state;
    net_close(net);
    return 0;
}

static struct net_iface iface_of(const struct tap *tap)
{
    struct net_snapshot snapshot;

    assert_int_equal(net_snapshot_read(net, &snapshot), 0);
    const struct net_iface *found = net_iface_named(&snapshot, tap_name(tap));
    assert_non_null(found);
    struct net_iface iface = *found;
    net_snapshot_done(&snapshot);
    return iface;
}

/* SV-80, SV-81 */
static void test_device_is_named_and_configured(void **state)
{
    struct tap *tap = netns_tap(nwid, 1);

    (void)state;
    assert_string_equal(tap_name(tap), "ztmjfmfyq5");
    struct net_iface iface = iface_of(tap);
    assert_int_equal(iface.index, tap_ifindex(tap));
    assert_int_equal(iface.mac, mac);
    assert_int_equal(iface.mtu, 2800);
    assert_int_equal(iface.flags & NET_IFACE_UP, NET_IFACE_UP);
    assert_int_equal(iface.kind, NET_IFACE_TUNNEL);

    assert_int_equal(tap_set_mtu(tap, 10000), 0);
    assert_int_equal(tap_set_mac(tap, 0x02aabbccdd77), 0);
    iface = iface_of(tap);
    assert_int_equal(iface.mtu, 10000);
    assert_int_equal(tap_mtu(tap), 10000);
    assert_int_equal(iface.mac, 0x02aabbccdd77);
    assert_int_equal(tap_set_mtu(tap, 10001), -EINVAL);
    assert_int_equal(tap_set_mtu(tap, 1279), -EINVAL);
    assert_int_equal(tap_mtu(tap), 10000);
    assert_int_equal(tap_set_mtu(tap, 1400), 0);
    assert_int_equal(tap_longest(tap), 1400);
    tap_set_longest(tap, 2800);
    assert_int_equal(tap_longest(tap), 2800);
    assert_int_equal(tap_set_mtu(tap, 9000), 0);
    assert_int_equal(tap_longest(tap), 9000);
    tap_close(tap);
    tap_close(NULL);
}

/* SV-80, SV-15, SV-86 */
static void test_taken_names(void **state)
{
    struct tap_config config = {
        .nwid = nwid, .preferred = "mynet", .mac = mac, .mtu = 1280, .queues = 1};
    struct tap *first = netns_tap(nwid, 1);
    struct tap *second = netns_tap(nwid, 1);
    struct tap *third;
    struct tap *fourth;
    char error[TAP_ERROR_LEN];

    (void)state;
    assert_string_equal(tap_name(second), "ztmjfmfyq6");
    assert_int_equal(tap_open(&config, &third, error), 0);
    assert_string_equal(tap_name(third), "mynet");
    assert_int_equal(tap_open(&config, &fourth, error), 0);
    assert_string_equal(tap_name(fourth), "ztmjfmfyq7");
    tap_close(first);
    assert_int_equal(if_nametoindex("ztmjfmfyq5"), 0);
    first = netns_tap(nwid, 1);
    assert_string_equal(tap_name(first), "ztmjfmfyq5");
    tap_close(first);
    tap_close(second);
    tap_close(third);
    tap_close(fourth);
    assert_int_equal(if_nametoindex("mynet"), 0);
}

static void test_bad_configurations(void **state)
{
    const struct tap_config good = {.nwid = nwid, .mac = mac, .mtu = 2800, .queues = 1};
    struct tap *tap = NULL;
    char error[TAP_ERROR_LEN] = "";

    (void)state;
    struct tap_config config = good;
    config.queues = 0;
    assert_int_equal(tap_open(&config, &tap, error), -EINVAL);
    assert_true(strlen(error) > 0);
    config = good;
    config.mtu = 100;
    assert_int_equal(tap_open(&config, &tap, error), -EINVAL);
    config = good;
    config.mac = 0x010000000001; /* a group address */
    assert_int_equal(tap_open(&config, &tap, error), -EADDRNOTAVAIL);
    assert_non_null(strstr(error, "MAC"));
    assert_int_equal(if_nametoindex("ztmjfmfyq5"), 0);
    assert_null(tap);
}

/* Run check in a child process, which may spoil itself. */
static void in_child(bool (*check)(void))
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        _exit(check() ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static bool explains_missing_right(void)
{
    const struct tap_config config = {.nwid = nwid, .mac = mac, .mtu = 2800, .queues = 1};
    struct tap *tap;
    char error[TAP_ERROR_LEN];

    if (geteuid() != 0 || setuid(65534) != 0) {
        return true; /* nothing to give up */
    }
    int code = tap_open(&config, &tap, error);
    return (code == -EACCES || code == -EPERM) && strstr(error, "CAP_NET_ADMIN") != NULL;
}

static bool explains_missing_driver(void)
{
    const struct tap_config config = {.nwid = nwid, .mac = mac, .mtu = 2800, .queues = 1};
    struct tap *tap;
    char error[TAP_ERROR_LEN];

    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev/net", "tmpfs", 0, NULL) != 0) {
        return true; /* not permitted here */
    }
    int code = tap_open(&config, &tap, error);
    return code == -ENOENT && strstr(error, "modprobe tun") != NULL;
}

/* SV-31 (the reasons shown) */
static void test_failures_are_explained(void **state)
{
    (void)state;
    in_child(explains_missing_right);
    in_child(explains_missing_driver);
}

/* Read frames until one satisfies wanted; false after two seconds. */
static bool read_until(struct tap *tap, unsigned queues, bool (*wanted)(const struct tap_frame *),
                       struct tap_frame *ret)
{
    static uint8_t buffers[TAP_BATCH_MAX][TAP_FRAME_BUFFER];
    struct pollfd fds[TAP_QUEUES_MAX];

    for (int tries = 0; tries < 200; tries++) {
        for (unsigned q = 0; q < queues; q++) {
            fds[q] = (struct pollfd){.fd = tap_fd(tap, q), .events = POLLIN};
        }
        (void)poll(fds, queues, 10);
        for (unsigned q = 0; q < queues; q++) {
            struct tap_frame batch[TAP_BATCH_MAX];
            for (size_t i = 0; i < TAP_BATCH_MAX; i++) {
                batch[i] = (struct tap_frame){.data = buffers[i], .cap = sizeof(buffers[i])};
            }
            int n = tap_read(tap, q, batch, TAP_BATCH_MAX);
            assert_true(n >= 0);
            for (int i = 0; i < n; i++) {
                assert_true(batch[i].len > TAP_HEADER_LEN);
                if (wanted(&batch[i])) {
                    *ret = batch[i];
                    return true;
                }
            }
        }
    }
    return false;
}

static bool is_arp_reply(const struct tap_frame *frame)
{
    return frame->len >= 42 && be16_get(frame->data + 12) == 0x0806 &&
           be16_get(frame->data + 20) == 2;
}

/* ARP request of the peer (10.77.0.2) for 10.77.0.1, without Ethernet header. */
static void make_arp(uint8_t out[28])
{
    struct wr w = wr_init(out, 28);

    wr_u64(&w, 0x0001080006040001);
    wr_u16(&w, (uint16_t)(peer_mac >> 32));
    wr_u32(&w, (uint32_t)peer_mac);
    wr_u32(&w, 0x0a4d0002);
    wr_zero(&w, 6);
    wr_u32(&w, 0x0a4d0001);
    assert_int_equal(wr_left(&w), 0);
}

static void check_arp_exchange(unsigned queues)
{
    struct tap *tap = netns_tap(nwid, queues);
    struct inetaddr ip = netns_ip("10.77.0.1/24");
    struct tap_frame reply = {0};
    uint8_t frame[42];
    uint8_t arp[28];

    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &ip), 0);
    make_arp(arp);
    for (unsigned q = 0; q < queues; q++) {
        assert_int_equal(
            tap_write_parts(tap, q, 0xffffffffffff, peer_mac, 0x0806, arp, sizeof(arp)), 0);
        assert_true(read_until(tap, queues, is_arp_reply, &reply));
        assert_int_equal(be64_get(reply.data) >> 16, peer_mac);
        assert_int_equal(be64_get(reply.data + 6) >> 16, mac);
    }
    /* the same as one piece */
    memset(frame, 0xff, 6);
    be64_put(frame + 6, peer_mac << 16);
    be16_put(frame + 12, 0x0806);
    memcpy(frame + 14, arp, sizeof(arp));
    assert_int_equal(tap_write(tap, 0, frame, sizeof(frame)), 0);
    assert_true(read_until(tap, queues, is_arp_reply, &reply));
    tap_close(tap);
}

static void test_frames_pass_both_ways(void **state)
{
    (void)state;
    check_arp_exchange(1);
}

static void test_frames_pass_over_several_queues(void **state)
{
    (void)state;
    check_arp_exchange(3);
}

/* Send a raw frame out of the device. */
static void inject(int fd, const struct tap *tap, const uint8_t *frame, size_t len)
{
    const struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)tap_ifindex(tap), .sll_halen = 6};
    assert_int_equal(sendto(fd, frame, len, 0, (const struct sockaddr *)&to, sizeof(to)), len);
}

static bool is_test_frame(const struct tap_frame *frame)
{
    return be16_get(frame->data + 12) == 0x8100 || be16_get(frame->data + 12) == 0x9999;
}

/* SV-98, SV-99 */
static void test_tagged_and_oversized_frames(void **state)
{
    struct tap *tap = netns_tap(nwid, 1);
    static uint8_t frame[TAP_HEADER_LEN + 2804];
    struct tap_frame got;

    (void)state;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        tap_close(tap);
        skip();
    }
    memset(frame, 0x55, sizeof(frame));
    be64_put(frame, peer_mac << 16);
    be64_put(frame + 6, mac << 16);
    be16_put(frame + 12, 0x8100);
    be16_put(frame + 14, 7);
    be16_put(frame + 16, 0x9999);
    inject(fd, tap, frame, sizeof(frame)); /* the kernel lets tagged frames be 4 bytes longer */
    inject(fd, tap, frame, 14 + 100);
    assert_true(read_until(tap, 1, is_test_frame, &got));
    assert_int_equal(got.len, 14 + 100);
    assert_memory_equal(got.data, frame, got.len);
    be16_put(frame + 12, 0x9999);
    inject(fd, tap, frame, 14 + 2800);
    assert_true(read_until(tap, 1, is_test_frame, &got));
    assert_int_equal(got.len, 14 + 2800);

    assert_int_equal(tap_write(tap, 0, frame, 14 + 2800), 0);
    assert_int_equal(tap_write(tap, 0, frame, 14 + 2801), -EMSGSIZE);
    assert_int_equal(tap_write(tap, 0, frame, 14), -EMSGSIZE);
    assert_int_equal(tap_write(tap, 0, frame, 3), -EMSGSIZE);
    assert_int_equal(tap_write_parts(tap, 0, peer_mac, mac, 0x9999, frame, 2801), -EMSGSIZE);
    assert_int_equal(tap_write_parts(tap, 0, peer_mac, mac, 0x9999, frame, 0), -EMSGSIZE);
    (void)close(fd);
    tap_close(tap);
}

/* SV-95: what a program joins appears. */
static void test_multicast_addresses_are_seen(void **state)
{
    struct tap *tap = netns_tap(nwid, 1);
    struct inetaddr ip = netns_ip("10.77.0.1/24");
    uint64_t macs[32];
    bool found = false;

    (void)state;
    assert_int_equal(net_addr_add(net, tap_ifindex(tap), &ip), 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ip_mreqn group = {.imr_ifindex = (int)tap_ifindex(tap)};
    group.imr_multiaddr.s_addr = htonl(0xef010203);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
    ssize_t count = tap_multicast_macs(tap, macs, COUNT_OF(macs));
    assert_true(count > 0);
    for (ssize_t i = 0; i < count; i++) {
        found = found || macs[i] == 0x01005e010203;
        assert_true(i == 0 || macs[i - 1] < macs[i]);
    }
    assert_true(found);
    (void)close(fd);
    tap_close(tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_is_named_and_configured),
        cmocka_unit_test(test_taken_names),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_failures_are_explained),
        cmocka_unit_test(test_frames_pass_both_ways),
        cmocka_unit_test(test_frames_pass_over_several_queues),
        cmocka_unit_test(test_tagged_and_oversized_frames),
        cmocka_unit_test(test_multicast_addresses_are_seen),
    };
    netns_enter();
    netns_need_tun();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
