/* The Prometheus text of /metrics, made on request from memory. Source: spec 05 section 10;
 * SV-114, SV-115. */
#pragma once

struct service;

/* The text, owned by the caller; NULL out of memory. */
char *metrics_text(struct service *svc);
