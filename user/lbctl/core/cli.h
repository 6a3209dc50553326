/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds the verb in argv, runs it, and turns its result into an exit code. */
#ifndef LBCTL_CLI_H
#define LBCTL_CLI_H

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_TIMEOUT = 3 };

/* The whole program. Returns the exit code. */
int cli_main(int argc, char **argv);
enum cli_exit cli_exit_code(int rc);

#endif
