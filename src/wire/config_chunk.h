/* Delivery of configurations: the request, the signed chunks of the answer and the acknowledgement
 * of a push. Assembly is vl2's. Source: spec 03 sections 3 and 4, spec 04 section 4.10. */
#pragma once

#include "base/attr.h"
#include "base/cursor.h"
#include "crypto/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_CHUNK_FAST = 0x01,     /* flags: members pass the chunk on */
    CONFIG_CHUNK_DATA_MAX = 9541, /* bytes of dictionary our controller puts into one chunk */
    CONFIG_CHUNK_OVERHEAD = 126,  /* chunk bytes around the data */
};

struct config_chunk {
    uint64_t network_id;
    uint64_t update_id;  /* the same in all chunks of an update, not 0 */
    const uint8_t *data; /* part of the dictionary, borrowed */
    const uint8_t *raw;  /* the chunk from the network ID to the end of the signature, borrowed */
    const uint8_t *signature; /* SIGNATURE_LEN bytes within raw; NULL for the legacy form */
    uint32_t total;           /* bytes of the whole dictionary */
    uint32_t index;           /* where data belongs */
    uint16_t data_len;
    uint32_t raw_len;
    uint8_t flags; /* CONFIG_CHUNK_FAST */
};

/* Read a chunk: whole payload of NETWORK_CONFIG, or what follows the header of OK(0x0b). Bytes
 * after the signature are ignored. If nothing follows the data it is the legacy unsigned form:
 * signature NULL, update_id 0, index 0, total = data_len. Returns 0; -EBADMSG malformed, part
 * outside the total, total above NETCONF_DICT_MAX, update ID 0, other signature type or length. */
MUST_CHECK int config_chunk_read(struct rd r, struct config_chunk *ret);

/* Verify the signature of a chunk that has one. Returns 0; -EACCES. */
MUST_CHECK int config_chunk_verify(const struct config_chunk *chunk,
                                   const struct identity *controller);

/* Write a chunk from network_id, flags, update_id, data, data_len, total, index and sign it as
 * controller (private half needed). Nothing is signed if w gets bad. */
void config_chunk_write(struct wr *w, const struct config_chunk *chunk,
                        const struct identity *controller);

/* Payload of NETWORK_CONFIG_REQUEST. */
struct config_request {
    uint64_t network_id;
    uint64_t revision;   /* of the configuration held, 0 if none */
    uint64_t timestamp;  /* of it, 0 if none */
    const uint8_t *meta; /* dictionary, borrowed */
    size_t meta_len;
};

/* Read a request: meta-data and what follows it may be missing (0). Returns 0; -EBADMSG. */
MUST_CHECK int config_request_read(struct rd r, struct config_request *ret);
void config_request_write(struct wr *w, const struct config_request *req);

/* What follows the OK header in the acknowledgement of a complete push. */
struct config_ack {
    uint64_t network_id;
    uint64_t update_id;
};

/* Acknowledgement of an update. Reading: 0; -EBADMSG too short. */
MUST_CHECK int config_ack_read(struct rd r, struct config_ack *ret);
void config_ack_write(struct wr *w, const struct config_ack *ack);
