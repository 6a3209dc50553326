/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rules of IPVS, as ipvsadm-save writes them (ipvsadm -S): a command of ipvsadm in each line. */
#include "import.h"

#include <string.h>

#include "lvs.h"
#include "value.h"
#include "words.h"

/* ---- a line as options ---- */

enum command {
	COMMAND_NONE,
	COMMAND_ADD_SERVICE,
	COMMAND_ADD_SERVER,
	COMMAND_TIMEOUTS,
	COMMAND_SYNC,
	COMMAND_OTHER
};

/* what an option takes */
enum takes { NOTHING, VALUE, MAYBE_VALUE, THREE_VALUES };

/* Where the value of an option goes: a letter of its own, or its short name. */
static const struct option {
	char letter;
	const char *name;
	enum takes takes;
} options[] = {
    {'A', "add-service", NOTHING},    {'E', "edit-service", NOTHING},
    {'D', "delete-service", NOTHING}, {'a', "add-server", NOTHING},
    {'e', "edit-server", NOTHING},    {'d', "delete-server", NOTHING},
    {'C', "clear", NOTHING},          {'Z', "zero", NOTHING},
    {'R', "restore", NOTHING},        {'S', "save", NOTHING},
    {'L', "list", NOTHING},           {'l', "list", NOTHING},
    {'t', "tcp-service", VALUE},      {'u', "udp-service", VALUE},
    {'f', "fwmark-service", VALUE},   {'K', "sctp-service", VALUE},
    {'s', "scheduler", VALUE},        {'p', "persistent", MAYBE_VALUE},
    {'M', "netmask", VALUE},          {'P', "pe", VALUE},
    {'b', "sched-flags", VALUE},      {'o', "ops", NOTHING},
    {'6', "ipv6", NOTHING},           {'r', "real-server", VALUE},
    {'g', "gatewaying", NOTHING},     {'i', "ipip", NOTHING},
    {'m', "masquerading", NOTHING},   {'w', "weight", VALUE},
    {'x', "u-threshold", VALUE},      {'y', "l-threshold", VALUE},
    {'n', "numeric", NOTHING},        {'1', "tun-type", VALUE},
    {'2', "tun-port", VALUE},         {'3', "tun-nocsum", NOTHING},
    {'4', "tun-csum", NOTHING},       {'5', "tun-remcsum", NOTHING},
    {'7', "set", THREE_VALUES},       {'8', "start-daemon", VALUE},
    {'9', "mcast-interface", VALUE},  {'0', "syncid", VALUE},
};

struct rule {
	struct import_place at;
	enum command command;
	char kind;           /* of the service: t, u, f or K; 0: none */
	const char *service; /* as written */
	const char *scheduler, *persistent, *mask, *engine, *flags, *server, *weight;
	const char *upper, *lower, *timeouts[3];
	struct lvs_way way;
	bool has_persistent, ops, edits;
	const char *unknown; /* an option, or what is none */
};

static const struct option *find_option(const char *word, const char **ret_value)
{
	size_t length = strcspn(word, "=");

	*ret_value = word[length] ? word + length + 1 : NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (strlen(options[i].name) == length && !strncmp(options[i].name, word, length))
			return &options[i];
	return NULL;
}

/* Digits are letters of long options alone, but for -6. */
static const struct option *find_letter(char letter)
{
	if (letter >= '0' && letter <= '9' && letter != '6')
		return NULL;
	if (letter == 'K' || letter == 'P')
		return NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

static void take_command(struct rule *rule, char letter)
{
	switch (letter) {
	case 'A':
	case 'E':
		rule->command = COMMAND_ADD_SERVICE;
		break;
	case 'a':
	case 'e':
		rule->command = COMMAND_ADD_SERVER;
		rule->edits = letter == 'e';
		break;
	case '7':
		rule->command = COMMAND_TIMEOUTS;
		break;
	case '8':
		rule->command = COMMAND_SYNC;
		break;
	case 'D':
	case 'd':
	case 'C':
	case 'Z':
	case 'R':
	case 'S':
	case 'L':
	case 'l':
		rule->command = COMMAND_OTHER;
		break;
	default:
		break;
	}
}

static void take_way(struct rule *rule, char letter, const char *value)
{
	uint64_t port = 0;

	switch (letter) {
	case 'g':
		rule->way.method = LVS_DIRECT;
		break;
	case 'i':
		rule->way.method = LVS_TUNNEL;
		break;
	case 'm':
		rule->way.method = LVS_NAT;
		break;
	case '1':
		rule->way.type = value;
		break;
	case '2':
		if (value_number(value, 65535, &port))
			rule->way.port = (unsigned)port;
		break;
	case '4':
	case '5':
		rule->way.checksum = true;
		break;
	default:
		break;
	}
}

static void take_service(struct rule *rule, char letter, const char *value)
{
	if (letter != 't' && letter != 'u' && letter != 'f' && letter != 'K')
		return;
	rule->kind = letter;
	rule->service = value;
}

static void take_value(struct rule *rule, char letter, const char *value)
{
	const struct {
		char letter;
		const char **to;
	} places[] = {{'s', &rule->scheduler}, {'p', &rule->persistent}, {'M', &rule->mask},
		      {'P', &rule->engine},    {'b', &rule->flags},      {'r', &rule->server},
		      {'w', &rule->weight},    {'x', &rule->upper},      {'y', &rule->lower}};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (places[i].letter == letter)
			*places[i].to = value;
	rule->has_persistent |= letter == 'p';
	rule->ops |= letter == 'o';
	take_command(rule, letter);
	take_service(rule, letter, value);
	take_way(rule, letter, value);
}

/* A value follows in the same word, or is the next one. Returns how many words are used. */
static unsigned take_option(struct rule *rule, const struct option *option, const char *value,
			    const struct words *words, unsigned at)
{
	unsigned used = 1;

	if (option->takes == NOTHING)
		value = "";
	if (option->takes == MAYBE_VALUE && !value && words_at(words, at + 1)[0] == '-')
		value = "";
	if (option->takes == THREE_VALUES) {
		for (unsigned i = 0; i < 3; i++)
			rule->timeouts[i] = words_at(words, at + 1 + i);
		value = "";
		used = 4;
	}
	if (!value) {
		value = words_at(words, at + 1);
		used = 2;
	}
	take_value(rule, option->letter, value);
	return used;
}

/* Letters may share a word; the last may have its value there too: -pn, -w3. */
static unsigned take_letters(struct rule *rule, const struct words *words, unsigned at)
{
	const char *word = words->word[at];

	for (unsigned i = 1; word[i]; i++) {
		const struct option *option = find_letter(word[i]);

		if (!option) {
			rule->unknown = word;
			return 1;
		}
		if (option->takes != NOTHING)
			return take_option(rule, option, word[i + 1] ? word + i + 1 : NULL, words,
					   at);
		take_value(rule, word[i], "");
	}
	return 1;
}

static void take_word(struct rule *rule, const struct words *words, unsigned *at)
{
	const char *word = words->word[*at], *value = NULL;
	const struct option *option;

	if (!strncmp(word, "--", 2)) {
		option = find_option(word + 2, &value);
		if (option) {
			*at += take_option(rule, option, value, words, *at);
			return;
		}
	} else if (*word == '-' && word[1]) {
		*at += take_letters(rule, words, *at);
		return;
	}
	rule->unknown = word;
	++*at;
}

static void read_rule(const struct words *words, struct rule *rule)
{
	const char *first = words->word[0], *slash = strrchr(first, '/');
	unsigned at = strcmp(slash ? slash + 1 : first, "ipvsadm") ? 0 : 1;

	*rule = (struct rule){.at = words->at, .service = "", .scheduler = "", .mask = ""};
	while (at < words->count)
		take_word(rule, words, &at);
}

/* ---- services ---- */

static const char *key_of(struct import *im, const struct rule *rule)
{
	return import_print(im, "%c %.256s", rule->kind, rule->service);
}

/* What has no place in a config of lbd. Its real servers are left out with it. */
static bool cannot_be_service(struct import *im, const struct rule *rule)
{
	if (rule->kind == 'f')
		import_left(im, rule->at,
			    "firewall mark %s: lbd knows services by VIP, protocol and port: write "
			    "one for each of those that get this mark",
			    rule->service);
	else if (rule->kind == 'K')
		import_left(im, rule->at, "SCTP service %s: lbd forwards TCP and UDP",
			    rule->service);
	else
		return false;
	return true;
}

static bool read_endpoint(struct import *im, const struct rule *rule,
			  struct import_service *service)
{
	const char *host, *port;

	service->udp = rule->kind == 'u';
	value_split(im, rule->service, false, &host, &port);
	if (!value_address(im, rule->at, host, &service->vip)) {
		import_left(im, rule->at, "service %s: expected an address, or a name that has one",
			    rule->service);
		return false;
	}
	if (*port && !value_port(port, service->udp, &service->port)) {
		import_left(im, rule->at, "service %s: expected a port, or a name of /etc/services",
			    rule->service);
		return false;
	}
	return true;
}

static void read_persistence(struct import *im, const struct rule *rule,
			     struct import_service *service)
{
	uint64_t seconds = 300;

	if (rule->engine)
		import_left(im, rule->at,
			    "persistence engine %s: lbd knows clients by their addresses alone",
			    rule->engine);
	if (!rule->has_persistent)
		return;
	if (*rule->persistent && !value_number(rule->persistent, 31 * 86400, &seconds))
		import_left(im, rule->at, "-p %s: expected seconds: 300 are used",
			    rule->persistent);
	lvs_persist(im, rule->at, seconds * 1000, rule->mask, service->vip.family, service);
}

static unsigned read_flags(struct import *im, const struct rule *rule)
{
	unsigned flags = 0;
	const char *at = rule->flags ? rule->flags : "";

	while (*at) {
		size_t length = strcspn(at, ",");
		const char *name = import_copy(im, at, length);

		if (*name && !lvs_flag(name, &flags))
			import_left(im, rule->at, "scheduler flag %s: not known", name);
		at += at[length] ? length + 1 : length;
	}
	return flags;
}

static void add_service(struct import *im, const struct rule *rule)
{
	const char *key = key_of(im, rule);
	struct import_service *service = import_find_service(im, key);

	if (!service)
		service = import_add_service(im, rule->at);
	service->key = key;
	service->left = cannot_be_service(im, rule) || !read_endpoint(im, rule, service);
	if (service->left)
		return;
	read_persistence(im, rule, service);
	if (!service->port && !rule->has_persistent)
		import_note(im, rule->at, "service %s: without a port it takes any", rule->service);
	lvs_schedule(im, rule->at, rule->scheduler, read_flags(im, rule), service);
	if (rule->ops)
		import_left(
		    im, rule->at,
		    "one-packet scheduling: lbd sends all packets of a flow to one backend");
}

/* ---- real servers ---- */

static struct import_backend *find_backend(struct import_service *service,
					   const struct addr *address, unsigned port)
{
	for (struct import_backend *one = service->backends; one; one = one->next)
		if (one->port == port && addr_equal(&one->address, address))
			return one;
	return NULL;
}

static uint64_t read_weight(struct import *im, const struct rule *rule)
{
	uint64_t weight = 1;

	if (rule->weight && !value_number(rule->weight, INT32_MAX, &weight))
		import_left(im, rule->at, "-w %s: expected 0 to %d: 1 is used", rule->weight,
			    INT32_MAX);
	return weight;
}

static void read_thresholds(struct import *im, const struct rule *rule)
{
	uint64_t upper = 0, lower = 0;

	if (rule->upper && value_number(rule->upper, UINT32_MAX, &upper) && rule->lower)
		value_number(rule->lower, UINT32_MAX, &lower);
	lvs_thresholds(im, rule->at, upper, lower);
}

/* A line that edits a real server finds it by its address. */
static struct import_backend *backend_for(struct import *im, const struct rule *rule,
					  struct import_service *service,
					  const struct addr *address, unsigned port)
{
	struct import_backend *backend = NULL;

	if (rule->edits)
		backend = find_backend(service, address, port);
	return backend ? backend : import_add_backend(im, service, rule->at);
}

static void put_server(struct import *im, const struct rule *rule, struct import_service *service)
{
	struct import_backend *backend;
	const char *host, *port;
	struct addr address;
	unsigned number = 0;

	value_split(im, rule->server, false, &host, &port);
	if (!value_address(im, rule->at, host, &address)) {
		import_left(im, rule->at,
			    "real server %s: expected an address, or a name that has one",
			    rule->server);
		return;
	}
	if (*port && !value_port(port, service->udp, &number)) {
		import_left(im, rule->at,
			    "real server %s: expected a port, or a name of /etc/services",
			    rule->server);
		return;
	}
	backend = backend_for(im, rule, service, &address, number);
	backend->address = address;
	backend->port = number;
	backend->weight = read_weight(im, rule);
	lvs_forward(im, rule->at, &rule->way, backend);
	read_thresholds(im, rule);
}

static void add_server(struct import *im, const struct rule *rule)
{
	struct import_service *service = import_find_service(im, key_of(im, rule));

	if (!service)
		import_left(im, rule->at, "real server %s: no line before it adds the service %s",
			    rule->server ? rule->server : "", rule->service);
	else if (!rule->server)
		import_left(im, rule->at, "service %s: a real server without an address",
			    rule->service);
	else if (!service->left)
		put_server(im, rule, service);
}

/* ---- lines ---- */

static void set_timeouts(struct import *im, const struct rule *rule)
{
	uint64_t seconds[3];

	for (unsigned i = 0; i < 3; i++) {
		if (value_number(rule->timeouts[i], 31 * 86400, &seconds[i]))
			continue;
		import_left(im, rule->at, "--set %s: expected three numbers of seconds",
			    rule->timeouts[i]);
		return;
	}
	lvs_timeouts(im, seconds[0], seconds[2]);
}

static void take_rule(struct import *im, const struct words *words)
{
	struct rule rule;

	read_rule(words, &rule);
	if (rule.unknown)
		import_left(im, rule.at, "%s: not known", rule.unknown);
	switch (rule.command) {
	case COMMAND_ADD_SERVICE:
	case COMMAND_ADD_SERVER:
		if (!rule.kind)
			import_left(im, rule.at, "%s: expected a service: -t, -u or -f",
				    words_join(im, words, 0));
		else if (rule.command == COMMAND_ADD_SERVICE)
			add_service(im, &rule);
		else
			add_server(im, &rule);
		break;
	case COMMAND_TIMEOUTS:
		set_timeouts(im, &rule);
		break;
	case COMMAND_SYNC:
		import_left(im, rule.at,
			    "synchronisation of connections: balancers with the same config and "
			    "hash-seed need none: docs/pair.md");
		break;
	default:
		import_left(im, rule.at, "%s: expected a line of ipvsadm-save: -A or -a",
			    words_join(im, words, 0));
	}
}

static bool is_listing(const struct words *words)
{
	return words_is(words, 0, "IP") && words_is(words, 1, "Virtual") &&
	       words_is(words, 2, "Server");
}

static void read_ipvs(struct import *im, const struct import_file *file)
{
	struct lines lines = {.file = file};
	struct words words;

	while (lines_next(im, &lines, WORDS_PLAIN, &words)) {
		if (is_listing(&words)) {
			import_left(im, words.at,
				    "this is what ipvsadm -L prints: expected the output of "
				    "ipvsadm-save -n");
			return;
		}
		take_rule(im, &words);
	}
	lvs_timeouts(im, 0, 0);
	import_note(im, (struct import_place){file, 0},
		    "IPVS checks no real server; lbd checks TCP services with a connection: see "
		    "`health` in docs/config.md");
}

REGISTER(dialect, ipvs) = {.name = "ipvs", .read = read_ipvs};
