/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Changes the texts of a config: finds the places in the tree, and splices the text. */
#include "edit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "config.h"
#include "dump.h"
#include "source.h"

/* Replaces the bytes from start to end. */
struct splice {
	size_t start, end, order;
	char *text; /* NULL: out of memory, which is in the editor's error */
};

struct editor {
	struct config_source *source;
	const char *text;
	size_t length;
	size_t *lines; /* where each line begins, and the end of the text */
	size_t lines_count;
	unsigned *uses; /* of each node, by its index from 1: aliases make more than one */
	bool *begun;    /* of each node: a service that gets a list of backends */
	struct splice *splices;
	size_t count, size;
	int error;
};

/* ---- places in the text ---- */

static bool has_there(const struct editor *editor, size_t at, const char *bytes)
{
	size_t length = strlen(bytes);

	return length <= editor->length - at && !memcmp(editor->text + at, bytes, length);
}

/* Bytes of the end of a line, of those that libyaml knows: CR LF, LF, CR, NEL, LS and PS. 0: there
 * is none. */
static size_t break_at(const struct editor *editor, size_t at)
{
	static const char *const breaks[] = {"\r\n",     "\n",           "\r",
					     "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};

	for (size_t i = 0; i < sizeof(breaks) / sizeof(*breaks); i++)
		if (has_there(editor, at, breaks[i]))
			return strlen(breaks[i]);
	return 0;
}

static bool find_lines(struct editor *editor)
{
	const size_t begin = text_mark(editor->text, editor->length);
	size_t count = 1, at = 0, length;

	for (size_t i = begin; i < editor->length; i += length ? length : 1) {
		length = break_at(editor, i);
		count += length != 0;
	}
	editor->lines = calloc(count + 1, sizeof(*editor->lines));
	if (!editor->lines)
		return false;
	editor->lines[at++] = begin;
	for (size_t i = begin; i < editor->length; i += length ? length : 1) {
		length = break_at(editor, i);
		if (length)
			editor->lines[at++] = i + length;
	}
	editor->lines_count = at;
	editor->lines[at] = editor->length;
	return true;
}

/* libyaml counts characters, the text has bytes. */
static size_t offset_of(const struct editor *editor, const yaml_mark_t *mark)
{
	size_t at = mark->line < editor->lines_count ? editor->lines[mark->line] : editor->length;

	for (size_t column = 0; column < mark->column && at < editor->length; column++)
		do
			at++;
		while (at < editor->length && ((unsigned char)editor->text[at] & 0xc0) == 0x80);
	return at;
}

static size_t line_begin(const struct editor *editor, size_t line)
{
	return line < editor->lines_count ? editor->lines[line] : editor->length;
}

static yaml_node_t *node_of(struct editor *editor, int index)
{
	return yaml_document_get_node(&editor->source->document, index);
}

static void count_uses(struct editor *editor)
{
	yaml_document_t *document = &editor->source->document;
	int count = (int)(document->nodes.top - document->nodes.start);

	for (int i = 1; i <= count; i++) {
		const yaml_node_t *node = node_of(editor, i);

		if (node->type == YAML_SEQUENCE_NODE)
			for (const yaml_node_item_t *item = node->data.sequence.items.start;
			     item < node->data.sequence.items.top; item++)
				editor->uses[*item]++;
		else if (node->type == YAML_MAPPING_NODE)
			for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
			     pair < node->data.mapping.pairs.top; pair++)
				editor->uses[pair->value]++;
	}
}

/* The line in which the node really ends: a block ends for libyaml where the next token begins. */
static size_t last_line(struct editor *editor, const yaml_node_t *node)
{
	size_t last = node->start_mark.line;

	if (node->type == YAML_MAPPING_NODE &&
	    node->data.mapping.style != YAML_FLOW_MAPPING_STYLE) {
		const yaml_node_pair_t *pair = node->data.mapping.pairs.top - 1;

		if (pair >= node->data.mapping.pairs.start)
			last = last_line(editor, node_of(editor, pair->value));
		return last;
	}
	if (node->type == YAML_SEQUENCE_NODE &&
	    node->data.sequence.style != YAML_FLOW_SEQUENCE_STYLE &&
	    node->data.sequence.items.top > node->data.sequence.items.start)
		return last_line(editor, node_of(editor, node->data.sequence.items.top[-1]));
	return node->end_mark.line;
}

/* ---- splices ---- */

static struct splice *add_splice(struct editor *editor, size_t start, size_t end)
{
	struct splice *list = editor->splices;

	if (editor->count == editor->size) {
		editor->size = 2 * editor->size + 16;
		list = reallocarray(list, editor->size, sizeof(*list));
		if (!list) {
			editor->error = -ENOMEM;
			return NULL;
		}
		editor->splices = list;
	}
	list[editor->count] = (struct splice){.start = start, .end = end, .order = editor->count};
	return &list[editor->count++];
}

static void splice(struct editor *editor, size_t start, size_t end, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void splice(struct editor *editor, size_t start, size_t end, const char *format, ...)
{
	struct splice *added = add_splice(editor, start, end);
	va_list args;

	if (!added)
		return;
	va_start(args, format);
	if (vasprintf(&added->text, format, args) < 0) {
		added->text = NULL;
		editor->error = -ENOMEM;
	}
	va_end(args);
}

static int by_start(const void *a, const void *b)
{
	const struct splice *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static int apply(struct editor *editor, char **ret, size_t *ret_length)
{
	size_t size = editor->length + 1, at = 0, used = 0;
	char *text;

	qsort(editor->splices, editor->count, sizeof(*editor->splices), by_start);
	for (size_t i = 0; i < editor->count; i++)
		size += strlen(editor->splices[i].text);
	text = malloc(size);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < editor->count; i++) {
		const struct splice *one = &editor->splices[i];
		size_t length = strlen(one->text);

		if (one->start > at) {
			memcpy(text + used, editor->text + at, one->start - at);
			used += one->start - at;
		}
		memcpy(text + used, one->text, length);
		used += length;
		if (one->end > at)
			at = one->end;
	}
	memcpy(text + used, editor->text + at, editor->length - at);
	used += editor->length - at;
	text[used] = 0;
	*ret = text;
	*ret_length = used;
	return 0;
}

/* ---- keys of a backend ---- */

static const char *line_end(const struct editor *editor, size_t line, size_t *ret_at)
{
	size_t at = line_begin(editor, line), end = line_begin(editor, line + 1);

	while (at < end && !break_at(editor, at))
		at++;
	*ret_at = at;
	return has_there(editor, at, "\r\n") ? "\r\n" : "\n";
}

/* Behind the other keys: in braces, or in a line of its own. */
static void append_key(struct editor *editor, const yaml_node_t *backend, const char *key,
		       const char *value)
{
	const yaml_node_pair_t *first = backend->data.mapping.pairs.start,
			       *last = backend->data.mapping.pairs.top - 1;
	const char *eol;
	size_t at;

	if (backend->data.mapping.style == YAML_FLOW_MAPPING_STYLE) {
		at = offset_of(editor, &node_of(editor, last->value)->end_mark);
		splice(editor, at, at, ", %s: %s", key, value);
		return;
	}
	eol = line_end(editor, last_line(editor, backend), &at);
	splice(editor, at, at, "%s%*s%s: %s", eol,
	       (int)node_of(editor, first->key)->start_mark.column, "", key, value);
}

static void set_key(struct editor *editor, const yaml_node_t *backend, const char *key,
		    const char *value)
{
	const yaml_node_pair_t *pair = config_source_pair(editor->source, backend, key);
	const yaml_node_t *node = pair ? node_of(editor, pair->value) : NULL;

	if (!pair)
		append_key(editor, backend, key, value);
	else if (editor->uses[pair->value] > 1)
		editor->error = -EINVAL;
	else
		splice(editor, offset_of(editor, &node->start_mark),
		       offset_of(editor, &node->end_mark), "%s", value);
}

static void change_backend(struct editor *editor, const yaml_node_t *backend,
			   const struct config_edit *edit)
{
	char weight[16];

	snprintf(weight, sizeof(weight), "%" PRIu32, edit->weight);
	if (edit->has_weight)
		set_key(editor, backend, "weight", weight);
	if (edit->has_drain)
		set_key(editor, backend, "drain", edit->drain ? "true" : "false");
}

/* ---- backends of a list ---- */

/* In double quotes, as values may have any visible character. */
static void put_quoted(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('"', out);
}

static void put_labels(FILE *out, const struct config_tag *tag)
{
	fputs(", labels: { ", out);
	for (unsigned i = 0; i < tag->labels_count; i++) {
		fprintf(out, "%s%s: ", i ? ", " : "", tag->labels[i].key);
		put_quoted(out, tag->labels[i].value);
	}
	fputs(" }", out);
}

static void put_target(FILE *out, const struct config_target *target)
{
	const char *quote = target->address.family == 6 ? "\"" : "", *comma = " ";
	char address[ADDR_TEXT];

	fputs(", health: {", out);
	if (target->port) {
		fprintf(out, "%sport: %u", comma, target->port);
		comma = ", ";
	}
	if (target->address.family) {
		fprintf(out, "%saddress: %s%s%s", comma, quote,
			addr_format(&target->address, address), quote);
		comma = ", ";
	}
	if (target->agent_port)
		fprintf(out, "%sagent-port: %u", comma, target->agent_port);
	fputs(" }", out);
}

static void put_new(FILE *out, const struct config_edit *edit)
{
	const char *quote = edit->address.family == 6 ? "\"" : "";
	const char *name = config_tag_name(edit->tag);
	char address[ADDR_TEXT];

	fprintf(out, "{ address: %s%s%s", quote, addr_format(&edit->address, address), quote);
	if (name)
		fprintf(out, ", name: %s", name);
	fprintf(out, ", weight: %" PRIu32 "%s", edit->weight,
		edit->has_drain && edit->drain ? ", drain: true" : "");
	if (config_tag_zone(edit->tag)) {
		fputs(", zone: ", out);
		put_quoted(out, edit->tag->zone);
	}
	if (edit->priority)
		fprintf(out, ", priority: %u", edit->priority);
	if (edit->backup)
		fputs(", backup: true", out);
	if (edit->port)
		fprintf(out, ", port: %u", edit->port);
	if (edit->target &&
	    (edit->target->port || edit->target->agent_port || edit->target->address.family))
		put_target(out, edit->target);
	if (edit->tag && edit->tag->labels_count)
		put_labels(out, edit->tag);
	fputs(" }", out);
}

/* As an item of a list; allocated. NULL: out of memory. */
static char *describe_new(const struct config_edit *edit)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	put_new(out, edit);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

/* Behind the last item of a list that has some: whole lines, in which `indent` columns are left of
 * the dash, or after a comma. */
static void add_item(struct editor *editor, const yaml_node_t *list, const char *flow,
		     const char *(*block)(const char *flow, int indent, char **ret))
{
	const yaml_node_t *last = node_of(editor, list->data.sequence.items.top[-1]);
	_cleanup_free_ char *lines = NULL;
	size_t at;
	int dash;

	if (list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE) {
		at = offset_of(editor, &last->end_mark);
		splice(editor, at, at, ", %s", flow);
		return;
	}
	dash = (int)strspn(editor->text + line_begin(editor, last->start_mark.line), " ");
	at = line_begin(editor, last_line(editor, last) + 1);
	if (!block(flow, dash, &lines))
		editor->error = -ENOMEM;
	else
		splice(editor, at, at, "%s%s", at && editor->text[at - 1] != '\n' ? "\n" : "",
		       lines);
}

static const char *one_line(const char *flow, int indent, char **ret)
{
	if (asprintf(ret, "%*s- %s\n", indent, "", flow) < 0)
		*ret = NULL;
	return *ret;
}

/* Whole lines of a block, or the item with one of its commas. */
static void remove_item(struct editor *editor, const yaml_node_t *list, int index)
{
	const yaml_node_item_t *items = list->data.sequence.items.start;
	const yaml_node_t *node = node_of(editor, items[index]);
	bool is_last = items + index + 1 == list->data.sequence.items.top;
	size_t start, end;

	if (list->data.sequence.style != YAML_FLOW_SEQUENCE_STYLE) {
		start = line_begin(editor, node->start_mark.line);
		end = line_begin(editor, last_line(editor, node) + 1);
	} else if (!is_last) {
		start = offset_of(editor, &node->start_mark);
		end = offset_of(editor, &node_of(editor, items[index + 1])->start_mark);
	} else {
		start = offset_of(editor, index ? &node_of(editor, items[index - 1])->end_mark
						: &node->start_mark);
		end = offset_of(editor, &node->end_mark);
	}
	splice(editor, start, end, "%s", "");
}

static void add_backend(struct editor *editor, const yaml_node_t *list,
			const struct config_edit *edit)
{
	_cleanup_free_ char *text = describe_new(edit);

	if (text)
		add_item(editor, list, text, one_line);
	else
		editor->error = -ENOMEM;
}

/* A service with `backends-from` may have no list yet: it follows the other keys. */
static void add_to_no_list(struct editor *editor, int service, const struct config_edit *edit)
{
	const yaml_node_t *node = node_of(editor, service);
	const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
	_cleanup_free_ char *text = describe_new(edit);
	bool begun = editor->begun[service];
	const char *eol;
	size_t at;
	int column;

	if (!text) {
		editor->error = -ENOMEM;
		return;
	}
	editor->begun[service] = true;
	if (node->data.mapping.style == YAML_FLOW_MAPPING_STYLE) {
		pairs = node->data.mapping.pairs.top - 1;
		at = offset_of(editor, &node_of(editor, pairs->value)->end_mark);
		splice(editor, at, at, begun ? ", %s" : ", backends: [%s", text);
		return;
	}
	column = (int)node_of(editor, pairs->key)->start_mark.column;
	eol = line_end(editor, last_line(editor, node), &at);
	if (!begun)
		splice(editor, at, at, "%s%*sbackends:", eol, column, "");
	splice(editor, at, at, "%s%*s- %s", eol, column + 2, "", text);
}

/* Of those that add_to_no_list has begun. */
static void end_lists(struct editor *editor)
{
	const yaml_document_t *document = &editor->source->document;
	int count = (int)(document->nodes.top - document->nodes.start);

	for (int i = 1; i <= count; i++) {
		const yaml_node_t *node = node_of(editor, i);
		size_t at;

		if (!editor->begun[i] || node->data.mapping.style != YAML_FLOW_MAPPING_STYLE)
			continue;
		at = offset_of(editor,
			       &node_of(editor, node->data.mapping.pairs.top[-1].value)->end_mark);
		splice(editor, at, at, "]");
	}
}

/* ---- services ---- */

/* A JSON object as an item of a block list: a line for each key. */
static const char *several_lines(const char *json, int indent, char **ret)
{
	_cleanup_free_ char *block = config_dump_block(json);
	size_t size;
	FILE *out;

	*ret = NULL;
	if (!block || !(out = open_memstream(ret, &size)))
		return NULL;
	for (const char *line = block; *line;) {
		size_t length = strcspn(line, "\n");

		fprintf(out, "%*s%s%.*s\n", indent, "", line == block ? "- " : "  ", (int)length,
			line);
		line += length + !!line[length];
	}
	if (!fclose(out))
		return *ret;
	free(*ret);
	return *ret = NULL;
}

/* `services: []` gets lines of its own, unless the file is one mapping in braces. */
static void add_first_service(struct editor *editor, const yaml_node_t *root,
			      const yaml_node_t *list, const char *json)
{
	size_t start = offset_of(editor, &list->start_mark),
	       end = offset_of(editor, &list->end_mark);
	_cleanup_free_ char *lines = NULL;

	if (root->data.mapping.style == YAML_FLOW_MAPPING_STYLE) {
		splice(editor, start, end, "[%s]", json);
		return;
	}
	if (!several_lines(json, 2, &lines)) {
		editor->error = -ENOMEM;
		return;
	}
	lines[strlen(lines) - 1] = 0; /* what follows `[]` ends the line */
	while (start && editor->text[start - 1] == ' ')
		start--;
	splice(editor, start, end, "\n%s", lines);
}

/* Lists that are empty in the text are in brackets. */
static void empty_services(struct editor *editor, const yaml_node_t *root, const yaml_node_t *list)
{
	const yaml_node_pair_t *pair = config_source_pair(editor->source, root, "services");
	size_t at = offset_of(editor, &node_of(editor, pair->key)->end_mark);

	if (list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE)
		return;
	while (at < editor->length && editor->text[at] != ':')
		at++;
	at += at < editor->length;
	splice(editor, at, at, " []");
}

static void edit_services(struct editor *editor, unsigned file, const struct config_edit *edits,
			  unsigned count)
{
	yaml_node_t *root = yaml_document_get_root_node(&editor->source->document);
	const yaml_node_t *list = config_source_value(editor->source, root, "services");
	const size_t items =
	    (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
	size_t removed = 0, added = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct config_edit *edit = &edits[i];

		if (edit->file != file || !(edit->added_service || edit->remove_service))
			continue;
		if (edit->remove_service) {
			remove_item(editor, list, (int)edit->service);
			removed++;
		} else if (items) {
			add_item(editor, list, edit->added_service, several_lines);
			added++;
		} else {
			add_first_service(editor, root, list, edit->added_service);
		}
	}
	if (removed && removed == items && !added)
		empty_services(editor, root, list);
}

/* ---- all of them ---- */

static void edit_one(struct editor *editor, const struct config_edit *edit)
{
	yaml_node_t *root = yaml_document_get_root_node(&editor->source->document);
	const yaml_node_t *services = config_source_value(editor->source, root, "services"), *list;
	int service = services->data.sequence.items.start[edit->service];
	const yaml_node_pair_t *backends =
	    config_source_pair(editor->source, node_of(editor, service), "backends");
	int item;

	if (editor->uses[service] > 1 || (backends && editor->uses[backends->value] > 1)) {
		editor->error = -EINVAL;
		return;
	}
	if (!backends) {
		add_to_no_list(editor, service, edit);
		return;
	}
	list = node_of(editor, backends->value);
	if (edit->backend == CONFIG_EDIT_ADD) {
		add_backend(editor, list, edit);
		return;
	}
	item = list->data.sequence.items.start[edit->backend];
	if (editor->uses[item] > 1)
		editor->error = -EINVAL;
	else if (edit->remove)
		remove_item(editor, list, edit->backend);
	else
		change_backend(editor, node_of(editor, item), edit);
}

/* Of two changes at one place the first comes first: backends are added to a service before another
 * follows it. */
static int edit_all(struct editor *editor, unsigned file, const struct config_edit *edits,
		    unsigned count)
{
	const yaml_document_t *document = &editor->source->document;
	const size_t nodes = (size_t)(document->nodes.top - document->nodes.start);

	editor->uses = calloc(nodes + 1, sizeof(*editor->uses));
	editor->begun = calloc(nodes + 1, sizeof(*editor->begun));
	if (!editor->uses || !editor->begun || !find_lines(editor))
		return -ENOMEM;
	count_uses(editor);
	for (unsigned i = 0; i < count && !editor->error; i++)
		if (edits[i].file == file && !edits[i].added_service && !edits[i].remove_service)
			edit_one(editor, &edits[i]);
	end_lists(editor);
	if (!editor->error)
		edit_services(editor, file, edits, count);
	return editor->error;
}

static void editor_done(struct editor *editor)
{
	free(editor->uses);
	free(editor->begun);
	free(editor->lines);
	for (size_t i = 0; i < editor->count; i++)
		free(editor->splices[i].text);
	free(editor->splices);
}

static int edit_tree(struct config_source *source, unsigned file, const struct config_edit *edits,
		     unsigned count, struct config_text *edited, struct error *err)
{
	struct editor editor = {.source = source, .text = source->text, .length = source->length};
	int rc = edit_all(&editor, file, edits, count);

	if (!rc)
		rc = apply(&editor, &edited->bytes, &edited->length);
	if (rc)
		error_set(err, rc, "%s: %s", source->name,
			  rc == -ENOMEM ? "out of memory"
					: "has backends behind an alias (*name), which several "
					  "services share: change it by hand");
	editor_done(&editor);
	return rc;
}

/* tree: NULL: it is made here. */
static int edit_text(struct config_text *text, struct config_source *tree, unsigned file,
		     const struct config_edit *edits, unsigned count, struct error *err)
{
	struct config_text edited = {.name = text->name};
	struct config_source own = {0};
	int rc = 0;

	if (!tree) {
		rc = config_source_load(&own, text->name, text->bytes, text->length);
		if (rc)
			error_set(err, rc, "%s", own.complaint.text);
	}
	if (!rc)
		rc = edit_tree(tree ? tree : &own, file, edits, count, &edited, err);
	config_source_done(&own);
	if (rc)
		return rc;
	free(text->bytes);
	*text = edited;
	return 0;
}

static bool has_edits(unsigned file, const struct config_edit *edits, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (edits[i].file == file)
			return true;
	return false;
}

int config_edit_texts(struct config_texts *texts, struct config_sources *trees,
		      const struct config_edit *edits, unsigned count, bool *changed,
		      struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < texts->count && !rc; i++) {
		if (!has_edits(i, edits, count))
			continue;
		changed[i] = true;
		rc = edit_text(&texts->list[i], trees ? &trees->list[i] : NULL, i, edits, count,
			       err);
	}
	return rc;
}
