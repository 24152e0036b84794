/* Shared libraries that are loaded when first needed, so that programs which do not need them stay
 * small. Source: dlopen(3). */
#pragma once

#include "base/attr.h"

#include <stddef.h>

/* A function wanted of a library, and the function pointer that gets it. */
struct library_symbol {
    const char *name;
    void *function; /* address of the pointer */
};

/* Load a library and all these functions. Returns 0 with the library in *ret; -ENOENT without it or
 * one of them, with the reason in *ret_error (valid until the next call). */
MUST_CHECK int library_open(const char *file, const struct library_symbol *symbols, size_t count,
                            void **ret, const char **ret_error);

/* Give it back; its functions must not be called any more. Accepts NULL. */
void library_close(void *library);
