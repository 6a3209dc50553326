/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Describes the ways of health checks to the program that sends them there, and puts it on the
 * devices that the routes to VIPs lead to. */
#include "detour.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/lookup.h"
#include "common/rtnl.h"
#include "detour.skel.h"
#include "device.h"
#include "programs.h"

#define DEVICES_MAX 64
#define ASKERS_MAX  64   /* that wait at the socket of a device */
#define FOUND_MS    1000 /* what was found of a VIP holds so long: thousands of checks ask */
#define FOUND_VIPS  1024
#define OUTER_TTL   64
#define GUE_SOURCE  0xc000 /* a port of the range that the load balancer uses */
#define V4_HEADER   20
#define V6_HEADER   40
#define UDP_HEADER  8
#define GUE_HEADER  4
#define GRE_HEADER  4

/* A device that has the program. */
struct device {
	uint32_t ifindex;
	int lock;     /* a socket with the device's name, which only one lbd can have; -1: none */
	bool taken;   /* it is another lbd's */
	bool certain; /* the program is there */
};

/* What was found of a VIP. */
struct found {
	struct addr vip; /* family 0: nothing yet */
	uint64_t at_ms;  /* CLOCK_MONOTONIC */
	int rc;
	char why[DETOUR_WHY];
};

struct detours {
	struct detour_bpf *program; /* NULL: not needed yet */
	struct rtnl *rtnl;
	bool *used;    /* LB_DETOUR_WAYS */
	uint32_t next; /* below it all are used */
	struct device devices[DEVICES_MAX];
	unsigned devices_count;
	struct found *found; /* FOUND_VIPS, by hash */
};

/* ---- describing a way ---- */

static void put_16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static uint8_t inner_protocol(const struct detour_spec *spec)
{
	return spec->vip.family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static unsigned inner_ethertype(const struct detour_spec *spec)
{
	return spec->vip.family == 4 ? ETH_P_IP : ETH_P_IPV6;
}

static uint8_t outer_protocol(const struct detour_spec *spec)
{
	if (spec->forward == LB_FORWARD_GUE)
		return IPPROTO_UDP;
	return spec->forward == LB_FORWARD_GRE ? IPPROTO_GRE : inner_protocol(spec);
}

static uint16_t sum_words(const uint8_t *bytes, unsigned length)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void describe_v4(const struct detour_spec *spec, struct lb_detour *way)
{
	uint8_t *ip = way->header + ETH_HLEN;

	ip[0] = 0x45;
	ip[6] = 0x40; /* DF */
	ip[8] = OUTER_TTL;
	ip[9] = outer_protocol(spec);
	memcpy(ip + 12, spec->source.bytes, 4);
	memcpy(ip + 16, spec->backend.bytes, 4);
	way->csum = sum_words(ip, V4_HEADER);
	way->room = V4_HEADER;
	way->flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
}

static void describe_v6(const struct detour_spec *spec, struct lb_detour *way)
{
	uint8_t *ip = way->header + ETH_HLEN;

	ip[0] = 0x60;
	ip[6] = outer_protocol(spec);
	ip[7] = OUTER_TTL;
	memcpy(ip + 8, spec->source.bytes, 16);
	memcpy(ip + 24, spec->backend.bytes, 16);
	way->room = V6_HEADER;
	way->flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
}

/* What is between the outer and the inner IP header. */
static void describe_between(const struct detour_spec *spec, struct lb_detour *way)
{
	uint8_t *to = way->header + ETH_HLEN + way->room;

	if (spec->forward == LB_FORWARD_GRE) {
		put_16(to + 2, inner_ethertype(spec));
		way->room += GRE_HEADER;
		way->flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	}
	if (spec->forward == LB_FORWARD_GUE) {
		put_16(to, GUE_SOURCE);
		put_16(to + 2, spec->gue_port);
		to[UDP_HEADER + 1] = inner_protocol(spec);
		way->udp = (uint8_t)(ETH_HLEN + way->room);
		way->room += UDP_HEADER + GUE_HEADER;
		way->flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	}
}

void detour_describe(const struct detour_spec *spec, struct lb_detour *ret)
{
	struct lb_detour way = {.ifindex = spec->hop.ifindex, .vlan_tci = spec->hop.vlan_tci};

	memcpy(way.header, spec->hop.dst_mac, ETH_ALEN);
	memcpy(way.header + ETH_ALEN, spec->hop.src_mac, ETH_ALEN);
	put_16(way.header + 2 * ETH_ALEN, inner_ethertype(spec));
	if (spec->forward != LB_FORWARD_L2) {
		way.outer = spec->backend.family;
		put_16(way.header + 2 * ETH_ALEN, way.outer == 4 ? ETH_P_IP : ETH_P_IPV6);
		if (way.outer == 4)
			describe_v4(spec, &way);
		else
			describe_v6(spec, &way);
		describe_between(spec, &way);
	}
	way.packets = ret->packets;
	*ret = way;
}

/* ---- ways ---- */

uint32_t detour_mark(uint32_t number)
{
	return LB_DETOUR_MARK | number;
}

static int map_fd(const struct detours *detours)
{
	return bpf_map__fd(detours->program->maps.ways);
}

static int load(struct detours *detours)
{
	int rc = 0;

	if (!detours->rtnl && (rc = rtnl_open(&detours->rtnl)))
		return rc;
	if (detours->program)
		return 0;
	programs_print_to(NULL);
	detours->program = detour_bpf__open_and_load();
	if (!detours->program)
		rc = -errno;
	programs_print_as_usual();
	return rc;
}

int detour_add(struct detours *detours, uint32_t *ret)
{
	int rc = load(detours);

	if (rc)
		return rc;
	while (detours->next < LB_DETOUR_WAYS && detours->used[detours->next])
		detours->next++;
	if (detours->next == LB_DETOUR_WAYS)
		return -ENOSPC;
	*ret = detours->next++;
	detours->used[*ret] = true;
	return 0;
}

void detour_remove(struct detours *detours, uint32_t number)
{
	const struct lb_detour none = {0};

	bpf_map_update_elem(map_fd(detours), &number, &none, BPF_ANY);
	detours->used[number] = false;
	if (number < detours->next)
		detours->next = number;
}

/* A packet that is counted meanwhile is lost from the count: only growth matters. */
void detour_set(struct detours *detours, uint32_t number, const struct detour_spec *spec)
{
	struct lb_detour way = {0};

	way.packets = detour_packets(detours, number);
	detour_describe(spec, &way);
	bpf_map_update_elem(map_fd(detours), &number, &way, BPF_ANY);
}

uint64_t detour_packets(const struct detours *detours, uint32_t number)
{
	struct lb_detour way = {0};

	if (bpf_map_lookup_elem(map_fd(detours), &number, &way))
		return 0;
	return way.packets;
}

/* ---- devices ---- */

static int with_filter(const struct detours *detours, uint32_t ifindex, bool on)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = LB_DETOUR_FILTER, .priority = 1);
	int rc;

	/* lines about filters that exist already, or not, would be misleading */
	programs_print_to(NULL);
	if (on) {
		filter.prog_fd = bpf_program__fd(detours->program->progs.detour);
		filter.flags = BPF_TC_F_REPLACE;
		rc = bpf_tc_hook_create(&hook);
		if (!rc || rc == -EEXIST)
			rc = bpf_tc_attach(&hook, &filter);
	} else {
		rc = bpf_tc_detach(&hook, &filter);
	}
	programs_print_as_usual();
	return rc;
}

/* A name for the device among the abstract sockets of this network namespace: the kernel gives it
 * to one process at a time, and takes it back when that ends, however it ends. */
static socklen_t name_of(uint32_t ifindex, struct sockaddr_un *ret)
{
	int length;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	length = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "lbd-detour-%u", ifindex);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static int unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A descriptor or -errno. */
static int take_name(uint32_t ifindex)
{
	struct sockaddr_un name;
	socklen_t length = name_of(ifindex, &name);
	int fd = unix_socket(), rc;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&name, length) && !listen(fd, ASKERS_MAX))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* Anybody on this host could take the name: only root, or lbd's own user, is believed. */
static bool name_is_of_lbd(uint32_t ifindex)
{
	struct sockaddr_un name;
	struct ucred owner = {.uid = (uid_t)-1};
	socklen_t length = name_of(ifindex, &name), size = sizeof(owner);
	int fd = unix_socket();
	bool known = fd >= 0 && !connect(fd, (struct sockaddr *)&name, length) &&
		     !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size);

	if (fd >= 0)
		close(fd);
	return known && (!owner.uid || owner.uid == geteuid());
}

/* Those who asked know by now who has the device. Of a socket at which too many wait nobody could
 * learn that. */
static void dismiss_askers(int lock)
{
	int fd = 0;

	for (unsigned i = 0; i <= ASKERS_MAX && fd >= 0; i++) {
		fd = accept4(lock, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
}

/* Two lbds would send each other's checks to the wrong backends. 0; -EBUSY: the device is another
 * lbd's, which is asked who it is once. */
static int claim(struct device *device)
{
	int fd;

	if (device->lock >= 0) {
		dismiss_askers(device->lock);
		return 0;
	}
	fd = take_name(device->ifindex);
	if (fd == -EADDRINUSE) {
		device->taken = device->taken || name_is_of_lbd(device->ifindex);
		return device->taken ? -EBUSY : 0;
	}
	if (fd < 0)
		return fd;
	device->lock = fd;
	device->taken = false;
	return 0;
}

/* For certain: not when descriptors are lacking. */
static bool is_gone(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return !if_indextoname(ifindex, name) && errno == ENXIO;
}

/* A device that is made anew has another index: those that were would take all places. */
static void forget_gone(struct detours *detours)
{
	unsigned left = 0;

	for (unsigned i = 0; i < detours->devices_count; i++) {
		const struct device *device = &detours->devices[i];

		if (!is_gone(device->ifindex))
			detours->devices[left++] = *device;
		else if (device->lock >= 0)
			close(device->lock);
	}
	detours->devices_count = left;
}

/* NULL: there are too many. It stays where it is until the next call. */
static struct device *device_of(struct detours *detours, uint32_t ifindex)
{
	struct device *device = detours->devices;
	const struct device *end = device + detours->devices_count;

	while (device < end && device->ifindex != ifindex)
		device++;
	if (device < end)
		return device;
	forget_gone(detours);
	if (detours->devices_count == DEVICES_MAX)
		return NULL;
	device = &detours->devices[detours->devices_count++];
	*device = (struct device){.ifindex = ifindex, .lock = -1};
	return device;
}

/* 0; -EINVAL: it is not Ethernet; another -errno: that cannot be found out, as descriptors or
 * memory are lacking. */
static int check_device(uint32_t ifindex, char name[IF_NAMESIZE])
{
	errno = 0;
	if (if_indextoname(ifindex, name) && device_is_ethernet(name))
		return 0;
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -EINVAL;
}

/* The device of the route to the VIP. 0 or -errno. */
static int find_device(struct detours *detours, const struct addr *vip, uint32_t *ret,
		       char name[IF_NAMESIZE], char why[DETOUR_WHY])
{
	char text[ADDR_TEXT];
	struct rtnl_route route;
	int rc = rtnl_route(detours->rtnl, vip, &route);

	addr_format(vip, text);
	if (rc || (route.type != RTN_UNICAST && route.type != RTN_LOCAL)) {
		snprintf(why, DETOUR_WHY,
			 "check not sent: the kernel has no route to the VIP %s: a check "
			 "that goes there needs one, such as a default route",
			 text);
		return rc ? rc : -ENETUNREACH;
	}
	if (route.type == RTN_LOCAL || check_device(route.ifindex, name) == -EINVAL) {
		snprintf(
		    why, DETOUR_WHY,
		    "check not sent: the kernel's route to the VIP %s leads to %s: a check that "
		    "goes there needs an Ethernet device",
		    text, route.type == RTN_LOCAL ? "this host, which has its address" : name);
		return -EINVAL;
	}
	*ret = route.ifindex;
	return 0;
}

static int put_on_device(struct detours *detours, uint32_t ifindex, const char *name,
			 char why[DETOUR_WHY])
{
	struct device *device = device_of(detours, ifindex);
	int rc = device ? claim(device) : -ENOSPC;

	if (rc == -EBUSY) {
		snprintf(why, DETOUR_WHY,
			 "check not sent: %s: another lbd sends its checks to VIPs through it",
			 name);
		return rc;
	}
	if (!rc && device->certain)
		return 0;
	if (!rc)
		rc = with_filter(detours, ifindex, true);
	if (rc)
		snprintf(why, DETOUR_WHY, "check not sent: %s: no tc program at its egress: %s",
			 name, strerror(-rc));
	else
		device->certain = true;
	return rc;
}

static int prepare(struct detours *detours, const struct addr *vip, char why[DETOUR_WHY])
{
	char name[IF_NAMESIZE] = "no device";
	uint32_t ifindex;
	int rc = find_device(detours, vip, &ifindex, name, why);

	return rc ? rc : put_on_device(detours, ifindex, name, why);
}

int detour_prepare(struct detours *detours, const struct addr *vip, char why[DETOUR_WHY])
{
	uint64_t now_ms = clock_monotonic_ms();
	struct found *found = &detours->found[lookup_hash_addr(LOOKUP_START, vip) % FOUND_VIPS];

	if (!addr_equal(&found->vip, vip) || now_ms - found->at_ms >= FOUND_MS) {
		*found = (struct found){.vip = *vip, .at_ms = now_ms};
		found->rc = prepare(detours, vip, found->why);
	}
	if (found->rc)
		memcpy(why, found->why, sizeof(found->why));
	return found->rc;
}

static void forget_found(struct detours *detours)
{
	for (unsigned i = 0; i < FOUND_VIPS; i++)
		detours->found[i].vip.family = 0;
}

/* The devices stay this lbd's. */
void detour_missed(struct detours *detours)
{
	for (unsigned i = 0; i < detours->devices_count; i++)
		detours->devices[i].certain = false;
	forget_found(detours);
}

/* ---- new and free ---- */

struct detours *detours_new(void)
{
	struct detours *detours = calloc(1, sizeof(*detours));

	if (!detours)
		return NULL;
	detours->used = calloc(LB_DETOUR_WAYS, sizeof(*detours->used));
	detours->found = calloc(FOUND_VIPS, sizeof(*detours->found));
	if (detours->used && detours->found)
		return detours;
	detours_free(detours);
	return NULL;
}

void detours_free(struct detours *detours)
{
	if (!detours)
		return;
	for (unsigned i = 0; i < detours->devices_count; i++) {
		const struct device *device = &detours->devices[i];

		if (!device->taken)
			with_filter(detours, device->ifindex, false);
		if (device->lock >= 0)
			close(device->lock);
	}
	if (detours->program)
		detour_bpf__destroy(detours->program);
	rtnl_close(detours->rtnl);
	free(detours->used);
	free(detours->found);
	free(detours);
}
