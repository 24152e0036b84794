/* Loads libpq, the client library of PostgreSQL, at run time. */
#include "controller/pq_lib.h"

#include "controller/db_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

static const struct db_symbol symbols[] = {
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
    struct pq_lib lib = {.handle = NULL};
    const char *lacks = NULL;
    int error = db_lib_open("libpq.so.5", symbols, COUNT_OF(symbols), &lib, &lib.handle, &lacks);
    if (error == 0) {
        *ret = lib;
    } else if (lacks != NULL) { /* pipelines came with version 14 */
        (void)snprintf(why, cap, "libpq.so.5 lacks %s: version 14 or later is needed", lacks);
    } else {
        (void)snprintf(why, cap, "the PostgreSQL client library libpq.so.5 cannot be loaded: %s",
                       dlerror());
    }
    return error;
}

void pq_lib_unload(struct pq_lib *lib)
{
    if (lib->handle != NULL) {
        dlclose(lib->handle);
        lib->handle = NULL;
    }
}
