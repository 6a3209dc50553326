/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/events/actor.c: names of users from a database that may give no answer. */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "lbd/events/events.h"

#define MINUTE_MS 60000

static atomic_bool silent; /* the database gives no answer */
static atomic_int failure; /* ... but this one, at once; 0: it has the names */
static atomic_uint asked, returned;
static atomic_uint name; /* a user's name is "user" and this number */
static uint64_t passed_ms;
static struct event_names names;

uint64_t __wrap_clock_monotonic_ms(void);
uint64_t __real_clock_monotonic_ms(void);
uint64_t __wrap_clock_monotonic_ms(void)
{
	return __real_clock_monotonic_ms() + passed_ms;
}

int __wrap_getpwuid_r(uid_t uid, struct passwd *entry, char *bytes, size_t size,
		      struct passwd **ret);
int __wrap_getpwuid_r(uid_t uid, struct passwd *entry, char *bytes, size_t size,
		      struct passwd **ret)
{
	atomic_fetch_add(&asked, 1);
	while (atomic_load(&silent))
		usleep(1000);
	snprintf(bytes, size, "user%u", atomic_load(&name));
	*entry = (struct passwd){.pw_name = bytes, .pw_uid = uid};
	*ret = atomic_load(&failure) ? NULL : entry;
	atomic_fetch_add(&returned, 1);
	return atomic_load(&failure);
}

static void assert_name(uid_t uid, const char *expected)
{
	struct event_actor actor;

	event_actor_find(&names, uid, &actor);
	assert_int_equal(actor.uid, uid);
	assert_string_equal(actor.name, expected);
}

static int set_up(void **unused)
{
	names = (struct event_names){0};
	atomic_store(&asked, 0);
	atomic_store(&returned, 0);
	atomic_store(&failure, 0);
	atomic_store(&name, 1);
	return 0;
}

/* Nobody is left that reads what the next test sets. */
static int tear_down(void **unused)
{
	atomic_store(&silent, false);
	while (atomic_load(&returned) < atomic_load(&asked))
		usleep(1000);
	return 0;
}

static void a_user_is_looked_up_once_a_minute(void **unused)
{
	assert_name(7, "user1");
	atomic_store(&name, 2);
	assert_name(7, "user1");
	assert_int_equal(atomic_load(&asked), 1);
	passed_ms += MINUTE_MS;
	assert_name(7, "user2");
	assert_int_equal(atomic_load(&asked), 2);
}

static void without_an_answer_a_user_is_a_number(void **unused)
{
	atomic_store(&silent, true);
	assert_name(7, "uid 7");
	assert_int_equal(atomic_load(&returned), 0);
}

static void a_database_without_an_answer_is_not_asked_for_a_minute(void **unused)
{
	atomic_store(&silent, true);
	assert_name(7, "uid 7");
	assert_name(8, "uid 8");
	assert_int_equal(atomic_load(&asked), 1);
	atomic_store(&silent, false);
	assert_name(7, "uid 7");
	passed_ms += MINUTE_MS;
	assert_name(7, "user1");
}

static void a_user_keeps_the_name_of_before(void **unused)
{
	assert_name(7, "user1");
	passed_ms += MINUTE_MS;
	atomic_store(&silent, true);
	assert_name(7, "user1");
	assert_int_equal(atomic_load(&asked), 2);
	atomic_store(&silent, false);
	atomic_store(&failure, EIO);
	passed_ms += MINUTE_MS;
	assert_name(7, "user1");
	assert_name(8, "uid 8"); /* which is not kept */
	atomic_store(&failure, 0);
	assert_name(8, "user1");
}

static void more_users_than_are_kept_take_the_places_of_the_first(void **unused)
{
	for (uid_t uid = 1; uid <= EVENT_NAMES_MAX; uid++, passed_ms++)
		assert_name(uid, "user1");
	assert_name(100, "user1");
	atomic_store(&name, 2);
	assert_name(100, "user1");
	assert_name(2, "user1");
	assert_name(1, "user2");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_user_is_looked_up_once_a_minute),
	    TEST(without_an_answer_a_user_is_a_number),
	    TEST(a_database_without_an_answer_is_not_asked_for_a_minute),
	    TEST(a_user_keeps_the_name_of_before),
	    TEST(more_users_than_are_kept_take_the_places_of_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
