/* The filter cases of vl2.json as inputs of the rule evaluator, for tests of it and of what asks
 * it. Functions fail the test program with a message. */
#pragma once

#include "datapath/filter.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FILTER_CASE_LIST_MAX = 16,
    FILTER_CASE_CAP_MAX = 4,
};

/* One case of the vectors, ready to be evaluated. */
struct filter_case {
    const char *name;
    bool is_inbound;
    struct filter_network network;
    struct filter_credentials remote;
    bool has_remote;
    struct filter_frame frame;
    struct filter_input in;
    uint8_t *payload;
    struct rule *rules;
    struct inetaddr addresses[FILTER_CASE_LIST_MAX];
    struct filter_tag local_tags[FILTER_CASE_LIST_MAX];
    struct filter_tag remote_tags[FILTER_CASE_LIST_MAX];
    struct thing local_things[FILTER_CASE_LIST_MAX];
    struct thing remote_things[FILTER_CASE_LIST_MAX];
    struct filter_ownership local_ownership;
    struct filter_ownership remote_ownership;
    struct filter_capability local_caps[FILTER_CASE_CAP_MAX];
    struct filter_capability remote_caps[FILTER_CASE_CAP_MAX];
    struct rule *cap_rules[2 * FILTER_CASE_CAP_MAX];
    size_t cap_rules_count;
    const json_t *expect;
};

/* Make one of an entry of "filter"; meta: the object of that name. */
void filter_case_load(struct filter_case *c, const json_t *o, const json_t *meta);
void filter_case_free(struct filter_case *c);

/* The verdict wanted of our evaluator. */
int64_t filter_case_verdict(const struct filter_case *c);

/* Draws zero each time. */
uint32_t filter_case_draw(void *ctx);

/* Member of an object that is a MAC. */
uint64_t vec_mac(const json_t *o, const char *key);
