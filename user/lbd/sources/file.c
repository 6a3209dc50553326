/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A file of backends, read again when it has been replaced or written to its end. Its directory is
 * watched, not the file: a file that is renamed into place, or a link that is put in the place of
 * another, is a new one. Every POLL_MS the file is also looked at, for what is not announced: a
 * file system over the network, a directory that was replaced, a file that is gone.
 *
 * Such a file system may stop to answer, and whoever asks it hangs. So all that asks for the file
 * or its directory, to watch it too, is called aside (host/aside.h). */
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
#include "lbd/host/host.h"
#include "kind.h"

#define FILE_MAX   (1 << 20) /* bytes */
#define GATHER_MS  20        /* from the first change until the file is read */
#define POLL_MS    5000
#define LIMIT_MS   5000 /* then it counts as failed */
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
	struct stat seen;   /* when it was read */
	bool recent;        /* it had just been written to then */
	struct aside *asks; /* it is being asked for; NULL: it is not */
	bool again;         /* it has changed meanwhile */
	bool overdue;       /* no answer has come for LIMIT_MS */
	bool unsure;        /* it may be good, and could not be read: `seen` tells nothing */
};

/* When the file is read. */
enum wanted {
	ALWAYS,
	WHEN_ANNOUNCED, /* something has changed in its directory */
	WHEN_FOUND,     /* nobody said so, but it is another one than was read */
};

/* What is asked, and the answer. In the thread nothing else is used. */
struct question {
	struct run *run; /* for the loop alone */
	enum wanted wanted;
	char *path, *directory;
	int inotify;      /* a descriptor of its own; -1: none */
	struct stat seen; /* as of the run */
	bool recent, unsure;

	int watch;
	bool read; /* the rest is an answer */
	struct stat state;
	struct source_list list;
	struct error err;
	int rc;
};

/* ---- aside ---- */

static int read_text(struct question *question, char **ret, size_t *ret_length)
{
	_cleanup_close_ int fd = open(question->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text;
	ssize_t length;

	if (fd < 0 || fstat(fd, &question->state))
		return error_set(&question->err, -errno, "%s", strerror(errno));
	if (!S_ISREG(question->state.st_mode))
		return error_set(&question->err, -EINVAL, "expected a regular file");
	if (question->state.st_size > FILE_MAX)
		return error_set(&question->err, -EFBIG, "expected at most %d KiB", FILE_MAX >> 10);
	question->unsure = true; /* what fails from here on is not the file's fault */
	text = malloc(FILE_MAX + 1);
	if (!text)
		return error_set(&question->err, -ENOMEM, "out of memory");
	length = file_read(fd, text, FILE_MAX);
	if (length < 0) {
		free(text);
		return error_set(&question->err, (int)length, "%s", strerror(-(int)length));
	}
	question->unsure = false;
	*ret = text;
	*ret_length = (size_t)length;
	return 0;
}

/* What is wrong is quoted, and shown to all who may ask lbd, on other machines too. lbd may read
 * what they may not, such as keys of its own: of such a file only the place is said. */
static void parse(struct question *question, const char *text, size_t length)
{
	struct error why;

	question->rc = source_list_parse(text, length, &question->list, &why);
	if (!question->rc)
		return;
	question->unsure = question->rc == -ENOMEM;
	if (question->state.st_mode & S_IROTH || !strchr(why.text, ':'))
		question->err = why;
	else
		error_set(
		    &question->err, question->rc,
		    "%.*s: expected a backend; what is there is shown of files that everybody "
		    "may read",
		    (int)strcspn(why.text, ":"), why.text);
}

static uint64_t in_ms(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_nsec / 1000000;
}

static bool differs(const struct question *question, const struct stat *state)
{
	const struct stat *seen = &question->seen;

	return state->st_ino != seen->st_ino || state->st_dev != seen->st_dev ||
	       state->st_size != seen->st_size || state->st_mtim.tv_sec != seen->st_mtim.tv_sec ||
	       state->st_mtim.tv_nsec != seen->st_mtim.tv_nsec ||
	       /* who unpacks an archive sets the other, but not this one */
	       state->st_ctim.tv_sec != seen->st_ctim.tv_sec ||
	       state->st_ctim.tv_nsec != seen->st_ctim.tv_nsec;
}

/* What has changed in the directory may be the file of another source: with a thousand of them
 * there each change of one would have all read. A time that was recent tells nothing, as the clock
 * of files has ticks. */
static bool is_announced(const struct question *question)
{
	struct stat state;

	return question->recent || question->unsure || stat(question->path, &state) ||
	       differs(question, &state);
}

static bool is_found(const struct question *question)
{
	uint64_t now = clock_wall_ms(), written;
	struct stat state;

	if (stat(question->path, &state))
		return question->unsure || question->seen.st_ino != 0;
	written = in_ms(&state.st_mtim);
	if (written <= now && now - written < SETTLED_MS)
		return false; /* somebody may be writing it */
	return question->unsure || differs(question, &state);
}

static bool is_to_be_read(const struct question *question)
{
	return question->wanted == ALWAYS ||
	       (question->wanted == WHEN_ANNOUNCED ? is_announced(question) : is_found(question));
}

static void answer(void *arg)
{
	struct question *question = arg;
	_cleanup_free_ char *text = NULL;
	uint64_t now = clock_wall_ms();
	size_t length = 0;

	/* the same directory gives the same number; one that was replaced another */
	if (question->inotify >= 0)
		question->watch =
		    inotify_add_watch(question->inotify, question->directory, CHANGES);
	question->read = is_to_be_read(question);
	if (!question->read)
		return;
	question->unsure = false;
	question->rc = read_text(question, &text, &length);
	if (!question->rc)
		parse(question, text, length);
	question->recent = in_ms(&question->state.st_ctim) + SETTLED_MS >= now;
}

static void question_free(void *arg)
{
	struct question *question = arg;

	if (question->inotify >= 0)
		close(question->inotify);
	source_list_done(&question->list);
	free(question->path);
	free(question->directory);
	free(question);
}

/* ---- what comes of it ---- */

static bool ask(struct run *run, enum wanted wanted);

static void on_answer(void *arg)
{
	struct question *question = arg;
	struct run *run = question->run;
	bool overdue = run->overdue, again = run->again;

	run->asks = NULL;
	run->overdue = run->again = false;
	run->watch = question->watch;
	if (question->read) {
		run->seen = question->state;
		run->recent = question->recent;
		run->unsure = question->unsure;
		run->env.report(run->arg, question->rc ? NULL : &question->list,
				question->rc ? question->err.text : NULL);
	}
	/* after a failure that was none of the file's its list is reported again */
	if (overdue && !question->read)
		ask(run, ALWAYS);
	else if (again)
		ask(run, WHEN_ANNOUNCED);
}

static void on_overdue(void *arg)
{
	struct question *question = arg;
	struct run *run = question->run;
	char why[80];

	run->overdue = run->unsure = true;
	if (aside_waits(run->asks))
		snprintf(why, sizeof(why),
			 "%d other files are read whose file systems do not answer", ASIDE_MAX);
	else
		snprintf(why, sizeof(why), "its file system has not answered for %d s",
			 LIMIT_MS / 1000);
	run->env.report(run->arg, NULL, why);
}

static struct question *question_new(struct run *run, enum wanted wanted)
{
	struct question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	*question = (struct question){.run = run,
				      .wanted = wanted,
				      .path = strdup(run->path),
				      .directory = strdup(run->directory),
				      .inotify = -1,
				      .seen = run->seen,
				      .recent = run->recent,
				      .unsure = run->unsure,
				      .watch = -1};
	if (run->shared->inotify >= 0)
		question->inotify = fcntl(run->shared->inotify, F_DUPFD_CLOEXEC, 0);
	if (question->path && question->directory)
		return question;
	question_free(question);
	return NULL;
}

/* False: it cannot be asked for now; the next poll tries again. */
static bool ask(struct run *run, enum wanted wanted)
{
	struct question *question = question_new(run, wanted);
	const struct aside_options options = {.base = run->env.base,
					      .call = answer,
					      .done = on_answer,
					      .late = on_overdue,
					      .limit_ms = LIMIT_MS,
					      .free = question_free,
					      .arg = question};

	run->asks = question ? aside_start(&options) : NULL;
	if (!run->asks && question)
		question_free(question);
	return run->asks;
}

/* ---- changes ---- */

static void on_gathered(int fd, short what, void *arg)
{
	struct run *run = arg;

	if (run->asks)
		run->again = true;
	else
		ask(run, WHEN_ANNOUNCED);
}

static void gather(struct run *run)
{
	const struct timeval soon = clock_span_ms(GATHER_MS);

	if (!event_pending(&run->gather, EV_TIMEOUT, NULL))
		event_add(&run->gather, &soon);
}

/* Any name in the directory counts: the file may be a link to a link. While it is being asked for,
 * the number of its watch may not be known yet. */
static void on_inotify(int fd, short what, void *arg)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct shared *shared = arg;
	ssize_t length = read(fd, buffer, sizeof(buffer));
	struct run *run;

	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		for (run = TAILQ_FIRST(&shared->runs); run; run = TAILQ_NEXT(run, link))
			if (event->wd == run->watch || run->asks || event->mask & IN_Q_OVERFLOW)
				gather(run);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void on_poll(int fd, short what, void *arg)
{
	struct run *run = arg;

	if (run->asks || ask(run, WHEN_FOUND))
		return;
	run->unsure = true; /* nothing of the file has to change for it to recover */
	run->env.report(run->arg, NULL, "out of memory or descriptors");
}

static void run_free(struct run *run)
{
	free(run->path);
	free(run->directory);
	free(run);
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
	*run = (struct run){
	    .shared = env->shared, .env = *env, .arg = arg, .watch = -1, .unsure = true};
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
	ask(run, ALWAYS);
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
	aside_drop(run->asks);
	run_free(run);
}

REGISTER(source_kind, file) = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .start = file_start,
    .stop = file_stop,
};
