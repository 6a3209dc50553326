/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What devices do with frames from XDP. Linux 6.3 and newer say which devices take them (and refuse
 * to redirect to others); for older kernels this goes by the driver, and by the other end of a
 * veth. */
#include "device.h"

#include <bpf/libbpf.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ethtool.h"
#include "common/rtnl.h"

/* Drivers without ndo_xdp_xmit in Linux 6.1 and 6.2, for Ethernet devices that are made of
 * software. Those of cards are not listed: they differ by version and configuration. */
static const char *const takes_none[] = {"bridge", "dummy",   "geneve",      "ifb",  "ipvlan",
					 "macsec", "macvlan", "openvswitch", "team", "vxlan"};

static bool driver_is(const char *name, const char *driver)
{
	char is[ETHTOOL_DRIVER];

	ethtool_driver(name, is);
	return !strcmp(is, driver);
}

bool device_is_veth(const char *name)
{
	return driver_is(name, "veth");
}

bool device_is_bond(const char *name)
{
	return driver_is(name, "bonding");
}

bool device_is_card(const char *name)
{
	/* The first three have no device of the bus, but /sys may be that of another network
	 * namespace, with a card of this name. The others have one, but the host at the other end
	 * may be in this machine. */
	static const char *const beside[] = {"veth", "tun",       "bridge", "virtio_net",
					     "vif",  "hv_netvsc", "vmxnet3"};
	char path[64];

	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (driver_is(name, beside[i]))
			return false;
	snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
	return !access(path, F_OK);
}

bool device_is_ethernet(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &request) &&
	       request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}

/* ---- devices beside a device ---- */

static struct rtnl_link look_at(uint32_t ifindex)
{
	struct rtnl_link link = {0};
	struct rtnl *rtnl = NULL;

	if (!rtnl_open(&rtnl))
		rtnl_link(rtnl, ifindex, &link);
	rtnl_close(rtnl);
	return link;
}

uint32_t device_peer(uint32_t ifindex)
{
	const struct rtnl_link link = look_at(ifindex);

	return link.vlan_elsewhere ? 0 : link.lower;
}

uint32_t device_master(uint32_t ifindex)
{
	return look_at(ifindex).master;
}

static bool feature_is_on(const char *name, const char *feature)
{
	int index = ethtool_feature_find(feature);
	bool on = false;

	return index >= 0 && !ethtool_feature_read(name, index, &on) && on;
}

/* ---- frames from XDP ---- */

/* A veth receives frames from XDP only where it polls: with GRO, or with a program of its own. */
static bool veth_polls(uint32_t ifindex, const char *name)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	return feature_is_on(name, "rx-gro") ||
	       (!bpf_xdp_query((int)ifindex, 0, &query) && query.drv_prog_id);
}

/* Before Linux 6.3. */
static enum device_takes guess(uint32_t ifindex, const char *driver)
{
	char name[IF_NAMESIZE];
	uint32_t peer;

	if (!strcmp(driver, "veth")) {
		peer = device_peer(ifindex);
		if (!peer || !if_indextoname(peer, name))
			return DEVICE_TAKES_UNKNOWN;
		return veth_polls(peer, name) ? DEVICE_TAKES_FRAMES : DEVICE_TAKES_NONE;
	}
	for (size_t i = 0; i < sizeof(takes_none) / sizeof(takes_none[0]); i++)
		if (!strcmp(driver, takes_none[i]))
			return DEVICE_TAKES_NONE;
	return DEVICE_TAKES_UNKNOWN;
}

static void describe(const char *name, const char *driver, char why[DEVICE_WHY])
{
	if (!strcmp(driver, "veth"))
		snprintf(why, DEVICE_WHY,
			 "the other end of %s takes no frames from XDP, as GRO is off there and no "
			 "XDP program is attached: on the other end: ethtool -K PEER gro on tx off",
			 name);
	else
		snprintf(why, DEVICE_WHY,
			 "%s%s%s%s takes no frames from native XDP: use mode: generic, or attach "
			 "lbd to it too, if its driver then takes them",
			 name, *driver ? " (" : "", driver, *driver ? ")" : "");
}

enum device_takes device_takes(struct netdev *netdev, uint32_t ifindex, char why[DEVICE_WHY])
{
	char name[IF_NAMESIZE], driver[ETHTOOL_DRIVER];
	enum device_takes takes;
	uint64_t features;

	if (!if_indextoname(ifindex, name))
		return DEVICE_TAKES_UNKNOWN;
	ethtool_driver(name, driver);
	if (!netdev_xdp_features(netdev, ifindex, &features))
		takes = features & NETDEV_TAKES_FRAMES ? DEVICE_TAKES_FRAMES : DEVICE_TAKES_NONE;
	else
		takes = guess(ifindex, driver);
	if (takes == DEVICE_TAKES_NONE)
		describe(name, driver, why);
	return takes;
}

/* The kernel fills in a checksum that the sender left to its device when the packet leaves for the
 * wire. In native mode only bytes are passed on, and the receiver finds a wrong checksum. */
static bool peer_leaves_checksums(uint32_t ifindex, const char *name, char why[DEVICE_WHY])
{
	char other[IF_NAMESIZE];
	uint32_t peer = device_peer(ifindex);

	if (!peer || !if_indextoname(peer, other) ||
	    !feature_is_on(other, "tx-checksum-ip-generic"))
		return false;
	snprintf(why, DEVICE_WHY,
		 "%s, the other end of %s, sends packets without checksums, which native mode "
		 "forwards as they are: ethtool -K %s tx off",
		 other, name, other);
	return true;
}

bool device_suits_native(struct netdev *netdev, uint32_t ifindex, char why[DEVICE_WHY])
{
	char name[IF_NAMESIZE];

	if (!if_indextoname(ifindex, name) || !device_is_veth(name))
		return true; /* a driver without XDP refuses the program */
	return device_takes(netdev, ifindex, why) != DEVICE_TAKES_NONE &&
	       !peer_leaves_checksums(ifindex, name, why);
}

int device_veth_counts(const char *name, struct device_counts *ret)
{
	static const char *const endings[] = {"_xdp_tx", "_xdp_tx_errors"};
	uint64_t sums[2];
	int rc = ethtool_sum_stats(name, endings, 2, sums);

	if (!rc)
		*ret = (struct device_counts){.sent = sums[0], .lost = sums[1]};
	return rc;
}
