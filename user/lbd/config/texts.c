/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the files of a config. What a file is must not depend on what else is in its directory:
 * only an `include` in the main file makes lbd look for others, and the directory must then be
 * there. */
#include "texts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "config.h"
#include "source.h"

#define MAX_BYTES (16u << 20) /* of all files; the largest config allowed needs less than 4 MiB */
#define MAX_FILES 1000        /* that are included */
#define PIPE_MS   2000
#define PATTERN   "/*.yaml"
#define ENDING    ".yaml"

void config_texts_done(struct config_texts *texts)
{
	for (unsigned i = 0; i < texts->count; i++) {
		free(texts->list[i].name);
		free(texts->list[i].bytes);
	}
	free(texts->list);
	*texts = (struct config_texts){0};
}

/* ---- one file ---- */

static int cannot_open(const char *path, int rc, bool main_file, struct error *err)
{
	return error_set(err, rc, "%s: cannot open: %s%s", path, strerror(-rc),
			 rc == -ENOENT && main_file
			     ? ". An example to begin with: " CONFIG_DEFAULT_PATH
			       ".example (dist/lbd.yaml in the source)"
			     : "");
}

/* A reload that waited for ever would have all later changes wait too. */
static bool is_silent_pipe(int fd, mode_t mode)
{
	struct pollfd pipe = {.fd = fd, .events = POLLIN};

	return S_ISFIFO(mode) && !poll(&pipe, 1, PIPE_MS);
}

/* The main file may be a pipe. A link is followed, to a regular file if the file is included. */
static int open_file(const char *path, bool main_file, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return cannot_open(path, -errno, main_file, err);
	if (fstat(fd, &st) || fcntl(fd, F_SETFL, 0))
		cannot_open(path, -errno, main_file, err);
	else if (main_file && is_silent_pipe(fd, st.st_mode))
		error_set(err, -ETIMEDOUT,
			  "%s: a pipe that nobody writes to: expected a text within %d s", path,
			  PIPE_MS / 1000);
	else if (!main_file && !S_ISREG(st.st_mode))
		error_set(err, -EINVAL, "%s: expected a regular file", path);
	else
		return fd;
	close(fd);
	return -EINVAL;
}

/* room: bytes that it may have. */
static ssize_t read_file(const char *path, bool main_file, size_t room, char **ret,
			 struct error *err)
{
	_cleanup_close_ int fd = open_file(path, main_file, err);
	_cleanup_free_ char *text = NULL;
	ssize_t length;
	char *exact;

	if (fd < 0)
		return fd;
	text = malloc(room + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	length = file_read(fd, text, room + 1); /* which refuses a directory */
	if (length < 0)
		return error_set(err, (int)length, "%s: cannot read: %s", path,
				 strerror((int)-length));
	if (length > (ssize_t)room)
		return error_set(err, -EFBIG, "%s: too large: expected at most %u MiB%s", path,
				 MAX_BYTES >> 20, main_file ? "" : " in all files together");
	exact = realloc(text, (size_t)length + 1);
	if (exact)
		text = exact;
	*ret = text;
	text = NULL;
	return length;
}

/* Takes ownership of name and bytes; NULL: they could not be had. */
static int add_text(struct config_texts *texts, char *name, char *bytes, size_t length,
		    struct error *err)
{
	struct config_text *list =
	    name && bytes ? reallocarray(texts->list, texts->count + 1, sizeof(*list)) : NULL;

	if (!list) {
		free(name);
		free(bytes);
		return error_set(err, -ENOMEM, "out of memory");
	}
	texts->list = list;
	list[texts->count++] = (struct config_text){name, bytes, length};
	return 0;
}

/* Takes ownership of name. */
static int add_file(struct config_texts *texts, char *name, size_t *room, struct error *err)
{
	char *bytes = NULL;
	ssize_t length;

	if (!name)
		return error_set(err, -ENOMEM, "out of memory");
	length = read_file(name, !texts->count, *room, &bytes, err);
	if (length < 0) {
		free(name);
		return (int)length;
	}
	*room -= (size_t)length;
	return add_text(texts, name, bytes, (size_t)length, err);
}

/* ---- a directory ---- */

bool config_include_fits(const char *text)
{
	size_t length = strlen(text), pattern = strlen(PATTERN);

	return length > pattern && !strcmp(text + length - pattern, PATTERN) &&
	       strcspn(text, "*?[") == length - pattern + 1;
}

/* Not of an editor or a package manager: .a.yaml.swp, a.yaml~, a.yaml.dpkg-new. */
static int is_included(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name), ending = strlen(ENDING);

	return entry->d_name[0] != '.' && length > ending &&
	       !strcmp(entry->d_name + length - ending, ENDING);
}

/* By bytes: in the same order whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_files(struct config_texts *texts, const char *directory, struct dirent **entries,
		     int count, size_t room, struct error *err)
{
	int rc = 0;

	if (count > MAX_FILES)
		return error_set(err, -E2BIG, "%s: %d files: expected at most %d", directory, count,
				 MAX_FILES);
	for (int i = 0; i < count && !rc; i++) {
		char *name = NULL;

		if (asprintf(&name, "%s/%s", directory, entries[i]->d_name) < 0)
			name = NULL;
		rc = add_file(texts, name, &room, err);
	}
	return rc;
}

/* Allocated; NULL: out of memory. */
static char *directory_of(const char *path, const char *include)
{
	int length = (int)(strlen(include) - strlen(PATTERN));
	_cleanup_free_ char *copy = strdup(path);
	char *directory = NULL;

	if (!copy)
		return NULL;
	if (*include == '/' ? asprintf(&directory, "%.*s", length, include) < 0
			    : asprintf(&directory, "%s/%.*s", dirname(copy), length, include) < 0)
		return NULL;
	return directory;
}

/* root: of the main file; include fits. */
static int read_directory(const struct config_place *root, const char *path, const char *include,
			  struct config_texts *texts, size_t room, struct error *err)
{
	_cleanup_free_ char *directory = directory_of(path, include);
	struct dirent **entries = NULL;
	int count, rc;

	if (!directory)
		return error_set(err, -ENOMEM, "out of memory");
	count = scandir(directory, &entries, is_included, by_name);
	if (count < 0) {
		rc = -errno;
		config_complain(root, "include", include, "%s: %s: expected a directory", directory,
				strerror(-rc));
		return error_set(err, rc, "%s", root->source->complaint.text);
	}
	rc = add_files(texts, directory, entries, count, room, err);
	while (count)
		free(entries[--count]);
	free(entries);
	return rc;
}

/* Without reading it. UTF-16 has zero bytes where UTF-8 has the letters alone, and an escape begins
 * with a backslash. */
static bool may_include(const struct config_text *text)
{
	return memmem(text->bytes, text->length, "include", strlen("include")) ||
	       memchr(text->bytes, 0, text->length) || memchr(text->bytes, '\\', text->length);
}

/* The main file is in texts. What is wrong in it is complained about when it is parsed. */
static int read_included(struct config_texts *texts, size_t room, struct error *err)
{
	const struct config_text main_file = texts->list[0];
	struct config_source source;
	const yaml_node_t *include;
	struct config_place root;
	const char *text;
	int rc = 0;

	if (!may_include(&main_file))
		return 0;
	if (!config_source_load(&source, main_file.name, main_file.bytes, main_file.length)) {
		config_place_root(&source, &root);
		include = config_source_value(&source, root.node, "include");
		text = include && include->type == YAML_SCALAR_NODE
			   ? (const char *)include->data.scalar.value
			   : NULL;
		if (text && config_include_fits(text))
			rc = read_directory(&root, main_file.name, text, texts, room, err);
	}
	config_source_done(&source);
	return rc;
}

int config_join_texts(const struct config_text *fleet, const char *local, bool needed,
		      struct config_texts *ret, struct error *err)
{
	struct config_texts texts = {.remote = true};
	char *bytes = malloc(fleet->length + 1);
	size_t room = MAX_BYTES;
	int rc;

	if (bytes)
		memcpy(bytes, fleet->bytes, fleet->length);
	rc = add_text(&texts, strdup(fleet->name), bytes, fleet->length, err);
	if (!rc)
		rc = add_file(&texts, strdup(local), &room, err);
	if (rc == -ENOENT && !needed)
		rc = 0;
	if (rc)
		config_texts_done(&texts);
	else
		*ret = texts;
	return rc;
}

int config_read_files(const char *path, struct config_texts *ret, struct error *err)
{
	struct config_texts texts = {0};
	size_t room = MAX_BYTES;
	int rc = add_file(&texts, strdup(path), &room, err);

	if (!rc)
		rc = read_included(&texts, room, err);
	if (rc)
		config_texts_done(&texts);
	else
		*ret = texts;
	return rc;
}
