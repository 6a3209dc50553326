/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Takes over the interfaces that an earlier lbd attached: puts this program in the place of its
 * program, by links and in dispatchers. A device takes its time for that, and the event loop runs
 * meanwhile. */
#include "internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/pins.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "offloads.h"

/* An interface with a program of an earlier lbd. What is done to it beside the loop shares no data
 * with the rest of lbd. */
struct inherited {
	struct dataplane *dp;
	const char *links, *file; /* directory and name of the pinned link */
	uint32_t ifindex;
	char name[IF_NAMESIZE], pinned_as[IF_NAMESIZE];
	struct occupant there;
	bool taken;   /* this program runs on it, or the earlier one does still */
	bool swapped; /* the file is the pin of another interface now */
};

static void keep(struct attach *attach, const struct inherited *of, bool dispatcher)
{
	if (attach_remember(attach, of->name, of->ifindex, of->there.native, dispatcher)) {
		log_error("%s: out of memory", of->name);
		return;
	}
	if (!dispatcher)
		memcpy(attach_find(attach, of->ifindex)->pinned_as, of->pinned_as,
		       sizeof(of->pinned_as));
	events_log(EVENT_interface_taken_over, LOG_INFO,
		   &(struct event_about){.interface = of->name}, "%s: taken over, %s mode, %s",
		   of->name, attach_mode_name(of->there.native),
		   dispatcher ? "in a dispatcher" : "alone");
}

/* ---- by a link ---- */

/* The interface may have been renamed while no lbd ran: renames the pin, and changes path to
 * match. */
static void follow_rename(struct inherited *of, char path[PATH_MAX])
{
	char expected[PATH_MAX];
	int rc;

	if (!pins_link_name(of->file, of->pinned_as, sizeof(of->pinned_as)))
		*of->pinned_as = 0;
	if (!pins_link_path(expected, sizeof(expected), of->links, of->name) ||
	    !strcmp(path, expected))
		return;
	rc = pins_link_rename(path, expected, &of->swapped);
	if (rc) {
		log_warning("%s: cannot be renamed to %s: %s", path, expected, strerror(-rc));
		return;
	}
	log_info("%s: its interface is now named %s", path, of->name);
	strcpy(path, expected);
	memcpy(of->pinned_as, of->name, sizeof(of->pinned_as));
}

/* Also if the code is the same: constants may differ. */
static void replace_program(const struct inherited *of, const char *path)
{
	int fd = dataplane_program_fd(of->dp), rc = 0;
	struct bpf_prog_info own = {0};
	uint32_t size = sizeof(own);

	if (!bpf_obj_get_info_by_fd(fd, &own, &size) && own.id != of->there.id)
		rc = link_replace(path, fd);
	log_debug("%s: takeover of the link, program id %u %s id %u: %s", of->name, of->there.id,
		  own.id == of->there.id ? "stays as" : "replaced by", own.id,
		  rc ? strerror(-rc) : "ok");
	if (rc)
		log_error("%s: still runs the program of an earlier lbd (id %u): %s", of->name,
			  of->there.id, strerror(-rc));
}

static void take_link(void *arg)
{
	struct inherited *of = arg;
	char path[PATH_MAX];
	uint32_t program_id;

	if (snprintf(path, sizeof(path), "%s/%s", of->links, of->file) >= (int)sizeof(path))
		return;
	if (pins_link_inspect(path, &of->ifindex, &program_id)) {
		log_warning("%s: not an XDP link, ignored", path);
		return;
	}
	if (!of->ifindex || !if_indextoname(of->ifindex, of->name)) {
		log_info("%s: its interface is gone, pin removed", path);
		unlink(path);
		return;
	}
	if (attach_look(of->dp, of->ifindex, &of->there) || of->there.id != program_id) {
		log_warning("%s: belongs to another network namespace, ignored", path);
		return;
	}
	follow_rename(of, path);
	replace_program(of, path);
	of->taken = true;
}

/* True: there is another link in this file now. Each time one gets its own name. */
static bool adopt_link(struct attach *attach, const char *file)
{
	struct inherited link = {.dp = attach->dp, .links = attach->links, .file = file};

	task_wait(take_link, &link);
	/* one whose pin was renamed may be listed again */
	if (!link.taken || attach_find(attach, link.ifindex))
		return false;
	keep(attach, &link, false);
	return link.swapped;
}

static void adopt_links(struct attach *attach)
{
	DIR *directory = opendir(attach->links);
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		while (entry->d_name[0] != '.' && adopt_link(attach, entry->d_name))
			;
	if (directory)
		closedir(directory);
}

/* ---- in a dispatcher ---- */

static bool same_code(uint32_t id, int fd)
{
	_cleanup_close_ int other = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info a = {0}, b = {0};
	uint32_t a_size = sizeof(a), b_size = sizeof(b);

	return other >= 0 && !bpf_obj_get_info_by_fd(other, &a, &a_size) &&
	       !bpf_obj_get_info_by_fd(fd, &b, &b_size) && !memcmp(a.tag, b.tag, sizeof(a.tag));
}

/* If the code differs, the new program is added before the old one is removed: no packet bypasses
 * both. */
static void take_dispatcher(void *arg)
{
	struct inherited *of = arg;
	const uint32_t ours = of->there.ours;
	char why[ATTACH_WHY] = "";
	int rc = 0;

	if (!same_code(ours, dataplane_program_fd(of->dp))) {
		rc = dispatcher_attach(of->dp, of->ifindex, of->there.native, why);
		if (!rc && dispatcher_detach(of->ifindex, ours))
			log_warning("%s: the program of an earlier lbd (id %u) is still in the "
				    "dispatcher, after the new one",
				    of->name, ours);
	}
	if (rc)
		log_error("%s: still runs the program of an earlier lbd (id %u): %s", of->name,
			  ours, why);
}

static void take_from_dispatcher(void *arg)
{
	struct inherited *of = arg;

	of->taken =
	    !attach_look(of->dp, of->ifindex, &of->there) && of->there.dispatcher && of->there.ours;
	if (of->taken)
		take_dispatcher(of);
}

static int adopt_dispatchers(struct attach *attach, struct error *err)
{
	struct if_nameindex *all = if_nameindex();

	if (!all)
		return error_set(err, -errno, "the interfaces of this host cannot be listed: %s",
				 strerror(errno));
	for (struct if_nameindex *one = all; one->if_index; one++) {
		struct inherited of = {.dp = attach->dp, .ifindex = one->if_index};

		snprintf(of.name, sizeof(of.name), "%s", one->if_name);
		task_wait(take_from_dispatcher, &of);
		if (of.taken)
			keep(attach, &of, true);
	}
	if_freenameindex(all);
	return 0;
}

/* ---- all of it ---- */

static bool is_attached(void *arg, uint32_t ifindex)
{
	return attach_find(arg, ifindex);
}

struct watches {
	struct netdev *netdev, *asking;
	struct losses *losses;
	struct checksums *checksums;
	bool dispatcher_allowed;
};

/* What the kernel tells of lost packets, and what it permits; lbd does without where it tells
 * nothing. */
static void open_watches(void *arg)
{
	struct watches *watches = arg;
	struct error err;
	int rc = netdev_open(&watches->netdev);

	if (!rc)
		rc = netdev_open(&watches->asking);
	if (rc)
		log_debug("attach: the kernel does not say which devices take frames from XDP: %s",
			  strerror(-rc));
	if (losses_new(&watches->losses, &err))
		log_info("attach: %s", err.text);
	if (checksums_new(&watches->checksums, &err))
		log_info("attach: %s", err.text);
	watches->dispatcher_allowed = dispatcher_allowed();
}

int attach_take_over(struct attach *attach, const char *former, struct error *err)
{
	struct watches watches = {0};
	int rc;

	task_wait(open_watches, &watches); /* for the verifier */
	attach->netdev = watches.netdev;
	attach->asking = watches.asking;
	attach->losses = watches.losses;
	attach->checksums = watches.checksums;
	attach->dispatcher_allowed = watches.dispatcher_allowed;
	if (!attach->dispatcher_allowed)
		log_debug("attach: EXT programs are refused, or CAP_SYS_ADMIN is missing: no "
			  "dispatcher, programs are attached alone");
	adopt_links(attach);
	rc = adopt_dispatchers(attach, err);
	if (rc)
		return rc;
	attach->complete = true;
	offloads_take_over(attach->offloads, former, is_attached, attach);
	for (unsigned i = 0; i < attach->count; i++)
		dataplane_add_egress(attach->dp, attach->list[i].ifindex);
	watch_look(attach, 0);
	return 0;
}
