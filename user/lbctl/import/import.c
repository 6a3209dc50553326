/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory, services, backends and notes of an import. */
#include "import.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lb_abi.h"
#include "common/printable.h"
#include "lbctl/core/format.h"

/* ---- memory ---- */

#define CHUNK (16 * 1024)
#define ALIGN sizeof(max_align_t)

struct import_memory {
	struct import_memory *next;
	size_t used, size;
	max_align_t bytes[];
};

static struct import_memory *chunk_with(struct import *im, size_t size)
{
	struct import_memory *chunk = im->memory;
	size_t room = size > CHUNK ? size : CHUNK;

	if (chunk && chunk->size - chunk->used >= size)
		return chunk;
	chunk = calloc(1, sizeof(*chunk) + room);
	if (!chunk)
		longjmp(im->no_memory, 1);
	chunk->size = room;
	chunk->next = im->memory;
	im->memory = chunk;
	return chunk;
}

void *import_allocate(struct import *im, size_t size)
{
	size_t rounded = (size + ALIGN - 1) / ALIGN * ALIGN;
	struct import_memory *chunk = chunk_with(im, rounded);
	void *at = (char *)chunk->bytes + chunk->used;

	chunk->used += rounded;
	return at;
}

char *import_copy(struct import *im, const char *text, size_t length)
{
	char *copy = import_allocate(im, length + 1);

	memcpy(copy, text, length);
	return copy;
}

char *import_print(struct import *im, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return import_copy(im, text, strlen(text));
}

void import_begin(struct import *im)
{
	*im = (struct import){.may_open = true, .resolve = import_resolve};
}

void import_end(struct import *im)
{
	while (im->memory) {
		struct import_memory *next = im->memory->next;

		free(im->memory);
		im->memory = next;
	}
}

/* ---- running ---- */

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* A jump skips what would close a file: lbctl ends then. */
int import_run(struct import *im, const struct dialect *dialect, const char *path,
	       struct error *err)
{
	const struct import_file *file;
	int rc;

	if (setjmp(im->no_memory))
		return no_memory(err);
	rc = import_open(im, path, &file, err);
	if (rc)
		return rc;
	dialect->read(im, file);
	import_settle(im);
	return 0;
}

int import_run_text(struct import *im, const struct dialect *dialect, const char *text,
		    size_t length, struct error *err)
{
	struct import_file *file;

	if (setjmp(im->no_memory))
		return no_memory(err);
	file = import_allocate(im, sizeof(*file));
	*file = (struct import_file){"-", import_copy(im, text, length), length};
	dialect->read(im, file);
	import_settle(im);
	return 0;
}

/* ---- services and backends ---- */

static struct import_service *spare_service(struct import *im)
{
	im->spare = (struct import_service){.left = true};
	return &im->spare;
}

static struct import_backend *spare_backend(struct import *im)
{
	im->spare_backend = (struct import_backend){.weight = 1};
	return &im->spare_backend;
}

struct import_service *import_add_service(struct import *im, struct import_place at)
{
	struct import_service *service;

	if (im->services_count == LB_MAX_SERVICES) {
		import_left(im, at, "this and what follows: more than %u services",
			    LB_MAX_SERVICES);
		return spare_service(im);
	}
	service = import_allocate(im, sizeof(*service));
	service->at = at;
	service->listed = true;
	if (im->last)
		im->last->next = service;
	else
		im->services = service;
	im->last = service;
	im->services_count++;
	return service;
}

struct import_service *import_find_service(struct import *im, const char *key)
{
	if (im->last && im->last->key && !strcmp(im->last->key, key))
		return im->last;
	for (struct import_service *service = im->services; service; service = service->next)
		if (service->key && !strcmp(service->key, key))
			return service;
	return NULL;
}

struct import_backend *import_add_backend(struct import *im, struct import_service *service,
					  struct import_place at)
{
	struct import_backend *backend;

	if (service == &im->spare)
		return spare_backend(im);
	if (service->listed && im->backends_count == LB_MAX_BACKENDS) {
		import_left(im, at, "this and what follows: more than %u backends",
			    LB_MAX_BACKENDS);
		return spare_backend(im);
	}
	backend = import_allocate(im, sizeof(*backend));
	*backend = (struct import_backend){.at = at, .weight = 1};
	if (service->last)
		service->last->next = backend;
	else
		service->backends = backend;
	service->last = backend;
	service->backends_count++;
	im->backends_count += service->listed;
	return backend;
}

struct import_service *import_add_like(struct import *im, const struct import_service *like)
{
	struct import_service *service = import_add_service(im, like->at), *next = service->next;

	if (service == &im->spare)
		return service;
	*service = *like;
	service->next = next;
	service->listed = true;
	service->backends = service->last = NULL;
	service->backends_count = 0;
	for (const struct import_backend *from = like->backends; from; from = from->next) {
		struct import_backend *backend = import_add_backend(im, service, from->at);

		*backend = *from;
		backend->next = NULL;
		if (backend == &im->spare_backend)
			break;
	}
	return service;
}

void import_drop_backend(struct import_service *service, struct import_backend *before)
{
	struct import_backend **link = before ? &before->next : &service->backends;

	if (service->last == *link)
		service->last = before;
	*link = (*link)->next;
	service->backends_count--;
}

const char *import_endpoint(const struct import_service *service, char text[96])
{
	char address[ADDR_TEXT];

	return format_endpoint(addr_format(&service->vip, address), service->port,
			       service->udp ? "udp" : "tcp", text);
}

/* Letters that names of interfaces have in practice; lbd takes more. */
bool import_is_interface(const char *name)
{
	return *name && strlen(name) < IF_NAMESIZE && strcmp(name, ".") && strcmp(name, "..") &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") ==
		   strlen(name);
}

void import_add_interface(struct import *im, const char *name)
{
	const unsigned most = sizeof(im->interfaces) / sizeof(im->interfaces[0]);

	if (!import_is_interface(name))
		return;
	for (unsigned i = 0; i < im->interfaces_count; i++)
		if (!strcmp(im->interfaces[i], name))
			return;
	if (im->interfaces_count < most)
		im->interfaces[im->interfaces_count++] = import_copy(im, name, strlen(name));
}

/* ---- notes ---- */

static bool same_note(const struct import_note *note, struct import_place at, bool left,
		      const char *text)
{
	return note->at.file == at.file && note->at.line == at.line && note->left == left &&
	       !strcmp(note->text, text);
}

/* Each once: a setting that counts for several services is named once. */
static void add_note(struct import *im, struct import_place at, bool left, const char *format,
		     va_list args)
{
	char text[1024];
	struct import_note *note;

	if (im->notes_count >= IMPORT_MAX_NOTES) {
		im->notes_count++;
		im->left_count += left;
		return;
	}
	vsnprintf(text, sizeof(text), format, args);
	make_printable(text, false);
	for (note = im->notes; note; note = note->next)
		if (same_note(note, at, left, text))
			return;
	im->notes_count++;
	im->left_count += left;
	note = import_allocate(im, sizeof(*note));
	*note = (struct import_note){.at = at, .left = left};
	note->text = import_copy(im, text, strlen(text));
	if (im->last_note)
		im->last_note->next = note;
	else
		im->notes = note;
	im->last_note = note;
}

void import_left(struct import *im, struct import_place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_note(im, at, true, format, args);
	va_end(args);
}

void import_note(struct import *im, struct import_place at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_note(im, at, false, format, args);
	va_end(args);
}

/* ---- dialects ---- */

const struct dialect *dialect_find(const char *name)
{
	registry_for_each (dialect, dialect)
		if (!strcmp(dialect->name, name))
			return dialect;
	return NULL;
}
