/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl. core/ finds the verb and calls it; each file beside this one is a verb or a family of
 * verbs; a directory named after a verb holds its parts. main is apart so that tests can call
 * cli_main. */
#include "lbctl/core/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
