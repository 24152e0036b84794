/* Loading of libmicrohttpd. */
#include "daemon/mhd.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#define LIBRARY "libmicrohttpd.so.12"

/* dlsym gives an object pointer; POSIX lets it hold a function's address. */
static int bind_symbol(void *library, const char *name, void *ret_function)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        return -ENOENT;
    }
    memcpy(ret_function, &symbol, sizeof(symbol));
    return 0;
}

int mhd_load(struct mhd *ret, const char **ret_error)
{
    struct mhd m = {.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (m.library == NULL) {
        *ret_error = dlerror();
        return -ENOENT;
    }
    const struct {
        const char *name;
        void *function;
    } table[] = {
        {"MHD_start_daemon", &m.start_daemon},
        {"MHD_stop_daemon", &m.stop_daemon},
        {"MHD_add_connection", &m.add_connection},
        {"MHD_run", &m.run},
        {"MHD_get_timeout", &m.get_timeout},
        {"MHD_get_daemon_info", &m.get_daemon_info},
        {"MHD_get_connection_info", &m.get_connection_info},
        {"MHD_lookup_connection_value", &m.lookup_value},
        {"MHD_create_response_from_buffer", &m.response_from_buffer},
        {"MHD_add_response_header", &m.add_header},
        {"MHD_queue_response", &m.queue_response},
        {"MHD_suspend_connection", &m.suspend},
        {"MHD_resume_connection", &m.resume},
        {"MHD_destroy_response", &m.destroy_response},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (bind_symbol(m.library, table[i].name, table[i].function) < 0) {
            *ret_error = table[i].name;
            (void)dlclose(m.library);
            return -ENOENT;
        }
    }
    *ret = m;
    return 0;
}

void mhd_unload(struct mhd *mhd)
{
    (void)dlclose(mhd->library);
    mhd->library = NULL;
}
