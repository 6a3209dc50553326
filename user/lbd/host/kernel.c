/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Asks the kernel for each feature, with the smallest map or program that needs it. */
#include "kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define JIT_SWITCH "/proc/sys/net/core/bpf_jit_enable"

static const struct {
	const char *since, *what;
} features[] = {
#define KERNEL_FEATURE(probe, since, what) [KERNEL_##probe] = {since, what},
#include "kernel_features.h"
#undef KERNEL_FEATURE
};

/* ---- probes ---- */

/* fd: a descriptor or a negative errno. Only the errors of an unknown feature count as missing;
 * lack of permission or memory shows later, when the program is loaded. */
static int made(int fd)
{
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	return fd == -EINVAL || fd == -ENOSYS || fd == -EOPNOTSUPP || fd == -E2BIG ? fd : 0;
}

static int probe_map(enum bpf_map_type type, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);

	return made(bpf_map_create(type, NULL, sizeof(uint32_t), sizeof(uint32_t), 1, &options));
}

static int probe_program(uint32_t flags)
{
	static const struct bpf_insn pass[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = flags);

	return made(bpf_prog_load(BPF_PROG_TYPE_XDP, NULL, "GPL", pass,
				  sizeof(pass) / sizeof(*pass), &options));
}

static int probe_helper(enum bpf_func_id helper)
{
	/* 0: missing; an error is unclear and counts as there */
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, helper, NULL) ? 0 : -EOPNOTSUPP;
}

int kernel_probe(enum kernel_feature feature)
{
	int rc;

	switch (feature) {
	case KERNEL_bpf:
		return probe_map(BPF_MAP_TYPE_ARRAY, 0);
	case KERNEL_xdp:
		return probe_program(0);
	case KERNEL_devmap_hash:
		return probe_map(BPF_MAP_TYPE_DEVMAP_HASH, 0);
	case KERNEL_mmapable:
		return probe_map(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE);
	case KERNEL_coarse_time:
		return probe_helper(BPF_FUNC_ktime_get_coarse_ns);
	case KERNEL_frags:
		rc = probe_program(BPF_F_XDP_HAS_FRAGS);
		return rc ?: probe_helper(BPF_FUNC_xdp_get_buff_len);
	case KERNEL_FEATURES:
		break;
	}
	return -EINVAL;
}

/* ---- the result ---- */

static bool older_than_tested(const char *release)
{
	unsigned major, minor, tested_major, tested_minor;

	sscanf(KERNEL_OLDEST_TESTED, "%u.%u", &tested_major, &tested_minor);
	return sscanf(release, "%u.%u", &major, &minor) == 2 &&
	       (major < tested_major || (major == tested_major && minor < tested_minor));
}

int kernel_check(const char *release, int (*probe)(enum kernel_feature), struct error *err)
{
	char missing[sizeof(err->text) / 2] = "";
	size_t length = 0;

	for (int i = 0; i < KERNEL_FEATURES && length < sizeof(missing); i++)
		if (probe((enum kernel_feature)i))
			length += (size_t)snprintf(missing + length, sizeof(missing) - length,
						   "%s%s, since Linux %s", length ? "; " : "",
						   features[i].what, features[i].since);
	if (length)
		return error_set(err, -EOPNOTSUPP,
				 "kernel %s: expected Linux " KERNEL_OLDEST_TESTED
				 " or later: it lacks %s",
				 release, missing);
	if (older_than_tested(release))
		log_warning("kernel %s: older than Linux " KERNEL_OLDEST_TESTED
			    ", the oldest lbd is tested on; the features it needs are there",
			    release);
	return 0;
}

void kernel_check_jit(void)
{
	_cleanup_fclose_ FILE *file = fopen(JIT_SWITCH, "re");
	int on = 1;

	if (file && fscanf(file, "%d", &on) == 1 && !on)
		log_warning(
		    "net.core.bpf_jit_enable: 0: the kernel interprets lbd's program, which is "
		    "many times slower: sysctl -w net.core.bpf_jit_enable=1");
}
