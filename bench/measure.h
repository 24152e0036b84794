/* Timing of small pieces of work, the same in all benchmarks. */
#pragma once

/* Processor time of one call of work(ctx) in ns: the best of several rounds, the one least
 * disturbed by others on the machine. */
double measure(void (*work)(void *ctx), void *ctx);
