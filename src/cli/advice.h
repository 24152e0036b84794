/* Plain words for what the engine found out about the way to others, and what a person can do.
 * Constant text, never NULL. Source: spec 05 section 12. */
#pragma once

/* For the short words of relay_reason_text and nat_kind_text, as the API gives them. */
const char *advice_relay(const char *reason);
const char *advice_nat(const char *kind);
