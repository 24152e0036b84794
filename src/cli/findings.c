/* What a diagnosis found. Source: spec 05 sections 12, 13.14. */
#include "cli/findings.h"

#include "base/attr.h"
#include "wire/inetaddr.h"

#include <stdarg.h>
#include <string.h>

enum {
    FOUND_LEN = 1000,
    CHECK_WIDTH = 11,
    ADDRESS_LEN = 46,
};

static const char *const names[RESULTS] = {
    [RESULT_OK] = "OK", [RESULT_INFO] = "info", [RESULT_WARN] = "WARN", [RESULT_FAIL] = "FAIL"};

void findings_init(struct findings *f, bool redact)
{
    *f = (struct findings){.list = json_array(), .redact = redact, .redacted = json_object()};
}

void findings_done(struct findings *f)
{
    json_decref(f->list);
    json_decref(f->redacted);
}

/* ---- redaction ---- */

static bool is_address_char(char c)
{
    return c != '\0' && strchr("0123456789abcdefABCDEF:.", c) != NULL;
}

/* The word for the IP in text, or NULL if it is none that names a place in the Internet. */
static const char *word_for(struct findings *f, const char *text, size_t len)
{
    struct inetaddr a;
    char key[INETADDR_TEXT_LEN];
    char word[32];
    if (len < 2 || len > ADDRESS_LEN || inetaddr_parse(text, len, &a) < 0) {
        return NULL;
    }
    enum inet_scope scope = inetaddr_scope(&a);
    if (scope != INET_SCOPE_GLOBAL && scope != INET_SCOPE_PSEUDO_PRIVATE) {
        return NULL;
    }
    inetaddr_print_ip(&a, key);
    if (json_object_get(f->redacted, key) == NULL) {
        (void)snprintf(word, sizeof(word), "public-ipv%c-%zu", a.family == INETADDR_V4 ? '4' : '6',
                       json_object_size(f->redacted) + 1);
        (void)json_object_set_new(f->redacted, key, json_string(word));
    }
    return json_string_value(json_object_get(f->redacted, key));
}

/* Copy text, public addresses replaced. Returns the length. */
static size_t redact(struct findings *f, const char *from, char *out, size_t cap)
{
    size_t len = 0;
    while (*from != '\0' && len + 1 < cap) {
        size_t run = 0;
        while (is_address_char(from[run])) {
            run++;
        }
        size_t used = run;
        while (used > 0 && (from[used - 1] == '.' || from[used - 1] == ':')) {
            used--; /* of the sentence */
        }
        const char *word = word_for(f, from, used);
        if (word == NULL) {
            used = run > 0 ? run : 1;
            word = from;
        }
        size_t put = word == from ? used : strlen(word);
        put = put < cap - 1 - len ? put : cap - 1 - len;
        memcpy(out + len, word, put);
        len += put;
        from += used;
    }
    out[len] = '\0';
    return len;
}

/* ---- the list ---- */

static void clean(char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            *p = '?';
        }
    }
}

void find(struct findings *f, enum result result, const char *check, const char *advice,
          const char *format, ...)
{
    char plain[FOUND_LEN];
    char found[FOUND_LEN];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(plain, sizeof(plain), format, args);
    va_end(args);
    clean(plain);
    if (f->redact) {
        (void)redact(f, plain, found, sizeof(found));
    } else {
        memcpy(found, plain, sizeof(found));
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "check", json_string(check));
    (void)json_object_set_new(o, "result", json_string(names[result]));
    (void)json_object_set_new(o, "found", json_string(found));
    (void)json_object_set_new(o, "advice", json_string(advice == NULL ? "" : advice));
    (void)json_array_append_new(f->list, o);
    f->counts[result]++;
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

void findings_print(FILE *out, const struct findings *f)
{
    size_t i;
    json_t *o;
    json_array_foreach(f->list, i, o)
    {
        (void)fprintf(out, "%-5s %-*s %s\n", text(o, "result"), CHECK_WIDTH, text(o, "check"),
                      text(o, "found"));
        if (text(o, "advice")[0] != '\0') {
            (void)fprintf(out, "%*s-> %s\n", 5 + 1 + CHECK_WIDTH + 1, "", text(o, "advice"));
        }
    }
    (void)fprintf(out, "\n%u failed, %u warnings, %u fine\n", f->counts[RESULT_FAIL],
                  f->counts[RESULT_WARN], f->counts[RESULT_OK]);
}

json_t *findings_json(const struct findings *f, const char *version, const char *time)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "version", json_string(version));
    (void)json_object_set_new(o, "time", json_string(time));
    (void)json_object_set_new(o, "failed", json_integer(f->counts[RESULT_FAIL]));
    (void)json_object_set_new(o, "warnings", json_integer(f->counts[RESULT_WARN]));
    (void)json_object_set(o, "findings", f->list);
    return o;
}
