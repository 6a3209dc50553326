/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sentences that few objects have, and several share. */
#include "remark.h"

#include <stdlib.h>
#include <string.h>

struct remark {
	unsigned refs;
	char text[];
};

/* Never freed: it always has one reference more than users. */
static struct remark *without_memory(void)
{
	static struct remark last = {.refs = 1, .text = "out of memory"};

	last.refs++;
	return &last;
}

static struct remark *remark_new(const char *text)
{
	size_t length = strlen(text);
	struct remark *remark = malloc(sizeof(*remark) + length + 1);

	if (!remark)
		return without_memory();
	remark->refs = 1;
	memcpy(remark->text, text, length + 1);
	return remark;
}

const char *remark_text(const struct remark *remark)
{
	return remark ? remark->text : "";
}

bool remark_set(struct remark **remark, const char *text)
{
	struct remark *next;

	if (!strcmp(remark_text(*remark), text))
		return false;
	next = *text ? remark_new(text) : NULL;
	remark_drop(remark);
	*remark = next;
	return true;
}

void remark_share(struct remark **remark, struct remark *from)
{
	if (from)
		from->refs++;
	remark_drop(remark);
	*remark = from;
}

void remark_drop(struct remark **remark)
{
	if (*remark && !--(*remark)->refs)
		free(*remark);
	*remark = NULL;
}
