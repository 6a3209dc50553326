/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/dispatcher.c, as far as no dispatcher is needed: the kernel may refuse one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <bpf/libbpf.h>
#include <cmocka.h>
#include <linux/bpf.h>
#include <string.h>
#include <unistd.h>

#include "lbd/attach/internal.h"

#include "common/wide.h"
#include "lb.skel.h"

static struct dataplane *open_dataplane(void)
{
	const struct dataplane_options options = {
	    .services = 16, .backends = 64, .slots = 1 << 12, .flows = 1 << 12};
	struct dataplane *dp;
	struct error err = {""};

	if (dataplane_open(&options, &dp, &err))
		fail_msg("%s", err.text);
	return dp;
}

static void share_maps(const struct dataplane *dp, struct bpf_object *copy)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, copy) {
		struct bpf_map *original = dataplane_map_find(dataplane_object(dp), map);

		assert_non_null(original);
		assert_int_equal(bpf_map__reuse_fd(map, bpf_map__fd(original)), 0);
	}
}

/* As libxdp does to what it makes an extension. */
static void take_flags_away(const struct bpf_object *copy)
{
	struct bpf_program *program;

	bpf_object__for_each_program (program, copy) {
		assert_int_equal(bpf_program__set_flags(program, 0), 0);
		assert_int_equal(bpf_program__set_expected_attach_type(program, 0), 0);
	}
}

/* The kernel refuses a program without the flag where the one with it has these maps. */
static void a_copy_has_the_flag_for_frames_in_several_buffers_though_libxdp_took_it(void **state)
{
	struct dataplane *dp;
	struct lb_bpf *copy;

	if (geteuid() != 0)
		skip();
	dp = open_dataplane();
	assert_int_equal(dispatcher_prepare(), 0);
	copy = lb_bpf__open();
	assert_non_null(copy);
	share_maps(dp, copy->obj);
	take_flags_away(copy->obj);
	assert_int_equal(bpf_object__load(copy->obj), 0);
	assert_int_equal(wide_release(copy->obj), 0);
	lb_bpf__destroy(copy);
	dataplane_close(dp);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_copy_has_the_flag_for_frames_in_several_buffers_though_libxdp_took_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
