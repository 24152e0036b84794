/* Loading of database libraries. */
#include "controller/db_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int db_lib_open(const char *file, const struct db_symbol *symbols, size_t count, void *base,
                void **ret, const char **ret_lacks)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    *ret_lacks = NULL;
    if (handle == NULL) {
        return -ENOENT;
    }
    for (size_t i = 0; i < count; i++) {
        void *fn = dlsym(handle, symbols[i].name);
        if (fn == NULL) {
            *ret_lacks = symbols[i].name;
            (void)dlclose(handle);
            return -ENOENT;
        }
        memcpy((char *)base + symbols[i].offset, &fn, sizeof(fn));
    }
    *ret = handle;
    return 0;
}
