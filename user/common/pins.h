/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What lbd leaves pinned below a directory of a bpf file system: maps/NAME, and links/IFNAME for
 * each interface that its program is attached to alone. */
#ifndef LBD_PINS_H
#define LBD_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PINS_BPFFS   "/sys/fs/bpf"
#define PINS_DEFAULT PINS_BPFFS "/lbd"

/* ---- links ---- */

/* LINKS/IFNAME; bpffs allows no dots in names, so '.' and '%' become %2e and %25. false: too
 * long. */
bool pins_link_path(char *text, size_t size, const char *links, const char *name);
/* The interface's name back from the name of the pin. false: it is none. */
bool pins_link_name(const char *file, char *name, size_t size);
/* Reads a pinned link's interface and program. *ret_ifindex 0: its interface is gone. 0 or
 * -errno. */
int pins_link_inspect(const char *path, uint32_t *ret_ifindex, uint32_t *ret_program_id);
/* Gives it the path `to`; if that is there, the two change places (*ret_swapped). 0 or -errno. */
int pins_link_rename(const char *path, const char *to, bool *ret_swapped);
/* Takes the program off, and removes the pin. 0 or -errno. */
int pins_link_detach(const char *path);

/* ---- whose a program is ---- */

/* Does the program with this descriptor use the map with this id? */
bool pins_program_uses(int program, uint32_t map_id);
/* Is it the program of an lbd, of this one or of another? Needs CAP_SYS_ADMIN. */
bool pins_program_is_lbd(int program);
/* Is it libxdp's dispatcher? To be asked before xdp_multiprog__get_from_ifindex, which never closes
 * its descriptor of another program (libxdp 1.3.1). */
bool pins_program_is_dispatcher(int program);
/* The id of the map that every program of an lbd uses, from its pin; 0: it is not pinned. */
uint32_t pins_settings_id(const char *pin);

/* Calls fn for each directory PINS_BPFFS/NAME in which an lbd has pinned maps or links. fn returns
 * true to go on. 0, or -errno: the file system cannot be read. */
int pins_each(bool (*fn)(void *arg, const char *pin), void *arg);
/* The directory among these with the link of this interface to this program. false: in none that
 * this process may see. */
bool pins_find_owner(uint32_t ifindex, const char *name, uint32_t program_id, char *ret_pin,
		     size_t size);

#endif
