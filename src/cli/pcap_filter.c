/* The four functions of libpcap that a filter needs, declared here as its manual has them, so that
 * building needs nothing of it. */
#include "cli/pcap_filter.h"

#include "os/library.h"

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

static int load(struct pcap_filter *f, const char **ret_error)
{
    const struct library_symbol table[] = {
        {"pcap_open_dead", &f->open_dead}, {"pcap_compile", &f->compile},
        {"pcap_geterr", &f->get_error},    {"bpf_filter", &f->run},
        {"pcap_freecode", &f->free_code},  {"pcap_close", &f->close},
    };

    return library_open(LIBRARY, table, COUNT_OF(table), &f->library, ret_error);
}

int pcap_filter_new(const char *text, struct pcap_filter **ret, char *error, size_t cap)
{
    struct pcap_filter *f = calloc(1, sizeof(*f));
    int err = 0;

    if (f == NULL) {
        (void)snprintf(error, cap, "out of memory");
        return -ENOMEM;
    }
    const char *reason;
    err = load(f, &reason);
    if (err < 0) {
        (void)snprintf(error, cap, "filters need libpcap (Debian: libpcap0.8): %s", reason);
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
    library_close(filter->library);
    free(filter);
}
