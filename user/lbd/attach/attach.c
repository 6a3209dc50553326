/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Attaches and detaches interfaces, takes them over at start, keeps the list of attached ones. */
#include "facts.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "common/cleanup.h"
#include "common/files.h"
#include "common/log.h"
#include "common/pins.h"
#include "lbd/events/events.h"
#include "lbd/host/host.h"
#include "offloads.h"

/* ---- the program on an interface ---- */

/* A program belongs to this data plane if it uses its settings, whichever lbd loaded it. */
bool attach_is_ours(struct dataplane *dp, int fd)
{
	int settings = bpf_object__find_map_fd_by_name(dataplane_object(dp), LB_SETTINGS_MAP);
	struct bpf_map_info map = {0};
	uint32_t size = sizeof(map);

	return settings >= 0 && !bpf_obj_get_info_by_fd(settings, &map, &size) &&
	       pins_program_uses(fd, map.id);
}

static void look_inside(struct dataplane *dp, uint32_t ifindex, struct occupant *found)
{
	struct xdp_multiprog *there = xdp_multiprog__get_from_ifindex((int)ifindex);
	struct xdp_program *program = NULL;

	if (libxdp_get_error(there))
		return;
	found->dispatcher = !xdp_multiprog__is_legacy(there);
	found->programs = found->dispatcher ? (unsigned)xdp_multiprog__program_count(there) : 0;
	while (found->dispatcher && (program = xdp_multiprog__next_prog(program, there)))
		if (attach_is_ours(dp, xdp_program__fd(program)))
			found->ours = xdp_program__id(program);
		else if (pins_program_is_lbd(xdp_program__fd(program)))
			found->other_lbd = xdp_program__id(program);
	xdp_multiprog__close(there);
}

int attach_look(struct dataplane *dp, uint32_t ifindex, struct occupant *ret)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct bpf_prog_info info = {0};
	struct occupant found = {0};
	uint32_t size = sizeof(info);
	_cleanup_close_ int fd = -1;
	int rc = bpf_xdp_query((int)ifindex, 0, &query);

	if (rc)
		return rc;
	found.native = query.drv_prog_id;
	found.id = query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
	if (!found.id)
		found.id = query.hw_prog_id;
	if (found.id) {
		fd = bpf_prog_get_fd_by_id(found.id);
		found.hidden = fd < 0 && errno == EPERM; /* counts as foreign */
	}
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size)) {
		snprintf(found.name, sizeof(found.name), "%s", info.name);
		if (attach_is_ours(dp, fd))
			found.ours = found.id;
		else if (pins_program_is_lbd(fd))
			found.other_lbd = found.id;
		else if (pins_program_is_dispatcher(fd))
			look_inside(dp, ifindex, &found);
	}
	*ret = found;
	return 0;
}

/* ---- the list ---- */

static struct attachment *find(const struct attach *attach, const char *name)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (!strcmp(attach->list[i].name, name))
			return &attach->list[i];
	return NULL;
}

bool attach_has(const struct attach *attach, const char *name)
{
	return find(attach, name);
}

struct attachment *attach_find(const struct attach *attach, uint32_t ifindex)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (attach->list[i].ifindex == ifindex)
			return &attach->list[i];
	return NULL;
}

void attach_on_change(struct attach *attach, void (*changed)(void *arg), void *arg)
{
	attach->changed = changed;
	attach->changed_arg = arg;
}

static void list_changed(struct attach *attach)
{
	egress_forgive(attach);
	egress_refresh(attach);
	if (attach->changed)
		attach->changed(attach->changed_arg);
}

int attach_remember(struct attach *attach, const char *name, uint32_t ifindex, bool native,
		    bool dispatcher)
{
	struct attachment *list = realloc(attach->list, (attach->count + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	attach->list = list;
	list[attach->count] = (struct attachment){.ifindex = ifindex,
						  .native = native,
						  .dispatcher = dispatcher,
						  .automatic = native && attach->automatic,
						  .veth = device_is_veth(name),
						  .bond = device_is_bond(name),
						  .card = device_is_card(name)};
	snprintf(list[attach->count].name, sizeof(list->name), "%s", name);
	snprintf(list[attach->count].pinned_as, sizeof(list->pinned_as), "%s", name);
	if (native && list[attach->count].veth)
		device_veth_counts(name, &list[attach->count].counts);
	attach->count++;
	list_changed(attach);
	return 0;
}

static void forget(struct attach *attach, struct attachment *gone)
{
	sentences_free(gone->hints);
	if (gone->sampling)
		checksums_forget(attach->checksums, gone->ifindex);
	*gone = attach->list[--attach->count];
	list_changed(attach);
}

const struct attachment *attach_list(const struct attach *attach, unsigned *ret_count)
{
	*ret_count = attach->count;
	return attach->list;
}

const struct offloads *attach_offloads(const struct attach *attach)
{
	return attach->offloads;
}

struct detours *attach_detours(const struct attach *attach)
{
	return attach->detours;
}

bool attach_is_idle(const struct attach *attach)
{
	return attach->complete && !attach->count && !attach->hidden && !rmdir(attach->links);
}

/* ---- attaching ---- */

/* At start, and again in case they were removed since. */
static int make_directories(const struct attach *attach, struct error *err)
{
	int rc = directory_make_all(attach->links, 0700);

	if (rc)
		return error_set(err, rc, "%s: cannot create the directory: %s", attach->links,
				 strerror(-rc));
	return 0;
}

const char *attach_mode_name(bool native)
{
	return native ? "native" : "generic";
}

/* Putting a program on a device or taking it off may take long: its driver may have to stop it. The
 * event loop runs meanwhile, so the list of interfaces may be another one afterwards. */
struct device_call {
	struct dataplane *dp;
	uint32_t ifindex;
	bool native, dispatcher;
	const char *path; /* of the link's pin */
	char *why;
	int rc;
};

static void call_attach(void *arg)
{
	struct device_call *call = arg;

	if (call->dispatcher)
		call->rc = dispatcher_attach(call->dp, call->ifindex, call->native, call->why);
	else
		call->rc = link_attach(dataplane_program_fd(call->dp), call->ifindex, call->native,
				       call->path, call->why);
}

static void call_detach(void *arg)
{
	struct device_call *call = arg;
	struct occupant occupant = {0};

	if (!call->dispatcher) {
		call->rc = pins_link_detach(call->path);
		return;
	}
	call->rc = attach_look(call->dp, call->ifindex, &occupant);
	if (!call->rc && occupant.ours)
		call->rc = dispatcher_detach(call->ifindex, occupant.ours);
}

/* One that was renamed or is gone meanwhile was not in the list, and attach_link_changed did not
 * see it. */
static int keep_attached(struct attach *attach, const char *name, struct device_call *call)
{
	if (if_nametoindex(name) == call->ifindex)
		return attach_remember(attach, name, call->ifindex, call->native, call->dispatcher);
	task_wait(call_detach, call);
	snprintf(call->why, ATTACH_WHY, "the interface was renamed or removed meanwhile");
	return -ENODEV;
}

static int attach_in_mode(struct attach *attach, const char *name, uint32_t ifindex, bool native,
			  bool join, char why[ATTACH_WHY])
{
	char path[PATH_MAX], refused[ATTACH_WHY] = "";
	struct device_call call = {.dp = attach->dp,
				   .ifindex = ifindex,
				   .native = native,
				   .path = path,
				   .why = why,
				   .rc = -EOPNOTSUPP};

	if (!pins_link_path(path, sizeof(path), attach->links, name)) {
		snprintf(why, ATTACH_WHY, "the pin path is too long");
		return -ENAMETOOLONG;
	}
	if (attach->dispatcher_allowed) {
		call.dispatcher = true;
		task_wait(call_attach, &call);
		log_debug("%s: attach in a dispatcher, %s mode: %s", name, attach_mode_name(native),
			  call.rc ? why : "ok");
	}
	if (call.rc && !join) {
		if (call.dispatcher)
			snprintf(refused, sizeof(refused), "%s", why);
		call.dispatcher = false;
		unlink(path); /* the old link of an interface that is gone */
		task_wait(call_attach, &call);
		log_debug("%s: attach by a link, %s mode: %s", name, attach_mode_name(native),
			  call.rc ? why : "ok");
	}
	if (!call.rc && *refused)
		log_info("%s: libxdp's dispatcher refuses lbd: %s: other XDP programs cannot join "
			 "it there",
			 name, refused);
	return call.rc ? call.rc : keep_attached(attach, name, &call);
}

/* One lbd serves an interface. Its program is not to be taken off: it forwards for the other
 * one. */
static int refuse_other_lbd(const char *name, uint32_t ifindex, const struct occupant *there,
			    struct error *err)
{
	char pin[PATH_MAX];

	if (there->id && pins_find_owner(ifindex, name, there->id, pin, sizeof(pin)))
		return error_set(err, -EBUSY,
				 "%s: another lbd forwards there (program id %u, pins in %s): add "
				 "the services to its config, or detach it with its own lbctl "
				 "--socket; if it has ended: lbctl detach --offline %s --pin %s",
				 name, there->id, pin, name, pin);
	if (there->other_lbd)
		return error_set(err, -EBUSY,
				 "%s: another lbd forwards there (program id %u): add the services "
				 "to its config, or detach it with its own lbctl --socket; if it "
				 "has ended: xdp-loader unload %s --id %u",
				 name, there->other_lbd, name, there->other_lbd);
	return 0;
}

/* Can the program be attached? *ret_join: only in the dispatcher that is already there. */
static int check_occupant(struct attach *attach, const char *name, uint32_t ifindex, bool *ret_join,
			  struct error *err)
{
	struct occupant there;
	int rc = attach_look(attach->dp, ifindex, &there);

	if (rc)
		return error_set(err, rc, "%s: cannot see which XDP program is attached: %s", name,
				 strerror(-rc));
	log_debug("%s: before attaching: program id %u%s%s%s", name, there.id,
		  *there.name ? ", " : "", there.name, there.dispatcher ? ", a dispatcher" : "");
	if (there.ours)
		return error_set(
		    err, -EBUSY,
		    "%s: this lbd's program (id %u) is attached by a link that is not pinned under "
		    "%s: end the process that holds it",
		    name, there.ours, attach->links);
	rc = refuse_other_lbd(name, ifindex, &there, err);
	if (rc)
		return rc;
	attach->hidden |= there.id && there.hidden;
	if (there.id && there.hidden)
		return error_set(
		    err, -EBUSY,
		    "%s: an XDP program (id %u) is attached, and lbd may not see whose it is. If it is "
		    "another lbd's, detach it there; else: ip link set dev %s xdp off; or let lbd "
		    "share the interface: lbd-shared-interfaces.conf",
		    name, there.id, name);
	if (there.id && !there.dispatcher)
		return error_set(
		    err, -EBUSY,
		    "%s: another XDP program (%s%sid %u) is attached without a dispatcher: detach it "
		    "first: ip link set dev %s xdp off",
		    name, there.name, *there.name ? ", " : "", there.id, name);
	if (there.id && !attach->dispatcher_allowed)
		return error_set(
		    err, -EBUSY,
		    "%s: other programs are attached in a dispatcher (id %u), and the kernel does "
		    "not let lbd join it (BPF EXT programs): detach them first: "
		    "xdp-loader unload %s --all",
		    name, there.id, name);
	*ret_join = there.id;
	return 0;
}

/* The kernel finds an interface by its other names too, but reports it by the first alone. By
 * another it would not be found again: to be detached, after a reload, when it is made anew. */
bool attach_is_other_name(const char *name, char *ret_first)
{
	uint32_t ifindex = if_nametoindex(name);

	return ifindex && if_indextoname(ifindex, ret_first) && strcmp(ret_first, name) != 0;
}

int attach_check_free(struct attach *attach, const char *name, struct error *err)
{
	uint32_t ifindex = if_nametoindex(name);
	bool join;

	if (!ifindex || find(attach, name))
		return 0;
	return check_occupant(attach, name, ifindex, &join, err);
}

/* Native mode, unless its packets would be lost. 1: not used, and *why says why. While the link is
 * down the kernel does not know what its other end takes: attach_check decides when it is up. */
static int try_native(struct attach *attach, const char *name, uint32_t ifindex,
		      enum config_mode mode, bool join, char why[ATTACH_WHY])
{
	char fault[ATTACH_WHY] = "";
	struct attachment *there;
	int rc;

	if (attach_interface_runs(name) && !device_suits_native(attach->netdev, ifindex, fault)) {
		snprintf(why, ATTACH_WHY, "%s", fault);
		if (mode == CONFIG_MODE_AUTO)
			return 1;
		log_warning("%s: native mode loses packets: %s", name, fault);
	}
	offloads_prepare(attach->offloads, ifindex, true);
	rc = attach_in_mode(attach, name, ifindex, true, join, why);
	if (rc)
		return rc;
	there = find(attach, name);
	there->automatic = mode == CONFIG_MODE_AUTO;
	memcpy(there->not_native, fault, sizeof(fault));
	there->complained = fault[0];
	return 0;
}

static int attach_new_interface(struct attach *attach, const char *name, uint32_t ifindex,
				enum config_mode mode, struct error *err)
{
	char why[ATTACH_WHY] = "", not_native[ATTACH_WHY] = "";
	bool join = false;
	int rc = check_occupant(attach, name, ifindex, &join, err);

	if (!rc)
		rc = make_directories(attach, err);
	if (rc)
		return rc;
	if (mode != CONFIG_MODE_GENERIC) {
		rc = try_native(attach, name, ifindex, mode, join, why);
		if (rc < 0 && mode == CONFIG_MODE_NATIVE)
			return error_set(err, -EOPNOTSUPP, "%s: native XDP refused: %s", name, why);
		if (!rc)
			return 0;
		log_warning("%s: native XDP %s: %s; generic mode is used, which is slower", name,
			    rc > 0 ? "not used" : "refused", why);
		if (rc > 0)
			memcpy(not_native, why, sizeof(not_native));
	}
	offloads_prepare(attach->offloads, ifindex, false);
	rc = attach_in_mode(attach, name, ifindex, false, join, why);
	if (rc)
		return error_set(err, rc, "%s: generic XDP refused: %s", name, why);
	memcpy(find(attach, name)->not_native, not_native, sizeof(not_native));
	return 0;
}

int attach_interface(struct attach *attach, const char *name, enum config_mode mode,
		     struct error *err)
{
	const struct attachment *there = find(attach, name);
	uint32_t ifindex = if_nametoindex(name);
	char first[IF_NAMESIZE];
	int rc;

	if (!ifindex)
		return error_set(err, -ENODEV, "%s: no such interface; list them with: ip link",
				 name);
	if (attach_is_other_name(name, first))
		return error_set(err, -EINVAL, "%s: another name of %s (altname): expected %s",
				 name, first, first);
	if (!device_is_ethernet(name))
		return error_set(err, -EINVAL,
				 "%s: not an Ethernet interface: expected one whose frames begin "
				 "with MAC addresses",
				 name);
	if (there && mode != CONFIG_MODE_AUTO && there->native != (mode == CONFIG_MODE_NATIVE))
		return error_set(err, -EBUSY,
				 "%s: attached in %s mode: to change the mode, detach it first",
				 name, attach_mode_name(there->native));
	if (there)
		return 0;
	rc = attach_new_interface(attach, name, ifindex, mode, err);
	if (rc) {
		offloads_restore(attach->offloads, ifindex);
		return rc;
	}
	there = find(attach, name);
	events_log(EVENT_interface_attached, LOG_INFO, &(struct event_about){.interface = name},
		   "%s: attached, %s mode, %s", name, attach_mode_name(there->native),
		   there->dispatcher ? "in a dispatcher" : "alone");
	rc = dataplane_add_egress(attach->dp, ifindex);
	log_debug("%s: redirects to it: %s", name, rc ? strerror(-rc) : "ok");
	if (rc)
		log_warning("%s: packets cannot be redirected to it: %s", name, strerror(-rc));
	watch_look(attach, ifindex);
	return 0;
}

static int take_off(struct attach *attach, const struct attachment *there, struct error *err)
{
	struct occupant occupant = {0};
	char path[PATH_MAX];
	struct device_call call = {.dp = attach->dp,
				   .ifindex = there->ifindex,
				   .dispatcher = there->dispatcher,
				   .path = path,
				   .rc = -ENAMETOOLONG};

	if (pins_link_path(path, sizeof(path), attach->links, there->pinned_as))
		task_wait(call_detach, &call);
	log_debug("%s: detach from the %s: %s", there->name,
		  there->dispatcher ? "dispatcher" : "link", call.rc ? strerror(-call.rc) : "ok");
	if (call.rc && call.rc != -ENOENT && call.rc != -ENODEV)
		return error_set(err, call.rc, "%s: cannot detach: %s", there->name,
				 strerror(-call.rc));
	if (call.rc == -ENOENT && !attach_look(attach->dp, there->ifindex, &occupant) &&
	    occupant.ours)
		return error_set(
		    err, -EBUSY,
		    "%s: this lbd's program (id %u) is still attached, by a link that is not pinned "
		    "under %s: end the process that holds it",
		    there->name, occupant.ours, attach->links);
	return 0;
}

int attach_detach(struct attach *attach, const char *name, struct error *err)
{
	struct attachment *there = find(attach, name);
	struct attachment was;
	int rc;

	if (!there)
		return error_set(err, -ENODEV,
				 "%s: not attached; attached interfaces: lbctl status", name);
	was = *there;
	rc = take_off(attach, &was, err);
	if (rc)
		return rc;
	events_log(EVENT_interface_detached, LOG_INFO, &(struct event_about){.interface = was.name},
		   "%s: detached", was.name);
	offloads_restore(attach->offloads, was.ifindex);
	there = attach_find(attach, was.ifindex);
	if (there)
		forget(attach, there);
	return 0;
}

int attach_fall_back(struct attach *attach, const char *of, const char *why, struct error *err)
{
	char name[sizeof(attach->list->name)];
	struct attachment *there;
	int rc;

	snprintf(name, sizeof(name), "%s", of); /* that of the list moves */
	log_warning("%s: native mode loses packets: %s; it changes to generic mode", name, why);
	rc = attach_detach(attach, name, err);
	if (!rc)
		rc = attach_interface(attach, name, CONFIG_MODE_GENERIC, err);
	there = find(attach, name);
	if (!rc && there)
		snprintf(there->not_native, ATTACH_WHY, "%s", why);
	return rc;
}

static struct attachment *find_pinned(const struct attach *attach, const char *name)
{
	for (unsigned i = 0; i < attach->count; i++)
		if (!attach->list[i].dispatcher && !strcmp(attach->list[i].pinned_as, name))
			return &attach->list[i];
	return NULL;
}

/* Interfaces that swap their names are reported one after the other: the pin of the second has its
 * new name with that of the first. */
static void rename_pin(struct attach *attach, struct attachment *there, const char *name)
{
	struct attachment *other = find_pinned(attach, name);
	char path[PATH_MAX], to[PATH_MAX];
	bool swapped;
	int rc;

	if (other == there ||
	    !pins_link_path(path, sizeof(path), attach->links, there->pinned_as) ||
	    !pins_link_path(to, sizeof(to), attach->links, name))
		return;
	rc = pins_link_rename(path, to, &swapped);
	if (rc) {
		log_warning("%s: cannot be renamed to %s: %s", path, to, strerror(-rc));
		return;
	}
	if (other && swapped)
		memcpy(other->pinned_as, there->pinned_as, sizeof(other->pinned_as));
	snprintf(there->pinned_as, sizeof(there->pinned_as), "%s", name);
}

void attach_link_changed(struct attach *attach, uint32_t ifindex, const char *name, bool present)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < attach->count; i++) {
		struct attachment *there = &attach->list[i];

		if (there->ifindex != ifindex || (present && !strcmp(there->name, name)))
			continue;
		if (present) {
			log_info("%s: renamed to %s", there->name, name);
			if (!there->dispatcher)
				rename_pin(attach, there, name);
			snprintf(there->name, sizeof(there->name), "%s", name);
		} else {
			events_log(EVENT_interface_lost, LOG_WARNING,
				   &(struct event_about){.interface = there->name,
							 .why = "the interface is gone"},
				   "%s: interface is gone, and its program with it", there->name);
			if (!there->dispatcher &&
			    pins_link_path(path, sizeof(path), attach->links, there->pinned_as))
				unlink(path);
			forget(attach, there);
			offloads_restore(attach->offloads, ifindex);
		}
		return;
	}
}

void attach_catch_up(struct attach *attach)
{
	unsigned i = 0;

	while (i < attach->count) {
		const struct attachment there = attach->list[i];
		const unsigned count = attach->count;
		char name[IF_NAMESIZE];
		bool present = if_indextoname(there.ifindex, name);

		if (!present || strcmp(there.name, name) != 0)
			attach_link_changed(attach, there.ifindex, present ? name : there.name,
					    present);
		i += attach->count == count; /* another is in the place of one that is gone */
	}
}

void attach_check_programs(struct attach *attach, const struct facts *facts)
{
	for (unsigned i = 0; i < attach->count;) {
		struct attachment *there = &attach->list[i];
		const uint32_t ifindex = there->ifindex;
		const struct facts_interface *said = facts_of(facts, ifindex);

		if (!said || !said->bare) {
			i++; /* an interface that is gone is attach_link_changed's to handle */
			continue;
		}
		events_log(
		    EVENT_interface_lost, LOG_ERR,
		    &(struct event_about){.interface = there->name,
					  .why = "another process detached lbd's program"},
		    "%s: another process detached lbd's program, or removed its pin under %s: nothing "
		    "is forwarded there; to attach it again: lbctl attach %s",
		    there->name, attach->links, there->name);
		/* before the wait for the device, in which the list may become another one */
		forget(attach, there);
		offloads_restore(attach->offloads, ifindex);
	}
}

bool attach_interface_runs(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request))
		return false;
	return request.ifr_flags & IFF_UP && request.ifr_flags & IFF_RUNNING;
}

/* ---- start and end ---- */

static int print_as_debug(enum libxdp_print_level level, const char *format, va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	log_debug("libxdp: %s", line);
	return 0;
}

int attach_new(struct dataplane *dp, const char *pin, bool automatic, const char *offloads,
	       struct attach **ret, struct error *err)
{
	struct attach *attach = calloc(1, sizeof(*attach));
	int rc;

	if (!attach)
		return error_set(err, -ENOMEM, "out of memory");
	attach->pin = strdup(pin);
	attach->offloads = offloads_new(offloads);
	attach->detours = detours_new();
	if (asprintf(&attach->links, "%s/links", pin) < 0)
		attach->links = NULL;
	if (!attach->pin || !attach->links || !attach->offloads || !attach->detours ||
	    dispatcher_prepare())
		rc = error_set(err, -ENOMEM, "out of memory");
	else
		rc = make_directories(attach, err);
	if (rc) {
		attach_free(attach);
		return rc;
	}
	attach->dp = dp;
	attach->automatic = automatic;
	libxdp_set_print(print_as_debug);
	*ret = attach;
	return 0;
}

void attach_free(struct attach *attach)
{
	if (!attach)
		return;
	for (unsigned i = 0; i < attach->count; i++)
		sentences_free(attach->list[i].hints);
	offloads_free(attach->offloads);
	netdev_close(attach->netdev);
	netdev_close(attach->asking);
	losses_free(attach->losses);
	checksums_free(attach->checksums);
	detours_free(attach->detours);
	free(attach->egresses);
	free(attach->pin);
	free(attach->links);
	free(attach->list);
	free(attach);
}
