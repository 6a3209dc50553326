/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lists of prefixes: parsing, files. */
#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/text.h"

#define MAX_FILE (64u << 20) /* bytes: FILTER_LIST_MAX prefixes with a short comment each */
#define BLANKS   " \t\r"
#define EXPECTED "expected an IPv4 or IPv6 prefix or address, such as 192.0.2.0/24 or 2001:db8::/32"

/* ---- the list ---- */

struct filter_list *filter_list_new(const char *name, bool is_file)
{
	struct filter_list *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	list->refs = 1;
	list->is_file = is_file;
	list->name = strdup(name);
	if (list->name)
		return list;
	free(list);
	return NULL;
}

struct filter_list *filter_list_ref(struct filter_list *list)
{
	if (list)
		list->refs++;
	return list;
}

void filter_list_unref(struct filter_list *list)
{
	if (!list || --list->refs)
		return;
	free(list->name);
	free(list->prefixes);
	free(list);
}

static int make_room(struct filter_list *list)
{
	uint32_t room = list->room ? list->room * 2 : 16;
	struct filter_prefix *prefixes;

	if (list->count < list->room)
		return 0;
	prefixes = reallocarray(list->prefixes, room, sizeof(*prefixes));
	if (!prefixes)
		return -ENOMEM;
	list->prefixes = prefixes;
	list->room = room;
	return 0;
}

int filter_list_add(struct filter_list *list, const char *text, uint32_t line, struct error *err)
{
	struct filter_prefix prefix;
	int rc = filter_prefix_parse(text, &prefix, err);

	if (rc)
		return rc;
	if (list->count == FILTER_LIST_MAX)
		return error_set(err, -E2BIG, "%.100s: too many: expected at most %d prefixes",
				 text, FILTER_LIST_MAX);
	if (make_room(list))
		return error_set(err, -ENOMEM, "out of memory");
	prefix.line = line;
	list->prefixes[list->count++] = prefix;
	list->counts[prefix.address.family == 6]++;
	return 0;
}

/* ---- one prefix ---- */

/* The number after the slash; `most` if there is no slash; -1: no such number. */
static int parse_length(const char *slash, int most)
{
	int length = 0;
	const char *at;

	if (!slash)
		return most;
	for (at = slash + 1; *at >= '0' && *at <= '9' && length <= most; at++)
		length = length * 10 + *at - '0';
	return *at || at == slash + 1 || length > most ? -1 : length;
}

int filter_prefix_parse(const char *text, struct filter_prefix *ret, struct error *err)
{
	const char *slash = strchr(text, '/');
	size_t head = slash ? (size_t)(slash - text) : strlen(text);
	struct filter_prefix prefix = {0};
	char address[ADDR_TEXT];
	int length;

	if (head >= sizeof(address))
		return error_set(err, -EINVAL, "%.100s: " EXPECTED, text);
	memcpy(address, text, head);
	address[head] = 0;
	if (addr_parse(address, &prefix.address))
		return error_set(err, -EINVAL, "%.100s: " EXPECTED, text);
	length = parse_length(slash, (int)addr_length(&prefix.address) * 8);
	if (length < 0)
		return error_set(err, -EINVAL, "%.100s: expected a length from 0 to %zu", text,
				 addr_length(&prefix.address) * 8);
	if (addr_clear_beyond(&prefix.address, (unsigned)length))
		return error_set(err, -EINVAL, "%.100s: has bits beyond its length: expected %s/%d",
				 text, addr_format(&prefix.address, address), length);
	prefix.length = (uint8_t)length;
	*ret = prefix;
	return 0;
}

/* ---- a file ---- */

/* Nothing blocks: a FIFO must not stop lbd. Links are followed, as they are a way to switch from
 * one version of a list to the next. */
static int open_list(const char *path, struct stat *ret, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc;

	if (fd < 0)
		return error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, ret))
		rc = error_set(err, -errno, "%s: cannot read: %s", path, strerror(errno));
	else if (!S_ISREG(ret->st_mode))
		rc = error_set(err, -EINVAL, "%s: expected a regular file", path);
	else if (ret->st_size > (off_t)MAX_FILE)
		rc = error_set(err, -EFBIG, "%s: too large: expected at most %u MiB", path,
			       MAX_FILE >> 20);
	else
		return fd;
	close(fd);
	return rc;
}

static bool is_same_text(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The file's text, ending with a 0; its length or -errno. *ret is the caller's, also on error. */
static ssize_t read_text(const char *path, char **ret, struct error *err)
{
	struct stat before, after;
	_cleanup_close_ int fd = open_list(path, &before, err);
	ssize_t length = -ENOMEM;

	if (fd < 0)
		return fd;
	/* a byte more than it had: one that has grown is noticed */
	*ret = malloc((size_t)before.st_size + 2);
	if (*ret)
		length = file_read(fd, *ret, (size_t)before.st_size + 1);
	if (length < 0)
		return error_set(err, (int)length, "%s: cannot read: %s", path,
				 strerror((int)-length));
	if (length != before.st_size || fstat(fd, &after) || !is_same_text(&before, &after))
		return error_set(err, -EAGAIN,
				 "%s: was written while it was read: expected another file to be "
				 "renamed to it",
				 path);
	(*ret)[length] = 0;
	return length;
}

/* Not every word of a file is repeated in an error: who adds a service at run time names a file
 * that lbd may read, and perhaps not they. */
static bool looks_like_prefix(const char *word)
{
	return strlen(word) < ADDR_TEXT + sizeof("/128") && strpbrk(word, ".:") &&
	       !word[strspn(word, "0123456789abcdefABCDEF.:/" BLANKS)];
}

/* A line ends with a 0 here. Its only word is the prefix. */
static int add_line(struct filter_list *list, char *line, uint32_t number, struct error *err)
{
	struct error why;
	char *end;
	int rc;

	line[strcspn(line, "#")] = 0;
	line += strspn(line, BLANKS);
	end = line + strlen(line);
	while (end > line && strchr(BLANKS, end[-1]))
		*--end = 0;
	if (!*line)
		return 0;
	rc = filter_list_add(list, line, number, &why);
	if (!rc)
		return 0;
	return error_set(err, rc, "%s:%u: %s", list->name, number,
			 rc == -EINVAL && !looks_like_prefix(line) ? EXPECTED : why.text);
}

static int add_lines(struct filter_list *list, char *text, size_t length, struct error *err)
{
	uint32_t number = 1;

	for (char *line = text, *next; line < text + length; line = next, number++) {
		char *end = memchr(line, '\n', (size_t)(text + length - line));
		int rc;

		end = end ? end : text + length;
		next = end + 1;
		*end = 0;
		if (strlen(line) != (size_t)(end - line))
			return error_set(err, -EINVAL, "%s:%u: a zero byte: expected text",
					 list->name, number);
		rc = add_line(list, line, number, err);
		if (rc)
			return rc;
	}
	return 0;
}

int filter_list_read(const char *path, struct filter_list **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	struct filter_list *list;
	ssize_t length = read_text(path, &text, err);
	size_t mark;
	int rc;

	if (length < 0)
		return (int)length;
	list = filter_list_new(path, true);
	if (!list)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	mark = text_mark(text, (size_t)length);
	rc = add_lines(list, text + mark, (size_t)length - mark, err);
	if (rc)
		filter_list_unref(list);
	else
		*ret = list;
	return rc;
}
