/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds source addresses that are no VIPs: the kernel's choice is read off a UDP socket that is
 * connected, which sends nothing. */
#include "source.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define READ_MS      1000 /* how old the list of addresses may be */
#define DISCARD_PORT 9

struct sources {
	struct addr *avoid; /* sorted */
	unsigned avoid_count;
	struct source *list; /* addresses of this host */
	unsigned count;
	bool avoids[7];        /* by family: an address of this host is to be avoided */
	uint64_t read_ms;      /* CLOCK_MONOTONIC; 0: never */
	int unread;            /* 0, or -errno: the addresses could not be read */
	struct addr logged[2]; /* by family: the last address that was put in the place of a VIP */
};

/* ---- choosing ---- */

static bool is_loopback(const struct addr *address)
{
	static const uint8_t one[16] = {[15] = 1};

	return address->family == 4 ? address->bytes[0] == 127
				    : !memcmp(address->bytes, one, sizeof(one));
}

static bool is_candidate(const struct source *source, const struct addr *to)
{
	return !source->avoid && source->address.family == to->family &&
	       addr_is_link_local(&source->address) == addr_is_link_local(to) &&
	       is_loopback(&source->address) == is_loopback(to);
}

static unsigned common_bits(const struct addr *a, const struct addr *b)
{
	unsigned bits = 0, most = (unsigned)addr_length(a) * 8;

	while (bits < most && !((a->bytes[bits / 8] ^ b->bytes[bits / 8]) & 0x80 >> bits % 8))
		bits++;
	return bits;
}

const struct source *source_choose(const struct source *list, unsigned count, unsigned kernel,
				   const struct addr *to)
{
	const struct source *best = NULL;
	unsigned best_rank = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned rank;

		if (!is_candidate(&list[i], to))
			continue;
		rank = 1 + common_bits(&list[i].address, to) +
		       (strcmp(list[i].interface, list[kernel].interface) ? 0 : 256);
		if (rank > best_rank) {
			best = &list[i];
			best_rank = rank;
		}
	}
	return best;
}

/* ---- the addresses of this host ---- */

static int compare(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static bool is_avoided(const struct sources *sources, const struct addr *address)
{
	return bsearch(address, sources->avoid, sources->avoid_count, sizeof(*address), compare);
}

static void add(struct sources *sources, const struct ifaddrs *from)
{
	struct source *source = &sources->list[sources->count];

	if (!from->ifa_addr || addr_from_sockaddr(from->ifa_addr, &source->address))
		return;
	snprintf(source->interface, sizeof(source->interface), "%s", from->ifa_name);
	source->avoid = is_avoided(sources, &source->address);
	sources->avoids[source->address.family] |= source->avoid;
	sources->count++;
}

static int list_addresses(struct sources *sources)
{
	struct ifaddrs *all = NULL;
	size_t most = 0;

	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *one = all; one; one = one->ifa_next)
		most++;
	sources->list = calloc(most + 1, sizeof(*sources->list));
	for (const struct ifaddrs *one = all; sources->list && one; one = one->ifa_next)
		add(sources, one);
	freeifaddrs(all);
	return sources->list ? 0 : -ENOMEM;
}

static void read_addresses(struct sources *sources)
{
	free(sources->list);
	sources->list = NULL;
	sources->count = 0;
	memset(sources->avoids, 0, sizeof(sources->avoids));
	sources->read_ms = clock_monotonic_ms();
	sources->unread = sources->avoid_count ? list_addresses(sources) : 0;
}

static void keep_fresh(struct sources *sources)
{
	if (!sources->read_ms || clock_monotonic_ms() - sources->read_ms >= READ_MS)
		read_addresses(sources);
}

/* The index in the list of the address that the kernel would choose; -ENOENT: none of the list, or
 * there is no route; else -errno: this host lacks something to find it out. */
static int kernel_choice(const struct sources *sources, const struct addr *to)
{
	_cleanup_close_ int fd =
	    socket(to->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(to, DISCARD_PORT, &address);
	struct addr from;

	if (fd < 0)
		return errno == EAFNOSUPPORT ? -ENOENT : -errno;
	if (connect(fd, (struct sockaddr *)&address, length))
		return failure_is_local(errno) && errno != EADDRNOTAVAIL ? -errno : -ENOENT;
	length = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &length) ||
	    addr_from_sockaddr((struct sockaddr *)&address, &from))
		return -ENOENT;
	for (unsigned i = 0; i < sources->count; i++)
		if (addr_equal(&sources->list[i].address, &from))
			return (int)i;
	return -ENOENT;
}

/* ---- finding ---- */

static void log_choice(struct sources *sources, const struct addr *vip, const struct addr *chosen)
{
	char a[ADDR_TEXT], b[ADDR_TEXT];

	struct addr *logged = &sources->logged[chosen->family == 6];

	if (addr_equal(logged, chosen))
		return;
	*logged = *chosen;
	log_info("health checks leave from %s: the kernel would choose %s, which is a VIP",
		 addr_format(chosen, a), addr_format(vip, b));
}

/* The kernel's choice may be a VIP, so it is not left to the kernel. */
static int unknown(int error, char why[FAILURE_TEXT])
{
	snprintf(why, FAILURE_TEXT, "its source is unknown, and may be a VIP: %s",
		 strerror(-error));
	return error;
}

int sources_find(struct sources *sources, const struct addr *to, struct addr *ret,
		 char why[FAILURE_TEXT])
{
	const struct source *chosen, *refused;
	char vip[ADDR_TEXT];
	int kernel;

	*ret = (struct addr){0};
	keep_fresh(sources);
	if (sources->unread)
		return unknown(sources->unread, why);
	if (!sources->avoids[to->family])
		return 0;
	kernel = kernel_choice(sources, to);
	if (kernel < 0 && kernel != -ENOENT)
		return unknown(kernel, why);
	if (kernel < 0 || !sources->list[kernel].avoid)
		return 0;
	refused = &sources->list[kernel];
	chosen = source_choose(sources->list, sources->count, (unsigned)kernel, to);
	if (chosen) {
		log_choice(sources, &refused->address, &chosen->address);
		*ret = chosen->address;
		return 0;
	}
	snprintf(
	    why, FAILURE_TEXT,
	    "check not sent: its source would be %s, which is a VIP: add another IPv%u address "
	    "to %s",
	    addr_format(&refused->address, vip), to->family, refused->interface);
	return -EADDRNOTAVAIL;
}

int source_set(int fd, const struct addr *source, uint32_t mark)
{
	struct sockaddr_storage address;
	socklen_t length;
	int one = 1;

	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -1;
	if (!source->family)
		return 0;
	length = addr_to_sockaddr(source, 0, &address);
	/* Otherwise the port is taken now, whatever the destination: they would run out. */
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&address, length);
}

bool source_is_set(const struct health_probe_spec *spec)
{
	return spec->source.family || spec->mark || spec->kind->socket;
}

/* ICMP: a socket of net.ipv4.ping_group_range, or a raw one with CAP_NET_RAW. */
static int open_socket(const struct health_kind *kind, unsigned char family)
{
	int domain = family == 4 ? AF_INET : AF_INET6;
	int type = kind->socket ? kind->socket : SOCK_STREAM;
	int protocol = family == 4 ? kind->protocol4 : kind->protocol6;
	int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd < 0 && errno == EACCES && (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6))
		fd = socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	return fd;
}

/* DF, and no fragments made here, whatever this host believes of the way: what is tried is that
 * very packet. */
static int send_whole(int fd, unsigned char family)
{
	static const int probe4 = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE, one = 1;

	if (family == 4)
		return setsockopt(fd, SOL_IP, IP_MTU_DISCOVER, &probe4, sizeof(probe4));
	return setsockopt(fd, SOL_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6)) ||
		       setsockopt(fd, SOL_IPV6, IPV6_DONTFRAG, &one, sizeof(one))
		   ? -1
		   : 0;
}

int source_socket(const struct health_probe_spec *spec)
{
	static const struct linger reset = {.l_onoff = 1};
	int fd = open_socket(spec->kind, spec->address.family);
	int error;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if ((!spec->length || !send_whole(fd, spec->address.family)) &&
	    !source_set(fd, &spec->source, spec->mark))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int source_connect(int fd, const struct health_probe_spec *spec)
{
	struct sockaddr_storage to;
	socklen_t length = addr_to_sockaddr(&spec->address, spec->port, &to);

	return connect(fd, (struct sockaddr *)&to, length) && errno != EINPROGRESS ? errno : 0;
}

int source_error(int fd)
{
	int rc = 0;
	socklen_t length = sizeof(rc);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &length) ? errno : rc;
}

/* ---- new and free ---- */

struct sources *sources_new(void)
{
	return calloc(1, sizeof(struct sources));
}

void sources_free(struct sources *sources)
{
	if (!sources)
		return;
	free(sources->avoid);
	free(sources->list);
	free(sources);
}

int sources_avoid(struct sources *sources, const struct addr *addresses, unsigned count)
{
	struct addr *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, addresses, count * sizeof(*copy));
	qsort(copy, count, sizeof(*copy), compare);
	free(sources->avoid);
	sources->avoid = copy;
	sources->avoid_count = count;
	sources->read_ms = 0;
	return 0;
}
