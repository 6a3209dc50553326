/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The network of the host for backend-host: sysctls, links, addresses of lo. */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

extern char **environ;

/* ---- sysctl ---- */

const char *sysctl_name(const char *path, char name[128])
{
	snprintf(name, 128, "%s", path);
	for (char *at = name; *at; at++)
		*at = *at == '/' ? '.' : *at == '.' ? '/' : *at;
	return name;
}

int sysctl_read(const char *path, char value[SYSCTL_TEXT], struct error *err)
{
	_cleanup_close_ int fd = -1;
	char file[256], name[128], text[SYSCTL_TEXT];
	ssize_t length;

	snprintf(file, sizeof(file), "/proc/sys/%s", path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return error_set(err, -errno, "%s: cannot read: %s", sysctl_name(path, name),
				 strerror(errno));
	text[length] = 0;
	text[strcspn(text, "\n")] = 0;
	strcpy(value, text);
	return 0;
}

int sysctl_write(const char *path, const char *value, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char file[256], name[128];

	snprintf(file, sizeof(file), "/proc/sys/%s", path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return error_set(err, -errno, "%s: cannot set it to %s: %s",
				 sysctl_name(path, name), value, strerror(errno));
	return 0;
}

/* ---- addresses ---- */

int address_find(const struct addr *addr, char interface[IF_NAMESIZE], struct error *err)
{
	struct ifaddrs *all;

	if (getifaddrs(&all))
		return error_set(err, -errno, "cannot list the host's addresses: %s",
				 strerror(errno));
	interface[0] = 0;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		struct addr own;

		if (!addr_from_sockaddr(at->ifa_addr, &own) && addr_equal(&own, addr))
			snprintf(interface, IF_NAMESIZE, "%s", at->ifa_name);
	}
	freeifaddrs(all);
	return 0;
}

int address_each(void (*visit)(const struct addr *addr, void *context), void *context,
		 struct error *err)
{
	struct ifaddrs *all;

	if (getifaddrs(&all))
		return error_set(err, -errno, "cannot list the host's addresses: %s",
				 strerror(errno));
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		struct addr addr;

		if (!addr_from_sockaddr(at->ifa_addr, &addr))
			visit(&addr, context);
	}
	freeifaddrs(all);
	return 0;
}

static bool counts_as(const struct sockaddr *sa, uint8_t family)
{
	if (!sa || sa->sa_family != (family == 4 ? AF_INET : AF_INET6))
		return false;
	return family == 4 || !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

bool address_has_family(const char *interface, uint8_t family)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next)
		found |= strcmp(at->ifa_name, interface) == 0 && counts_as(at->ifa_addr, family);
	freeifaddrs(all);
	return found;
}

static void build_address(struct nlmsghdr *message, const struct addr *addr, bool present)
{
	const struct ifa_cacheinfo deprecated = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};
	struct ifaddrmsg *body;

	message->nlmsg_type = present ? RTM_NEWADDR : RTM_DELADDR;
	message->nlmsg_flags =
	    NLM_F_REQUEST | NLM_F_ACK | (present ? NLM_F_CREATE | NLM_F_EXCL : 0);
	message->nlmsg_seq = 1;
	body = mnl_nlmsg_put_extra_header(message, sizeof(*body));
	body->ifa_family = addr->family == 4 ? AF_INET : AF_INET6;
	body->ifa_prefixlen = (uint8_t)(addr_length(addr) * 8);
	body->ifa_scope = RT_SCOPE_UNIVERSE;
	body->ifa_index = if_nametoindex("lo");
	mnl_attr_put(message, IFA_LOCAL, addr_length(addr), addr->bytes);
	mnl_attr_put(message, IFA_ADDRESS, addr_length(addr), addr->bytes);
	if (present && addr->family == 6) {
		mnl_attr_put_u32(message, IFA_FLAGS, IFA_F_NODAD);
		mnl_attr_put(message, IFA_CACHEINFO, sizeof(deprecated), &deprecated);
	}
}

static int exchange(struct nlmsghdr *message)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char answer[4096];
	ssize_t length;
	int rc = 0;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) ||
	    mnl_socket_sendto(socket, message, message->nlmsg_len) < 0 ||
	    (length = mnl_socket_recvfrom(socket, answer, sizeof(answer))) < 0 ||
	    mnl_cb_run(answer, (size_t)length, 1, mnl_socket_get_portid(socket), NULL, NULL) < 0)
		rc = -errno;
	mnl_socket_close(socket);
	return rc;
}

int address_set(const struct addr *addr, bool present, struct error *err)
{
	char buffer[512], text[ADDR_TEXT];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	int rc;

	build_address(message, addr, present);
	rc = exchange(message);
	if (rc == 0 || (present && rc == -EEXIST) || (!present && rc == -EADDRNOTAVAIL))
		return 0;
	return error_set(err, rc, "lo: cannot %s %s/%zu: %s", present ? "add" : "remove",
			 addr_format(addr, text), addr_length(addr) * 8, strerror(-rc));
}

/* ---- links ---- */

static int link_ioctl(const char *interface, unsigned long what, struct ifreq *request)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", interface);
	return ioctl(fd, what, request) ? -errno : 0;
}

bool link_is_up(const char *interface)
{
	struct ifreq request = {0};

	return link_ioctl(interface, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

int link_set_up(const char *interface, bool up, struct error *err)
{
	struct ifreq request = {0};
	int rc = link_ioctl(interface, SIOCGIFFLAGS, &request);

	if (!rc) {
		request.ifr_flags =
		    (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
		rc = link_ioctl(interface, SIOCSIFFLAGS, &request);
	}
	if (rc)
		return error_set(err, rc, "%s: cannot set it %s: %s", interface, up ? "up" : "down",
				 strerror(-rc));
	return 0;
}

int link_mtu(const char *interface)
{
	struct ifreq request = {0};
	int rc = link_ioctl(interface, SIOCGIFMTU, &request);

	return rc ? rc : request.ifr_mtu;
}

/* Starts `ip` with its stderr in a pipe; *ret_messages is the read end. */
static int spawn_ip(const char *const *arguments, pid_t *ret_child, int *ret_messages)
{
	posix_spawn_file_actions_t actions;
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	rc = posix_spawn_file_actions_init(&actions);
	if (!rc) {
		rc = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
		if (!rc)
			rc = posix_spawnp(ret_child, "ip", &actions, NULL, (char *const *)arguments,
					  environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(ends[1]);
	*ret_messages = ends[0];
	if (rc)
		close(ends[0]);
	return rc;
}

int run_ip(const char *const *arguments, struct error *err)
{
	_cleanup_close_ int messages = -1;
	char line[256] = "ip", message[512];
	size_t used = 0;
	ssize_t got;
	pid_t child;
	int status, rc;

	for (unsigned i = 1; arguments[i]; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", arguments[i]);
	rc = spawn_ip(arguments, &child, &messages);
	if (rc) {
		messages = -1;
		return error_set(err, -rc, "%s: cannot run: %s.\nInstall iproute2", line,
				 strerror(rc));
	}
	while (used < sizeof(message) - 1 &&
	       (got = read(messages, message + used, sizeof(message) - 1 - used)) > 0)
		used += (size_t)got;
	message[used] = 0;
	message[strcspn(message, "\n")] = 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return error_set(err, -errno, "%s: %s", line, strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, -EOPNOTSUPP, "%s: %s", line, message);
	return 0;
}
