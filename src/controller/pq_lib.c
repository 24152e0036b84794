/* Loads libpq, the client library of PostgreSQL, at run time. */
#include "controller/pq_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset; /* of the function pointer in struct pq_lib */
} symbols[] = {
    {"PQconnectStartParams", offsetof(struct pq_lib, connectStartParams)},
    {"PQconnectPoll", offsetof(struct pq_lib, connectPoll)},
    {"PQfinish", offsetof(struct pq_lib, finish)},
    {"PQstatus", offsetof(struct pq_lib, status)},
    {"PQsocket", offsetof(struct pq_lib, socket)},
    {"PQerrorMessage", offsetof(struct pq_lib, errorMessage)},
    {"PQsetNoticeProcessor", offsetof(struct pq_lib, setNoticeProcessor)},
    {"PQsetnonblocking", offsetof(struct pq_lib, setnonblocking)},
    {"PQsendQueryParams", offsetof(struct pq_lib, sendQueryParams)},
    {"PQenterPipelineMode", offsetof(struct pq_lib, enterPipelineMode)},
    {"PQexitPipelineMode", offsetof(struct pq_lib, exitPipelineMode)},
    {"PQpipelineSync", offsetof(struct pq_lib, pipelineSync)},
    {"PQflush", offsetof(struct pq_lib, flush)},
    {"PQconsumeInput", offsetof(struct pq_lib, consumeInput)},
    {"PQisBusy", offsetof(struct pq_lib, isBusy)},
    {"PQgetResult", offsetof(struct pq_lib, getResult)},
    {"PQresultStatus", offsetof(struct pq_lib, resultStatus)},
    {"PQresultErrorField", offsetof(struct pq_lib, resultErrorField)},
    {"PQntuples", offsetof(struct pq_lib, ntuples)},
    {"PQgetvalue", offsetof(struct pq_lib, getvalue)},
    {"PQgetisnull", offsetof(struct pq_lib, getisnull)},
    {"PQclear", offsetof(struct pq_lib, clear)},
    {"PQnotifies", offsetof(struct pq_lib, notifies)},
    {"PQfreemem", offsetof(struct pq_lib, freemem)},
};

int pq_lib_load(struct pq_lib *ret, char *why, size_t cap)
{
    struct pq_lib lib = {.handle = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL)};
    if (lib.handle == NULL) {
        (void)snprintf(why, cap, "the PostgreSQL client library libpq.so.5 cannot be loaded: %s",
                       dlerror());
        return -ENOENT;
    }
    for (size_t i = 0; i < COUNT_OF(symbols); i++) {
        void *fn = dlsym(lib.handle, symbols[i].name);
        if (fn == NULL) { /* pipelines came with version 14 */
            (void)snprintf(why, cap, "libpq.so.5 lacks %s: version 14 or later is needed",
                           symbols[i].name);
            dlclose(lib.handle);
            return -ENOENT;
        }
        memcpy((char *)&lib + symbols[i].offset, &fn, sizeof(fn));
    }
    *ret = lib;
    return 0;
}

void pq_lib_unload(struct pq_lib *lib)
{
    if (lib->handle != NULL) {
        dlclose(lib->handle);
        lib->handle = NULL;
    }
}
