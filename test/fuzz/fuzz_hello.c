/* HELLO if the first byte is even (with its tail taken as unmasked), else what follows the header
 * of an OK(HELLO). */
#include "fuzz.h"

#include "wire/hello.h"
#include "wire/identity.h"

#include <string.h>

enum { MOONS_MAX = 600, PAYLOAD_MAX = 9996 };

static bool same_version(const struct node_version *a, const struct node_version *b)
{
    return a->protocol == b->protocol && a->major == b->major && a->minor == b->minor &&
           a->revision == b->revision;
}

static bool same_hello(const struct hello *a, const struct hello *b)
{
    return same_version(&a->version, &b->version) && a->timestamp == b->timestamp &&
           a->identity.address == b->identity.address &&
           memcmp(a->identity.pub, b->identity.pub, sizeof(a->identity.pub)) == 0 &&
           a->has_address == b->has_address && inetaddr_equal(&a->address, &b->address) &&
           a->has_planet == b->has_planet && a->planet_id == b->planet_id &&
           a->planet_timestamp == b->planet_timestamp;
}

static void hello(const uint8_t *data, size_t len)
{
    static struct hello_moon moons[MOONS_MAX];
    static uint8_t out[PAYLOAD_MAX];
    struct hello h;
    struct hello back;
    struct hello_moons view;
    struct hello_moon moon;
    struct wr w = wr_init(out, sizeof(out));
    size_t count = 0;
    size_t tail_at;

    if (hello_decode(rd_init(data, len), &h) < 0) {
        return;
    }
    fuzz_require(h.tail_at <= len && h.has_tail == (h.tail_at < len), "tail lies in the payload");
    if (hello_decode_tail(data + h.tail_at, len - h.tail_at, &view) < 0) {
        return;
    }
    while (hello_moons_next(&view, &moon)) {
        if (count < MOONS_MAX) {
            moons[count++] = moon;
        }
    }
    h.has_tail = h.has_planet && h.has_tail;
    tail_at = hello_encode(&w, &h, moons, count);
    fuzz_require(!w.bad && hello_decode(rd_init(out, wr_len(&w)), &back) == 0, "encoded decodes");
    fuzz_require(same_hello(&h, &back) && back.tail_at == tail_at, "HELLO round trip");
    fuzz_require(hello_decode_tail(out + tail_at, wr_len(&w) - tail_at, &view) == 0, "tail");
    for (size_t i = 0; h.has_tail && i < count; i++) {
        fuzz_require(hello_moons_next(&view, &moon) && moon.id == moons[i].id &&
                         moon.timestamp == moons[i].timestamp,
                     "moon round trip");
    }
    fuzz_require(!hello_moons_next(&view, &moon), "no more moons");
}

static void ok(const uint8_t *data, size_t len)
{
    static uint8_t out[PAYLOAD_MAX];
    struct ok_hello ok;
    struct ok_hello back;
    struct wr w = wr_init(out, sizeof(out));

    if (len > PAYLOAD_MAX || ok_hello_decode(rd_init(data, len), &ok) < 0) {
        return;
    }
    ok_hello_encode(&w, &ok);
    fuzz_require(!w.bad && ok_hello_decode(rd_init(out, wr_len(&w)), &back) == 0, "OK decodes");
    fuzz_require(back.timestamp == ok.timestamp && same_version(&back.version, &ok.version) &&
                     back.has_worlds == ok.has_worlds && inetaddr_equal(&back.address, &ok.address),
                 "OK round trip");
    fuzz_require_same(ok.worlds, ok.worlds_len, back.worlds, back.worlds_len, "worlds");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0 && len <= PAYLOAD_MAX) {
        if (data[0] % 2 == 0) {
            hello(data + 1, len - 1);
        } else {
            ok(data + 1, len - 1);
        }
    }
    return 0;
}
