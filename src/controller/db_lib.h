/* Loads the client libraries of databases at run time, so that only controllers map them. The
 * daemon has os/library for its own; the controller stands below os. Source: dlopen(3). */
#pragma once

#include "base/attr.h"

#include <stddef.h>

/* A function wanted, and where its pointer stands in the struct that is filled. */
struct db_symbol {
    const char *name;
    size_t offset;
};

/* Load a library and set all these pointers in the struct at base. Returns 0 with the library in
 * *ret (dlclose); -ENOENT with *ret_lacks the name of the function that is missing, or NULL if
 * there is no library (dlerror says why). */
MUST_CHECK int db_lib_open(const char *file, const struct db_symbol *symbols, size_t count,
                           void *base, void **ret, const char **ret_lacks);
