/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The file SOCKET.offloads.json: which receive offloads lbd has turned off, so that whoever
 * detaches its program can turn them on again. A list of { "for": ifindex, "device": ifindex,
 * "feature": the kernel's name }. */
#ifndef LBD_OFFLOAD_FILE_H
#define LBD_OFFLOAD_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define OFFLOAD_FILE_MAX (1u << 20) /* bytes that are read */
#define OFFLOAD_FEATURE  32

struct offload_entry {
	uint32_t ifindex; /* of the interface with the program */
	uint32_t device;  /* that interface, or one below it */
	char feature[OFFLOAD_FEATURE];
};

/* The entries of a text, allocated in *ret (NULL: none), and their number; or -errno, with err
 * naming the path. What is no entry is left out. */
int offload_file_parse(const char *path, const char *text, size_t length,
		       struct offload_entry **ret, struct error *err);
/* Replaces the file; without entries it is removed. 0 or -errno. */
int offload_file_write(const char *path, const struct offload_entry *entries, unsigned count);

#endif
