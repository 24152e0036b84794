/* zerotier-idtool and "panlan identity": identities and worlds, offline. Source: spec 05 section
 * 4.5, spec 02 section 9; SV-53, SV-54. */
#include "cli/cli.h"

#include "base/hex.h"
#include "cli/world_json.h"
#include "daemon/keygen.h"
#include "os/clock.h"
#include "os/file.h"
#include "wire/identity.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LITERAL_MIN = 33, /* longer than 32 characters with ':' at index 10 is an identity itself */
    IDENTITY_FILE_MAX = 4096,
    INPUT_MAX = 256 << 20,
    WORLD_FILE_MAX = 1 << 20,
    VANITY_DIGITS = 10,
};

static int help(void)
{
    (void)fputs("Usage: idtool <command> [<args>]\n\n"
                "Commands:\n"
                "  generate [<identity.secret>] [<identity.public>] [<vanity>]\n"
                "  validate <identity.secret/public>\n"
                "  getpublic <identity.secret>\n"
                "  sign <identity.secret> <file>\n"
                "  verify <identity.secret/public> <file> <signature>\n"
                "  initmoon <identity.public of first seed>\n"
                "  genmoon <moon json>\n",
                stdout);
    return 1;
}

int identity_argument(const char *arg, struct identity *ret)
{
    int err;
    if (strlen(arg) >= LITERAL_MIN && arg[10] == ':') {
        err = identity_parse(arg, strlen(arg), ret);
    } else {
        char text[IDENTITY_FILE_MAX];
        ssize_t len = file_read_into(arg, text, sizeof(text));
        if (len < 0) {
            (void)fprintf(stderr, "cannot read %s: %s\n", arg, strerror((int)-len));
            return -1;
        }
        err = identity_parse(text, (size_t)len, ret);
        sodium_memzero(text, sizeof(text));
    }
    if (err < 0) {
        (void)fprintf(stderr, "%s is not a valid identity\n", arg);
        return -1;
    }
    return 0;
}

static int write_file(const char *path, const char *text, mode_t mode)
{
    int err = file_write_atomic(path, text, strlen(text), mode);
    if (err < 0) {
        (void)fprintf(stderr, "cannot write %s: %s\n", path, strerror(-err));
        return 1;
    }
    (void)printf("%s written\n", path);
    return 0;
}

/* An address prefix wanted. */
struct vanity {
    uint64_t prefix;
    unsigned digits;
};

static bool is_wanted(void *ctx, const struct identity *id)
{
    const struct vanity *v = ctx;
    bool wanted = id->address >> (ADDRESS_BITS - 4 * v->digits) == v->prefix;
    if (!wanted) {
        (void)fprintf(stderr, "vanity: %010llx\r", (unsigned long long)id->address);
    }
    return wanted;
}

static int cmd_generate(int argc, const char *const *args)
{
    struct vanity vanity = {0};
    struct identity id;
    if (argc > 3) {
        vanity.digits = (unsigned)strlen(args[3]);
        if (hex_to_u64(args[3], strlen(args[3]), VANITY_DIGITS, &vanity.prefix) < 0) {
            (void)fprintf(stderr, "%s is not the beginning of an address\n", args[3]);
            return 1;
        }
    }
    int err = keygen_identity(vanity.digits == 0 ? NULL : is_wanted, &vanity, &id);
    if (err < 0) {
        (void)fprintf(stderr, "cannot generate: %s\n", strerror(-err));
        return 1;
    }
    char secret[IDENTITY_TEXT_LEN];
    char public[IDENTITY_TEXT_LEN];
    identity_print(&id, true, secret);
    identity_print(&id, false, public);
    identity_wipe(&id);
    int status = 0;
    if (argc > 1) {
        status = write_file(args[1], secret, FILE_MODE_SECRET);
        if (status == 0 && argc > 2) {
            status = write_file(args[2], public, FILE_MODE_PUBLIC);
        }
    } else {
        (void)fputs(secret, stdout);
    }
    sodium_memzero(secret, sizeof(secret));
    return status;
}

static int cmd_validate(int argc, const char *const *args)
{
    struct identity id;
    if (argc < 2) {
        return help();
    }
    if (identity_argument(args[1], &id) < 0) {
        return 1;
    }
    bool valid = keygen_validate(&id) == 0 && (!id.has_private || identity_check_private(&id) == 0);
    identity_wipe(&id);
    if (!valid) {
        (void)fprintf(stderr, "%s FAILED validation.\n", args[1]);
        return 1;
    }
    (void)printf("%s is a valid identity\n", args[1]);
    return 0;
}

static int cmd_getpublic(int argc, const char *const *args)
{
    struct identity id;
    char text[IDENTITY_TEXT_LEN];
    if (argc < 2) {
        return help();
    }
    if (identity_argument(args[1], &id) < 0) {
        return 1;
    }
    identity_print(&id, false, text);
    identity_wipe(&id);
    (void)fputs(text, stdout);
    return 0;
}

static int read_input(const char *path, char **ret, size_t *ret_len)
{
    int err = file_read(path, INPUT_MAX, ret, ret_len);
    if (err < 0) {
        (void)fprintf(stderr, "cannot read %s: %s\n", path, strerror(-err));
    }
    return err;
}

static int cmd_sign(int argc, const char *const *args)
{
    struct identity id;
    char *data = NULL;
    size_t len = 0;
    uint8_t signature[SIGNATURE_LEN];
    char hex[2 * SIGNATURE_LEN + 1];
    if (argc < 3) {
        return help();
    }
    if (identity_argument(args[1], &id) < 0) {
        return 1;
    }
    int status = 1;
    if (!id.has_private) {
        (void)fprintf(stderr, "%s does not contain a private key\n", args[1]);
    } else if (read_input(args[2], &data, &len) == 0) {
        identity_sign(&id, data, len, signature);
        hex_encode(signature, sizeof(signature), hex);
        (void)fputs(hex, stdout);
        status = 0;
    }
    identity_wipe(&id);
    free(data);
    return status;
}

/* A signature given as digits or as a file of digits. Returns 0; -1. */
static int read_signature(const char *arg, uint8_t out[SIGNATURE_LEN])
{
    char text[2 * SIGNATURE_LEN + 64];
    if (hex_decode(arg, strlen(arg), out, SIGNATURE_LEN) == 0) {
        return 0;
    }
    ssize_t len = file_read_into(arg, text, sizeof(text));
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        len--;
    }
    return len > 0 && hex_decode(text, (size_t)len, out, SIGNATURE_LEN) == 0 ? 0 : -1;
}

static int cmd_verify(int argc, const char *const *args)
{
    struct identity id;
    char *data = NULL;
    size_t len = 0;
    uint8_t signature[SIGNATURE_LEN];
    if (argc < 4) {
        return help();
    }
    if (identity_argument(args[1], &id) < 0 || read_input(args[2], &data, &len) < 0) {
        return 1;
    }
    bool valid = read_signature(args[3], signature) == 0 &&
                 identity_verify(&id, data, len, signature, sizeof(signature)) == 0;
    identity_wipe(&id);
    free(data);
    if (!valid) {
        (void)fprintf(stderr, "%s signature check FAILED\n", args[2]);
        return 1;
    }
    (void)printf("%s signature valid\n", args[2]);
    return 0;
}

static int cmd_initmoon(int argc, const char *const *args)
{
    struct identity id;
    if (argc < 2) {
        (void)help();
        return 0;
    }
    if (identity_argument(args[1], &id) < 0) {
        return 1;
    }
    id.has_private = false;
    struct world_key key;
    world_key_generate(&key);
    json_t *template = world_json_template(&id, "moon", id.address, &key);
    sodium_memzero(&key, sizeof(key));
    if (template == NULL) {
        return 1;
    }
    (void)json_dumpf(template, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
    (void)fputc('\n', stdout);
    json_decref(template);
    return 0;
}

static int write_world(const struct world *world)
{
    uint8_t data[WORLD_WIRE_MAX];
    char name[32];
    struct wr w = wr_init(data, sizeof(data));
    world_write(&w, world);
    if (w.bad) {
        (void)fputs("the world is too large\n", stderr);
        return 1;
    }
    (void)snprintf(name, sizeof(name), "%016llx.moon", (unsigned long long)world->id);
    int err = file_write_atomic(name, data, wr_len(&w), FILE_MODE_PUBLIC);
    if (err < 0) {
        (void)fprintf(stderr, "cannot write %s: %s\n", name, strerror(-err));
        return 1;
    }
    (void)printf("wrote %s (signed world with timestamp %llu)\n", name,
                 (unsigned long long)world->timestamp);
    return 0;
}

static int cmd_genmoon(int argc, const char *const *args)
{
    char *text = NULL;
    size_t len = 0;
    json_error_t error;
    struct world world;
    const char *why = "";
    if (argc < 2) {
        (void)help();
        return 0;
    }
    int err = file_read(args[1], WORLD_FILE_MAX, &text, &len);
    if (err < 0) {
        (void)fprintf(stderr, "cannot read %s: %s\n", args[1], strerror(-err));
        return 1;
    }
    json_t *json = json_loadb(text, len, 0, &error);
    sodium_memzero(text, len);
    free(text);
    if (json == NULL) {
        (void)fprintf(stderr, "%s line %d: %s\n", args[1], error.line, error.text);
        return 1;
    }
    err = world_json_sign(json, (uint64_t)clock_wall_ms(), &world, &why);
    json_decref(json);
    if (err < 0) {
        (void)fprintf(stderr, "%s: %s\n", args[1], why);
        return 1;
    }
    return write_world(&world);
}

int idtool_run(int argc, const char *const *args)
{
    static const struct {
        const char *name;
        int (*run)(int argc, const char *const *args);
    } table[] = {
        {"generate", cmd_generate}, {"validate", cmd_validate}, {"getpublic", cmd_getpublic},
        {"sign", cmd_sign},         {"verify", cmd_verify},     {"initmoon", cmd_initmoon},
        {"genmoon", cmd_genmoon},
    };
    if (sodium_init() < 0) {
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(table) && argc > 0; i++) {
        if (strcmp(table[i].name, args[0]) == 0) {
            return table[i].run(argc, args);
        }
    }
    return help();
}

int idtool_main(int argc, char **argv)
{
    const char *args[16];
    int count = 0;
    for (int i = 1; i < argc && (size_t)count < COUNT_OF(args); i++) {
        if (i > 1 || strcmp(argv[i], "-i") != 0) {
            args[count++] = argv[i];
        }
    }
    return idtool_run(count, args);
}
