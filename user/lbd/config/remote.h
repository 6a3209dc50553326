/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config of a fleet, in etcd: how `lbd -c etcd://...` names it. */
#ifndef LBD_CONFIG_REMOTE_H
#define LBD_CONFIG_REMOTE_H

#include <stdbool.h>

#include "config.h"

#define CONFIG_REMOTE_SYNTAX                                                          \
	"etcd://ADDRESS[:PORT][,ADDRESS[:PORT]...]/KEY, and if wanted ?ca=PATH&cert=" \
	"PATH&key=PATH&local=PATH&node=NAME"
#define CONFIG_LOCAL_PATH "/etc/lbd/node.yaml"
#define CONFIG_NODE_TEXT  64 /* bytes of a node's name */

struct config_remote {
	struct config_from from; /* etcd: its servers; prefix: the key; ca, cert, key; node */
	char *local;             /* the path of this node's own file */
	bool named;              /* it was: then it must be there */
	char *name;              /* of the text, for errors: "etcd:/lbd/config" */
};

/* 1 to CONFIG_NODE_TEXT letters, digits and . _ - */
bool config_node_fits(const char *name);
bool config_is_remote(const char *where);
/* 0 with *ret for config_remote_done, or -EINVAL or -ENOMEM with err set. */
int config_remote_parse(const char *where, struct config_remote *ret, struct error *err);
void config_remote_done(struct config_remote *remote);

/* The text from etcd, which is copied, and this node's own file, whose keys take the place of the
 * same ones there. 0 with *ret for config_texts_done, or -errno with err set. */
int config_remote_texts(const struct config_remote *remote, const char *bytes, size_t length,
			struct config_texts *ret, struct error *err);
/* The config that they make. */
int config_remote_read(const struct config_remote *remote, const char *text, struct config **ret,
		       struct error *err);
/* A config without services of this node's own file alone: what it says of the node. */
int config_remote_node(const struct config_remote *remote, struct config **ret, struct error *err);

#endif
