/* "dump": everything support needs to know, without secrets, in one file. Source: spec 05 section
 * 4.4; SV-52. */
#pragma once

#include "cli/cli.h"

/* Write zerotier_dump.txt to the current directory and say so. Returns an exit status. */
int dump_run(struct cli *cli);
