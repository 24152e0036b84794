/* Loading of shared libraries. */
#include "os/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int library_open(const char *file, const struct library_symbol *symbols, size_t count, void **ret,
                 const char **ret_error)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        *ret_error = dlerror();
        return -ENOENT;
    }
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, symbols[i].name);

        if (symbol == NULL) {
            *ret_error = symbols[i].name;
            (void)dlclose(library);
            return -ENOENT;
        }
        /* dlsym gives an object pointer; POSIX lets it hold a function's address. */
        memcpy(symbols[i].function, &symbol, sizeof(symbol));
    }
    *ret = library;
    return 0;
}

void library_close(void *library)
{
    if (library != NULL) {
        (void)dlclose(library);
    }
}
