/* The functions of libpq in use, found in the shared library when a store on PostgreSQL is opened.
 */
#pragma once

#include "base/attr.h"

#include <libpq-fe.h>
#include <stddef.h>

struct pq_lib {
    void *handle; /* of the loaded library */
    __typeof__(&PQconnectStartParams) connectStartParams;
    __typeof__(&PQconnectPoll) connectPoll;
    __typeof__(&PQfinish) finish;
    __typeof__(&PQstatus) status;
    __typeof__(&PQsocket) socket;
    __typeof__(&PQerrorMessage) errorMessage;
    __typeof__(&PQsetNoticeProcessor) setNoticeProcessor;
    __typeof__(&PQsetnonblocking) setnonblocking;
    __typeof__(&PQsendQueryParams) sendQueryParams;
    __typeof__(&PQenterPipelineMode) enterPipelineMode;
    __typeof__(&PQexitPipelineMode) exitPipelineMode;
    __typeof__(&PQpipelineSync) pipelineSync;
    __typeof__(&PQflush) flush;
    __typeof__(&PQconsumeInput) consumeInput;
    __typeof__(&PQisBusy) isBusy;
    __typeof__(&PQgetResult) getResult;
    __typeof__(&PQresultStatus) resultStatus;
    __typeof__(&PQresultErrorField) resultErrorField;
    __typeof__(&PQntuples) ntuples;
    __typeof__(&PQgetvalue) getvalue;
    __typeof__(&PQgetisnull) getisnull;
    __typeof__(&PQclear) clear;
    __typeof__(&PQnotifies) notifies;
    __typeof__(&PQfreemem) freemem;
};

/* Load the library. Returns 0 with *ret filled; -ENOENT with a text in why (cap bytes). */
MUST_CHECK int pq_lib_load(struct pq_lib *ret, char *why, size_t cap);

/* Give the library back. */
void pq_lib_unload(struct pq_lib *lib);
