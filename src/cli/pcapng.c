/* Blocks of pcapng, in the byte order of this machine, as the format wants it. */
#include "cli/pcapng.h"

#include "wire/mac.h"

#include <errno.h>
#include <string.h>

enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_FRAME = 6,
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    LINK_ETHERNET = 1,
    OPTION_END = 0,
    OPTION_COMMENT = 1,
    OPTION_NAME = 2,        /* of an interface */
    OPTION_APPLICATION = 4, /* of a section */
    OPTION_FLAGS = 2,       /* of a frame */
    OPTION_DROPS = 4,       /* of a frame */
    FLAG_INBOUND = 1,
    FLAG_OUTBOUND = 2,
    HEADER_LEN = 14,
    BLOCK_MAX = 12000,
};

/* A block being made. */
struct block {
    uint8_t data[BLOCK_MAX];
    size_t len;
};

static void put(struct block *b, const void *data, size_t len)
{
    if (len <= sizeof(b->data) - b->len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

static void put_u16(struct block *b, uint16_t v)
{
    put(b, &v, sizeof(v));
}

static void put_u32(struct block *b, uint32_t v)
{
    put(b, &v, sizeof(v));
}

static void pad(struct block *b)
{
    static const uint8_t zero[4] = {0};

    put(b, zero, (4 - b->len % 4) % 4);
}

static void put_option(struct block *b, uint16_t code, const void *data, size_t len)
{
    put_u16(b, code);
    put_u16(b, (uint16_t)len);
    put(b, data, len);
    pad(b);
}

static void begin(struct block *b, uint32_t type)
{
    b->len = 0;
    put_u32(b, type);
    put_u32(b, 0);
}

static int finish(struct block *b, FILE *out)
{
    uint32_t len;

    put_option(b, OPTION_END, "", 0);
    len = (uint32_t)b->len + 4;
    memcpy(b->data + 4, &len, sizeof(len));
    put_u32(b, len);
    return fwrite(b->data, b->len, 1, out) == 1 ? 0 : -EIO;
}

int pcapng_begin(FILE *out, const char *name, uint32_t snaplen)
{
    static const char application[] = "panlan " PANLAN_VERSION;
    static const uint64_t unknown = UINT64_MAX;
    struct block b;
    int err;

    begin(&b, BLOCK_SECTION);
    put_u32(&b, BYTE_ORDER_MAGIC);
    put_u16(&b, 1); /* version 1.0 */
    put_u16(&b, 0);
    put(&b, &unknown, sizeof(unknown)); /* length of the section */
    put_option(&b, OPTION_APPLICATION, application, strlen(application));
    err = finish(&b, out);
    begin(&b, BLOCK_INTERFACE);
    put_u16(&b, LINK_ETHERNET);
    put_u16(&b, 0);
    put_u32(&b, snaplen);
    put_option(&b, OPTION_NAME, name, strlen(name));
    return err < 0 ? err : finish(&b, out);
}

int pcapng_frame(FILE *out, const struct capture_record *record, const char *comment)
{
    const struct captured_frame *frame = &record->frame;
    uint32_t flags = frame->outbound ? FLAG_OUTBOUND : FLAG_INBOUND;
    uint8_t header[HEADER_LEN];
    struct wr w = wr_init(header, sizeof(header));
    struct block b;

    mac_write(&w, frame->dest_mac);
    mac_write(&w, frame->source_mac);
    wr_u16(&w, frame->ethertype);
    begin(&b, BLOCK_FRAME);
    put_u32(&b, 0); /* interface */
    put_u32(&b, (uint32_t)((uint64_t)record->wall_us >> 32));
    put_u32(&b, (uint32_t)record->wall_us);
    put_u32(&b, (uint32_t)(HEADER_LEN + frame->len));
    put_u32(&b, record->len);
    put(&b, header, sizeof(header));
    put(&b, frame->payload, frame->len);
    pad(&b);
    put_option(&b, OPTION_COMMENT, comment, strlen(comment));
    put_option(&b, OPTION_FLAGS, &flags, sizeof(flags));
    put_option(&b, OPTION_DROPS, &record->lost, sizeof(record->lost));
    return finish(&b, out);
}
