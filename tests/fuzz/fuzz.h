/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the fuzz targets share. A target is a file fuzz_NAME.c with libFuzzer's functions; a promise
 * that does not hold aborts, which libFuzzer reports together with the input. */
#ifndef LBD_FUZZ_H
#define LBD_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Exit status where the machine lacks something; libFuzzer's own for a broken promise is 77. */
#define FUZZ_SKIPPED 75

/* Prints the sentence and aborts unless the condition holds. */
#define require(holds, ...)                                                 \
	do {                                                                \
		if (!(holds))                                               \
			fuzz_fail(__FILE__, __LINE__, #holds, __VA_ARGS__); \
	} while (0)
void fuzz_fail(const char *file, int line, const char *holds, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

/* Silences the log, enters a network namespace of its own if asked to, and makes a directory in
 * TMPDIR that ends with the process. */
void fuzz_begin(bool own_network);
/* DIRECTORY/NAME of fuzz_begin's directory, in text. */
const char *fuzz_path(char text[128], const char *name);
void fuzz_put(const char *path, const uint8_t *data, size_t size);

/* "address" of docs/config.md, from the RFCs, not by addr_why_no_host. */
struct addr;
bool fuzz_is_host(const struct addr *addr);

#endif
