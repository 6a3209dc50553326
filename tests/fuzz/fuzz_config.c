/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* libFuzzer entry for the config parser: any bytes give either a config or an error, never both and
 * never a crash; and libcyaml loads whatever passes our own check of the shape. To build and run:
 *   clang -g -O1 -D_GNU_SOURCE -DLBD_VERSION='"fuzz"' -fsanitize=fuzzer,address,undefined \
 *       -Iinclude -Iuser -o build/fuzz_config tests/fuzz/fuzz_config.c user/lbd/config/[a-z]*.c \
 *       user/lbd/algo/[a-z]*.c user/lbd/dataplane/maglev.c user/lbd/health/[a-z]*.c \
 *       user/lbd/host/lateness.c user/common/[a-z]*.c -levent -lcurl -lcyaml -lyaml -lmnl
 *   build/fuzz_config -max_len=4096 -max_total_time=60 CORPUS dist
 */
#include <stdlib.h>
#include <string.h>

#include "lbd/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = NULL;
	struct error err = {""};
	int rc = config_parse((const char *)data, size, "f", &config, &err);

	if (rc ? config || strncmp(err.text, "f:", 2) || !strncmp(err.text, "f: libcyaml", 11)
	       : !config)
		abort();
	config_free(config);
	return 0;
}
