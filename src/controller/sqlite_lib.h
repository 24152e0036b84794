/* The functions of SQLite in use, found in the shared library when a controller needs them. */
#pragma once

#include "base/attr.h"

#include <sqlite3.h>
#include <stddef.h>

struct sqlite_lib {
    void *handle; /* of the loaded library */
    __typeof__(&sqlite3_open_v2) open_v2;
    __typeof__(&sqlite3_close_v2) close_v2;
    __typeof__(&sqlite3_exec) exec;
    __typeof__(&sqlite3_prepare_v2) prepare_v2;
    __typeof__(&sqlite3_finalize) finalize;
    __typeof__(&sqlite3_reset) reset;
    __typeof__(&sqlite3_step) step;
    __typeof__(&sqlite3_bind_text) bind_text;
    __typeof__(&sqlite3_column_text) column_text;
    __typeof__(&sqlite3_column_int64) column_int64;
    __typeof__(&sqlite3_errmsg) errmsg;
    __typeof__(&sqlite3_extended_errcode) extended_errcode;
    __typeof__(&sqlite3_busy_timeout) busy_timeout;
    __typeof__(&sqlite3_backup_init) backup_init;
    __typeof__(&sqlite3_backup_step) backup_step;
    __typeof__(&sqlite3_backup_finish) backup_finish;
};

/* Load the library. Returns 0 with *ret filled; -ENOENT with a text in why (cap bytes). */
MUST_CHECK int sqlite_lib_load(struct sqlite_lib *ret, char *why, size_t cap);

/* Give the library back. */
void sqlite_lib_unload(struct sqlite_lib *lib);
