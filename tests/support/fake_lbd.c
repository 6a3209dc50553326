/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* In place of lbd: a child process that gives prepared answers on a Unix socket and logs the
 * requests. */
#include "fake_lbd.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ANSWERS 64

struct server {
	const struct fake_answer *answers;
	unsigned given[MAX_ANSWERS];
	FILE *log;
};

/* Reads one request; line becomes "GET /path", *ret_body points into text. 0, or -1 at the end of
 * the connection. */
static int read_request(int fd, char *text, size_t size, char line[512], char **ret_body)
{
	size_t used = 0, wanted = SIZE_MAX;

	while (used < wanted && used < size - 1) {
		ssize_t got = read(fd, text + used, size - 1 - used);
		char *end, *length;

		if (got <= 0)
			return -1;
		used += (size_t)got;
		text[used] = 0;
		end = strstr(text, "\r\n\r\n");
		if (!end)
			continue;
		length = strcasestr(text, "\r\nContent-Length:");
		wanted = (size_t)(end + 4 - text) +
			 (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
		*ret_body = end + 4;
	}
	text[strcspn(text, "\r")] = 0;
	if (strrchr(text, ' '))
		*strrchr(text, ' ') = 0; /* HTTP/1.1 */
	snprintf(line, 512, "%.511s", text);
	return 0;
}

static const struct fake_answer *choose(struct server *server, const char *request)
{
	const struct fake_answer *chosen = NULL;

	for (size_t i = 0; i < MAX_ANSWERS && server->answers[i].request; i++) {
		if (strcmp(server->answers[i].request, request) != 0)
			continue;
		chosen = &server->answers[i];
		if (!server->given[i]++)
			break;
	}
	return chosen;
}

/* As an lbd of before, which does not know of `fields`. lbctl gives them last. */
static const struct fake_answer *choose_for_all_fields(struct server *server, char *request)
{
	char *fields = strstr(request, "fields=");

	if (!fields)
		return NULL;
	fields[-1] = 0;
	return choose(server, request);
}

static int serve_one(struct server *server, int fd)
{
	static const struct fake_answer unknown = {"", 404,
						   "{\"error\":\"no such path\",\"hint\":\"\"}"};
	static char text[1 << 16], line[512];
	const struct fake_answer *answer;
	char *body = text;

	if (read_request(fd, text, sizeof(text), line, &body))
		return -1;
	fprintf(server->log, "%s%s%s\n", line, *body ? " " : "", body);
	fflush(server->log);
	answer = choose(server, line);
	if (!answer)
		answer = choose_for_all_fields(server, line);
	if (!answer)
		answer = &unknown;
	if (!answer->body)
		return -1;
	return dprintf(
		   fd,
		   "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		   answer->status, strlen(answer->body), answer->body) < 0
		   ? -1
		   : 0;
}

static void serve(int listener, const struct fake_answer *answers, const char *log)
{
	struct server server = {.answers = answers, .log = fopen(log, "we")};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	while (server.log) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			break;
		while (serve_one(&server, fd) == 0)
			;
		close(fd);
	}
	_exit(1);
}

int fake_lbd_start(struct fake_lbd *fake, const struct fake_answer *answers)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener;

	strcpy(fake->directory, "/tmp/lbd-fake-XXXXXX");
	if (!mkdtemp(fake->directory))
		return -errno;
	snprintf(fake->socket, sizeof(fake->socket), "%s/lbd.sock", fake->directory);
	snprintf(fake->log, sizeof(fake->log), "%s/log", fake->directory);
	strcpy(address.sun_path, fake->socket);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 8))
		return -errno;
	fake->child = fork();
	if (fake->child == 0)
		serve(listener, answers, fake->log);
	close(listener);
	return fake->child < 0 ? -errno : 0;
}

void fake_lbd_requests(const struct fake_lbd *fake, char *text, size_t size)
{
	FILE *log = fopen(fake->log, "re");
	size_t got = log ? fread(text, 1, size - 1, log) : 0;

	text[got] = 0;
	if (log)
		fclose(log);
}

void fake_lbd_stop(struct fake_lbd *fake)
{
	if (fake->child > 0) {
		kill(fake->child, SIGKILL);
		waitpid(fake->child, NULL, 0);
	}
	unlink(fake->socket);
	unlink(fake->log);
	rmdir(fake->directory);
	fake->child = 0;
}
