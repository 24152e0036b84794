/* Files of the reference's controller and of consoles. Input: a byte that selects which, then the
 * file. What is imported is exported with every key it had, a second import of that changes nothing
 * more, and a controller can compile it. */
#include "fuzz.h"

#include "controller/import_doc.h"
#include "controller/import_names.h"
#include "controller/import_set.h"
#include "controller/model.h"

#include <stdlib.h>
#include <string.h>

#define NWID   UINT64_C(0x0102030405000001)
#define MEMBER UINT64_C(0xaabbccddee)

static int convert(json_t *doc, bool member)
{
    json_t *warnings = json_array();
    int err = member ? import_member_doc(doc, NWID, MEMBER, warnings)
                     : import_network_doc(doc, NWID, warnings);
    json_decref(warnings);
    return err;
}

/* Every key of one but the IDs is in the other as it was. */
static void same(const json_t *source, const json_t *export)
{
    static const char *const ids[] = {"id", "nwid", "address"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)source, key, value)
    {
        bool is_id = false;
        for (size_t i = 0; i < COUNT_OF(ids); i++) {
            is_id = is_id || strcmp(key, ids[i]) == 0;
        }
        json_t *have = json_object_get(export, key);
        fuzz_require(is_id || (have != NULL && json_equal(value, have)), "nothing is lost");
    }
}

static void document(const char *text, size_t len, bool member)
{
    char why[200];
    struct plan plan;
    json_t *source = import_parse(text, len, why, sizeof(why));
    if (source == NULL) {
        return;
    }
    json_t *doc = json_deep_copy(source);
    fuzz_require(convert(doc, member) == 0, "converts");
    fuzz_require(plan_compile(doc, &plan) == 0, "compiles");
    plan_free(&plan);
    fuzz_require(export_doc(doc) == 0, "exports");
    fuzz_require(export_doc(source) == 0, "a file of ours has a record itself");
    same(source, doc);
    char *out = import_print(doc);
    fuzz_require(out != NULL, "prints");
    json_t *again = import_parse(out, strlen(out), why, sizeof(why));
    fuzz_require(again != NULL && json_equal(again, doc), "what was printed is read as it was");
    free(out);
    json_decref(again);
    json_decref(doc);
    json_decref(source);
}

/* The same file as network and as member of an import as a whole, with names. */
static void whole(char *text, size_t len, const json_t *names)
{
    char network[] = "controller.d/network/0102030405000001.json";
    char member[] = "controller.d/network/0102030405000001/member/aabbccddee.json";
    const struct import_file files[] = {{.path = network, .data = text, .len = len},
                                        {.path = member, .data = text, .len = len}};
    struct import_options options = {.address = UINT64_C(0x0102030405)};
    const struct store_change *changes = NULL;
    struct import_set *set = import_set_new(&options);
    fuzz_require(set != NULL, "a set");
    fuzz_require(import_set_take(set, files, COUNT_OF(files)) == 0, "takes");
    fuzz_require(import_set_name(set, names) == 0, "names");
    fuzz_require(import_set_finish(set, &changes) == 0, "finishes");
    for (; changes != NULL; changes = changes->next) {
        json_t *doc = json_loads(changes->text, 0, NULL);
        fuzz_require(json_is_object(doc), "what is stored can be loaded");
        json_decref(doc);
    }
    import_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *names = json_object();
    char *text = malloc(len + 1);
    if (names != NULL && text != NULL && len > 0) {
        memcpy(text, data + 1, len - 1);
        (void)import_names(names, text, len - 1);
        document(text, len - 1, data[0] % 2 == 1);
        whole(text, len - 1, names);
    }
    free(text);
    json_decref(names);
    return 0;
}
