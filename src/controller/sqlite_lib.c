/* Loads the SQLite library at run time. */
#include "controller/sqlite_lib.h"

#include "controller/db_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

static const struct db_symbol symbols[] = {
    {"sqlite3_open_v2", offsetof(struct sqlite_lib, open_v2)},
    {"sqlite3_close_v2", offsetof(struct sqlite_lib, close_v2)},
    {"sqlite3_exec", offsetof(struct sqlite_lib, exec)},
    {"sqlite3_prepare_v2", offsetof(struct sqlite_lib, prepare_v2)},
    {"sqlite3_finalize", offsetof(struct sqlite_lib, finalize)},
    {"sqlite3_reset", offsetof(struct sqlite_lib, reset)},
    {"sqlite3_step", offsetof(struct sqlite_lib, step)},
    {"sqlite3_bind_text", offsetof(struct sqlite_lib, bind_text)},
    {"sqlite3_column_text", offsetof(struct sqlite_lib, column_text)},
    {"sqlite3_column_int64", offsetof(struct sqlite_lib, column_int64)},
    {"sqlite3_errmsg", offsetof(struct sqlite_lib, errmsg)},
    {"sqlite3_extended_errcode", offsetof(struct sqlite_lib, extended_errcode)},
    {"sqlite3_busy_timeout", offsetof(struct sqlite_lib, busy_timeout)},
    {"sqlite3_backup_init", offsetof(struct sqlite_lib, backup_init)},
    {"sqlite3_backup_step", offsetof(struct sqlite_lib, backup_step)},
    {"sqlite3_backup_finish", offsetof(struct sqlite_lib, backup_finish)},
};

int sqlite_lib_load(struct sqlite_lib *ret, char *why, size_t cap)
{
    struct sqlite_lib lib = {.handle = NULL};
    const char *lacks = NULL;
    int error =
        db_lib_open("libsqlite3.so.0", symbols, COUNT_OF(symbols), &lib, &lib.handle, &lacks);
    if (error == 0) {
        *ret = lib;
    } else if (lacks != NULL) {
        (void)snprintf(why, cap, "the SQLite library lacks %s", lacks);
    } else {
        (void)snprintf(why, cap, "the SQLite library libsqlite3.so.0 cannot be loaded: %s",
                       dlerror());
    }
    return error;
}

void sqlite_lib_unload(struct sqlite_lib *lib)
{
    if (lib->handle != NULL) {
        dlclose(lib->handle);
        lib->handle = NULL;
    }
}
