/* What the parts of lint share. */
#pragma once

#include "rules/compile_priv.h"

/* Add a finding about a rule. detail as in run_note. */
void lint_note(struct run *run, const struct rdl_entry *e, unsigned code, const char *detail);

/* W209: the base rules let a TCP connection to a port begin and not answer. W210: a tag is looked
 * at before ARP was let through. Source: spec 06 section 16.5. */
void lint_frames(struct run *run, const struct rdl_set *base);
