/* The key=value dictionary: what is read can be written and read again. */
#include "fuzz.h"

#include "base/dict.h"

#include <errno.h>
#include <string.h>

enum { VALUE_MAX = 512 };

/* Read key, write the value into a dictionary of its own and read it from there. */
static void check_key(struct dict d, const char *key)
{
    uint8_t value[VALUE_MAX];
    uint8_t again[VALUE_MAX];
    char text[2 * VALUE_MAX + 64];
    struct dict_writer w = dict_writer_init(text, sizeof(text));
    size_t value_len = 0;
    size_t len = 0;
    int err = dict_get(d, key, value, sizeof(value), &len);

    fuzz_require(dict_has(d, key) == (err != -ENOENT), "dict_has agrees with dict_get");
    if (err == -ENOENT) {
        fuzz_require(dict_get_u64(d, key, 42) == 42, "absent gives the fallback");
        return;
    }
    fuzz_require(dict_value_len(d, key, &value_len) == 0, "length of a present value");
    fuzz_require((value_len > sizeof(value)) == (err == -EMSGSIZE), "length agrees with dict_get");
    (void)dict_get_u64(d, key, 1);
    (void)dict_get_i64(d, key, 1);
    (void)dict_get_bool(d, key, true);
    if (err == 0) {
        fuzz_require(len == value_len, "same length");
        fuzz_require(dict_put(&w, key, value, len) == 0, "value can be written");
        d = dict_init(text, w.len);
        fuzz_require(dict_get(d, key, again, sizeof(again), &value_len) == 0, "and read");
        fuzz_require_same(value, len, again, value_len, "round trip of a value");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const keys[] = {"a", "b", "k", "event", "nwid", "name", "", "a=b"};
    struct dict d = dict_init(data, len);
    char first[32];
    size_t n = 0;

    for (size_t i = 0; i + 2 < sizeof(keys) / sizeof(keys[0]); i++) {
        check_key(d, keys[i]);
    }
    (void)dict_has(d, keys[6]);
    fuzz_require(!dict_has(d, keys[7]), "no key contains an equals sign");
    /* the first key of the text itself */
    while (n < d.len && n < sizeof(first) - 1 && strchr("\r\n=", d.text[n]) == NULL) {
        first[n] = d.text[n];
        n++;
    }
    first[n] = '\0';
    if (n > 0 && n < d.len && d.text[n] == '=') {
        fuzz_require(dict_has(d, first), "the first key is found");
        check_key(d, first);
    }
    return 0;
}
