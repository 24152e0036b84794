/* Payload codecs of the small VL1 verbs. Source: spec 02 sections 2, 3 and spec 07 section 2. */
#include "wire/vl1msg.h"

#include "wire/identity.h"
#include "wire/mac.h"
#include "wire/packet.h"

#include <errno.h>
#include <string.h>

enum {
    ADDRESS_LEN = 5,
    PUSH_NOTE_MAGIC = 0x504e, /* "PN" */
    PUSH_NOTE_LEN = 4,
    PUSH_V4_LEN = 6,
    PUSH_V6_LEN = 18,
};

int ok_head_read(struct rd *in, struct reply_head *ret)
{
    struct reply_head head = {.verb = rd_u8(in)};

    head.id = rd_u64(in);
    if (in->bad) {
        return -EBADMSG;
    }
    *ret = head;
    return 0;
}

void ok_head_write(struct wr *w, const struct reply_head *head)
{
    wr_u8(w, head->verb);
    wr_u64(w, head->id);
}

/* What follows the code of an ERROR. */
struct error_form {
    bool network; /* 8-byte network ID */
    bool group;   /* MAC and ADI of a multicast group */
    bool data;    /* optional length and data */
};

static struct error_form error_form(uint8_t code, uint8_t in_re_verb)
{
    switch (code) {
    case ERROR_OBJ_NOT_FOUND: /* in re other verbs it concerns no network */
        return in_re_verb == VERB_NETWORK_CONFIG_REQUEST ? (struct error_form){true, false, true}
                                                         : (struct error_form){0};
    case ERROR_UNSUPPORTED_OPERATION:
    case ERROR_NEED_MEMBERSHIP_CERTIFICATE:
        return (struct error_form){.network = true};
    case ERROR_UNWANTED_MULTICAST:
        return (struct error_form){.network = true, .group = true};
    case ERROR_NETWORK_ACCESS_DENIED:
    case ERROR_NETWORK_AUTHENTICATION_REQUIRED:
        return (struct error_form){.network = true, .data = true};
    default:
        return (struct error_form){0};
    }
}

int error_decode(struct rd in, struct error_msg *ret)
{
    struct error_msg msg = {0};
    struct error_form form;

    if (ok_head_read(&in, &msg.head) < 0) {
        return -EBADMSG;
    }
    msg.code = rd_u8(&in);
    form = error_form(msg.code, msg.head.verb);
    if (form.network) {
        msg.network_id = rd_u64(&in);
    }
    if (form.group) {
        msg.mac = mac_read(&in);
        msg.adi = rd_u32(&in);
    }
    if (form.data && rd_left(&in) >= 2) {
        msg.data_len = rd_u16(&in);
        msg.data = rd_bytes(&in, msg.data_len);
        msg.has_data = true;
    }
    if (in.bad) {
        return -EBADMSG;
    }
    *ret = msg;
    return 0;
}

void error_encode(struct wr *w, const struct error_msg *msg)
{
    struct error_form form = error_form(msg->code, msg->head.verb);

    ok_head_write(w, &msg->head);
    wr_u8(w, msg->code);
    if (form.network) {
        wr_u64(w, msg->network_id);
    }
    if (form.group) {
        mac_write(w, msg->mac);
        wr_u32(w, msg->adi);
    }
    if (form.data && msg->has_data) {
        w->bad = w->bad || msg->data_len > UINT16_MAX;
        wr_u16(w, (uint16_t)msg->data_len);
        wr_bytes(w, msg->data, msg->data_len);
    }
}

bool whois_next(struct rd *in, uint64_t *ret_address)
{
    if (rd_left(in) < ADDRESS_LEN) {
        return false;
    }
    *ret_address = rd_u40(in);
    return true;
}

void whois_encode(struct wr *w, const uint64_t *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wr_u40(w, addresses[i]);
    }
}

int ok_whois_next(struct rd *in, struct identity *ret)
{
    if (!in->bad && rd_left(in) == 0) {
        return 0;
    }
    return identity_read_public(in, ret) < 0 ? -EBADMSG : 1;
}

int rendezvous_decode(struct rd in, struct rendezvous *ret)
{
    struct rendezvous msg = {.flags = rd_u8(&in)};
    uint16_t port;
    uint8_t ip_len;

    msg.address = rd_u40(&in);
    port = rd_u16(&in);
    ip_len = rd_u8(&in);
    if (port != 0 && (ip_len == 4 || ip_len == 16)) {
        msg.at.family = ip_len == 4 ? INETADDR_V4 : INETADDR_V6;
        msg.at.port = port;
        rd_copy(&in, msg.at.ip, ip_len);
    }
    if (in.bad) {
        return -EBADMSG;
    }
    *ret = msg;
    return 0;
}

void rendezvous_encode(struct wr *w, const struct rendezvous *msg)
{
    size_t ip_len = inetaddr_ip_len(&msg->at);

    wr_u8(w, msg->flags);
    wr_u40(w, msg->address);
    wr_u16(w, msg->at.port);
    wr_u8(w, (uint8_t)ip_len);
    wr_bytes(w, msg->at.ip, ip_len);
}

int push_paths_decode(struct rd in, struct push_paths *ret)
{
    uint16_t count = rd_u16(&in);

    if (in.bad) {
        return -EBADMSG;
    }
    *ret = (struct push_paths){.in = in, .left = count};
    return 0;
}

static void note_read(struct rd in, struct push_note *ret)
{
    struct push_note note = {.there = rd_u16(&in) == PUSH_NOTE_MAGIC};

    note.nat = rd_u8(&in);
    note.flags = rd_u8(&in);
    if (note.there && !in.bad) {
        *ret = note;
    }
}

static void note_write(struct wr *w, const struct push_note *note)
{
    wr_u16(w, note->there ? PUSH_NOTE_LEN : 0);
    if (note->there) {
        wr_u16(w, PUSH_NOTE_MAGIC);
        wr_u8(w, note->nat);
        wr_u8(w, note->flags);
    }
}

int push_paths_next(struct push_paths *paths, struct push_path *ret)
{
    struct push_path path = {0};
    struct rd *in = &paths->in;
    struct rd address;
    uint8_t type;

    if (paths->left == 0) {
        return 0;
    }
    path.flags = rd_u8(in);
    note_read(rd_sub(in, rd_u16(in)), &path.note);
    type = rd_u8(in);
    address = rd_sub(in, rd_u8(in));
    if (in->bad) {
        return -EBADMSG;
    }
    paths->left--;
    if ((type == INETADDR_V4 && rd_left(&address) >= PUSH_V4_LEN) ||
        (type == INETADDR_V6 && rd_left(&address) >= PUSH_V6_LEN)) {
        path.at.family = type;
        rd_copy(&address, path.at.ip, inetaddr_ip_len(&path.at));
        path.at.port = rd_u16(&address);
    }
    *ret = path;
    return 1;
}

size_t push_paths_encode(struct wr *w, const struct push_path *paths, size_t count)
{
    size_t mark = wr_mark(w, 2);
    uint16_t written = 0;
    size_t i;

    for (i = 0; i < count && written < UINT16_MAX; i++) {
        size_t ip_len = inetaddr_ip_len(&paths[i].at);

        if (ip_len == 0) {
            continue;
        }
        if (wr_left(w) < 5 + ip_len + 2 + (paths[i].note.there ? PUSH_NOTE_LEN : 0)) {
            break;
        }
        wr_u8(w, paths[i].flags);
        note_write(w, &paths[i].note);
        wr_u8(w, paths[i].at.family);
        wr_u8(w, (uint8_t)(ip_len + 2));
        wr_bytes(w, paths[i].at.ip, ip_len);
        wr_u16(w, paths[i].at.port);
        written++;
    }
    wr_patch_u16(w, mark, written);
    return i;
}

int user_message_decode(struct rd in, struct user_message *ret)
{
    struct user_message msg = {.type = rd_u64(&in)};

    if (in.bad) {
        return -ENODATA;
    }
    msg.len = rd_left(&in);
    msg.data = rd_bytes(&in, msg.len);
    *ret = msg;
    return 0;
}

void user_message_encode(struct wr *w, const struct user_message *msg)
{
    wr_u64(w, msg->type);
    wr_bytes(w, msg->data, msg->len);
}

bool remote_trace_next(struct rd *in, struct dict *ret)
{
    while (rd_left(in) > 0) {
        const uint8_t *nul = memchr(in->p, 0, rd_left(in));
        size_t len = nul != NULL ? (size_t)(nul - in->p) : rd_left(in);
        const uint8_t *text = rd_bytes(in, len);

        if (nul == NULL) {
            break;
        }
        rd_skip(in, 1);
        if (len > 0 && len <= REMOTE_TRACE_MAX) {
            *ret = dict_init(text, len);
            return true;
        }
    }
    return false;
}

void remote_trace_write(struct wr *w, const char *text, size_t len)
{
    wr_bytes(w, text, len);
    wr_u8(w, 0);
}

int qos_decode(struct rd in)
{
    size_t len = rd_left(&in);

    if (len < QOS_PAYLOAD_MIN || len > QOS_PAYLOAD_MAX) {
        return -EBADMSG;
    }
    return (int)(len / QOS_RECORD_LEN);
}

bool qos_next(struct rd *in, struct qos_sample *ret)
{
    const uint8_t *p;

    if (rd_left(in) < QOS_RECORD_LEN) {
        return false;
    }
    p = rd_bytes(in, QOS_RECORD_LEN);
    ret->packet_id = __builtin_bswap64(be64_get(p));
    ret->hold_ms = __builtin_bswap16(be16_get(p + 8));
    return true;
}

void qos_write(struct wr *w, const struct qos_sample *sample)
{
    wr_u64(w, __builtin_bswap64(sample->packet_id));
    wr_u16(w, __builtin_bswap16(sample->hold_ms));
}

int ack_decode(struct rd in, uint32_t *ret_bytes)
{
    uint32_t bytes = rd_u32(&in);

    if (rd_done(&in) < 0) {
        return -EBADMSG;
    }
    *ret_bytes = bytes;
    return 0;
}

int path_negotiation_decode(struct rd in, int16_t *ret_utility)
{
    uint16_t utility = rd_u16(&in);

    if (rd_done(&in) < 0) {
        return -EBADMSG;
    }
    *ret_utility = (int16_t)utility;
    return 0;
}

uint64_t beacon_address(const uint8_t datagram[BEACON_LEN])
{
    return be40_get(datagram + PACKET_AT_DEST);
}

void beacon_encode(struct wr *w, const uint8_t filler[8], uint64_t address)
{
    wr_bytes(w, filler, 8);
    wr_u40(w, address);
}
