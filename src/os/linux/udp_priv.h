/* What the files of UDP sockets share. */
#pragma once

#include "os/udp.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* Room for the addresses of both families. */
union udp_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* One direction of batches. */
struct udp_vector {
    struct mmsghdr msgs[UDP_BATCH_MAX];
    struct iovec iovs[UDP_BATCH_MAX];
    union udp_sockaddr addrs[UDP_BATCH_MAX];
};

struct udp_socket {
    int fd;
    uint32_t scope;        /* interface index for link-local destinations */
    struct inetaddr local; /* as bound */
    bool device_bound;     /* SO_BINDTODEVICE worked */
    uint32_t rcvbuf;       /* obtained */
    uint32_t sndbuf;       /* obtained */
    atomic_uint offloads;  /* enum udp_offload bits; GSO and BATCH may be taken away */
    atomic_ullong rx_truncated;
    atomic_ullong tx_errors;
    atomic_ullong gso_replays;
    struct udp_vector rx; /* receiving thread only */
    struct udp_vector tx; /* thread of udp_send_batch only */
};

/* Convert to what the kernel takes; family must be set. Returns its length. */
socklen_t udp_sockaddr_from(const struct inetaddr *a, uint32_t scope, union udp_sockaddr *ret);

/* And back; nil when the family is another. */
void udp_sockaddr_to(const union udp_sockaddr *sa, struct inetaddr *ret);

/* Count one of something, for any thread to read. */
void udp_count(atomic_ullong *counter);
