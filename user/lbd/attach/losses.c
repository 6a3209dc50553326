/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the program that counts lost frames, and reads what it counted. */
#include "losses.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lb_losses.h"
#include "losses.skel.h"
#include "programs.h"

struct losses {
	struct losses_bpf *program;
	/* what was read before */
	struct lb_loss_key keys[LB_LOSSES];
	uint64_t frames[LB_LOSSES];
	unsigned count;
};

static int start(struct losses *losses)
{
	int rc;

	losses->program = losses_bpf__open();
	if (!losses->program)
		return -errno;
	rc = programs_namespace(&losses->program->rodata->namespace);
	if (!rc)
		rc = losses_bpf__load(losses->program);
	return rc ? rc : losses_bpf__attach(losses->program);
}

int losses_new(struct losses **ret, struct error *err)
{
	struct losses *losses = calloc(1, sizeof(*losses));
	int rc;

	if (!losses)
		return error_set(err, -ENOMEM, "out of memory");
	programs_print_to(NULL);
	rc = start(losses);
	programs_print_as_usual();
	if (rc) {
		losses_free(losses);
		return error_set(err, rc, "lost frames are not counted: %s", strerror(-rc));
	}
	*ret = losses;
	return 0;
}

void losses_free(struct losses *losses)
{
	if (!losses)
		return;
	losses_bpf__destroy(losses->program);
	free(losses);
}

/* Remembers the total of a pair; returns how much it has grown. */
static uint64_t growth(struct losses *losses, const struct lb_loss_key *key, uint64_t frames)
{
	uint64_t before = 0;
	unsigned i = 0;

	while (i < losses->count && memcmp(&losses->keys[i], key, sizeof(*key)) != 0)
		i++;
	if (i < losses->count)
		before = losses->frames[i];
	else if (losses->count < LB_LOSSES)
		losses->keys[losses->count++] = *key;
	else
		return 0;
	losses->frames[i] = frames;
	return frames - before;
}

void losses_read(struct losses *losses, losses_fn *found, void *arg)
{
	struct lb_loss_key key, *last = NULL;
	int fd = bpf_map__fd(losses->program->maps.losses);

	for (unsigned i = 0; i < LB_LOSSES && !bpf_map_get_next_key(fd, last, &key); i++) {
		struct lb_loss loss;
		uint64_t more;

		last = &key;
		if (bpf_map_lookup_elem(fd, &key, &loss))
			continue;
		more = growth(losses, &key, loss.frames);
		if (more)
			found(arg, key.from, key.to, more, loss.error);
	}
}
