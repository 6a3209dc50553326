/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loads the program that counts lost frames, and reads what it counted. */
#include "losses.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lb_losses.h"
#include "losses.skel.h"

struct losses {
	struct losses_bpf *program;
	/* what was read before */
	struct lb_loss_key keys[LB_LOSSES];
	uint64_t frames[LB_LOSSES];
	unsigned count;
};

/* Failures are in the error; libbpf's own lines add nothing. */
static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static int start(struct losses *losses, uint32_t namespace)
{
	libbpf_print_fn_t before = libbpf_set_print(silent);
	int rc = 0;

	losses->program = losses_bpf__open();
	if (!losses->program) {
		rc = -errno;
	} else {
		losses->program->rodata->namespace = namespace;
		rc = losses_bpf__load(losses->program);
		if (!rc)
			rc = losses_bpf__attach(losses->program);
	}
	libbpf_set_print(before);
	return rc;
}

int losses_new(struct losses **ret, struct error *err)
{
	struct losses *losses = calloc(1, sizeof(*losses));
	struct stat namespace;
	int rc;

	if (!losses)
		return error_set(err, -ENOMEM, "out of memory");
	/* The inode's number is the namespace's in the kernel. */
	rc = stat("/proc/self/ns/net", &namespace) ? -errno : 0;
	if (!rc)
		rc = start(losses, (uint32_t) namespace.st_ino);
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
