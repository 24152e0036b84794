/* What every fuzz target shares. A target is one file with LLVMFuzzerTestOneInput: it gives the
 * input to decoders and stops the program by fuzz_require when an identity does not hold. The same
 * file is linked with libFuzzer and with the replay program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Entry of a target; always returns 0. The input is a heap block of exactly len bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Abort with a message unless ok. */
void fuzz_require(bool ok, const char *what);

/* Abort unless both blocks are equal in length and content. */
void fuzz_require_same(const void *a, size_t a_len, const void *b, size_t b_len, const char *what);
