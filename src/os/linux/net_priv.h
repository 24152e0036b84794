/* Inside of struct net (os/addr.h), shared by the files of this directory. */
#pragma once

#include "os/linux/nl_priv.h"

enum {
    NET_DUMP_TRIES = 4, /* a dump is repeated when the tables changed under it */
};

struct net {
    struct nl nl;
};
