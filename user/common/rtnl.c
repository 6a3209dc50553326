/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rtnetlink: messages read into structs, and requests with a timeout. */
#include "rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "netlink.h"

/* ---- messages ---- */

static bool read_addr(const struct nlattr *attr, int family, struct addr *ret)
{
	size_t length = family == AF_INET ? 4 : 16;

	if ((family != AF_INET && family != AF_INET6) || mnl_attr_get_payload_len(attr) < length)
		return false;
	*ret = (struct addr){.family = family == AF_INET ? 4 : 6};
	memcpy(ret->bytes, mnl_attr_get_payload(attr), length);
	return true;
}

static bool read_mac(const struct nlattr *attr, uint8_t mac[6])
{
	if (mnl_attr_get_payload_len(attr) != 6)
		return false;
	memcpy(mac, mnl_attr_get_payload(attr), 6);
	return true;
}

static void read_vlan(const struct nlattr *data, struct rtnl_link *ret)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data)
	{
		if (mnl_attr_get_type(attr) == IFLA_VLAN_ID && mnl_attr_get_payload_len(attr) >= 2)
			ret->vlan_id = mnl_attr_get_u16(attr);
		if (mnl_attr_get_type(attr) == IFLA_VLAN_PROTOCOL &&
		    mnl_attr_get_payload_len(attr) >= 2)
			ret->vlan_protocol = ntohs(mnl_attr_get_u16(attr));
	}
}

static bool is_kind(const struct nlattr *attr, const char *kind)
{
	size_t length = strlen(kind), most = mnl_attr_get_payload_len(attr);
	const char *text = mnl_attr_get_payload(attr);

	return most >= length && strnlen(text, most) == length && !memcmp(text, kind, length);
}

static void read_linkinfo(const struct nlattr *info, struct rtnl_link *ret)
{
	const struct nlattr *attr, *data = NULL;

	mnl_attr_for_each_nested(attr, info)
	{
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND) {
			ret->vlan = is_kind(attr, "vlan");
			ret->macvlan = is_kind(attr, "macvlan");
		}
		if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (ret->vlan && data)
		read_vlan(data, ret);
}

bool rtnl_read_link(const struct nlmsghdr *message, struct rtnl_link *ret)
{
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	/* A bridge sends messages about its ports with its own family. */
	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header) || header->ifi_family != AF_UNSPEC)
		return false;
	*ret = (struct rtnl_link){.ifindex = (uint32_t)header->ifi_index,
				  .up = header->ifi_flags & IFF_UP,
				  .carrier = header->ifi_flags & IFF_LOWER_UP,
				  .ethernet = header->ifi_type == ARPHRD_ETHER};
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		uint16_t length = mnl_attr_get_payload_len(attr);

		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			strncpy(ret->name, mnl_attr_get_payload(attr),
				length < IF_NAMESIZE ? length : IF_NAMESIZE - 1);
			break;
		case IFLA_ADDRESS:
			ret->ethernet = read_mac(attr, ret->mac) && ret->ethernet;
			break;
		case IFLA_MTU:
			ret->mtu = length >= 4 ? mnl_attr_get_u32(attr) : 0;
			break;
		case IFLA_MASTER:
			ret->master = length >= 4 ? mnl_attr_get_u32(attr) : 0;
			break;
		case IFLA_LINK:
			ret->lower = length >= 4 ? mnl_attr_get_u32(attr) : 0;
			break;
		case IFLA_LINK_NETNSID:
			ret->vlan_elsewhere = true;
			break;
		case IFLA_LINKINFO:
			read_linkinfo(attr, ret);
			break;
		}
	}
	return ret->name[0];
}

static uint32_t read_route_mtu(const struct nlattr *metrics)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, metrics)
	{
		if (mnl_attr_get_type(attr) == RTAX_MTU && mnl_attr_get_payload_len(attr) >= 4)
			return mnl_attr_get_u32(attr);
	}
	return 0;
}

/* RTA_VIA: a gateway of another family than the destination's. */
static void read_via(const struct nlattr *attr, struct addr *ret)
{
	const struct rtvia *via = mnl_attr_get_payload(attr);
	size_t length = mnl_attr_get_payload_len(attr);

	if (length < sizeof(*via) + 4 ||
	    (via->rtvia_family == AF_INET6 && length < sizeof(*via) + 16))
		return;
	if (via->rtvia_family != AF_INET && via->rtvia_family != AF_INET6)
		return;
	*ret = (struct addr){.family = via->rtvia_family == AF_INET ? 4 : 6};
	memcpy(ret->bytes, via->rtvia_addr, addr_length(ret));
}

bool rtnl_read_route(const struct nlmsghdr *message, struct rtnl_route *ret)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*header))
		return false;
	*ret = (struct rtnl_route){.type = header->rtm_type};
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		switch (mnl_attr_get_type(attr)) {
		case RTA_OIF:
			ret->ifindex =
			    mnl_attr_get_payload_len(attr) >= 4 ? mnl_attr_get_u32(attr) : 0;
			break;
		case RTA_GATEWAY:
			read_addr(attr, header->rtm_family, &ret->gateway);
			break;
		case RTA_VIA:
			read_via(attr, &ret->gateway);
			break;
		case RTA_PREFSRC:
			read_addr(attr, header->rtm_family, &ret->source);
			break;
		case RTA_METRICS:
			ret->mtu = read_route_mtu(attr);
			break;
		case RTA_ENCAP_TYPE:
			ret->encapsulates = true;
			break;
		}
	}
	return true;
}

bool rtnl_read_prefix(const struct nlmsghdr *message, struct rtnl_prefix *ret)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header))
		return false;
	if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6)
		return false;
	*ret = (struct rtnl_prefix){.address.family = header->rtm_family == AF_INET ? 4 : 6,
				    .length = header->rtm_dst_len};
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == RTA_DST)
			read_addr(attr, header->rtm_family, &ret->address);
	}
	return ret->length <= addr_length(&ret->address) * 8;
}

bool rtnl_read_neighbour(const struct nlmsghdr *message, struct rtnl_neighbour *ret)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*header) || header->ndm_flags & NTF_PROXY)
		return false;
	*ret = (struct rtnl_neighbour){.ifindex = (uint32_t)header->ndm_ifindex,
				       .state = header->ndm_state,
				       .marks.learned = header->ndm_flags & NTF_EXT_LEARNED};
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == NDA_DST)
			read_addr(attr, header->ndm_family, &ret->address);
		if (mnl_attr_get_type(attr) == NDA_LLADDR)
			ret->has_mac = read_mac(attr, ret->mac);
		if (mnl_attr_get_type(attr) == NDA_FLAGS_EXT && mnl_attr_get_payload_len(attr) >= 4)
			ret->marks.managed = mnl_attr_get_u32(attr) & NTF_EXT_MANAGED;
	}
	return ret->address.family;
}

/* ---- requests ---- */

struct rtnl {
	struct netlink netlink;
};

int rtnl_open(struct rtnl **ret)
{
	struct rtnl *rtnl = calloc(1, sizeof(*rtnl));
	int rc;

	if (!rtnl)
		return -ENOMEM;
	rc = netlink_init(&rtnl->netlink, NETLINK_ROUTE);
	if (rc) {
		free(rtnl);
		return rc;
	}
	*ret = rtnl;
	return 0;
}

void rtnl_close(struct rtnl *rtnl)
{
	if (!rtnl)
		return;
	netlink_done(&rtnl->netlink);
	free(rtnl);
}

static int family_of(const struct addr *address)
{
	return address->family == 4 ? AF_INET : AF_INET6;
}

struct link_answer {
	void (*link)(void *arg, const struct rtnl_link *link);
	void *arg;
};

static void answer_link(void *arg, const struct nlmsghdr *message)
{
	const struct link_answer *answer = arg;
	struct rtnl_link link;

	if (rtnl_read_link(message, &link))
		answer->link(answer->arg, &link);
}

/* ifindex 0: of all interfaces. */
static struct nlmsghdr *put_link_request(char *buffer, uint16_t flags, uint32_t ifindex)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *header;

	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ifi_family = AF_UNSPEC;
	header->ifi_index = (int)ifindex;
	mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return message;
}

int rtnl_links(struct rtnl *rtnl, void (*link)(void *arg, const struct rtnl_link *link), void *arg)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct link_answer answer = {link, arg};

	return netlink_request(&rtnl->netlink, put_link_request(buffer, NLM_F_DUMP, 0), answer_link,
			       &answer);
}

static void answer_one_link(void *arg, const struct nlmsghdr *message)
{
	struct rtnl_link *ret = arg;

	if (!rtnl_read_link(message, ret))
		ret->ifindex = 0;
}

int rtnl_link(struct rtnl *rtnl, uint32_t ifindex, struct rtnl_link *ret)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct rtnl_link link = {0};
	int rc = netlink_request(&rtnl->netlink, put_link_request(buffer, 0, ifindex),
				 answer_one_link, &link);

	if (!rc && link.ifindex != ifindex)
		rc = -ENODEV;
	if (!rc)
		*ret = link;
	return rc;
}

static void answer_route(void *arg, const struct nlmsghdr *message)
{
	rtnl_read_route(message, arg);
}

int rtnl_route(struct rtnl *rtnl, const struct addr *address, struct rtnl_route *ret)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtnl_route route = {0};
	struct rtmsg *header;
	int rc;

	message->nlmsg_type = RTM_GETROUTE;
	message->nlmsg_flags = NLM_F_REQUEST;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = (unsigned char)family_of(address);
	header->rtm_dst_len = (unsigned char)(addr_length(address) * 8);
	mnl_attr_put(message, RTA_DST, addr_length(address), address->bytes);
	rc = netlink_request(&rtnl->netlink, message, answer_route, &route);
	if (!rc)
		*ret = route;
	return rc;
}

/* ---- routes, rules and addresses: all of them ---- */

static int dump(struct rtnl *rtnl, uint16_t type, uint8_t family,
		void (*answer)(void *arg, const struct nlmsghdr *message), void *arg)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct rtmsg *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	/* the headers of all three kinds begin with the family and are no longer */
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
	return netlink_request(&rtnl->netlink, message, answer, arg);
}

struct way_answer {
	void (*way)(void *arg, const struct rtnl_way *way);
	void *arg;
};

static uint32_t read_table(const struct nlmsghdr *message, const struct rtmsg *header, int type)
{
	uint32_t table = header->rtm_table;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == type && mnl_attr_get_payload_len(attr) >= 4)
			table = mnl_attr_get_u32(attr);
	}
	return table;
}

static void answer_way(void *arg, const struct nlmsghdr *message)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct way_answer *answer = arg;
	struct rtnl_way way = {0};
	const struct nlattr *attr;

	if (!rtnl_read_prefix(message, &way.prefix) || !rtnl_read_route(message, &way.route) ||
	    header->rtm_flags & RTM_F_CLONED ||
	    read_table(message, header, RTA_TABLE) != RT_TABLE_MAIN)
		return;
	way.plain = !header->rtm_src_len && !header->rtm_tos && way.route.ifindex;
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == RTA_PRIORITY && mnl_attr_get_payload_len(attr) >= 4)
			way.metric = mnl_attr_get_u32(attr);
		if (mnl_attr_get_type(attr) == RTA_MULTIPATH || way.route.encapsulates)
			way.plain = false;
	}
	answer->way(answer->arg, &way);
}

int rtnl_ways(struct rtnl *rtnl, uint8_t family, void (*way)(void *arg, const struct rtnl_way *way),
	      void *arg)
{
	struct way_answer answer = {way, arg};

	return dump(rtnl, RTM_GETROUTE, family, answer_way, &answer);
}

/* The kernel makes a rule for each of these tables: fib_default_rules_init. */
static void answer_rule(void *arg, const struct nlmsghdr *message)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	bool *others = arg;
	const struct nlattr *attr;
	uint32_t table;

	if (message->nlmsg_type != RTM_NEWRULE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*header))
		return;
	table = read_table(message, header, FRA_TABLE);
	if (header->rtm_src_len || header->rtm_dst_len || header->rtm_tos ||
	    (table != RT_TABLE_LOCAL && table != RT_TABLE_MAIN && table != RT_TABLE_DEFAULT))
		*others = true;
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		uint16_t type = mnl_attr_get_type(attr);

		if (type == FRA_IIFNAME || type == FRA_OIFNAME || type == FRA_FWMARK ||
		    type == FRA_UID_RANGE || type == FRA_IP_PROTO)
			*others = true;
	}
}

int rtnl_has_rules(struct rtnl *rtnl, uint8_t family, bool *ret)
{
	bool others = false;
	int rc = dump(rtnl, RTM_GETRULE, family, answer_rule, &others);

	if (!rc)
		*ret = others;
	return rc;
}

struct address_answer {
	void (*address)(void *arg, const struct addr *address);
	void *arg;
};

/* Of a point-to-point interface IFA_ADDRESS is the other end's. */
static void answer_address(void *arg, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct address_answer *answer = arg;
	struct addr found = {0}, local = {0};
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWADDR ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*header))
		return;
	mnl_attr_for_each(attr, message, sizeof(*header))
	{
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			read_addr(attr, header->ifa_family, &local);
		if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			read_addr(attr, header->ifa_family, &found);
	}
	if (local.family || found.family)
		answer->address(answer->arg, local.family ? &local : &found);
}

int rtnl_addresses(struct rtnl *rtnl, void (*address)(void *arg, const struct addr *address),
		   void *arg)
{
	struct address_answer answer = {address, arg};

	return dump(rtnl, RTM_GETADDR, 0, answer_address, &answer);
}

static struct nlmsghdr *put_neighbour(char *buffer, uint16_t type, uint16_t flags, uint32_t ifindex,
				      const struct addr *address, struct ndmsg **ret_header)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct ndmsg *header;

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->ndm_family = (unsigned char)family_of(address);
	header->ndm_ifindex = (int)ifindex;
	mnl_attr_put(message, NDA_DST, addr_length(address), address->bytes);
	*ret_header = header;
	return message;
}

static void answer_neighbour(void *arg, const struct nlmsghdr *message)
{
	rtnl_read_neighbour(message, arg);
}

int rtnl_neighbour(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address,
		   struct rtnl_neighbour *ret)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct rtnl_neighbour neighbour = {0};
	struct ndmsg *header;
	int rc = netlink_request(&rtnl->netlink,
				 put_neighbour(buffer, RTM_GETNEIGH, 0, ifindex, address, &header),
				 answer_neighbour, &neighbour);

	if (!rc)
		*ret = neighbour;
	return rc;
}

int rtnl_solicit(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address,
		 struct rtnl_marks marks)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct ndmsg *header;
	struct nlmsghdr *message = put_neighbour(buffer, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE,
						 ifindex, address, &header);

	header->ndm_flags = NTF_USE | (marks.learned ? NTF_EXT_LEARNED : 0);
	header->ndm_state = NUD_NONE;
	if (marks.managed)
		mnl_attr_put_u32(message, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	return netlink_request(&rtnl->netlink, message, NULL, NULL);
}

int rtnl_verify(struct rtnl *rtnl, uint32_t ifindex, const struct addr *address, bool learned)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct ndmsg *header;
	/* Without NLM_F_REPLACE and without a MAC: the kernel changes the state and nothing
	 * else. */
	struct nlmsghdr *message =
	    put_neighbour(buffer, RTM_NEWNEIGH, NLM_F_ACK, ifindex, address, &header);

	header->ndm_flags = learned ? NTF_EXT_LEARNED : 0;
	header->ndm_state = NUD_PROBE;
	return netlink_request(&rtnl->netlink, message, NULL, NULL);
}
