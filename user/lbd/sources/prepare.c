/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the files of a source, which may keep it waiting. */
#include "prepare.h"

#include <stdlib.h>

#include "lbd/host/host.h"

bool source_prepare_reads(const struct source_kind *kind, const struct config_from *from)
{
	return kind->prepare && (from->token || from->ca || from->cert || from->key ||
				 (from->dns && !from->server)); /* resolv.conf */
}

void source_prepare(const struct source_kind *kind, const struct config_from *from,
		    struct source_prepared *ret)
{
	*ret = (struct source_prepared){.kind = kind};
	ret->rc = config_from_copy(from, &ret->from);
	if (ret->rc)
		error_set(&ret->err, ret->rc, "out of memory");
	else if (kind->prepare)
		ret->rc = kind->prepare(&ret->from, &ret->err);
	if (ret->rc)
		config_from_done(&ret->from);
}

/* ---- aside ---- */

struct question {
	const struct source_kind *kind;
	struct config_from from; /* its own copy */
	struct source_prepared prepared;
	struct source_preparing options; /* for the loop alone */
};

static void read_files(void *arg)
{
	struct question *question = arg;

	source_prepare(question->kind, &question->from, &question->prepared);
}

static void on_done(void *arg)
{
	struct question *question = arg;

	question->options.done(question->options.arg, &question->prepared);
}

static void on_late(void *arg)
{
	const struct question *question = arg;

	question->options.late(question->options.arg);
}

static void question_free(void *arg)
{
	struct question *question = arg;

	config_from_done(&question->from);
	config_from_done(&question->prepared.from);
	free(question);
}

struct aside *source_prepare_aside(const struct source_kind *kind, const struct config_from *from,
				   const struct source_preparing *options)
{
	struct question *question = calloc(1, sizeof(*question));
	const struct aside_options how = {.base = options->base,
					  .call = read_files,
					  .done = on_done,
					  .late = on_late,
					  .limit_ms = PREPARE_LATE_MS,
					  .free = question_free,
					  .arg = question};
	struct aside *aside;

	if (!question)
		return NULL;
	question->kind = kind;
	question->options = *options;
	aside = config_from_copy(from, &question->from) ? NULL : aside_start(&how);
	if (!aside)
		question_free(question);
	return aside;
}

const char *source_prepare_late(const struct aside *prepares)
{
	return aside_waits(prepares)
		   ? "too many other files are read whose file systems do not answer"
		   : "its files (tokens, keys, certificates, resolv.conf): their file "
		     "system has not answered for 5 s";
}
