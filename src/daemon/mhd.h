/* libmicrohttpd, loaded when needed: it brings a TLS library along that an idle daemon should not
 * map. */
#pragma once

#include "base/attr.h"

#include <microhttpd.h>

struct mhd {
    void *library;
    struct MHD_Daemon *(*start_daemon)(unsigned int flags, uint16_t port,
                                       MHD_AcceptPolicyCallback apc, void *apc_cls,
                                       MHD_AccessHandlerCallback dh, void *dh_cls, ...);
    void (*stop_daemon)(struct MHD_Daemon *daemon);
    enum MHD_Result (*add_connection)(struct MHD_Daemon *daemon, int socket,
                                      const struct sockaddr *addr, socklen_t len);
    enum MHD_Result (*run)(struct MHD_Daemon *daemon);
    enum MHD_Result (*get_timeout)(struct MHD_Daemon *daemon, MHD_UNSIGNED_LONG_LONG *timeout);
    const union MHD_DaemonInfo *(*get_daemon_info)(struct MHD_Daemon *daemon,
                                                   enum MHD_DaemonInfoType type, ...);
    const union MHD_ConnectionInfo *(*get_connection_info)(struct MHD_Connection *connection,
                                                           enum MHD_ConnectionInfoType type, ...);
    const char *(*lookup_value)(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                                const char *key);
    struct MHD_Response *(*response_from_buffer)(size_t size, void *buffer,
                                                 enum MHD_ResponseMemoryMode mode);
    enum MHD_Result (*add_header)(struct MHD_Response *response, const char *header,
                                  const char *content);
    enum MHD_Result (*queue_response)(struct MHD_Connection *connection, unsigned int status,
                                      struct MHD_Response *response);
    void (*suspend)(struct MHD_Connection *connection);
    void (*resume)(struct MHD_Connection *connection);
    void (*destroy_response)(struct MHD_Response *response);
};

/* Load the library and its functions. Returns 0; -ENOENT with the reason in *ret_error (static). */
MUST_CHECK int mhd_load(struct mhd *ret, const char **ret_error);
void mhd_unload(struct mhd *mhd);
