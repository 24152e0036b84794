/* Webhooks of the controller leave through here. Source: spec 04 section 6.6. */
#pragma once

struct controller_post;

/* struct controller_env, post; ctx: struct ctl. */
int ctl_post(void *ctx, const struct controller_post *post);
