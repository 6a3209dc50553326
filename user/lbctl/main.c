/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl: what people type. The program is in cli.c, so that tests can call it. */
#include "lbctl/core/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
