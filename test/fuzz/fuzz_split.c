/* Splitting: the input is a virtio-net header and a frame. What is accepted must come apart into
 * frames within the buffer whose payloads together are that of the input. */
#include "fuzz.h"

#include "crypto/cpu.h"
#include "datapath/offload.h"

#include <stdlib.h>
#include <string.h>

/* Take all frames of a split that was begun; original: the input. */
static void take_frames(struct offload_split *s, int count, const uint8_t *frame, size_t len,
                        const uint8_t *original)
{
    size_t header = s->header_len;
    size_t done = header;
    struct offload_frame got;

    fuzz_require(header <= len && header <= OFFLOAD_HEADERS_MAX, "headers in the frame");
    for (int i = 0; i < count; i++) {
        size_t longest = offload_split_frame_len(s);

        fuzz_require(offload_split_next(s, &got), "as many as announced");
        fuzz_require(got.data >= frame && got.data + got.len <= frame + len, "in the buffer");
        fuzz_require(got.len == longest, "length as announced");
        fuzz_require(i + 1 == count || got.len == header + s->gso_size, "all but the last full");
        if (header > 0) {
            fuzz_require(memcmp(got.data + header, original + done, got.len - header) == 0,
                         "payload");
            fuzz_require(memcmp(got.data, original, s->l3) == 0, "Ethernet header");
        }
        done += got.len - header;
    }
    fuzz_require(done == len, "nothing left");
    fuzz_require(!offload_split_next(s, &got), "end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct vnet_header vnet;
    uint8_t bytes[VNET_HEADER_LEN];
    struct offload_split s;

    if (len < VNET_HEADER_LEN) {
        return 0;
    }
    vnet_header_read(data, &vnet);
    vnet_header_write(&vnet, bytes);
    fuzz_require_same(data, VNET_HEADER_LEN, bytes, sizeof(bytes), "header codec");
    data += VNET_HEADER_LEN;
    len -= VNET_HEADER_LEN;
    for (size_t i = 0; checksum_kernels[i].name != NULL; i++) {
        uint8_t *frame = malloc(len > 0 ? len : 1);
        int count;

        fuzz_require(frame != NULL, "memory");
        memcpy(frame, data, len);
        if ((checksum_kernels[i].needs & ~cpu_features()) == 0) {
            count = offload_split_begin(&s, &vnet, frame, len, checksum_kernels[i].sum);
            fuzz_require(count != 0, "no frames");
            if (count > 0) {
                take_frames(&s, count, frame, len, data);
            }
        }
        free(frame);
    }
    return 0;
}
