/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* user/lbd/attach/device.h, losses.h and common/netdev.h: what devices do with frames from XDP,
 * with the kernel's devices in a network namespace of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "lbd/attach/checksums.h"
#include "lbd/attach/device.h"
#include "lbd/attach/losses.h"
#include "support/test_netns.h"

#define HANG_MS 60000 /* a wait that long means that the test hangs */

static struct netdev *netdev; /* NULL: an old kernel */

static int begin(void **state)
{
	if (!netns_entered())
		return 0;
	here("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	here("ethtool -K v1 gro off tx off >/dev/null 2>&1");
	here("ip link add br0 type bridge && ip link set br0 up");
	return 0;
}

static int end(void **state)
{
	if (netns_entered())
		here("ip link del v0; ip link del br0");
	return 0;
}

/* A program that ends with this action; on a redirect, to the interface. */
static int load(enum xdp_action action, const char *to)
{
	const struct bpf_insn redirect[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = (int)if_nametoindex(to)},
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2},
	    {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect},
	    {.code = BPF_JMP | BPF_EXIT}};
	const struct bpf_insn end_with[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = (int)action},
	    {.code = BPF_JMP | BPF_EXIT}};
	int fd = action == XDP_REDIRECT
		     ? bpf_prog_load(BPF_PROG_TYPE_XDP, "test", "GPL", redirect, 4, NULL)
		     : bpf_prog_load(BPF_PROG_TYPE_XDP, "test", "GPL", end_with, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static void attach(const char *name, enum xdp_action action, const char *to)
{
	int fd = load(action, to);

	assert_int_equal(bpf_xdp_attach((int)if_nametoindex(name), fd, XDP_FLAGS_DRV_MODE, NULL),
			 0);
	close(fd);
}

/* Sends a frame out of a device, to broadcast. */
static void send_frame(const char *device)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(device),
				 .sll_halen = ETH_ALEN};
	unsigned char frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
				   0,    0,    0,    0,    9,    0x88, 0xb5};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	assert_true(fd >= 0);
	assert_int_equal(sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(frame));
	close(fd);
}

/* ---- what a device takes ---- */

static enum device_takes takes(struct netdev *asked, const char *name)
{
	char why[DEVICE_WHY] = "";
	enum device_takes got = device_takes(asked, if_nametoindex(name), why);

	assert_int_equal(got == DEVICE_TAKES_NONE, why[0] != 0);
	return got;
}

/* By the kernel's word, and as it is found out on an older kernel. */
static void assert_takes(const char *name, enum device_takes expected)
{
	if (netdev)
		assert_int_equal(takes(netdev, name), expected);
	assert_int_equal(takes(NULL, name), expected);
}

static void a_veth_takes_frames_once_its_other_end_polls(void **state)
{
	needs_root();
	assert_takes("v0", DEVICE_TAKES_NONE);
	here("ethtool -K v1 gro on");
	assert_takes("v0", DEVICE_TAKES_FRAMES);
	here("ethtool -K v1 gro off");
	assert_takes("v0", DEVICE_TAKES_NONE);
	attach("v1", XDP_PASS, "v1");
	assert_takes("v0", DEVICE_TAKES_FRAMES);
}

static void a_bridge_takes_no_frames(void **state)
{
	char why[DEVICE_WHY];

	needs_root();
	assert_takes("br0", DEVICE_TAKES_NONE);
	device_takes(netdev, if_nametoindex("br0"), why);
	assert_string_equal(why, "br0 (bridge) takes no frames from native XDP: use mode: generic, "
				 "or attach lbd to it too, if its driver then takes them");
}

static void a_device_that_is_gone_is_unknown(void **state)
{
	char why[DEVICE_WHY];

	needs_root();
	assert_int_equal(device_takes(netdev, 999999, why), DEVICE_TAKES_UNKNOWN);
	assert_int_equal(device_takes(NULL, 999999, why), DEVICE_TAKES_UNKNOWN);
}

static void assert_suits(bool expected)
{
	char why[DEVICE_WHY];

	if (netdev)
		assert_int_equal(device_suits_native(netdev, if_nametoindex("v0"), why), expected);
	assert_int_equal(device_suits_native(NULL, if_nametoindex("v0"), why), expected);
}

static void native_mode_needs_an_other_end_that_polls_and_finishes_checksums(void **state)
{
	char why[DEVICE_WHY];

	needs_root();
	assert_suits(false);
	here("ethtool -K v1 gro on");
	assert_suits(true);
	here("ethtool -K v1 tx on >/dev/null");
	assert_suits(false);
	device_suits_native(netdev, if_nametoindex("v0"), why);
	assert_string_equal(why, "v1, the other end of v0, sends packets without checksums, which "
				 "native mode forwards as they are: ethtool -K v1 tx off");
}

static void native_mode_of_another_driver_is_the_drivers_to_refuse(void **state)
{
	char why[DEVICE_WHY];

	needs_root();
	assert_true(device_suits_native(netdev, if_nametoindex("br0"), why));
}

static void devices_are_told_apart(void **state)
{
	needs_root();
	assert_true(device_is_veth("v0"));
	assert_false(device_is_veth("br0"));
	assert_false(device_is_bond("v0"));
	assert_true(device_is_ethernet("v0"));
	assert_false(device_is_ethernet("lo"));
	assert_false(device_is_ethernet("gone"));
	assert_int_equal(device_peer(if_nametoindex("v0")), if_nametoindex("v1"));
	assert_int_equal(device_master(if_nametoindex("v0")), 0);
	here("ip link set v0 master br0");
	assert_int_equal(device_master(if_nametoindex("v0")), if_nametoindex("br0"));
}

/* ---- lost frames ---- */

static bool counts_reach(uint64_t sent, uint64_t lost)
{
	uint64_t end_ms = clock_monotonic_ms() + HANG_MS;
	struct device_counts counts = {0};

	while (counts.sent < sent || counts.lost < lost) {
		if (device_veth_counts("v0", &counts) || clock_monotonic_ms() > end_ms)
			return false;
		usleep(1000);
	}
	return counts.sent == sent && counts.lost == lost;
}

static void a_veth_counts_what_was_sent_back_and_what_was_lost(void **state)
{
	needs_root();
	attach("v0", XDP_TX, "v0");
	assert_true(counts_reach(0, 0));
	send_frame("v1");
	assert_true(counts_reach(0, 1));
	here("ethtool -K v1 gro on");
	send_frame("v1");
	assert_true(counts_reach(1, 1));
}

static void a_device_that_is_no_veth_has_no_such_counts(void **state)
{
	struct device_counts counts;

	needs_root();
	assert_int_not_equal(device_veth_counts("br0", &counts), 0);
}

struct seen {
	uint32_t from, to;
	uint64_t frames;
	int error;
};

static void on_loss(void *arg, uint32_t from, uint32_t to, uint64_t frames, int error)
{
	struct seen *seen = arg;

	*seen = (struct seen){from, to, seen->frames + frames, error};
}

static void refused_redirects_are_counted_by_device(void **state)
{
	uint64_t end_ms = clock_monotonic_ms() + HANG_MS;
	struct seen seen = {0}, again = {0};
	struct losses *losses;
	struct error err;

	needs_root();
	if (losses_new(&losses, &err)) {
		print_message("%s\n", err.text);
		skip();
	}
	attach("v0", XDP_REDIRECT, "br0");
	send_frame("v1");
	send_frame("v1");
	while (seen.frames < 2 && clock_monotonic_ms() < end_ms)
		losses_read(losses, on_loss, &seen);
	assert_int_equal(seen.frames, 2);
	assert_int_equal(seen.from, if_nametoindex("v0"));
	assert_int_equal(seen.to, if_nametoindex("br0"));
	assert_int_equal(seen.error, -EOPNOTSUPP);
	losses_read(losses, on_loss, &again);
	assert_int_equal(again.frames, 0);
	losses_free(losses);
}

/* Devices of two namespaces may have the same ifindex. */
static void losses_of_another_network_namespace_are_not_counted(void **state)
{
	uint64_t end_ms = clock_monotonic_ms() + HANG_MS;
	struct seen own = {0}, other = {0};
	struct losses *here_counted, *elsewhere;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct error err;

	needs_root();
	if (losses_new(&here_counted, &err))
		skip();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(losses_new(&elsewhere, &err), 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	attach("v0", XDP_REDIRECT, "br0");
	send_frame("v1");
	while (own.frames < 1 && clock_monotonic_ms() < end_ms)
		losses_read(here_counted, on_loss, &own);
	losses_read(elsewhere, on_loss, &other);
	assert_int_equal(own.frames, 1);
	assert_int_equal(other.frames, 0);
	losses_free(here_counted);
	losses_free(elsewhere);
}

/* ---- checksums ---- */

/* A datagram from v1 to v0. */
static void send_datagram(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, "10.9.0.1", &to.sin_addr);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	close(fd);
}

static struct lb_checksums look_until(struct checksums *checksums, uint32_t whole,
				      uint32_t unfinished)
{
	uint64_t end_ms = clock_monotonic_ms() + HANG_MS;
	struct lb_checksums seen = {0};

	while ((seen.whole < whole || seen.unfinished < unfinished) &&
	       clock_monotonic_ms() < end_ms)
		assert_int_equal(checksums_read(checksums, if_nametoindex("v0"), &seen), 0);
	return seen;
}

static void packets_with_unfinished_checksums_are_told_from_whole_ones(void **state)
{
	uint32_t v0 = if_nametoindex("v0");
	struct checksums *checksums;
	struct lb_checksums seen;
	struct error err;

	needs_root();
	if (checksums_new(&checksums, &err)) {
		print_message("%s\n", err.text);
		skip();
	}
	here("ip addr add 10.9.0.2/24 dev v1 && ip neigh replace 10.9.0.1 dev v1 nud permanent "
	     "lladdr $(ip -br link show v0 | awk '{ print $3 }')");
	attach("v0", XDP_TX, "v0");
	assert_int_equal(checksums_watch(checksums, v0), 0);
	assert_int_equal(checksums_watch(checksums, v0), 0); /* goes on */
	send_datagram();
	seen = look_until(checksums, 1, 0);
	assert_int_equal(seen.unfinished, 0);
	here("ethtool -K v1 tx on >/dev/null");
	send_datagram();
	seen = look_until(checksums, 1, 1);
	assert_true(seen.unfinished >= 1); /* a copy that the driver makes counts too */
	checksums_forget(checksums, v0);
	assert_int_equal(checksums_read(checksums, v0, &seen), -ENOENT);
	checksums_free(checksums);
}

/* A health check of a backend whose host is gone. */
static void a_packet_that_waits_for_a_neighbour_is_no_unfinished_one(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
	uint32_t v0 = if_nametoindex("v0");
	struct checksums *checksums;
	struct lb_checksums seen;
	struct error err;
	int fd;

	needs_root();
	if (checksums_new(&checksums, &err)) {
		print_message("%s\n", err.text);
		skip();
	}
	here("ip addr add 10.9.0.1/24 dev v0 && sysctl -qw net.ipv4.neigh.v0.retrans_time_ms=20");
	inet_pton(AF_INET, "10.9.0.77", &to.sin_addr);
	assert_int_equal(checksums_watch(checksums, v0), 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EHOSTUNREACH); /* the kernel has asked, and given up */
	close(fd);
	assert_int_equal(checksums_read(checksums, v0, &seen), 0);
	assert_int_equal(seen.unfinished, 0);
	checksums_forget(checksums, v0);
	checksums_free(checksums);
}

static int enter(void **state)
{
	netns_enter(state);
	if (!netns_entered())
		return 0;
	/* the kernel's own packets would count */
	here("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
	if (netdev_open(&netdev))
		print_message("this kernel has no netlink family netdev\n");
	return 0;
}

static int leave(void **state)
{
	netdev_close(netdev);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

/* As TCP does: the kernel cuts what its socket sends, where the device does not. */
static void a_packet_that_is_cut_before_it_is_sent_is_no_unfinished_one(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	uint32_t v0 = if_nametoindex("v0");
	struct checksums *checksums;
	struct lb_checksums seen;
	struct error err;
	char data[3000] = {0};
	int fd, segment = 1000;

	needs_root();
	if (checksums_new(&checksums, &err)) {
		print_message("%s\n", err.text);
		skip();
	}
	here("ip addr add 10.9.0.1/24 dev v0 && ethtool -K v0 tx-udp-segmentation off >/dev/null");
	here("ip neigh replace 10.9.0.77 dev v0 nud permanent lladdr 02:00:00:00:00:77");
	inet_pton(AF_INET, "10.9.0.77", &to.sin_addr);
	assert_int_equal(checksums_watch(checksums, v0), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
	assert_int_equal(sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(data));
	close(fd);
	assert_int_equal(checksums_read(checksums, v0, &seen), 0);
	assert_int_equal(seen.unfinished, 0);
	checksums_forget(checksums, v0);
	checksums_free(checksums);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_veth_takes_frames_once_its_other_end_polls),
	    TEST(a_bridge_takes_no_frames),
	    TEST(a_device_that_is_gone_is_unknown),
	    TEST(native_mode_needs_an_other_end_that_polls_and_finishes_checksums),
	    TEST(native_mode_of_another_driver_is_the_drivers_to_refuse),
	    TEST(devices_are_told_apart),
	    TEST(a_veth_counts_what_was_sent_back_and_what_was_lost),
	    TEST(a_device_that_is_no_veth_has_no_such_counts),
	    TEST(refused_redirects_are_counted_by_device),
	    TEST(losses_of_another_network_namespace_are_not_counted),
	    TEST(packets_with_unfinished_checksums_are_told_from_whole_ones),
	    TEST(a_packet_that_waits_for_a_neighbour_is_no_unfinished_one),
	    TEST(a_packet_that_is_cut_before_it_is_sent_is_no_unfinished_one),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
