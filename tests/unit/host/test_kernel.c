/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The errors about kernels that lack features. vmtest/guest/too-old.sh shows that they are true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "lbd/host/kernel.h"

static int has_all(enum kernel_feature feature)
{
	return 0;
}
static int is_5_10(enum kernel_feature feature)
{
	return feature >= KERNEL_coarse_time ? -EINVAL : 0;
}
static int has_no_bpf(enum kernel_feature feature)
{
	return -ENOSYS;
}

static void the_running_kernel_has_every_feature(void **state)
{
	struct utsname host;
	struct error err;

	uname(&host);
	for (int i = 0; i < KERNEL_FEATURES; i++)
		assert_int_equal(kernel_probe((enum kernel_feature)i), 0);
	assert_int_equal(kernel_check(host.release, kernel_probe, &err), 0);
}

static void every_missing_feature_is_named_with_its_release(void **state)
{
	struct error err;

	assert_int_equal(kernel_check("5.10.0-39-amd64", is_5_10, &err), -EOPNOTSUPP);
	assert_string_equal(
	    err.text,
	    "kernel 5.10.0-39-amd64: expected Linux 6.1 or later: it lacks the coarse "
	    "clock in programs (bpf_ktime_get_coarse_ns), since Linux 5.11; XDP on frames "
	    "in several buffers (BPF_F_XDP_HAS_FRAGS, bpf_xdp_get_buff_len), since Linux "
	    "5.18");
}

static void a_new_kernel_built_without_bpf_is_refused(void **state)
{
	struct error err;

	assert_int_equal(kernel_check("6.12.1", has_no_bpf, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "CONFIG_BPF_SYSCALL"));
}

static void an_older_release_with_features_carried_back_is_taken(void **state)
{
	struct error err;

	assert_int_equal(kernel_check("5.14.0-427.el9.x86_64", has_all, &err), 0);
}

static void a_release_that_is_no_number_is_checked_by_features(void **state)
{
	struct error err;

	assert_int_equal(kernel_check("mine", has_all, &err), 0);
	assert_int_equal(kernel_check("mine", is_5_10, &err), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_running_kernel_has_every_feature),
	    cmocka_unit_test(every_missing_feature_is_named_with_its_release),
	    cmocka_unit_test(a_new_kernel_built_without_bpf_is_refused),
	    cmocka_unit_test(an_older_release_with_features_carried_back_is_taken),
	    cmocka_unit_test(a_release_that_is_no_number_is_checked_by_features),
	};

	return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
