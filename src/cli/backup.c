/* "panlan controller backup": an archive from which a controller is restored with the same
 * identity, taken while it runs. It is a tar file of what the home needs, so that restoring is
 * unpacking. Source: spec 04 section 10.6; CTL-121. The format: POSIX 1003.1, ustar. */
#include "cli/migrate.h"

#include "cli/own.h"
#include "os/file.h"
#include "os/home.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TAR_BLOCK = 512,
    TAR_SUM_AT = 148, /* of the checksum in a header */
    TAR_SUM_LEN = 8,
    COPY_SIZE = 65536,
};

/* Header of a file in the archive; numbers are octal texts. */
struct tar_header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char sum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char rest[247];
};

static int complain(const char *what, int err)
{
    (void)fprintf(stderr, "panlan controller backup: %s: %s\n", what, strerror(-err));
    return CLI_FAILED;
}

static void fill_header(struct tar_header *h, const char *name, const struct stat *st)
{
    unsigned sum = TAR_SUM_LEN * ' ';
    memset(h, 0, sizeof(*h));
    (void)snprintf(h->name, sizeof(h->name), "%s", name);
    (void)snprintf(h->mode, sizeof(h->mode), "%07o", (unsigned)(st->st_mode & 0777));
    (void)snprintf(h->uid, sizeof(h->uid), "%07o", 0U);
    (void)snprintf(h->gid, sizeof(h->gid), "%07o", 0U);
    (void)snprintf(h->size, sizeof(h->size), "%011" PRIo64, (uint64_t)st->st_size);
    (void)snprintf(h->mtime, sizeof(h->mtime), "%011" PRIo64, (uint64_t)st->st_mtime);
    h->type = '0';
    memcpy(h->magic, "ustar", sizeof(h->magic));
    memcpy(h->version, "00", sizeof(h->version));
    for (size_t i = 0; i < sizeof(*h); i++) {
        bool in_sum = i >= TAR_SUM_AT && i < TAR_SUM_AT + TAR_SUM_LEN;
        sum += in_sum ? 0 : ((const unsigned char *)h)[i];
    }
    (void)snprintf(h->sum, sizeof(h->sum), "%06o", sum);
    h->sum[7] = ' ';
}

/* Copy exactly len bytes, then fill up the block. Returns 0; negative errno. */
static int copy_bytes(FILE *from, FILE *out, uint64_t len)
{
    static const char zeros[TAR_BLOCK];
    char buf[COPY_SIZE];
    size_t pad = (TAR_BLOCK - len % TAR_BLOCK) % TAR_BLOCK;
    while (len > 0) {
        size_t n = fread(buf, 1, len < sizeof(buf) ? (size_t)len : sizeof(buf), from);
        if (n == 0) {
            return -EIO; /* it became shorter */
        }
        if (fwrite(buf, 1, n, out) != n) {
            return -errno;
        }
        len -= n;
    }
    return fwrite(zeros, 1, pad, out) == pad ? 0 : -errno;
}

/* Add a file. Returns 0, also when it is not there; negative errno. */
static int add_file(FILE *out, const char *path, const char *name)
{
    struct tar_header header;
    struct stat st;
    FILE *from = fopen(path, "rbe");
    if (from == NULL) {
        return errno == ENOENT ? 0 : -errno;
    }
    int err = fstat(fileno(from), &st) < 0 ? -errno : 0;
    if (err == 0) {
        fill_header(&header, name, &st);
        err = fwrite(&header, sizeof(header), 1, out) == 1 ? 0 : -errno;
    }
    err = err == 0 ? copy_bytes(from, out, (uint64_t)st.st_size) : err;
    (void)fclose(from);
    return err;
}

/* What of the home makes the controller what it is. Returns 0; negative errno. */
static int add_home(FILE *out, const char *home)
{
    static const char *const names[] = {
        "identity.secret", "identity.public", "authtoken.secret",
        "planet",          "planet.json",     "local.conf",
    };
    int err = 0;
    for (size_t i = 0; i < COUNT_OF(names) && err == 0; i++) {
        char path[MIGRATE_PATH_LEN];
        err = home_path(home, names[i], path, sizeof(path));
        err = err == 0 ? add_file(out, path, names[i]) : err;
    }
    return err;
}

/* The whole archive, on the disk when it returns. Returns 0; negative errno. */
static int write_archive(const char *file, const char *home, const char *database)
{
    static const char end[2 * TAR_BLOCK];
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (out == NULL) {
        int err = -errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    int err = fchmod(fd, 0600) < 0 ? -errno : 0;
    err = err == 0 ? add_home(out, home) : err;
    err = err == 0 ? add_file(out, database, "controller.d/controller.sqlite") : err;
    if (err == 0 && (fwrite(end, sizeof(end), 1, out) != 1 || fflush(out) != 0 || fsync(fd) != 0)) {
        err = -errno;
    }
    return fclose(out) == 0 || err != 0 ? err : -errno;
}

/* Let the service write a copy of its database. Returns 0 with its path, or an exit status. */
static int take_copy(struct cli *cli, char *out, size_t cap)
{
    struct answer answer;
    int status = cli_connect(cli);
    status = status == 0 ? cli_send(cli, "POST", "/controller/backup", "", &answer) : status;
    if (status != 0) {
        return status;
    }
    json_t *obj = json_loadb(answer.body, answer.len, 0, NULL);
    const char *path = json_string_value(json_object_get(obj, "path"));
    if (path == NULL || strlen(path) >= cap) {
        status = complain("the answer of the service", -EBADMSG);
    } else {
        (void)snprintf(out, cap, "%s", path);
    }
    json_decref(obj);
    answer_done(&answer);
    return status;
}

int backup_run(struct cli *cli)
{
    char copy[MIGRATE_PATH_LEN];
    char part[MIGRATE_PATH_LEN];
    if (cli->arg_count != 1 || cli->args[0][0] == '\0') {
        (void)fprintf(stderr, "Usage: panlan controller backup FILE\n");
        return CLI_USAGE;
    }
    const char *file = cli->args[0];
    int n = snprintf(part, sizeof(part), "%s.part", file);
    int status =
        n < MIGRATE_PATH_LEN ? take_copy(cli, copy, sizeof(copy)) : complain(file, -ENAMETOOLONG);
    if (status != 0) {
        return status;
    }
    int err = write_archive(part, cli->home, copy);
    err = err == 0 && rename(part, file) < 0 ? -errno : err;
    (void)file_erase(copy);
    if (err < 0) {
        (void)file_erase(part);
        return complain(file, err);
    }
    if (!cli->json) {
        (void)printf("%s holds identity, settings and database of this controller: keep it secret."
                     "\nTo restore it: tar -xpf %s -C HOME\n",
                     file, file);
    }
    return CLI_OK;
}
