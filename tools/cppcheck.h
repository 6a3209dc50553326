/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Macros of libraries, defined for cppcheck, which does not read system headers. */
#define json_array_foreach(array, index, value)                                                   \
	for (index = 0; index < json_array_size(array) && (value = json_array_get(array, index)); \
	     index++)
#define json_object_foreach(object, key, value)                    \
	for (key = json_object_iter_key(json_object_iter(object)); \
	     key && (value = json_object_get(object, key));        \
	     key = json_object_iter_key(                           \
		 json_object_iter_next(object, json_object_key_to_iter(key))))
#define LIBBPF_OPTS(type, name, ...) struct type name = {.sz = sizeof(struct type), __VA_ARGS__}
#define bpf_object__for_each_program(program, object)                   \
	for (program = bpf_object__next_program(object, NULL); program; \
	     program = bpf_object__next_program(object, program))
#define bpf_object__for_each_map(map, object) \
	for (map = bpf_object__next_map(object, NULL); map; map = bpf_object__next_map(object, map))
#define mnl_attr_for_each(attr, message, offset)                                         \
	for (attr = mnl_nlmsg_get_payload_offset(message, offset); mnl_attr_ok(attr, 1); \
	     attr = mnl_attr_next(attr))
#define mnl_attr_for_each_nested(attr, nest) \
	for (attr = mnl_attr_get_payload(nest); mnl_attr_ok(attr, 1); attr = mnl_attr_next(attr))
