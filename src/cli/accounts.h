/* People and API tokens on the command line. Parts of "panlan controller". */
#pragma once

#include "cli/cli.h"

/* panlan controller token ..., panlan controller user ...; exit statuses. */
int token_run(struct cli *cli);
int user_run(struct cli *cli);
