/* The four functions of libpcap that a filter needs, declared here as its manual has them, so that
 * building needs nothing of it. */
#include "cli/pcap_filter.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libpcap.so.0.8"

enum {
    LINK_ETHERNET = 1,
    SNAPLEN = 65535,
};

/* struct bpf_program. */
struct program {
    unsigned len;
    void *instructions;
};

struct pcap_filter {
    void *library;
    void *handle; /* pcap_t */
    struct program program;
    void *(*open_dead)(int link, int snaplen);
    int (*compile)(void *handle, struct program *ret, const char *text, int optimize,
                   uint32_t netmask);
    const char *(*get_error)(void *handle);
    unsigned (*run)(const void *instructions, const unsigned char *data, unsigned len,
                    unsigned have);
    void (*free_code)(struct program *program);
    void (*close)(void *handle);
};

/* dlsym gives an object pointer; POSIX lets it hold a function's address. */
static bool bind_symbol(void *library, const char *name, void *ret_function)
{
    void *symbol = dlsym(library, name);

    if (symbol != NULL) {
        memcpy(ret_function, &symbol, sizeof(symbol));
    }
    return symbol != NULL;
}

static bool bind_all(struct pcap_filter *f)
{
    return bind_symbol(f->library, "pcap_open_dead", &f->open_dead) &&
           bind_symbol(f->library, "pcap_compile", &f->compile) &&
           bind_symbol(f->library, "pcap_geterr", &f->get_error) &&
           bind_symbol(f->library, "bpf_filter", &f->run) &&
           bind_symbol(f->library, "pcap_freecode", &f->free_code) &&
           bind_symbol(f->library, "pcap_close", &f->close);
}

int pcap_filter_new(const char *text, struct pcap_filter **ret, char *error, size_t cap)
{
    struct pcap_filter *f = calloc(1, sizeof(*f));
    int err = 0;

    if (f == NULL) {
        (void)snprintf(error, cap, "out of memory");
        return -ENOMEM;
    }
    f->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (f->library == NULL || !bind_all(f)) {
        (void)snprintf(error, cap, "filters need libpcap (Debian: libpcap0.8): %s", dlerror());
        err = -ENOENT;
    } else if ((f->handle = f->open_dead(LINK_ETHERNET, SNAPLEN)) == NULL) {
        (void)snprintf(error, cap, "out of memory");
        err = -ENOMEM;
    } else if (f->compile(f->handle, &f->program, text, 1, UINT32_MAX) < 0) {
        (void)snprintf(error, cap, "filter \"%s\": %s", text, f->get_error(f->handle));
        err = -EINVAL;
    }
    if (err < 0) {
        pcap_filter_free(f);
        return err;
    }
    *ret = f;
    return 0;
}

bool pcap_filter_matches(const struct pcap_filter *filter, const uint8_t *frame, size_t len,
                         size_t have)
{
    return filter->run(filter->program.instructions, frame, (unsigned)len, (unsigned)have) != 0;
}

void pcap_filter_free(struct pcap_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    if (filter->program.instructions != NULL) {
        filter->free_code(&filter->program);
    }
    if (filter->handle != NULL) {
        filter->close(filter->handle);
    }
    if (filter->library != NULL) {
        (void)dlclose(filter->library);
    }
    free(filter);
}
