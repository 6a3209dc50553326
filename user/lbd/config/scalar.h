/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Parses single values: numbers with units and ranges, texts, addresses. */
#ifndef LBD_CONFIG_SCALAR_H
#define LBD_CONFIG_SCALAR_H

#include <stdint.h>

#include "common/addr.h"
#include "source.h"

/* How a number is written. */
struct config_scalar {
	/* 0, -ERANGE (does not fit), -EDOM (only the unit is missing), -EINVAL. */
	int (*parse)(const char *text, uint64_t *ret);
	/* The shortest text that parses to value: in text, or constant. */
	const char *(*format)(uint64_t value, char text[24]);
	const char *syntax; /* added to the error for text that is no such number; NULL: nothing */
};

extern const struct config_scalar config_count;    /* 80 */
extern const struct config_scalar config_seed;     /* 80, 0xfeed */
extern const struct config_scalar config_duration; /* 250ms, 2s, 5m, 1h; milliseconds */
extern const struct config_scalar config_size;     /* 100, 64k, 1M, 1G; k is 1024 */
extern const struct config_scalar config_percent;  /* 20, 20% */
extern const struct config_scalar config_rate;     /* 50/s, 10/m; per minute */

struct config_range {
	const struct config_scalar *scalar;
	uint64_t min, max; /* both allowed */
	const char *word;  /* a word for 0: "any"; NULL: none */
};

/* Sets *ret, or complains about key and leaves *ret alone. */
void config_read_number(const struct config_place *at, const char *key, const char *text,
			const struct config_range *range, uint64_t *ret);

/* ---- tables of keys: from a struct of texts (schema.h) to a struct of values (config.h) ---- */

struct config_number_key {
	const char *key; /* NULL: the end of the table */
	size_t raw;      /* offset of the char * in the struct of texts; if NULL, the value stays */
	size_t value;    /* offset of the integer in the struct of values */
	size_t width;    /* of the integer, bytes */
	struct config_range range;
};

struct config_text_key {
	const char *key;
	size_t raw, value;
	bool (*valid)(const char *text);
	const char *expected;
};

/* clang-format off */
#define CONFIG_NUMBER(key, text_type, text, value_type, member, number, least, most, ...) \
	{key, offsetof(struct text_type, text), offsetof(struct value_type, member), \
	 sizeof(((struct value_type *)0)->member), \
	 {.scalar = &config_##number, .min = (least), .max = (most), ##__VA_ARGS__}}
#define CONFIG_TEXT(key, text_type, text, value_type, member, valid, expected) \
	{key, offsetof(struct text_type, text), offsetof(struct value_type, member), valid, expected}
/* clang-format on */

void config_read_numbers(const struct config_place *at, const struct config_number_key *keys,
			 const void *raw, void *value);
/* Copies the texts and frees those they replace. */
void config_read_texts(const struct config_place *at, const struct config_text_key *keys,
		       const void *raw, void *value);
void config_copy_text(const struct config_place *at, const char *text, char **ret);

/* Is it 1 to most letters, digits and . _ -? */
bool config_is_word(const char *text, size_t most);

/* Sets *ret to an address that one host can have, else complains, also if text is NULL. */
void config_read_address(const struct config_place *at, const char *key, const char *text,
			 struct addr *ret);

/* ADDRESS:PORT, brackets around IPv6. False: the text is none. */
bool config_parse_endpoint(const char *text, struct addr *ret_address, uint16_t *ret_port);

#endif
