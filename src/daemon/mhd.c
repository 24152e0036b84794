/* Loading of libmicrohttpd. */
#include "daemon/mhd.h"

#include "os/library.h"

#include <stddef.h>

#define LIBRARY "libmicrohttpd.so.12"

int mhd_load(struct mhd *ret, const char **ret_error)
{
    struct mhd m = {.library = NULL};
    const struct library_symbol table[] = {
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
    int err = library_open(LIBRARY, table, COUNT_OF(table), &m.library, ret_error);
    if (err == 0) {
        *ret = m;
    }
    return err;
}

void mhd_unload(struct mhd *mhd)
{
    library_close(mhd->library);
    mhd->library = NULL;
}
