/* Runs a fuzz target over files without libFuzzer, so that corpora are tests of every build.
 * Arguments: files and directories (their plain files). Each file is given whole, and cut at every
 * length up to PREFIX_MAX. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20, PREFIX_MAX = 1024 };

/* One run on a heap block of exactly len bytes, so that tools find what reads past the end. */
static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    fuzz_require(copy != NULL, "memory");
    memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void run_file(const char *path)
{
    static uint8_t data[FILE_MAX];
    FILE *file = fopen(path, "rb");
    size_t len;

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    len = fread(data, 1, sizeof(data), file);
    fclose(file);
    for (size_t cut = 0; cut < len && cut < PREFIX_MAX; cut++) {
        run(data, cut);
    }
    run(data, len);
}

static unsigned run_path(const char *path)
{
    struct stat st;
    unsigned count = 0;
    DIR *dir;

    if (stat(path, &st) < 0) {
        perror(path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return 1;
    }
    dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        exit(1);
    }
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char file[4096];

        if (e->d_name[0] != '.') {
            snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
            count += run_path(file);
        }
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    for (int i = 1; i < argc; i++) {
        count += run_path(argv[i]);
    }
    printf("%u files\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus is a mistake */
}
