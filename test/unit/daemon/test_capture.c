/* Records of captured frames, and what is said of them. */
#include "cli/frame_text.h"
#include "os/dgram.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct capture_record record_of(uint16_t type, const uint8_t *payload, size_t len)
{
    return (struct capture_record){
        .wall_us = 1700000000123456,
        .lost = 3,
        .len = (uint32_t)(14 + len),
        .frame = {.nwid = 0x8056c2e21c000001,
                  .outbound = true,
                  .remote = 0x0102030405,
                  .dest_mac = 0x020000000001,
                  .source_mac = 0x020000000002,
                  .ethertype = type,
                  .payload = payload,
                  .len = len,
                  .copies = 2,
                  .capability = 7},
    };
}

static void test_records_round_trip(void **state)
{
    static const uint8_t payload[100] = {1, 2, 3};
    static const uint32_t snaplens[] = {1, 14, 15, 64, 114, 11000};
    uint8_t buf[CAPTURE_RECORD_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(snaplens); i++) {
        struct capture_record in = record_of(0x0800, payload, sizeof(payload));
        struct capture_record out;
        struct wr w = wr_init(buf, sizeof(buf));
        size_t room = snaplens[i] > 14 ? snaplens[i] - 14 : 0;

        strcpy(in.reason, "vl2_rules_in");
        capture_record_write(&w, &in, snaplens[i]);
        assert_int_equal(capture_record_read(rd_init(buf, wr_len(&w)), &out), 0);
        assert_int_equal(out.wall_us, in.wall_us);
        assert_int_equal(out.lost, 3);
        assert_int_equal(out.len, 114);
        assert_int_equal(out.frame.len, room < 100 ? room : 100);
        assert_memory_equal(out.frame.payload, payload, out.frame.len);
        assert_true(out.frame.outbound);
        assert_int_equal(out.frame.remote, in.frame.remote);
        assert_int_equal(out.frame.dest_mac, in.frame.dest_mac);
        assert_int_equal(out.frame.source_mac, in.frame.source_mac);
        assert_string_equal(out.reason, in.reason);
        for (size_t cut = 0; cut < wr_len(&w) - out.frame.len; cut++) {
            assert_int_equal(capture_record_read(rd_init(buf, cut), &out), -EBADMSG);
        }
    }
}

static void test_reasons_cannot_drive_a_terminal(void **state)
{
    static const char *const reasons[] = {"\033[2Jvl2", "a\nb", "drop it", "\xc2\x9b"};
    uint8_t buf[CAPTURE_RECORD_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        struct capture_record in = record_of(0x0800, NULL, 0);
        struct capture_record out;
        struct wr w = wr_init(buf, sizeof(buf));

        strcpy(in.reason, reasons[i]);
        capture_record_write(&w, &in, CAPTURE_RECORD_MAX);
        assert_int_equal(capture_record_read(rd_init(buf, wr_len(&w)), &out), -EBADMSG);
    }
}

/* Others than the owner of the directory may not send, nor get anything done by the name. */
static void test_socket_is_private(void **state)
{
    char dir[] = "/tmp/panlan-test-XXXXXX";
    char path[64];
    struct stat st;
    uid_t owner = geteuid() == 0 ? 65534 : geteuid();
    mode_t mask = umask(0);

    (void)state;
    (void)umask(mask);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chown(dir, owner, (gid_t)-1), 0);
    (void)snprintf(path, sizeof(path), "%s/socket", dir);
    int fd = dgram_listen(path);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_uid, owner);
    assert_int_equal(umask(mask), mask);
    assert_int_equal(geteuid() == 0, owner == 65534);
    int sender = dgram_connect(path);
    assert_true(sender >= 0);
    assert_int_equal(dgram_send(sender, "x", 1), 0);
    dgram_close(sender, NULL);
    dgram_close(fd, path);
    assert_int_equal(rmdir(dir), 0);
}

static void test_largest_frame_fits(void **state)
{
    static const uint8_t payload[10000];
    uint8_t buf[CAPTURE_RECORD_MAX];
    struct capture_record in = record_of(0x0800, payload, sizeof(payload));
    struct wr w = wr_init(buf, sizeof(buf));

    (void)state;
    memset(in.reason, 'r', sizeof(in.reason) - 1);
    capture_record_write(&w, &in, CAPTURE_RECORD_MAX);
    assert_false(w.bad);
}

static void test_frames_in_words(void **state)
{
    static const struct {
        uint16_t type;
        const char *hex;
        const char *text;
    } cases[] = {
        {0x0800, "45000054000040004001 0000 0a790001 0a790002 0800",
         "10.121.0.1 > 10.121.0.2: icmp 64"},
        {0x0800, "4500003c000040004006 0000 0a790001 0a790002 9c40 0016",
         "10.121.0.1.40000 > 10.121.0.2.22: tcp 40"},
        {0x0800, "4500003c000020b94011 0000 0a790001 0a790002 9c40 0016",
         "10.121.0.1 > 10.121.0.2: udp 40"}, /* a later fragment has no ports */
        {0x0800, "4600003c000000004011 0000 0a790001 0a790002 01020304 0007 0009",
         "10.121.0.1.7 > 10.121.0.2.9: udp 36"}, /* options */
        {0x0800, "4500003c000000004084 0000 0a790001 0a790002",
         "10.121.0.1 > 10.121.0.2: proto 132 40"},
        {0x86dd,
         "60000000000c1140 fd000000000000000000000000000001 fd000000000000000000000000000002 "
         "0035 0400",
         "fd00::1.53 > fd00::2.1024: udp 12"},
        {0x0806, "0001080006040001 020000000002 0a790001 000000000000 0a790002",
         "arp who has 10.121.0.2, says 10.121.0.1"},
        {0x0806, "0001080006040002 020000000002 0a790001 020000000001 0a790002",
         "arp 10.121.0.1 is asked by 10.121.0.2"},
        {0x0800, "4500", "020000000002 > 020000000001: type 0x0800 16"},
        {0x88cc, "00", "020000000002 > 020000000001: type 0x88cc 15"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t payload[64];
        size_t len = 0;
        char out[FRAME_TEXT_MAX];

        for (const char *p = cases[i].hex; *p != '\0'; p += 2) {
            unsigned byte;

            p += *p == ' ';
            assert_int_equal(sscanf(p, "%2x", &byte), 1);
            payload[len++] = (uint8_t)byte;
        }
        struct capture_record record = record_of(cases[i].type, payload, len);
        frame_text(&record, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_verdicts_in_words(void **state)
{
    struct capture_record record = record_of(0x0800, NULL, 0);
    char out[VERDICT_TEXT_MAX];

    (void)state;
    verdict_text(&record, out);
    assert_string_equal(out, "accept, 2 copied");
    record.frame.copies = 0;
    record.frame.by_capability = true;
    verdict_text(&record, out);
    assert_string_equal(out, "accept by capability 7");
    strcpy(record.reason, "vl2_rules_out");
    verdict_text(&record, out);
    assert_string_equal(out, "drop vl2_rules_out");
    record.frame.redirected = 0x0a0b0c0d0e;
    verdict_text(&record, out);
    assert_string_equal(out, "redirect 0a0b0c0d0e");
}

/* Bytes of any kind are read without harm. */
static void test_anything_is_described(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t payload[60];
        size_t len = (size_t)rand_r(&seed) % (sizeof(payload) + 1);
        static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0};
        char out[FRAME_TEXT_MAX];

        for (size_t i = 0; i < len; i++) {
            payload[i] = (uint8_t)rand_r(&seed);
        }
        struct capture_record record = record_of(types[round % 4], payload, len);
        struct capture_record read;
        frame_text(&record, out);
        assert_in_range(strlen(out), 1, FRAME_TEXT_MAX - 1);
        (void)!capture_record_read(rd_init(payload, len), &read);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_round_trip),
        cmocka_unit_test(test_largest_frame_fits),
        cmocka_unit_test(test_socket_is_private),
        cmocka_unit_test(test_reasons_cannot_drive_a_terminal),
        cmocka_unit_test(test_frames_in_words),
        cmocka_unit_test(test_verdicts_in_words),
        cmocka_unit_test(test_anything_is_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
