/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A file of backends, read again when it has been replaced or written to its end. Its directory is
 * watched, not the file: a file that is renamed into place, or a link that is put in the place of
 * another, is a new one. Every POLL_MS the file is also looked at, for what is not announced: a
 * file system over the network, a directory that was replaced, a file that is gone. */
#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "kind.h"

#define FILE_MAX   (1 << 20) /* bytes */
#define GATHER_MS  20        /* from the first change until the file is read */
#define POLL_MS    5000
#define SETTLED_MS 1000 /* since it was written to, for a change that nobody announced */
#define CHANGES    (IN_CLOSE_WRITE | IN_MOVED_TO)

struct shared {
	int inotify; /* -1: the files are only looked at */
	struct event readable;
	TAILQ_HEAD(runs, run) runs;
};

struct run {
	TAILQ_ENTRY(run) link;
	struct shared *shared;
	struct source_env env;
	void *arg;
	char *path, *directory;
	int watch; /* of the directory; -1: none */
	struct event gather, poll;
	struct stat seen; /* when it was read */
	bool recent;      /* it had just been written to then */
	bool reads;       /* a task has been added, and uses this */
	bool again;       /* it has changed meanwhile */
	bool stopped;
};

/* ---- reading ---- */

struct reading {
	const char *path;
	struct stat state;
	struct source_list list;
	struct error err;
	int rc;
};

static int read_text(struct reading *reading, char **ret, size_t *ret_length)
{
	_cleanup_close_ int fd = open(reading->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text;
	ssize_t length;

	if (fd < 0 || fstat(fd, &reading->state))
		return error_set(&reading->err, -errno, "%s", strerror(errno));
	if (!S_ISREG(reading->state.st_mode))
		return error_set(&reading->err, -EINVAL, "expected a regular file");
	if (reading->state.st_size > FILE_MAX)
		return error_set(&reading->err, -EFBIG, "expected at most %d KiB", FILE_MAX >> 10);
	text = malloc(FILE_MAX + 1);
	if (!text)
		return error_set(&reading->err, -ENOMEM, "out of memory");
	length = file_read(fd, text, FILE_MAX);
	if (length < 0) {
		free(text);
		return error_set(&reading->err, (int)length, "%s", strerror(-(int)length));
	}
	*ret = text;
	*ret_length = (size_t)length;
	return 0;
}

/* Beside the loop: it shares nothing with it. */
static void read_file(void *arg)
{
	struct reading *reading = arg;
	_cleanup_free_ char *text = NULL;
	size_t length = 0;

	reading->rc = read_text(reading, &text, &length);
	if (!reading->rc)
		reading->rc = source_list_parse(text, length, &reading->list, &reading->err);
}

static uint64_t in_ms(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_nsec / 1000000;
}

static void run_free(struct run *run)
{
	free(run->path);
	free(run->directory);
	free(run);
}

static void report(struct run *run, struct reading *reading)
{
	if (reading->rc)
		run->env.report(run->arg, NULL, reading->err.text);
	else
		run->env.report(run->arg, &reading->list, NULL);
}

static void run_read(void *arg)
{
	struct run *run = arg;

	do {
		struct reading reading = {.path = run->path};
		uint64_t now = clock_wall_ms();

		run->again = false;
		if (!run->stopped)
			task_wait(read_file, &reading);
		run->seen = reading.state;
		run->recent = in_ms(&reading.state.st_ctim) + SETTLED_MS >= now;
		if (!run->stopped)
			report(run, &reading);
		source_list_done(&reading.list);
	} while (run->again && !run->stopped);
	run->reads = false;
	if (run->stopped)
		run_free(run);
}

static void begin_reading(struct run *run)
{
	if (run->reads) {
		run->again = true;
		return;
	}
	run->reads = true;
	if (!run->env.tasks)
		run_read(run);
	else if (tasks_add(run->env.tasks, run_read, run))
		run->reads = false; /* the poll finds it again */
}

/* ---- changes ---- */

static bool differs(const struct run *run, const struct stat *state)
{
	return state->st_ino != run->seen.st_ino || state->st_dev != run->seen.st_dev ||
	       state->st_size != run->seen.st_size ||
	       state->st_mtim.tv_sec != run->seen.st_mtim.tv_sec ||
	       state->st_mtim.tv_nsec != run->seen.st_mtim.tv_nsec ||
	       /* who unpacks an archive sets the other, but not this one */
	       state->st_ctim.tv_sec != run->seen.st_ctim.tv_sec ||
	       state->st_ctim.tv_nsec != run->seen.st_ctim.tv_nsec;
}

/* What has changed in the directory may be the file of another source: with a thousand of them
 * there each change of one would have all read. A time that was recent tells nothing, as the clock
 * of files has ticks. */
static void on_gathered(int fd, short what, void *arg)
{
	struct run *run = arg;
	struct stat state;

	if (run->reads || run->recent || stat(run->path, &state) || differs(run, &state))
		begin_reading(run);
}

static void gather(struct run *run)
{
	const struct timeval soon = clock_span_ms(GATHER_MS);

	if (!event_pending(&run->gather, EV_TIMEOUT, NULL))
		event_add(&run->gather, &soon);
}

/* Any name in the directory counts: the file may be a link to a link. */
static void on_inotify(int fd, short what, void *arg)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct shared *shared = arg;
	ssize_t length = read(fd, buffer, sizeof(buffer));
	struct run *run;

	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		for (run = TAILQ_FIRST(&shared->runs); run; run = TAILQ_NEXT(run, link))
			if (event->wd == run->watch || event->mask & IN_Q_OVERFLOW)
				gather(run);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void watch(struct run *run)
{
	/* the same directory gives the same number; one that was replaced another */
	if (run->shared->inotify >= 0)
		run->watch = inotify_add_watch(run->shared->inotify, run->directory, CHANGES);
}

static bool is_changed(const struct run *run)
{
	uint64_t now = clock_wall_ms(), written;
	struct stat state;

	if (stat(run->path, &state))
		return run->seen.st_ino != 0;
	written = in_ms(&state.st_mtim);
	if (written <= now && now - written < SETTLED_MS)
		return false; /* somebody may be writing it */
	return differs(run, &state);
}

static void on_poll(int fd, short what, void *arg)
{
	struct run *run = arg;

	watch(run);
	if (!run->reads && is_changed(run))
		begin_reading(run);
}

/* ---- the kind ---- */

static int file_open(struct event_base *base, void **ret, struct error *err)
{
	struct shared *shared = calloc(1, sizeof(*shared));

	if (!shared)
		return error_set(err, -ENOMEM, "out of memory");
	TAILQ_INIT(&shared->runs);
	shared->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (shared->inotify < 0) {
		log_warning("backends-from: files are only looked at every %d s: inotify: %s",
			    POLL_MS / 1000, strerror(errno));
	} else {
		event_assign(&shared->readable, base, shared->inotify, EV_READ | EV_PERSIST,
			     on_inotify, shared);
		event_add(&shared->readable, NULL);
	}
	*ret = shared;
	return 0;
}

static void file_close(void *arg)
{
	struct shared *shared = arg;

	if (shared->inotify >= 0) {
		event_del(&shared->readable);
		close(shared->inotify);
	}
	free(shared);
}

static void *file_start(const struct source_env *env, const struct config_from *from, void *arg)
{
	const struct timeval poll = clock_span_ms(POLL_MS);
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct run){.shared = env->shared, .env = *env, .arg = arg, .watch = -1};
	run->path = strdup(from->file);
	run->directory = strdup(from->file);
	if (!run->path || !run->directory) {
		run_free(run);
		return NULL;
	}
	dirname(run->directory); /* an absolute path: it is cut in place */
	evtimer_assign(&run->gather, env->base, on_gathered, run);
	event_assign(&run->poll, env->base, -1, EV_PERSIST, on_poll, run);
	event_add(&run->poll, &poll);
	TAILQ_INSERT_TAIL(&run->shared->runs, run, link);
	watch(run);
	gather(run);
	return run;
}

static bool shares_watch(const struct run *run)
{
	const struct run *other;

	for (other = TAILQ_FIRST(&run->shared->runs); other; other = TAILQ_NEXT(other, link))
		if (other != run && other->watch == run->watch)
			return true;
	return false;
}

static void file_stop(void *arg)
{
	struct run *run = arg;

	if (run->watch >= 0 && !shares_watch(run))
		inotify_rm_watch(run->shared->inotify, run->watch);
	TAILQ_REMOVE(&run->shared->runs, run, link);
	event_del(&run->gather);
	event_del(&run->poll);
	run->stopped = true;
	if (!run->reads)
		run_free(run);
}

REGISTER(source_kind, file) = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .start = file_start,
    .stop = file_stop,
};
