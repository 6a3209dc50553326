/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs lbctl in a child process and collects its output and exit code. */
#ifndef LBD_TEST_LBCTL_RUN_H
#define LBD_TEST_LBCTL_RUN_H

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lbctl/core/call.h"
#include "lbctl/core/cli.h"
#include "lbctl/core/completion.h"
#include "lbctl/core/help.h"
#include "lbctl/core/man.h"
#include "lbctl/core/verb.h"

struct lbctl_run {
	int exit_code; /* -1: ended by a signal */
	char out[65536], err[8192];
};

static inline void lbctl_take(FILE *from, char *text, size_t size)
{
	rewind(from);
	text[fread(text, 1, size - 1, from)] = 0;
	fclose(from);
}

/* words: what follows "lbctl", NULL-terminated. prepare (may be NULL) runs in the child first. */
static inline void lbctl_run_after(struct lbctl_run *ret, void (*prepare)(void),
				   const char *const *words)
{
	FILE *out = tmpfile(), *err = tmpfile();
	char *argv[32] = {(char *)"lbctl"};
	int argc = 1, status = 0;
	pid_t child;

	while (words[argc - 1] && argc < 31) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(fileno(out), STDOUT_FILENO);
		dup2(fileno(err), STDERR_FILENO);
		if (prepare)
			prepare();
		status = cli_main(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	waitpid(child, &status, 0);
	ret->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	lbctl_take(out, ret->out, sizeof(ret->out));
	lbctl_take(err, ret->err, sizeof(ret->err));
}

#define lbctl_run(ret, ...) lbctl_run_after(ret, NULL, (const char *const[]){__VA_ARGS__, NULL})

#endif
