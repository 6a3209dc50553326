/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `etcd://10.0.0.5:2379,10.0.0.6:2379/lbd/config?ca=/etc/lbd/etcd-ca.pem`: the servers of one
 * cluster, a key, and what belongs to this node. Values are taken as they are: no %xx. */
#include "remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "from.h"
#include "scalar.h"
#include "texts.h"

#define SCHEME   "etcd://"
#define PORT     "2379" /* of etcd's clients */
#define KEY_MAX  255
#define TEXT_MAX CONFIG_FROM_TEXT

bool config_is_remote(const char *where)
{
	return !strncmp(where, SCHEME, strlen(SCHEME));
}

void config_remote_done(struct config_remote *remote)
{
	config_from_done(&remote->from);
	free(remote->local);
	free(remote->name);
	*remote = (struct config_remote){0};
}

/* ---- servers ---- */

/* What follows "]", or an only ":", is a port. */
static bool has_port(const char *server)
{
	const char *bracket = strrchr(server, ']'), *first = strchr(server, ':');

	return bracket ? bracket[1] == ':' : first && !strchr(first + 1, ':');
}

/* An IPv6 address without brackets gets them: a port follows. */
static int append_url(char *urls, size_t size, const char *server, bool tls)
{
	bool bare = *server != '[' && strchr(server, ':') && !has_port(server);
	size_t used = strlen(urls);
	int length = snprintf(urls + used, size - used, "%s%s://%s%s%s%s", used ? " " : "",
			      tls ? "https" : "http", bare ? "[" : "", server, bare ? "]" : "",
			      has_port(server) ? "" : ":" PORT);

	return length < 0 || (size_t)length >= size - used ? -EINVAL : 0;
}

/* servers is cut. */
static int read_servers(char *servers, struct config_remote *remote, struct error *err)
{
	char urls[TEXT_MAX + 1] = "", *rest, *word;
	int rc = 0;

	for (word = strtok_r(servers, ",", &rest); word && !rc; word = strtok_r(NULL, ",", &rest))
		rc = append_url(urls, sizeof(urls), word, remote->from.ca != NULL);
	if (rc || !config_from_urls_fit(urls))
		return error_set(err, -EINVAL,
				 "expected 1 to 8 addresses, each with a port or without, "
				 "separated by commas: " CONFIG_REMOTE_SYNTAX);
	remote->from.etcd = strdup(urls);
	return remote->from.etcd ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* ---- what belongs to this node ---- */

static char **option_place(struct config_remote *remote, const char *name)
{
	if (!strcmp(name, "ca"))
		return &remote->from.ca;
	if (!strcmp(name, "cert"))
		return &remote->from.cert;
	if (!strcmp(name, "key"))
		return &remote->from.key;
	if (!strcmp(name, "local"))
		return &remote->local;
	return strcmp(name, "node") ? NULL : &remote->from.node;
}

bool config_node_fits(const char *name)
{
	return config_is_word(name, CONFIG_NODE_TEXT);
}

/* Who this node is to the others, if nothing else was said. */
static int name_node(struct config_remote *remote, struct error *err)
{
	char host[256] = "";

	if (remote->from.node)
		return 0;
	gethostname(host, sizeof(host) - 1);
	if (!config_node_fits(host))
		return error_set(err, -EINVAL,
				 "the name of this host, \"%.64s\", cannot name the node: expected "
				 "?node=NAME",
				 host);
	remote->from.node = strdup(host);
	return remote->from.node ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* "ca=/etc/lbd/ca.pem"; it is cut. */
static int read_option(char *option, struct config_remote *remote, struct error *err)
{
	char *value = strchr(option, '='), **place;

	if (value)
		*value++ = 0;
	place = option_place(remote, option);
	if (!place)
		return error_set(err, -EINVAL, "%.64s: expected ca, cert, key, local or node",
				 option);
	if (*place)
		return error_set(err, -EINVAL, "%s: given twice: expected once", option);
	if (place == &remote->from.node && (!value || !config_node_fits(value)))
		return error_set(err, -EINVAL, "node: expected 1 to %d letters, digits and . _ -",
				 CONFIG_NODE_TEXT);
	if (place != &remote->from.node && (!value || *value != '/' || strlen(value) > TEXT_MAX))
		return error_set(err, -EINVAL, "%s: expected a path from /", option);
	*place = strdup(value);
	return *place ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int read_options(char *options, struct config_remote *remote, struct error *err)
{
	char *rest, *word;
	int rc = 0;

	for (word = options ? strtok_r(options, "&", &rest) : NULL; word && !rc;
	     word = strtok_r(NULL, "&", &rest))
		rc = read_option(word, remote, err);
	if (rc)
		return rc;
	if (!remote->from.cert != !remote->from.key)
		return error_set(err, -EINVAL, "expected both cert and key, or neither");
	if (remote->from.cert && !remote->from.ca)
		return error_set(err, -EINVAL,
				 "cert: expected ca, the authority of the servers' certificates, "
				 "beside it: the system's are not used");
	remote->named = remote->local;
	if (!remote->local)
		remote->local = strdup(CONFIG_LOCAL_PATH);
	return remote->local ? name_node(remote, err) : error_set(err, -ENOMEM, "out of memory");
}

/* ---- the whole ---- */

static int read_key(const char *key, struct config_remote *remote, struct error *err)
{
	if (!key[1] || strlen(key) > KEY_MAX || key[strlen(key) - 1] == '/')
		return error_set(
		    err, -EINVAL,
		    "expected a key of at most %d bytes after the servers: " CONFIG_REMOTE_SYNTAX,
		    KEY_MAX);
	remote->from.prefix = strdup(key);
	if (!remote->from.prefix || asprintf(&remote->name, "etcd:%s", key) < 0) {
		remote->name = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int parse(char *text, struct config_remote *remote, struct error *err)
{
	char *options = strchr(text, '?'), *key;
	int rc;

	if (options)
		*options++ = 0;
	key = strchr(text, '/');
	rc = read_key(key ? key : "/", remote, err);
	if (!rc)
		rc = read_options(options, remote, err);
	if (rc)
		return rc;
	*key = 0;
	return read_servers(text, remote, err);
}

int config_remote_parse(const char *where, struct config_remote *ret, struct error *err)
{
	_cleanup_free_ char *text = strdup(where + strlen(SCHEME));
	struct config_remote remote = {.from.min = 1};
	struct error why;
	int rc = text ? parse(text, &remote, &why) : error_set(&why, -ENOMEM, "out of memory");

	if (!rc) {
		*ret = remote;
		return 0;
	}
	config_remote_done(&remote);
	return error_set(err, rc, "%.200s: %.700s", where, why.text);
}

/* ---- texts ---- */

int config_remote_texts(const struct config_remote *remote, const char *bytes, size_t length,
			struct config_texts *ret, struct error *err)
{
	const struct config_text fleet = {remote->name, (char *)bytes, length};

	return config_join_texts(&fleet, remote->local, remote->named, ret, err);
}

int config_remote_read(const struct config_remote *remote, const char *text, struct config **ret,
		       struct error *err)
{
	struct config_texts texts;
	int rc = config_remote_texts(remote, text, strlen(text), &texts, err);

	if (rc)
		return rc;
	rc = config_parse_texts(&texts, ret, err);
	config_texts_done(&texts);
	return rc;
}

int config_remote_node(const struct config_remote *remote, struct config **ret, struct error *err)
{
	return config_remote_read(remote, "services: []\n", ret, err);
}
