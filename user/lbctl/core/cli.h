/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From argv to a verb's run() and its exit code. */
#ifndef LBCTL_CLI_H
#define LBCTL_CLI_H

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_TIMEOUT = 3 };

/* The whole program; returns the exit code. */
int cli_main(int argc, char **argv);
enum cli_exit cli_exit_code(int rc);

#endif
