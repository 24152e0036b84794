/* Speed of the primitives: address hash, ciphers per kernel and packet size, set-up of keys, packet
 * IDs, reassembly. Prints the best of several rounds, the one least disturbed by others on the
 * machine. Source: spec 09 sections 4.1 and 12. */
#include "measure.h"

#include "base/attr.h"
#include "crypto/cpu.h"
#include "crypto/identity.h"
#include "crypto/packet_id.h"
#include "crypto/poly1305.h"
#include "datapath/armor.h"
#include "datapath/fragment.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t packet[PACKET_MAX];
static const size_t sizes[] = {64, 102, 512, 1438, 2838};

struct armor_work {
    struct armor_keys keys;
    enum cipher_suite suite;
    size_t len;
    bool open;
    uint8_t sealed[PACKET_MAX];
};

static void work_armor(void *ctx)
{
    struct armor_work *w = ctx;

    if (!w->open) {
        armor_seal(packet, w->len, w->suite, &w->keys);
        return;
    }
    /* Opening destroys the sealed packet; the copy is about 1 % of the time. */
    memcpy(packet, w->sealed, w->len);
    if (armor_open(packet, w->len, &w->keys) < 0) {
        abort();
    }
}

static void print_armor(struct armor_work *w, const char *kernel)
{
    for (unsigned open = 0; open < 2; open++) {
        printf("suite %d %-9s %-5s", (int)w->suite, kernel, open ? "open" : "seal");
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            double ns;

            w->len = sizes[i];
            w->open = open != 0;
            memset(packet, 0x5a, sizeof(packet));
            memcpy(w->sealed, packet, w->len);
            armor_seal(w->sealed, w->len, w->suite, &w->keys);
            ns = measure(work_armor, w);
            printf("  %6.0f ns %5.2f GB/s", ns, (double)w->len / ns);
        }
        printf("\n");
    }
}

struct batch_work {
    struct aes_gmac_siv aes;
    struct aes_text texts[4 * AES_BATCH];
    size_t count; /* texts of a call */
    bool open;
    uint8_t in[4 * AES_BATCH][AES_BATCH_TEXT_MAX];
    uint8_t out[4 * AES_BATCH][AES_BATCH_TEXT_MAX];
};

/* All texts, `count` at a time. */
static void work_batch(void *ctx)
{
    struct batch_work *w = ctx;

    for (size_t i = 0; i < COUNT_OF(w->texts); i += w->count) {
        if (w->open) {
            aes_gmac_siv_open_batch(&w->aes, &w->texts[i], w->count);
        } else {
            aes_gmac_siv_seal_batch(&w->aes, &w->texts[i], w->count);
        }
    }
}

/* Independent texts, those of packets of 64 and 102 bytes, alone and together; what is opened is
 * what was sealed before. */
static void bench_batches(const struct aes_kernel *kernel)
{
    static struct batch_work w;
    const size_t count = COUNT_OF(w.texts);
    uint8_t key[AES_KEY_LEN] = {1};

    aes_gmac_siv_init(&w.aes, kernel, key, key);
    for (size_t i = 0; i < count; i++) {
        w.texts[i].nonce[0] = (uint8_t)i;
    }
    for (unsigned k = 0; k < 8; k++) {
        size_t len = k < 4 ? 64 : 102;

        w.open = k % 4 > 1;
        w.count = k % 2 == 0 ? 1 : AES_BATCH;
        for (size_t i = 0; i < count; i++) {
            w.texts[i].len = len - PACKET_AT_VERB;
            w.texts[i].in = w.open ? w.out[i] : w.in[i];
            w.texts[i].out = w.open ? w.in[i] : w.out[i];
        }
        printf("independent packets of %3zu bytes, %-9s %s, %zu at a time: %6.1f ns each\n", len,
               kernel->name, w.open ? "open" : "seal", w.count,
               measure(work_batch, &w) / (double)count);
    }
}

static void bench_armor(void)
{
    static struct armor_work w;
    uint8_t secret[SHARED_KEY_LEN];
    unsigned features = cpu_features();

    printf("%-22s", "packet bytes");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        printf("  %20zu", sizes[i]);
    }
    printf("\n");
    memset(secret, 0x42, sizeof(secret));
    armor_keys_init(&w.keys, secret);
    w.suite = SUITE_AES_GMAC_SIV;
    for (size_t i = 0; aes_kernels[i] != NULL; i++) {
        if ((aes_kernels[i]->needs & ~features) == 0) {
            aes_gmac_siv_init(&w.keys.aes, aes_kernels[i], secret, secret + 16);
            print_armor(&w, aes_kernels[i]->name);
        }
    }
    bench_batches(aes_pick(features));
    w.suite = SUITE_SALSA_POLY1305;
    for (size_t i = 0; salsa_kernels[i] != NULL; i++) {
        if ((salsa_kernels[i]->needs & ~features) == 0) {
            /* with the Poly1305 a processor without the features of better ones would take */
            w.keys.salsa_poly = salsa_poly_pick(salsa_kernels[i]->needs | (i == 0 ? features : 0));
            print_armor(&w, salsa_kernels[i]->name);
        }
    }
}

struct stream_work {
    struct salsa s;
    size_t len;
};

static void work_stream(void *ctx)
{
    struct stream_work *w = ctx;

    salsa_xor(&w->s, 0, packet, packet, w->len);
}

static void bench_streams(void)
{
    uint8_t key[SALSA_KEY_LEN] = {1};
    struct stream_work w;

    for (size_t i = 0; salsa_kernels[i] != NULL; i++) {
        if ((salsa_kernels[i]->needs & ~cpu_features()) != 0) {
            continue;
        }
        salsa_init(&w.s, salsa_kernels[i], SALSA_ROUNDS_PACKET, key, key);
        w.len = 2838;
        printf("Salsa20/12 %-9s 2838 bytes %6.0f ns\n", salsa_kernels[i]->name,
               measure(work_stream, &w));
    }
}

struct mac_work {
    const struct poly1305_kernel *kernel;
    size_t len;
    uint8_t mac[POLY1305_MAC_LEN];
};

static void work_mac(void *ctx)
{
    struct mac_work *w = ctx;
    uint8_t key[POLY1305_KEY_LEN] = {1, 2, 3, 4, 5, 6, 7};
    struct poly1305 p;

    poly1305_init(&p, w->kernel, key, w->len);
    poly1305_mac(&p, packet, w->len, w->mac);
    poly1305_done(&p);
}

static void bench_macs(void)
{
    static const size_t lens[] = {64, 102, 256, 512, 1438, 2838};
    struct mac_work w;

    for (size_t i = 0; poly1305_kernels[i] != NULL; i++) {
        if ((poly1305_kernels[i]->needs & ~cpu_features()) != 0) {
            continue;
        }
        w.kernel = poly1305_kernels[i];
        printf("Poly1305 %-9s", w.kernel->name);
        for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++) {
            w.len = lens[j];
            printf("  %4zu bytes %5.0f ns", w.len, measure(work_mac, &w));
        }
        printf("\n");
    }
}

struct hash_work {
    uint8_t *scratch;
    uint8_t pub[IDENTITY_PUBLIC_LEN];
    uint8_t digest[64];
};

static void work_hash(void *ctx)
{
    struct hash_work *w = ctx;

    address_hash(w->pub, w->scratch, w->digest);
    w->pub[0]++;
}

static void work_keys(void *ctx)
{
    struct armor_work *w = ctx;

    armor_keys_init(&w->keys, w->keys.secret);
}

static void work_aes_init(void *ctx)
{
    struct armor_work *w = ctx;

    aes_gmac_siv_init(&w->keys.aes, w->keys.aes.kernel, w->keys.secret, w->keys.secret + 16);
}

static void work_packet_id(void *ctx)
{
    struct packet_id_source *s = ctx;

    packet[0] ^= (uint8_t)packet_id_next(s);
}

struct assembly_work {
    struct assembly a;
    uint8_t head[1427];
    uint8_t fragment[1427];
};

static void work_assembly(void *ctx)
{
    static const struct inetaddr from = {.family = INETADDR_V4, .ip = {10, 0, 0, 1}};
    struct assembly_work *w = ctx;
    struct assembled done;

    if (assembly_add(&w->a, w->head, sizeof(w->head), &from, 0, ASSEMBLY_SHARE, 1, packet, &done) !=
            0 ||
        assembly_add(&w->a, w->fragment, sizeof(w->fragment), &from, 0, ASSEMBLY_SHARE, 1, packet,
                     &done) != 1) {
        abort();
    }
}

static void bench_rest(void)
{
    static struct assembly_work assembly;
    static struct armor_work armor;
    struct packet_id_source ids;
    struct hash_work hash = {.scratch = aligned_alloc(64, ADDRESS_HASH_MEMORY)};

    if (hash.scratch == NULL) {
        abort();
    }
    memset(hash.scratch, 0, ADDRESS_HASH_MEMORY);
    printf("address hash           %9.2f ms\n", measure(work_hash, &hash) / 1e6);
    free(hash.scratch);

    armor_keys_init(&armor.keys, hash.digest);
    printf("AES context            %9.0f ns\n", measure(work_aes_init, &armor));
    printf("all keys of a session  %9.0f ns\n", measure(work_keys, &armor));

    packet_id_set_key(&ids, (const uint32_t[4]){1, 2, 3, 4});
    printf("packet ID              %9.1f ns\n", measure(work_packet_id, &ids));

    assembly_init(&assembly.a, 1);
    assembly.head[PACKET_AT_FLAGS] = PACKET_FLAG_FRAGMENTED;
    assembly.fragment[FRAGMENT_AT_INDICATOR] = FRAGMENT_INDICATOR;
    assembly.fragment[FRAGMENT_AT_NUMBERS] = 2 << 4 | 1;
    printf("joining 2 x 1427 bytes %9.0f ns\n", measure(work_assembly, &assembly));
    assembly_done(&assembly.a);
}

int main(void)
{
    if (sodium_init() < 0) {
        return EXIT_FAILURE;
    }
    bench_rest();
    bench_streams();
    bench_macs();
    bench_armor();
    return EXIT_SUCCESS;
}
