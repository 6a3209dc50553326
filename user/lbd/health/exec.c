/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Health check kind exec: a command ends with status 0 in time. It runs as that of `notify` does
 * (host/command.h): without rights, and nothing that it has started outlives it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "failure.h"
#include "health.h"

/* That run at the same time: each is two processes, and more of its own. Others begin later. */
#define RUNNING_MAX 64
/* As a shell says that it cannot execute a command, or find it. */
#define NOT_EXECUTABLE 126

struct health_probe {
	struct command *command;
	uint64_t start_us;
	health_done_fn *done;
	void *arg;
};

/* ---- what it is given ---- */

enum { SERVICE, VIP, VIP_PORT, PROTOCOL, BACKEND, ADDRESS, PORT, VARIABLES };

static const char *const variable_names[VARIABLES] = {
    [SERVICE] = "LBD_SERVICE",   [VIP] = "LBD_VIP",         [VIP_PORT] = "LBD_VIP_PORT",
    [PROTOCOL] = "LBD_PROTOCOL", [BACKEND] = "LBD_BACKEND", [ADDRESS] = "LBD_ADDRESS",
    [PORT] = "LBD_PORT",
};

struct variables {
	char *list[VARIABLES + 1]; /* "NAME=value" */
};

static void variables_done(struct variables *variables)
{
	for (unsigned i = 0; i < VARIABLES; i++)
		free(variables->list[i]);
}

static int variables_make(const struct health_probe_spec *spec, struct variables *ret)
{
	static const struct health_names none = {"", "", "", "", ""};
	const struct health_names *names = spec->names ? spec->names : &none;
	char address[ADDR_TEXT], port[8] = "";
	const char *const values[VARIABLES] = {
	    [SERVICE] = names->service,
	    [VIP] = names->vip,
	    [VIP_PORT] = names->vip_port,
	    [PROTOCOL] = names->protocol,
	    [BACKEND] = names->backend,
	    [ADDRESS] = addr_format(&spec->address, address),
	    [PORT] = port,
	};

	if (spec->port)
		snprintf(port, sizeof(port), "%u", spec->port);
	*ret = (struct variables){0};
	for (unsigned i = 0; i < VARIABLES; i++)
		if (asprintf(&ret->list[i], "%s=%s", variable_names[i], values[i]) < 0) {
			ret->list[i] = NULL;
			variables_done(ret);
			return -ENOMEM;
		}
	return 0;
}

/* A word that is $ and the name of a variable is its value; no other word is touched, as a shell
 * may be meant to read it. */
static const char *word_value(const char *word, const struct variables *variables)
{
	for (unsigned i = 0; *word == '$' && i < VARIABLES; i++)
		if (!strcmp(word + 1, variable_names[i]))
			return variables->list[i] + strlen(variable_names[i]) + 1;
	return word;
}

/* ---- results ---- */

static void describe_failure(const struct command_result *result, char why[FAILURE_TEXT])
{
	char how[COMMAND_TEXT];

	snprintf(why, FAILURE_TEXT, "command: %s%s%s", command_describe(result, 0, how),
		 *result->line ? ": " : "", result->line);
}

/* One that cannot be started says nothing about the backend. */
static enum health_outcome outcome_of(const struct command_result *result)
{
	if (result->signal)
		return HEALTH_FAILED;
	if (result->status == COMMAND_NOT_STARTED || result->status == NOT_EXECUTABLE)
		return HEALTH_NOT_RUN;
	return result->status ? HEALTH_FAILED : HEALTH_PASSED;
}

static void on_done(void *arg, const struct command_result *result)
{
	struct health_probe *probe = arg;
	health_done_fn *done = probe->done;
	void *done_arg = probe->arg;
	uint32_t latency_us = clock_since_us(probe->start_us);
	enum health_outcome outcome = outcome_of(result);
	char why[FAILURE_TEXT];

	free(probe);
	describe_failure(result, why);
	done(done_arg, outcome, outcome == HEALTH_PASSED ? NULL : why, latency_us);
}

static bool exec_serve(struct health_probe *probe)
{
	return command_serve(probe->command);
}

static const char *exec_waits_for(const struct health_probe *probe)
{
	return "command: killed";
}

static void exec_cancel(struct health_probe *probe)
{
	command_end(probe->command);
	free(probe);
}

/* ---- start ---- */

/* The words of the config, separated by line ends. */
static char *split(const char *command, const struct variables *variables,
		   const char *ret[COMMAND_WORDS_MAX + 1])
{
	char *copy = strdup(command), *at = copy;
	unsigned count = 0;

	for (char *word; copy && count < COMMAND_WORDS_MAX && (word = strsep(&at, "\n"));)
		ret[count++] = word_value(word, variables);
	ret[count] = NULL;
	return copy;
}

static int run(struct commands *commands, const struct health_probe_spec *spec,
	       struct health_probe *probe)
{
	const char *words[COMMAND_WORDS_MAX + 1];
	struct variables variables;
	int rc = variables_make(spec, &variables);
	_cleanup_free_ char *copy = NULL;
	struct command_options options = {.words = words,
					  .environment = (const char *const *)variables.list,
					  .priority = -1,
					  .done = on_done,
					  .arg = probe};

	if (rc)
		return rc;
	copy = split(spec->config->command, &variables, words);
	rc = copy ? command_start(commands, &options, &probe->command) : -ENOMEM;
	variables_done(&variables);
	return rc;
}

static struct health_probe *exec_start(void *state, struct event_base *base,
				       const struct health_probe_spec *spec, health_done_fn *done,
				       void *arg)
{
	struct health_probe *probe = calloc(1, sizeof(*probe));
	int rc;

	if (!probe)
		return NULL;
	probe->done = done;
	probe->arg = arg;
	probe->start_us = clock_monotonic_us();
	rc = run(state, spec, probe);
	if (!rc)
		return probe;
	free(probe);
	errno = -rc;
	return NULL;
}

static bool exec_is_busy(const void *state)
{
	return commands_running(state) >= RUNNING_MAX;
}

static int exec_open(struct event_base *base, void **ret)
{
	struct commands *commands;
	int rc = commands_new(base, NULL, &commands);

	if (!rc)
		*ret = commands;
	return rc;
}

static void exec_close(void *state)
{
	commands_free(state);
}

REGISTER(health_kind, exec) = {
    .name = "exec",
    .portless = true,
    .aside = true,
    .open = exec_open,
    .close = exec_close,
    .is_busy = exec_is_busy,
    .start = exec_start,
    .serve = exec_serve,
    .waits_for = exec_waits_for,
    .cancel = exec_cancel,
};
