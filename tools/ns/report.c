/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table on the terminal, and the rows of build/bench.json. */
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tools/ns/ns.h"

/* ---- the table ---- */

void table_head(FILE *out)
{
	fprintf(out, "ns per packet, net of the harness: 10th percentile (lbd: median too)\n");
	fprintf(out, "%-35s%37s | %s\n", "", "neighbour CPU idle", "busy");
	fprintf(out, "%-35s %6s %6s %7s %7s %7s", "scenario", "mac", "encap", "lbd", "median",
		"/encap");
	fprintf(out, " | %6s %7s %7s  verified\n", "encap", "lbd", "/encap");
}

static void idle_columns(FILE *out, const struct figures *figures)
{
	if (!figures->blocks) {
		fprintf(out, " %6s %6s %7s %7s %7s", "-", "-", "-", "-", "-");
		return;
	}
	fprintf(out, " %6.1f %6.1f %7.1f %7.1f %6.2fx", figures->p10[FLOOR_MACSWAP],
		figures->p10[FLOOR_ENCAP], figures->p10[LBD], figures->median[LBD],
		figures->p10[LBD] / figures->p10[FLOOR_ENCAP]);
}

static void busy_columns(FILE *out, const struct figures *figures)
{
	if (!figures->blocks)
		fprintf(out, " | %6s %7s %7s", "-", "-", "-");
	else
		fprintf(out, " | %6.1f %7.1f %6.2fx", figures->p10[FLOOR_ENCAP], figures->p10[LBD],
			figures->p10[LBD] / figures->p10[FLOOR_ENCAP]);
}

void table_row(FILE *out, const struct scenario *scenario, const struct result *result)
{
	fprintf(out, "%-35s", scenario->name);
	idle_columns(out, &result->of[IDLE]);
	busy_columns(out, &result->of[BUSY]);
	fprintf(out, "  %s\n", result->verified ? "yes" : "NO: the figures are void");
	fflush(out);
}

/* ---- JSON ---- */

static double rounded(double ns)
{
	return (double)(long)(ns * 100 + (ns < 0 ? -0.5 : 0.5)) / 100;
}

static json_t *row_make(const struct scenario *scenario, const struct result *result,
			enum neighbour n, enum candidate candidate)
{
	const struct figures *figures = &result->of[n];
	json_t *row = json_pack(
	    "{s:s, s:s, s:s, s:f, s:f, s:f, s:i, s:b}", "scenario", scenario->name, "candidate",
	    candidate_names[candidate], "neighbour", neighbour_names[n], "net_ns_p10",
	    rounded(figures->p10[candidate]), "net_ns_median", rounded(figures->median[candidate]),
	    "harness_ns", rounded(figures->p10[HARNESS]), "blocks", (int)figures->blocks,
	    "verified", result->verified);

	if (row && scenario->axis)
		json_object_update_new(row, json_pack("{s:s, s:s, s:i}", "axis", scenario->axis,
						      "series", scenario->series, "value",
						      (int)scenario->value));
	return row;
}

void rows_add(json_t *rows, const struct scenario *scenario, const struct result *result)
{
	for (int n = 0; n < NEIGHBOURS; n++)
		for (int i = FLOOR_MACSWAP; i < CANDIDATES && result->of[n].blocks; i++)
			json_array_append_new(rows, row_make(scenario, result, n, i));
}

/* The value of the first line of a file that begins with `key`; "" if there is none. */
static void line_value(const char *path, const char *key, char *text, size_t room)
{
	_cleanup_fclose_ FILE *file = fopen(path, "r");
	char line[256], *value;

	text[0] = 0;
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		value = strchr(line, ':');
		value = value ? value + 2 : line;
		value[strcspn(value, "\n")] = 0;
		snprintf(text, room, "%.*s", (int)room - 1, value);
		return;
	}
}

json_t *machine_describe(const char *compiler)
{
	time_t now = time(NULL);
	char cpu[128], load[64], date[32];
	struct utsname kernel;

	line_value("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	line_value("/proc/loadavg", "", load, sizeof(load));
	load[strcspn(load, " ")] = 0;
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M", localtime(&now));
	uname(&kernel);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "cpu", cpu, "kernel", kernel.release,
			 "compiler", compiler, "load", load, "date", date, "cpus",
			 (int)sysconf(_SC_NPROCESSORS_ONLN));
}
