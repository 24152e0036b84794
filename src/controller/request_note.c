/* Notes of what the protocol did for or to a member (spec 04 section 10.3, history). Whoever can
 * cause one without being let in by an administrator uses the share of anyone. */
#include "controller/request_note.h"

#include "base/bucket.h"
#include "controller/controller_priv.h"
#include "controller/member_doc.h"
#include "controller/note.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    NOTE_BURST = 8,           /* notes of versions and physical addresses of one member at once */
    NOTE_EACH_MS = 60000,     /* and then one each */
    FIRST_ONCE_MS = 86400000, /* who is forgotten and asks again within this is no news */
    FIRST_BURST = 32,         /* unknown nodes that are noted at their first request, in a row */
    FIRST_EACH_MS = 1000,     /* and then one each; others when they go on asking */
    MISMATCH_ONCE_MS = 3600000,
    EXHAUSTED_ONCE_MS = 86400000,
};

static struct note note_of(const struct cmember *m, enum note_type type)
{
    return (struct note){
        .type = type,
        .nwid = m->net->nwid,
        .member = m->address,
        .anyone = !m->net->plan.is_private,
    };
}

/* Add a note with documents (taken; before may be NULL: there was nothing). */
static int add(struct controller *c, struct store_tx *tx, struct note *note, json_t *before,
               json_t *after, int64_t now_ms)
{
    note->before = before;
    note->after = after;
    int error = after != NULL ? note_add(c, tx, note, now_ms) : -ENOMEM;
    json_decref(before);
    json_decref(after);
    return error;
}

static json_t *ip_json(const struct inetaddr *ip)
{
    char text[INETADDR_TEXT_LEN];
    if (ip->family == INETADDR_NIL) {
        return json_object();
    }
    inetaddr_print_ip(ip, text);
    return json_pack("{ss}", "physicalAddress", text);
}

int request_note_first(struct controller *c, struct store_tx *tx, struct cmember *m, int64_t now_ms)
{
    if (m->first_noted) {
        return 0;
    }
    struct note note = note_of(m, NOTE_MEMBER_REQUEST);
    m->first_noted = true;
    note.anyone = true;
    note.once_ms = FIRST_ONCE_MS;
    m->noted_from = m->from;
    return add(c, tx, &note, NULL, ip_json(&m->from), now_ms);
}

static int note_authorized(struct controller *c, struct store_tx *tx, const struct cmember *m,
                           int64_t now_ms)
{
    struct note note = note_of(m, NOTE_MEMBER_AUTHORIZED);
    const char *by = cred_kind_name((enum cred_kind)m->cred_kind);
    return add(
        c, tx, &note, json_pack("{sb}", "authorized", 0),
        json_pack("{sbss}", "authorized", 1, "lastAuthorizedCredentialType", by != NULL ? by : ""),
        now_ms);
}

/* Its document with the first addresses only: webhooks want the whole. */
static json_t *ips_json(const struct cmember *m, size_t count)
{
    json_t *doc = member_to_json(m);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char text[INETADDR_TEXT_LEN];
        inetaddr_print_ip(&m->ips[i].ip, text);
        json_array_append_new(list, json_string(text));
    }
    if (doc != NULL) {
        json_object_set_new(doc, "ipAssignments", list);
    }
    return doc;
}

static int note_ips(struct controller *c, struct store_tx *tx, const struct cmember *m,
                    const struct request_changes *ch, int64_t now_ms)
{
    struct note note = note_of(m, NOTE_MEMBER_ADDRESS);
    return add(c, tx, &note, ips_json(m, ch->ips_before), ips_json(m, m->ip_count), now_ms);
}

static json_t *version_json(const int32_t version[4])
{
    if (version[0] < 0) {
        return json_object();
    }
    return json_pack("{sisisisi}", "vMajor", (int)version[0], "vMinor", (int)version[1], "vRev",
                     (int)version[2], "vProto", (int)version[3]);
}

static int note_version(struct controller *c, struct store_tx *tx, struct cmember *m,
                        const struct request_changes *ch, int64_t now_ms)
{
    struct note note = note_of(m, NOTE_MEMBER_VERSION);
    if (!bucket_take(&m->note_credit_ms, NOTE_BURST, NOTE_EACH_MS, now_ms)) {
        return 0;
    }
    return add(c, tx, &note, version_json(ch->version_before), version_json(m->version), now_ms);
}

int request_note_changes(struct controller *c, struct store_tx *tx, struct cmember *m,
                         const struct request_changes *ch, int64_t now_ms)
{
    int error = request_note_first(c, tx, m, now_ms);
    if (error == 0 && ch->authorized) {
        error = note_authorized(c, tx, m, now_ms);
    }
    if (error == 0 && m->ip_count != ch->ips_before) {
        error = note_ips(c, tx, m, ch, now_ms);
    }
    if (error == 0 && ch->version) {
        error = note_version(c, tx, m, ch, now_ms);
    }
    return error;
}

/* Notes that go with no change of a record: what cannot be kept is only missing. */
static void warn(const struct controller *c, int error)
{
    if (error != 0) {
        controller_log(c, LOG_LEVEL_WARN, "controller: out of memory for an entry of the log");
    }
}

void request_note_stranger(struct controller *c, struct cmember *m, int64_t now_ms)
{
    if (m->first_noted || !bucket_take(&c->first_credit_ms, FIRST_BURST, FIRST_EACH_MS, now_ms)) {
        return; /* when its record is stored */
    }
    warn(c, request_note_first(c, NULL, m, now_ms));
}

void request_note_physical(struct controller *c, struct cmember *m, int64_t now_ms)
{
    bool same = m->from.family == m->noted_from.family &&
                memcmp(m->from.ip, m->noted_from.ip, sizeof(m->from.ip)) == 0;
    if (m->from.family == INETADDR_NIL || same ||
        !bucket_take(&m->note_credit_ms, NOTE_BURST, NOTE_EACH_MS, now_ms)) {
        return;
    }
    struct note note = note_of(m, NOTE_MEMBER_PHYSICAL);
    warn(c, add(c, NULL, &note, ip_json(&m->noted_from), ip_json(&m->from), now_ms));
    m->noted_from = m->from;
}

void request_note_mismatch(struct controller *c, const struct cmember *m,
                           const struct inetaddr *from, int64_t now_ms)
{
    struct note note = note_of(m, NOTE_MEMBER_MISMATCH);
    note.anyone = true;
    note.once_ms = MISMATCH_ONCE_MS;
    warn(c, add(c, NULL, &note, NULL, ip_json(from), now_ms));
}

void request_note_exhausted(struct controller *c, const struct cmember *m, bool v6, int64_t now_ms)
{
    struct note note = note_of(m, NOTE_MEMBER_EXHAUSTED);
    note.once_ms = EXHAUSTED_ONCE_MS;
    warn(c, add(c, NULL, &note, NULL, json_pack("{ss}", "family", v6 ? "IPv6" : "IPv4"), now_ms));
}
