/* Payload codecs of the small VL1 verbs: reply headers, ERROR, WHOIS, RENDEZVOUS,
 * PUSH_DIRECT_PATHS, USER_MESSAGE, REMOTE_TRACE, bond measurements and the legacy beacon.
 * HELLO is in hello.h. Payloads begin after the verb byte. Source: spec 02 sections 2 and 3.
 *
 * ECHO has no codec: its payload is opaque, and OK(ECHO) is ok_head_write and the same bytes. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "base/dict.h"
#include "crypto/identity.h"
#include "wire/inetaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    OK_HEAD_LEN = 9,
    ERROR_HEAD_LEN = 10,
    RENDEZVOUS_MAX = 25,       /* payload with an IPv6 address */
    PUSH_FLAG_FORGET = 0x01,   /* record is skipped by receivers */
    PUSH_FLAG_REDIRECT = 0x02, /* cluster redirect */
    PUSH_NOTE_SEEK = 0x01,     /* the sender opened many sockets: seek one at the record's IP */
    REMOTE_TRACE_MAX = 10000,  /* longest dictionary handed on */
    BEACON_LEN = 13,
    QOS_RECORD_LEN = 10,
    QOS_PAYLOAD_MIN = 9,
    QOS_PAYLOAD_MAX = 1400,
};

/* What a reply answers. */
struct reply_head {
    uint8_t verb; /* in-re verb */
    uint64_t id;  /* in-re packet ID: wire ID of the request */
};

/* Read the header of an OK; in moves behind it. Returns 0; -EBADMSG. */
MUST_CHECK int ok_head_read(struct rd *in, struct reply_head *ret);
void ok_head_write(struct wr *w, const struct reply_head *head);

struct error_msg {
    struct reply_head head;
    uint8_t code;        /* enum error_code, or unknown */
    uint64_t network_id; /* codes 3, 5, 6, 7, 8, 9; 0 otherwise */
    uint64_t mac;        /* code 8 */
    uint32_t adi;        /* code 8 */
    bool has_data;       /* codes 3, 7, 9: the length field was there */
    const uint8_t *data; /* borrowed; dictionary for code 9 */
    size_t data_len;
};

/* Decode a whole ERROR payload. Codes without known payload: the rest is ignored.
 * Returns 0, ret->data borrows from in; -EBADMSG. */
MUST_CHECK int error_decode(struct rd in, struct error_msg *ret);
void error_encode(struct wr *w, const struct error_msg *msg);

/* Next address of a WHOIS payload; a remainder below 5 bytes is ignored. False at the end. */
bool whois_next(struct rd *in, uint64_t *ret_address);
void whois_encode(struct wr *w, const uint64_t *addresses, size_t count);

/* Next identity of an OK(WHOIS), after its header: 1 with *ret filled, 0 at the end, -EBADMSG. */
MUST_CHECK int ok_whois_next(struct rd *in, struct identity *ret);
/* Encode with identity_write, without private half, after ok_head_write. */

struct rendezvous {
    uint8_t flags;      /* sent as 0, ignored */
    uint64_t address;   /* peer to contact */
    struct inetaddr at; /* nil when port or IP length make it void: no effect, but received */
};

/* Returns 0; -EBADMSG truncated. Trailing bytes are ignored. */
MUST_CHECK int rendezvous_decode(struct rd in, struct rendezvous *ret);
/* at must be IPv4 or IPv6. */
void rendezvous_encode(struct wr *w, const struct rendezvous *msg);

/* What our own nodes say in the extension of a record; others skip it. On the wire: "PN", nat,
 * flags; more may follow. */
struct push_note {
    bool there;
    uint8_t nat;   /* the NAT in front of the sender: 0 unknown, 1 none, 2 cone, 3 symmetric with
                      sequential ports, 4 with random ports */
    uint8_t flags; /* PUSH_NOTE_* */
};

struct push_path {
    uint8_t flags;         /* PUSH_FLAG_* */
    struct inetaddr at;    /* nil: a record of another type or length, to be skipped */
    struct push_note note; /* there or not */
};

/* Records of a PUSH_DIRECT_PATHS payload. */
struct push_paths {
    struct rd in;
    uint16_t left; /* records still to read */
};

/* Begin reading. Returns 0; -EBADMSG. */
MUST_CHECK int push_paths_decode(struct rd in, struct push_paths *ret);
/* Next record: 1 with *ret filled, 0 at the end, -EBADMSG truncated. A receiver that must not act
 * on half a packet walks once for the check before it acts. */
MUST_CHECK int push_paths_next(struct push_paths *paths, struct push_path *ret);
/* Append a payload with as many of the count paths as w has room for (nil ones are left out);
 * returns how many of the array were consumed. w should be limited to what one packet may hold. */
size_t push_paths_encode(struct wr *w, const struct push_path *paths, size_t count);

struct user_message {
    uint64_t type;
    const uint8_t *data; /* borrowed */
    size_t len;
};

/* Returns 0; -ENODATA shorter than 8 bytes: ignored, but the packet counts as received. */
MUST_CHECK int user_message_decode(struct rd in, struct user_message *ret);
void user_message_encode(struct wr *w, const struct user_message *msg);

/* Next NUL-terminated dictionary of a REMOTE_TRACE payload; empty ones, those above
 * REMOTE_TRACE_MAX and a last piece without NUL are left out. *ret borrows. False at the end. */
bool remote_trace_next(struct rd *in, struct dict *ret);
/* Append one dictionary and its NUL. */
void remote_trace_write(struct wr *w, const char *text, size_t len);

/* One sample of a QOS_MEASUREMENT report (spec 07 section 2.3; little-endian on the wire). */
struct qos_sample {
    uint64_t packet_id; /* wire ID as a number, read big-endian from the packet header */
    uint16_t hold_ms;   /* reception of that packet until the report was sent */
};

/* Number of samples in a QOS_MEASUREMENT payload (a remainder below 10 bytes is ignored), or
 * -EBADMSG for a length outside QOS_PAYLOAD_MIN..QOS_PAYLOAD_MAX. */
MUST_CHECK int qos_decode(struct rd in);
/* Next sample of a payload that passed qos_decode. False at the end. */
bool qos_next(struct rd *in, struct qos_sample *ret);
void qos_write(struct wr *w, const struct qos_sample *sample);

/* ACK: bytes received since the last one; PATH_NEGOTIATION_REQUEST: utility of a path. Neither is
 * sent by anybody; both are decoded for traces. Return 0; -EBADMSG other length. */
MUST_CHECK int ack_decode(struct rd in, uint32_t *ret_bytes);
MUST_CHECK int path_negotiation_decode(struct rd in, int16_t *ret_utility);

/* Legacy 13-byte LAN beacon: the address in it. */
uint64_t beacon_address(const uint8_t datagram[BEACON_LEN]);
void beacon_encode(struct wr *w, const uint8_t filler[8], uint64_t address);
