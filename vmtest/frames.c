/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Feeds a load balancer with frames as a driver would, receives what it sends, and reads the CPU
 * time of the threads that do its work. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/ethernet.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"

#define SETTLE_US    200
#define PATIENCE     500 /* a batch may take so many times SETTLE_US */
#define MAX_THREADS  16
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

struct run {
	const char *object, *interface;
	struct frames_traffic traffic;
	uint64_t count;
	int threads[MAX_THREADS]; /* process ids: the load balancer's NAPI threads */
	unsigned threads_count;
	struct bpf_object *bpf;
	int make_fd, take_fd, former_fd, traffic_fd, arrived_fd;
};

static void die(const char *what)
{
	fprintf(stderr, "frames: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* CPU time of the threads in nanoseconds, from the scheduler's accounting. */
static uint64_t cpu_ns(const struct run *run)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < run->threads_count; i++) {
		unsigned long long ns;
		char path[64];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/schedstat", run->threads[i]);
		file = fopen(path, "r");
		if (!file || fscanf(file, "%llu", &ns) != 1)
			die(path);
		fclose(file);
		sum += ns;
	}
	return sum;
}

static struct frames_arrived arrived(const struct run *run)
{
	struct frames_arrived sum = {0}, *row;
	int cpus = libbpf_num_possible_cpus();
	uint32_t zero = 0;

	row = calloc((size_t)cpus, sizeof(*row));
	if (!row || bpf_map_lookup_elem(run->arrived_fd, &zero, row))
		die("counter of arrived frames");
	for (int i = 0; i < cpus; i++) {
		sum.good += row[i].good;
		sum.bad += row[i].bad;
	}
	free(row);
	return sum;
}

/* Loads both programs, and attaches the receiving one to the interface in native mode, in place of
 * the program that is there. */
static void load(struct run *run)
{
	uint32_t former = 0;

	bpf_xdp_query_id((int)run->traffic.ifindex, XDP_FLAGS_DRV_MODE, &former);
	run->former_fd = former ? bpf_prog_get_fd_by_id(former) : -1;
	run->bpf = bpf_object__open_file(run->object, NULL);
	if (!run->bpf || bpf_object__load(run->bpf))
		die(run->object);
	run->make_fd = bpf_program__fd(bpf_object__find_program_by_name(run->bpf, "frames_make"));
	run->traffic_fd = bpf_object__find_map_fd_by_name(run->bpf, "traffic");
	run->arrived_fd = bpf_object__find_map_fd_by_name(run->bpf, "arrived");
	run->take_fd = bpf_program__fd(bpf_object__find_program_by_name(run->bpf, "frames_take"));
	if (bpf_xdp_attach((int)run->traffic.ifindex, run->take_fd, XDP_FLAGS_DRV_MODE, NULL))
		die(run->interface);
}

/* Restores the program that was on the interface. */
static void unload(struct run *run)
{
	if (bpf_xdp_attach((int)run->traffic.ifindex, run->former_fd, XDP_FLAGS_DRV_MODE, NULL))
		die(run->interface);
	if (run->former_fd >= 0)
		close(run->former_fd);
	bpf_object__close(run->bpf);
}

/* Sends count frames in one run. */
static void make(const struct run *run, uint32_t count)
{
	uint8_t frame[FRAMES_LENGTH] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)count, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = FRAMES_BATCH);

	if (bpf_prog_test_run_opts(run->make_fd, &options))
		die("sending frames (BPF_F_TEST_XDP_LIVE_FRAMES, since Linux 5.18)");
}

/* Sends all frames in batches that fit in the rings; each batch after the previous one has arrived
 * or timed out. */
static void feed(const struct run *run, uint64_t *ret_sent, uint64_t *ret_cpu_ns,
		 struct frames_arrived *ret_arrived)
{
	struct frames_arrived before = arrived(run), now = before;
	uint64_t cpu = cpu_ns(run), sent = 0;
	uint32_t zero = 0;

	if (bpf_map_update_elem(run->traffic_fd, &zero, &run->traffic, BPF_ANY))
		die("traffic");
	while (sent < run->count) {
		struct frames_arrived start = now;

		make(run, FRAMES_BATCH);
		sent += FRAMES_BATCH;
		for (unsigned i = 0; i < PATIENCE && now.good - start.good < FRAMES_BATCH; i++) {
			usleep(SETTLE_US);
			now = arrived(run);
		}
	}
	*ret_sent = sent;
	*ret_cpu_ns = cpu_ns(run) - cpu;
	*ret_arrived =
	    (struct frames_arrived){.good = now.good - before.good, .bad = now.bad - before.bad};
}

static void parse_word(struct run *run, const char *word, const char *value)
{
	struct frames_traffic *t = &run->traffic;

	if (!strcmp(word, "to") && ether_aton(value))
		memcpy(t->dst_mac, ether_aton(value), ETH_ALEN);
	else if (!strcmp(word, "from") && ether_aton(value))
		memcpy(t->src_mac, ether_aton(value), ETH_ALEN);
	else if (!strcmp(word, "vip") && inet_pton(AF_INET, value, &t->vip) == 1)
		return;
	else if (!strcmp(word, "port"))
		t->port = htons((uint16_t)atoi(value));
	else if (!strcmp(word, "real") && inet_pton(AF_INET, value, &t->real) == 1)
		t->way = FRAMES_NAT;
	else if (!strcmp(word, "real-port"))
		t->real_port = htons((uint16_t)atoi(value));
	else if (!strcmp(word, "flows"))
		t->flows = (uint32_t)atoi(value);
	else if (!strcmp(word, "first"))
		t->first = (uint32_t)atoi(value);
	else if (!strcmp(word, "count"))
		run->count = (uint64_t)atoll(value);
	else if (!strcmp(word, "thread") && run->threads_count < MAX_THREADS)
		run->threads[run->threads_count++] = atoi(value);
	else {
		fprintf(stderr, "frames: %s %s: not understood\n", word, value);
		exit(2);
	}
}

static void parse_kind(struct run *run, const char *kind)
{
	run->traffic.protocol = strcmp(kind, "udp") ? IPPROTO_TCP : IPPROTO_UDP;
	run->traffic.tcp_flags = strcmp(kind, "syn") ? TCP_FLAG_ACK : TCP_FLAG_SYN;
	run->traffic.reply_flags = run->traffic.tcp_flags | TCP_FLAG_ACK;
}

int main(int argc, char **argv)
{
	struct run run = {.traffic.flows = 1, .count = 1000};
	struct frames_arrived got;
	uint64_t sent, cpu;

	if (argc < 4 || argc % 2) {
		fprintf(
		    stderr,
		    "usage: frames OBJECT INTERFACE udp|syn|ack [to MAC] [from MAC] [vip ADDRESS] [port N] [flows N]\n"
		    "              [first N] [count N] [real ADDRESS real-port N] [thread PID]...\n"
		    "real: every other batch is of its replies, and all must come back rewritten\n");
		return 2;
	}
	run.object = argv[1];
	run.interface = argv[2];
	run.traffic.ifindex = if_nametoindex(run.interface);
	parse_kind(&run, argv[3]);
	for (int i = 4; i + 1 < argc; i += 2)
		parse_word(&run, argv[i], argv[i + 1]);
	if (!run.traffic.ifindex)
		die(run.interface);
	load(&run);
	feed(&run, &sent, &cpu, &got);
	printf("{\"sent\": %llu, \"arrived\": %llu, \"bad\": %llu, \"cpu_ns\": %llu}\n",
	       (unsigned long long)sent, (unsigned long long)got.good, (unsigned long long)got.bad,
	       (unsigned long long)cpu);
	unload(&run);
	return 0;
}
