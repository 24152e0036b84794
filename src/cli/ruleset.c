/* Packet filter rules, judged by what they say of UDP and ports. Source: spec 05 section 12
 * ("firewall hint"). */
#include "cli/ruleset.h"

#include "base/attr.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 8 }; /* chains within chains */

/* Whether a match holds for the packet. */
enum holds { HOLDS_NO, HOLDS_MAYBE, HOLDS_YES };

/* Where a walk through a chain ended. */
enum end { END_NONE, END_ACCEPT, END_DROP };

struct walk {
    const json_t *rules; /* array of nftables objects */
    const struct ruleset_packet *packet;
    bool doubt; /* a rule that may hold may have dropped it */
    bool saved; /* one that may hold may have accepted it */
};

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

/* ---- nftables ---- */

/* Is a number, range, set or name in the right side of a match? */
/* NOLINTNEXTLINE(misc-no-recursion): sets hold plain values, the parser has bounded the depth */
static bool holds_number(const json_t *right, unsigned value)
{
    const json_t *set = json_object_get(right, "set");
    const json_t *range = json_object_get(right, "range");
    size_t i;
    json_t *item;
    if (json_is_integer(right)) {
        return json_integer_value(right) == (json_int_t)value;
    }
    if (range != NULL) {
        return json_integer_value(json_array_get(range, 0)) <= (json_int_t)value &&
               json_integer_value(json_array_get(range, 1)) >= (json_int_t)value;
    }
    json_array_foreach((json_t *)(set != NULL ? set : right), i, item)
    {
        if (holds_number(item, value)) {
            return true;
        }
    }
    return false;
}

/* NOLINTNEXTLINE(misc-no-recursion): as above */
static bool holds_word(const json_t *right, const char *word)
{
    const json_t *set = json_object_get(right, "set");
    size_t i;
    json_t *item;
    if (json_is_string(right)) {
        return strcmp(json_string_value(right), word) == 0;
    }
    json_array_foreach((json_t *)(set != NULL ? set : right), i, item)
    {
        if (holds_word(item, word)) {
            return true;
        }
    }
    return false;
}

static enum holds negated(bool holds, const char *op)
{
    return holds == (strcmp(op, "!=") != 0) ? HOLDS_YES : HOLDS_NO;
}

/* One match expression. */
static enum holds match_holds(const struct ruleset_packet *packet, const json_t *match)
{
    const json_t *left = json_object_get(match, "left");
    const json_t *right = json_object_get(match, "right");
    const char *op = text(match, "op");
    const json_t *meta = json_object_get(left, "meta");
    const json_t *payload = json_object_get(left, "payload");
    const json_t *ct = json_object_get(left, "ct");
    const char *protocol = text(payload, "protocol");
    const char *field = text(payload, "field");
    if (strcmp(text(meta, "key"), "l4proto") == 0 ||
        (payload != NULL && (strcmp(field, "protocol") == 0 || strcmp(field, "nexthdr") == 0))) {
        return negated(holds_word(right, "udp") || holds_number(right, 17), op);
    }
    if (strcmp(text(ct, "key"), "state") == 0) {
        return negated(holds_word(right, "new"), op);
    }
    if (strcmp(protocol, "udp") == 0 || strcmp(protocol, "th") == 0) {
        bool ours = strcmp(field, packet->incoming ? "dport" : "sport") == 0;
        bool plain = strcmp(op, "==") == 0 || strcmp(op, "in") == 0 || strcmp(op, "!=") == 0;
        return ours && plain && !json_is_string(right)
                   ? negated(holds_number(right, packet->port), op)
                   : HOLDS_MAYBE;
    }
    if (strcmp(protocol, "tcp") == 0 || strcmp(protocol, "icmp") == 0 ||
        strcmp(protocol, "icmpv6") == 0) {
        return HOLDS_NO;
    }
    if (strcmp(text(meta, "key"), "iif") == 0 || strcmp(text(meta, "key"), "iifname") == 0) {
        return holds_word(right, "lo") ? negated(false, op) : HOLDS_MAYBE;
    }
    return HOLDS_MAYBE;
}

/* Verdicts by a map: those by the state of the conversation without one for new ones change nothing
 * for us. */
static bool map_matters(const json_t *map)
{
    const json_t *ct = json_object_get(json_object_get(map, "key"), "ct");
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(json_object_get(map, "data"), "set"), i, pair)
    {
        if (strcmp(text(ct, "key"), "state") != 0 || holds_word(json_array_get(pair, 0), "new")) {
            return true;
        }
    }
    return map != NULL && json_object_get(json_object_get(map, "data"), "set") == NULL;
}

static enum end walk_chain(struct walk *w, const json_t *chain, const char *name, unsigned depth);

/* What one statement does: goes on (END_NONE), or ends it. */
/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX */
static enum end statement_end(struct walk *w, const json_t *chain, const json_t *statement,
                              unsigned depth, bool *ret_returns)
{
    const json_t *jump = json_object_get(statement, "jump");
    const json_t *go = json_object_get(statement, "goto");
    *ret_returns = json_object_get(statement, "return") != NULL || go != NULL;
    if (json_object_get(statement, "accept") != NULL) {
        return END_ACCEPT;
    }
    if (json_object_get(statement, "drop") != NULL ||
        json_object_get(statement, "reject") != NULL) {
        return END_DROP;
    }
    if (jump != NULL || go != NULL) {
        return walk_chain(w, chain, text(jump != NULL ? jump : go, "target"), depth + 1);
    }
    return END_NONE;
}

/* One rule. *ret_returns: the rest of the chain is left out. */
/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX */
static enum end rule_end(struct walk *w, const json_t *chain, const json_t *rule, unsigned depth,
                         bool *ret_returns)
{
    enum holds holds = HOLDS_YES;
    size_t i;
    json_t *e;
    *ret_returns = false;
    json_array_foreach(json_object_get(rule, "expr"), i, e)
    {
        const json_t *match = json_object_get(e, "match");
        if (match != NULL) {
            enum holds now = match_holds(w->packet, match);
            holds = now < holds ? now : holds;
        } else if (json_object_get(e, "limit") != NULL || json_object_get(e, "xt") != NULL) {
            holds = HOLDS_MAYBE;
        } else if (map_matters(json_object_get(e, "vmap"))) {
            w->doubt = w->saved = true;
        }
        if (holds == HOLDS_NO) {
            return END_NONE;
        }
        enum end end = statement_end(w, chain, e, depth, ret_returns);
        if (holds == HOLDS_YES && (end != END_NONE || *ret_returns)) {
            return end;
        }
        w->doubt |= end == END_DROP;
        w->saved |= end == END_ACCEPT;
        *ret_returns = false;
    }
    return END_NONE;
}

/* All rules of a chain of the family and table of another chain. */
/* NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX */
static enum end walk_chain(struct walk *w, const json_t *chain, const char *name, unsigned depth)
{
    size_t i;
    json_t *o;
    if (depth > DEPTH_MAX) {
        w->doubt = true;
        return END_NONE;
    }
    json_array_foreach((json_t *)w->rules, i, o)
    {
        const json_t *rule = json_object_get(o, "rule");
        bool returns;
        if (rule == NULL || strcmp(text(rule, "family"), text(chain, "family")) != 0 ||
            strcmp(text(rule, "table"), text(chain, "table")) != 0 ||
            strcmp(text(rule, "chain"), name) != 0) {
            continue;
        }
        enum end end = rule_end(w, chain, rule, depth, &returns);
        if (end != END_NONE || returns) {
            return end;
        }
    }
    return END_NONE;
}

/* Verdict of one base chain. */
static enum ruleset_verdict chain_verdict(struct walk *w, const json_t *chain)
{
    enum end end = walk_chain(w, chain, text(chain, "name"), 0);
    if (end == END_NONE && strcmp(text(chain, "policy"), "drop") == 0) {
        end = END_DROP;
    }
    if (end == END_DROP) {
        return w->saved ? RULESET_MAYBE : RULESET_DROP;
    }
    return w->doubt ? RULESET_MAYBE : RULESET_PASS;
}

enum ruleset_verdict ruleset_judge_nft(const json_t *ruleset, const struct ruleset_packet *packet,
                                       char *where, size_t cap)
{
    const json_t *rules = json_object_get(ruleset, "nftables");
    enum ruleset_verdict worst = RULESET_PASS;
    size_t i;
    json_t *o;
    where[0] = '\0';
    json_array_foreach((json_t *)rules, i, o)
    {
        const json_t *chain = json_object_get(o, "chain");
        const char *hook = text(chain, "hook");
        bool ours = packet->incoming ? strcmp(hook, "input") == 0 || strcmp(hook, "prerouting") == 0
                                     : strcmp(hook, "output") == 0;
        if (!ours || strcmp(text(chain, "type"), "nat") == 0) {
            continue;
        }
        struct walk w = {.rules = rules, .packet = packet};
        enum ruleset_verdict verdict = chain_verdict(&w, chain);
        if (verdict > worst) {
            worst = verdict;
            (void)snprintf(where, cap, "%s %s %s", text(chain, "family"), text(chain, "table"),
                           text(chain, "name"));
        }
    }
    return worst;
}

/* ---- iptables ---- */

/* Is a port in "N", "N:M" or a list of these with commas? */
static bool holds_ports(const char *list, unsigned port)
{
    while (*list != '\0') {
        char *end;
        unsigned long first = strtoul(list, &end, 10);
        unsigned long last = *end == ':' ? strtoul(end + 1, &end, 10) : first;
        if (first <= port && port <= last) {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        list = end + 1;
    }
    return false;
}

/* One option of a rule with its value. */
static enum holds option_holds(const struct ruleset_packet *packet, const char *name,
                               const char *value)
{
    const char *port = packet->incoming ? "--dport" : "--sport";
    if (strcmp(name, "-p") == 0) {
        return strcmp(value, "udp") == 0 || strcmp(value, "all") == 0 ? HOLDS_YES : HOLDS_NO;
    }
    if (strncmp(name, port, strlen(port)) == 0) { /* also --dports */
        return holds_ports(value, packet->port) ? HOLDS_YES : HOLDS_NO;
    }
    if (strcmp(name, "--ctstate") == 0 || strcmp(name, "--state") == 0) {
        return strstr(value, "NEW") != NULL ? HOLDS_YES : HOLDS_NO;
    }
    if (strcmp(name, "-i") == 0 || strcmp(name, "-o") == 0) {
        return strcmp(value, "lo") == 0 ? HOLDS_NO : HOLDS_MAYBE;
    }
    if (strcmp(name, "-m") == 0 || strcmp(name, "--comment") == 0 ||
        strcmp(name, "--reject-with") == 0) {
        return HOLDS_YES;
    }
    return HOLDS_MAYBE;
}

/* One "-A CHAIN ..." line. */
static enum end iptables_rule(struct walk *w, char *line)
{
    enum holds holds = HOLDS_YES;
    char *rest = NULL;
    const char *target = "";
    bool negate = false;
    (void)strtok_r(line, " ", &rest); /* -A */
    (void)strtok_r(NULL, " ", &rest); /* chain */
    for (char *word = strtok_r(NULL, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (strcmp(word, "!") == 0) {
            negate = true;
            continue;
        }
        const char *value = word[0] == '-' ? strtok_r(NULL, " ", &rest) : NULL;
        if (value == NULL) {
            continue;
        }
        if (strcmp(word, "-j") == 0 || strcmp(word, "-g") == 0) {
            target = value;
            continue;
        }
        enum holds now = option_holds(w->packet, word, value);
        now = negate && now != HOLDS_MAYBE ? (now == HOLDS_YES ? HOLDS_NO : HOLDS_YES) : now;
        negate = false;
        holds = now < holds ? now : holds;
    }
    bool drops = strcmp(target, "DROP") == 0 || strcmp(target, "REJECT") == 0;
    bool accepts = strcmp(target, "ACCEPT") == 0;
    bool harmless = strcmp(target, "LOG") == 0 || strcmp(target, "NFLOG") == 0 || target[0] == '\0';
    if (holds == HOLDS_YES && (drops || accepts)) {
        return drops ? END_DROP : END_ACCEPT;
    }
    if (holds != HOLDS_NO && !harmless) { /* chains of users are not followed */
        w->doubt |= !accepts;
        w->saved |= !drops;
    }
    return END_NONE;
}

enum ruleset_verdict ruleset_judge_iptables(const char *save, const struct ruleset_packet *packet,
                                            char *where, size_t cap)
{
    const char *chain = packet->incoming ? "INPUT" : "OUTPUT";
    char policy[24];
    char rule[24];
    struct walk w = {.packet = packet};
    enum end end = END_NONE;
    bool drops = false;
    char *rest = NULL;
    char *copy = strdup(save);
    where[0] = '\0';
    (void)snprintf(policy, sizeof(policy), ":%s DROP", chain);
    (void)snprintf(rule, sizeof(rule), "-A %s ", chain);
    for (char *line = copy == NULL ? NULL : strtok_r(copy, "\n", &rest);
         line != NULL && end == END_NONE; line = strtok_r(NULL, "\n", &rest)) {
        drops |= strncmp(line, policy, strlen(policy)) == 0;
        if (strncmp(line, rule, strlen(rule)) == 0) {
            end = iptables_rule(&w, line);
        }
    }
    free(copy);
    end = end == END_NONE && drops ? END_DROP : end;
    enum ruleset_verdict verdict = end == END_DROP ? (w.saved ? RULESET_MAYBE : RULESET_DROP)
                                   : w.doubt       ? RULESET_MAYBE
                                                   : RULESET_PASS;
    if (verdict != RULESET_PASS) {
        (void)snprintf(where, cap, "%s", chain);
    }
    return verdict;
}
