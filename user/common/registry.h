/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tables whose entries register themselves: each file puts a pointer into a linker section, and
 * users walk the section. Works with gcc and clang at any -O, under ASan, LTO and --gc-sections,
 * but not from a static archive: link the objects directly.
 *
 *   REGISTER(algo, maglev) = { .name = "maglev", ... };         in algo/maglev.c
 *   REGISTRY(algo, struct algo);                                 in the header
 *   registry_for_each(algo, a) printf("%s\n", a->name);         a is a const struct algo
 */
#ifndef LBD_REGISTRY_H
#define LBD_REGISTRY_H

#define REGISTRY(set, type)                       \
	typedef type registry_##set##_t;          \
	extern const type *const __start_##set[]; \
	extern const type *const __stop_##set[]

#define REGISTER(set, id)                                               \
	static const registry_##set##_t set##_##id;                     \
	static const registry_##set##_t *const set##_##id##_at          \
	    __attribute__((used, retain, section(#set))) = &set##_##id; \
	static const registry_##set##_t set##_##id

#define registry_for_each(set, item)                                            \
	for (const registry_##set##_t *const *item##_at = __start_##set, *item; \
	     item##_at < __stop_##set && (item = *item##_at, 1); item##_at++)

#endif
