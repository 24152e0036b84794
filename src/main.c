/* The one program. Its name chooses what it is: panlan, or one of the three names that scripts and
 * packages of the reference call. Source: spec 05 section 1; SV-40. */
#include "cli/cli.h"

#include <string.h>

static bool is_named(const char *program, const char *lower, const char *upper)
{
    return strstr(program, lower) != NULL || strstr(program, upper) != NULL;
}

/* True if a switch of the daemon asks for another personality. */
static bool has_switch(int argc, char **argv, const char *wanted)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], wanted) == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 0) {
        return CLI_USAGE;
    }
    const char *slash = strrchr(argv[0], '/');
    const char *program = slash == NULL ? argv[0] : slash + 1;
    if (is_named(program, "zerotier-cli", "ZEROTIER-CLI")) {
        return cli_main(argc, argv);
    }
    if (is_named(program, "zerotier-idtool", "ZEROTIER-IDTOOL")) {
        return idtool_main(argc, argv);
    }
    if (!is_named(program, "zerotier", "ZEROTIER")) {
        return panlan_main(argc, argv);
    }
    if (has_switch(argc, argv, "-q")) {
        return cli_main(argc, argv);
    }
    if (has_switch(argc, argv, "-i")) {
        return idtool_main(argc, argv);
    }
    return daemon_main(argc, argv);
}
