/* MAC addresses, network IDs and derived IPv6 addresses. Source: spec 01 sections 13.4 to 13.6. */
#include "wire/mac.h"

#include "base/hex.h"

#include <errno.h>
#include <string.h>

enum {
    OCTET_GROUP = 0x01,
    OCTET_LOCAL = 0x02,
    OCTET_AVOIDED = 0x52, /* KVM and the like use it */
    OCTET_INSTEAD = 0x32,
};

uint64_t mac_get(const uint8_t p[MAC_LEN])
{
    return (uint64_t)be16_get(p) << 32 | be32_get(p + 2);
}

void mac_put(uint8_t p[MAC_LEN], uint64_t mac)
{
    be16_put(p, (uint16_t)(mac >> 32));
    be32_put(p + 2, (uint32_t)mac);
}

uint64_t mac_read(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, MAC_LEN);

    return p != NULL ? mac_get(p) : 0;
}

void mac_write(struct wr *w, uint64_t mac)
{
    wr_u16(w, (uint16_t)(mac >> 32));
    wr_u32(w, (uint32_t)mac);
}

uint8_t mac_first_octet(uint64_t network_id)
{
    uint8_t octet = (uint8_t)((network_id & 0xff & ~(uint64_t)OCTET_GROUP) | OCTET_LOCAL);

    return octet == OCTET_AVOIDED ? OCTET_INSTEAD : octet;
}

/* What octets 1..5 are XORed with: bytes 6, 5, 4, 3, 2 of the network ID. */
static uint64_t member_mask(uint64_t network_id)
{
    uint64_t mask = 0;

    for (unsigned i = 1; i <= 5; i++) {
        mask = mask << 8 | (network_id >> 8 * i & 0xff);
    }
    return mask;
}

uint64_t mac_of_member(uint64_t network_id, uint64_t address)
{
    return (uint64_t)mac_first_octet(network_id) << 40 |
           ((address & UINT64_C(0xffffffffff)) ^ member_mask(network_id));
}

uint64_t mac_member_address(uint64_t network_id, uint64_t mac)
{
    return (mac & UINT64_C(0xffffffffff)) ^ member_mask(network_id);
}

bool mac_is_member(uint64_t network_id, uint64_t mac)
{
    return (mac >> 40 & 0xff) == mac_first_octet(network_id);
}

bool mac_is_multicast(uint64_t mac)
{
    return (mac >> 40 & OCTET_GROUP) != 0;
}

bool mac_is_broadcast(uint64_t mac)
{
    return (mac & MAC_BROADCAST) == MAC_BROADCAST;
}

int mac_parse(const char *text, size_t len, uint64_t *ret)
{
    uint8_t mac[MAC_LEN];

    if (len != MAC_TEXT_LEN - 1) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < MAC_LEN; i++) {
        if (hex_decode(text + 3 * i, 2, &mac[i], 1) < 0 ||
            (i + 1 < MAC_LEN && text[3 * i + 2] != ':')) {
            return -EBADMSG;
        }
    }
    *ret = mac_get(mac);
    return 0;
}

void mac_print(uint64_t mac, char out[MAC_TEXT_LEN])
{
    uint8_t p[MAC_LEN];

    mac_put(p, mac);
    for (size_t i = 0; i < MAC_LEN; i++) {
        hex_encode(&p[i], 1, out + 3 * i);
        if (i + 1 < MAC_LEN) {
            out[3 * i + 2] = ':';
        }
    }
}

uint64_t network_controller(uint64_t network_id)
{
    return network_id >> 24;
}

uint32_t network_number(uint64_t network_id)
{
    return (uint32_t)(network_id & 0xffffff);
}

uint64_t network_id_make(uint64_t controller, uint32_t number)
{
    return controller << 24 | (number & 0xffffff);
}

bool network_is_adhoc(uint64_t network_id)
{
    return network_id >> 56 == 0xff;
}

int network_id_parse(const char *text, size_t len, uint64_t *ret)
{
    return len == NETWORK_ID_TEXT_LEN - 1 ? hex_to_u64(text, len, 16, ret) : -EBADMSG;
}

void network_id_print(uint64_t network_id, char out[NETWORK_ID_TEXT_LEN])
{
    hex_from_u64(network_id, 16, out);
}

struct inetaddr network_rfc4193(uint64_t network_id, uint64_t address)
{
    struct inetaddr a = {.family = INETADDR_V6, .port = RFC4193_BITS};

    a.ip[0] = 0xfd;
    be64_put(a.ip + 1, network_id);
    a.ip[9] = 0x99;
    a.ip[10] = 0x93;
    be40_put(a.ip + 11, address);
    return a;
}

struct inetaddr network_6plane(uint64_t network_id, uint64_t address)
{
    struct inetaddr a = {.family = INETADDR_V6, .port = SIXPLANE_BITS};

    a.ip[0] = 0xfc;
    be32_put(a.ip + 1, (uint32_t)network_id ^ (uint32_t)(network_id >> 32));
    be40_put(a.ip + 5, address);
    a.ip[15] = 1;
    return a;
}

struct inetaddr mac_link_local(uint64_t mac)
{
    struct inetaddr a = {.family = INETADDR_V6, .port = LINK_LOCAL_BITS};
    uint8_t m[MAC_LEN];

    mac_put(m, mac);
    a.ip[0] = 0xfe;
    a.ip[1] = 0x80;
    a.ip[8] = (uint8_t)(m[0] & ~OCTET_LOCAL);
    a.ip[9] = m[1];
    a.ip[10] = m[2];
    a.ip[11] = 0xff;
    a.ip[12] = 0xfe;
    a.ip[13] = m[3];
    a.ip[14] = m[4];
    a.ip[15] = m[5];
    return a;
}
