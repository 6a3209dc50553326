/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lbctl detach: asks lbd to detach its XDP program from an interface, or takes off by itself what
 * an lbd that has ended left. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/pins.h"
#include "lbctl/core/call.h"
#include "lbctl/core/format.h"
#include "lbctl/core/json.h"
#include "lbctl/core/show.h"
#include "lbctl/core/verb.h"
#include "lbctl/offline/offline.h"

static void print_detached(const char *name)
{
	text_put(stdout, name);
	printf(": detached; packets that arrive on it are no longer forwarded\n");
}

/* ---- by lbd ---- */

static int detach_one(struct call *call, const char *name, json_t **ret_answer, struct error *err)
{
	json_t *body = json_pack("{s:s}", "interface", name);
	int rc;

	if (body && call_option(call, "--force")) /* an lbd from before it knows no such field */
		json_object_set_new(body, "force", json_true());
	rc = call_post(call, "/v1/detach", body, ret_answer, err);
	if (!rc && !call->json)
		print_detached(name);
	return rc;
}

static int detach_named(struct call *call, const char *name, struct error *err)
{
	json_t *answer = NULL;
	int rc = detach_one(call, name, &answer, err);

	if (!rc && call->json)
		rc = show_json(answer, err);
	json_decref(answer);
	return rc;
}

/* Prints what was detached, also if that is nothing. left: NULL, or what was not. */
static int report(struct call *call, json_t *names, json_t *left, struct error *err)
{
	json_t *answer;
	int rc;

	if (!call->json) {
		if (!json_array_size(names))
			printf("nothing to detach: the program is on no interface%s\n",
			       left ? " of this network namespace" : "");
		return 0;
	}
	answer = left ? json_pack("{s:O, s:O}", "detached", names, "left", left)
		      : json_pack("{s:O}", "detached", names);
	if (!answer)
		return error_set(err, -ENOMEM, "out of memory");
	rc = show_json(answer, err);
	json_decref(answer);
	return rc;
}

static int detach_all(struct call *call, struct error *err)
{
	json_t *status = NULL, *interface, *names = json_array();
	size_t i;
	int rc = call_get(call, "/v1/status", &status, err);

	json_array_foreach (json_object_get(status, "interfaces"), i, interface)
		if (!rc) {
			rc = detach_one(call, json_text(interface, "name"), NULL, err);
			json_array_append(names, json_object_get(interface, "name"));
		}
	if (!rc)
		rc = report(call, names, NULL, err);
	json_decref(status);
	json_decref(names);
	return rc;
}

/* ---- without lbd ---- */

/* One call of detach --offline, over one directory of pins or all. */
struct sweep {
	const struct call *call;
	const char *interface;     /* NULL: every one */
	bool everywhere;           /* also in other network namespaces: --pin names one lbd's */
	bool trial;                /* only says what it would do */
	json_t *names;             /* of what was detached */
	json_t *left;              /* what was not, as it is in another network namespace */
	unsigned stay;             /* directories of an lbd of this network namespace that stay */
	struct error busy, failed; /* the first of each; "" if there was none */
};

/* The link of an interface that is gone holds nothing. */
static bool is_wanted(const struct sweep *sweep, const struct offline_program *program)
{
	bool here = !program->elsewhere;

	if (sweep->interface)
		return here && !strcmp(program->interface, sweep->interface);
	return here || sweep->everywhere || !program->ifindex;
}

static void note_left(struct sweep *sweep, const char *pin, const struct offline_program *program)
{
	if (sweep->interface)
		return;
	json_array_append_new(sweep->left,
			      json_pack("{s:s, s:s}", "interface", program->interface, "pin", pin));
	if (!sweep->call->json)
		printf("%s: stays attached: it is in another network namespace. Run lbctl there, "
		       "or name its lbd: lbctl detach --offline --all --pin %s\n",
		       program->interface, pin);
}

static void note_user(struct sweep *sweep, const char *pin, uint32_t program_id)
{
	json_array_append_new(
	    sweep->left, json_pack("{s:I, s:s}", "program", (json_int_t)program_id, "pin", pin));
	if (!sweep->call->json)
		printf("%s: stays: program %u uses its maps, on an interface of another network "
		       "namespace\n",
		       pin, program_id);
}

static int take_off(struct sweep *sweep, struct offline *offline, unsigned number,
		    struct error *err)
{
	const struct offline_program program = offline->list[number];
	int rc = sweep->trial ? 0 : offline_detach(offline, number, err);

	if (rc)
		return rc;
	if (sweep->trial) {
		offline_leave_out(offline, number);
		json_array_append_new(sweep->names, json_string(program.interface));
		if (!sweep->call->json)
			printf("%s: would be detached%s (pins in %s)\n", program.interface,
			       program.elsewhere ? ", in another network namespace" : "",
			       offline->pin);
		return 0;
	}
	json_array_append_new(sweep->names, json_string(program.interface));
	if (!sweep->call->json)
		print_detached(program.interface);
	if (!program.elsewhere)
		offloads_turn_on(sweep->call->socket, program.ifindex, !sweep->call->json);
	return 0;
}

/* Removes the pins after the last program, or only says what keeps them. *ret_stays: they stay, and
 * are of this network namespace. */
static int sweep_pinned(struct sweep *sweep, struct offline *offline, bool *ret_stays,
			struct error *err)
{
	bool unpinned = false;
	uint32_t user = 0;
	int rc = 0;

	if (sweep->trial)
		user = offline_user(offline);
	else
		rc = offline_unpin(offline, &unpinned, &user, err);
	if (user)
		note_user(sweep, offline->pin, user);
	if (unpinned && !sweep->call->json)
		printf("%s: removed: the program is on no other interface\n", offline->pin);
	*ret_stays |= !unpinned && !user && !offline->count;
	return rc;
}

static int sweep_opened(struct sweep *sweep, struct offline *offline, struct error *err)
{
	size_t before = json_array_size(sweep->names);
	bool stays = false;
	unsigned i = 0;
	int rc = 0;

	while (!rc && i < offline->count)
		if (is_wanted(sweep, &offline->list[i]))
			rc = take_off(sweep, offline, i, err);
		else
			i++;
	for (i = 0; i < offline->count; i++)
		if (offline->list[i].elsewhere)
			note_left(sweep, offline->pin, &offline->list[i]);
		else
			stays = true;
	if (!rc && (!sweep->interface || json_array_size(sweep->names) > before))
		rc = sweep_pinned(sweep, offline, &stays, err);
	sweep->stay += stays;
	return rc;
}

/* Looks at one directory, and goes on to the next also after a failure. */
static bool sweep_pins(void *arg, const char *pin)
{
	struct sweep *sweep = arg;
	struct offline offline;
	struct error err = {""};
	int rc = offline_open(pin, !sweep->trial, &offline, &err);

	if (!rc) {
		rc = sweep_opened(sweep, &offline, &err);
		offline_close(&offline);
	} else if (rc != -ENOENT) {
		sweep->stay++;
	}
	if (rc == -EBUSY && !*sweep->busy.text)
		sweep->busy = err;
	else if (rc && rc != -EBUSY && !*sweep->failed.text)
		sweep->failed = err;
	return true;
}

/* An lbd that runs on other pins is in the way only if every interface is meant. */
static int conclude(const struct sweep *sweep, struct error *err)
{
	bool found = json_array_size(sweep->names);

	if (*sweep->failed.text)
		return error_set(err, -EIO, "%s", sweep->failed.text);
	if (*sweep->busy.text && !(sweep->interface && found))
		return error_set(err, -EBUSY, "%s", sweep->busy.text);
	if (sweep->interface && !found)
		return error_set(err, -ENODEV,
				 "%s: no program of an lbd is attached; where there are: lbctl "
				 "status",
				 sweep->interface);
	return 0;
}

static bool note_pins(void *arg, const char *pin)
{
	bool *found = arg;

	*found = true;
	return false;
}

/* The program of the checks is of no directory: without --pin all have been swept, with it another
 * lbd, whose pins are there, may use it. */
static bool may_remove_filters(const struct sweep *sweep, const char *pin)
{
	bool others = false;

	if (sweep->stay || sweep->trial)
		return false;
	if (pin)
		pins_each(note_pins, &others);
	return !others;
}

/* A typing error must not look as if nothing was attached. */
static bool print_missing(const struct call *call, const char *pin)
{
	bool missing = pin && access(pin, F_OK) && errno == ENOENT;

	if (missing && !call->json)
		printf("%s: no such directory: nothing is pinned there\n", pin);
	return missing && !call->json;
}

static int detach_offline(struct call *call, const char *interface, struct error *err)
{
	const char *pin = call_option(call, "--pin");
	struct sweep sweep = {.call = call,
			      .interface = interface,
			      .everywhere = pin,
			      .trial = call_option(call, "--dry-run")};
	bool missing;
	int rc;

	if (geteuid() != 0)
		return error_set(err, -EPERM,
				 "detach --offline: permission denied: only root may detach "
				 "programs.\nTry: sudo lbctl detach --offline");
	sweep.names = json_array();
	sweep.left = json_array();
	if (!sweep.names || !sweep.left)
		return error_set(err, -ENOMEM, "out of memory");
	missing = print_missing(call, pin);
	/* The usual directory also if it is empty, as the unit's lbd leaves it. */
	if (pin || !interface)
		sweep_pins(&sweep, pin ? pin : PINS_DEFAULT);
	if (!pin)
		pins_each(sweep_pins, &sweep); /* no bpf file system: nothing is pinned */
	if (may_remove_filters(&sweep, pin))
		filters_remove();
	rc = conclude(&sweep, err);
	if (!rc && !missing)
		rc = report(call, sweep.names, sweep.left, err);
	json_decref(sweep.names);
	json_decref(sweep.left);
	return rc;
}

/* ---- the verb ---- */

static int run_detach(struct call *call, struct error *err)
{
	const char *name = call_argument(call, 0);
	bool all = call_option(call, "--all"), offline = call_option(call, "--offline");

	if (!name == !all)
		return error_set(err, -EINVAL, "detach: expected either IFACE or --all");
	if (call_option(call, "--pin") && !offline)
		return error_set(err, -EINVAL,
				 "detach: --pin: only with --offline: lbd knows its directory");
	if (call_option(call, "--force") && offline)
		return error_set(err, -EINVAL,
				 "detach: --force: not with --offline, which asks for nothing");
	if (call_option(call, "--dry-run") && !offline)
		return error_set(err, -EINVAL,
				 "detach: --dry-run: only with --offline: lbctl status says where "
				 "lbd is attached");
	if (offline)
		return detach_offline(call, name, err);
	return all ? detach_all(call, err) : detach_named(call, name, err);
}

REGISTER(verb, detach) = {
    .name = "detach",
    .group = VERB_INTERFACES,
    .flags = VERB_SOCKET | VERB_JSON,
    .summary = "detach the load balancer from an interface",
    .details =
	"Packets that arrive on IFACE are no longer forwarded. Forwarding on other interfaces "
	"continues. Replies of backends of services with forward: nat that come in there are no "
	"longer given their VIP: without --force such an interface stays.\n\n"
	"The program stays attached when lbd ends, and forwards without health checks. With "
	"--offline lbctl detaches it by itself, as root and while no lbd runs. It turns on the "
	"receive offloads that lbd turned off, and with the last interface it removes the pinned "
	"maps. --all means the interfaces of this network namespace; those of others, to which "
	"the pins in " PINS_BPFFS " may belong too, are named and stay, unless --pin names the "
	"directory of their lbd. lbctl status says where the program is still attached.",
    .arguments = {OPTIONAL("IFACE", WORDS_INTERFACE)},
    .options = {{.name = "--all", .help = "from every interface"},
		{.name = "--force",
		 .help = "also while replies of services with forward: nat come in there"},
		{.name = "--offline", .help = "without lbd, after it has ended"},
		{.name = "--dry-run",
		 .help = "with --offline: only say what would be detached, and what would stay"},
		{.name = "--pin",
		 .value = "PATH",
		 .words = WORDS_FILE,
		 .help = "with --offline: only this directory of pins (pin in the config), and all "
			 "that it holds; without it, all those in " PINS_BPFFS}},
    .examples = {{"detach eth0", "stop forwarding packets that arrive on eth0"},
		 {"detach --offline --all", "leave nothing attached before lbd is removed"}},
    .run = run_detach,
};
