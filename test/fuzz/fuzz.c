/* Checks of fuzz targets. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_require(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

void fuzz_require_same(const void *a, size_t a_len, const void *b, size_t b_len, const char *what)
{
    fuzz_require(a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0), what);
}
