/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sends live frames (UDP over IPv4) through an interface as fast as one core generates them, and
 * prints how many microseconds it took.
 * usage: live OBJECT INTERFACE DST-MAC SRC-MAC VIP PORT FLOWS FRAMES */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME_LENGTH 64
#define BATCH        64

static int die(const char *what)
{
	fprintf(stderr, "live: %s: %s\n", what, strerror(errno));
	return 1;
}

static int frame_fill(uint8_t frame[FRAME_LENGTH], char **argv)
{
	struct ether_header *eth = (struct ether_header *)frame;
	struct iphdr *ip = (struct iphdr *)(eth + 1);
	struct udphdr *udp = (struct udphdr *)(ip + 1);
	const struct ether_addr *mac = ether_aton(argv[3]);

	if (!mac)
		return -1;
	memcpy(eth->ether_dhost, mac, 6);
	mac = ether_aton(argv[4]);
	if (!mac || inet_pton(AF_INET, argv[5], &ip->daddr) != 1)
		return -1;
	memcpy(eth->ether_shost, mac, 6);
	eth->ether_type = htons(ETHERTYPE_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->tot_len = htons(FRAME_LENGTH - sizeof(*eth));
	udp->source = htons(1024);
	udp->dest = htons((uint16_t)atoi(argv[6]));
	udp->len = htons(FRAME_LENGTH - sizeof(*eth) - sizeof(*ip));
	return 0;
}

/* The object's constants, as live.bpf.c declares them. */
struct constants {
	uint32_t ifindex, flows;
	uint8_t headers[42];
} __attribute__((packed));

static int constants_set(struct bpf_object *object, const char *interface, const char *flows,
			 const uint8_t *frame)
{
	struct constants values = {
	    if_nametoindex(interface), (uint32_t)strtoul(flows, NULL, 10), {0}};
	struct bpf_map *map;

	if (!values.ifindex || !values.flows)
		return -1;
	memcpy(values.headers, frame, sizeof(values.headers));
	bpf_object__for_each_map (map, object)
		if (strstr(bpf_map__name(map), ".rodata"))
			return bpf_map__set_initial_value(map, &values, sizeof(values));
	return -1;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	uint8_t frame[FRAME_LENGTH] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME_LENGTH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	struct bpf_program *program;
	struct bpf_object *object;
	double begin;

	if (argc != 9 || frame_fill(frame, argv)) {
		fprintf(stderr,
			"usage: live OBJECT INTERFACE DST-MAC SRC-MAC VIP PORT FLOWS FRAMES\n");
		return 2;
	}
	object = bpf_object__open_file(argv[1], NULL);
	if (!object || constants_set(object, argv[2], argv[7], frame) || bpf_object__load(object))
		return die(argv[1]);
	program = bpf_object__find_program_by_name(object, "live");
	options.repeat = (int)strtoul(argv[8], NULL, 10);
	begin = seconds();
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
		return die("live frames");
	printf("%.0f\n", (seconds() - begin) * 1e6);
	bpf_object__close(object);
	return 0;
}
