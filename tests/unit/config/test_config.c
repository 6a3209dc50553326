/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The config file: what is refused and with which error, the defaults, and that no text, however
 * broken, does harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lb_abi.h"
#include "lbd/config/config.h"
#include "support/test_addr.h"
#include "support/test_file.h"

/* A service in five lines; keys follow from line 6 on. */
#define WEB                     \
	"services:\n"           \
	"  - name: web\n"       \
	"    vip: 192.0.2.10\n" \
	"    protocol: tcp\n"   \
	"    port: 80\n"
#define BACKENDS "    backends: [{address: 10.0.0.11}]\n"
/* What a host of a check must be. */
#define HOST                                                                                  \
	"expected a host name or address, IPv6 in brackets, optionally with a port, such as " \
	"www.example.com:8080"
/* A second one. */
#define DNS                     \
	"  - name: dns\n"       \
	"    vip: 192.0.2.53\n" \
	"    protocol: udp\n"   \
	"    port: 53\n"

/* A long value, made by doubling. */
#define X16      "xxxxxxxxxxxxxxxx"
#define X128     X16 X16 X16 X16 X16 X16 X16 X16
#define LONG     X128 X128 X128 X128 X128 X128 X128 X128
#define OPEN16   "[[[[[[[[[[[[[[[["
#define OPEN128  OPEN16 OPEN16 OPEN16 OPEN16 OPEN16 OPEN16 OPEN16 OPEN16
#define BRACKETS OPEN128 OPEN128 OPEN128 OPEN128 OPEN128 OPEN128 OPEN128 OPEN128 OPEN128
#define NAME_107 X16 X16 X16 X16 X16 X16 "xxxxxxxxxxx"

/* ---- what is refused ---- */

struct refusal {
	const char *promise;
	const char *yaml;
	const char *error; /* after "lbd.yaml:"; after a final "*" any text may follow */
};

#define KUBERNETES(servers, more) WEB "    backends-from: { kubernetes: '" servers "', " more " }\n"
#define CONSUL(servers, more)     WEB "    backends-from: { consul: '" servers "', " more " }\n"

static const struct refusal refusals[] = {
    {"an_empty_file", "", "1: empty: expected at least `services:` and a list"},
    {"a_file_of_comments", "# nothing\n# here\n",
     "1: empty: expected at least `services:` and a list"},
    {"an_empty_document", "---\n",
     "2: nothing: expected a mapping with the keys include, interfaces, mode, unserved, pin, socket, "
     "state, group, metrics, metrics-hosts, metrics-token-file, page, notify, hash-seed, zone, encap, limits, telemetry, "
     "announce, peers, api, nat, defaults or services"},
    {"a_scalar", "hello\n",
     "1: hello: expected a mapping with the keys include, interfaces, mode, unserved, pin, socket, "
     "state, group, metrics, metrics-hosts, metrics-token-file, page, notify, hash-seed, zone, encap, limits, telemetry, "
     "announce, peers, api, nat, defaults or services"},
    {"a_list_at_the_top", "- a\n",
     "1: a list: expected a mapping with the keys include, interfaces, mode, unserved, pin, socket, "
     "state, group, metrics, metrics-hosts, metrics-token-file, page, notify, hash-seed, zone, encap, limits, telemetry, "
     "announce, peers, api, nat, defaults or services"},
    {"a_tab_as_indentation", WEB "\tbackends: []\n",
     "6: not YAML: found a tab character that violates indentation: indent with spaces, not tabs"},
    {"an_unclosed_quote", WEB "    algorithm: \"maglev\n" BACKENDS,
     "8: not YAML: found unexpected end of stream while scanning a quoted scalar that begins in line 6"},
    {"an_unclosed_bracket", "interfaces: [eth0\nservices: []\n",
     "2: not YAML: did not find expected ',' or ']' while parsing a flow sequence that begins in line 1"},
    {"bytes_that_are_no_text", "interfaces: [eth0]\npin: \xff\n",
     "2: not YAML: invalid leading UTF-8 octet"},
    {"a_control_character", "interfaces: [eth0]\npin: \x01\n",
     "2: not YAML: control characters are not allowed"},
    {"an_alias_to_nothing", WEB "    health: *none\n" BACKENDS,
     "6: not YAML: found undefined alias"},
    {"a_second_document", "services: []\n---\nservices: []\n",
     "2: a second YAML document: expected one"},
    {"a_broken_second_document", "services: []\n---\n[\n",
     "4: not YAML: did not find expected node content while parsing a flow node"},
    {"nesting_without_end", "pin: " BRACKETS "\n",
     "2: not YAML: did not find expected node content while parsing a flow node"},
    {"an_unknown_key", "services: []\nfoo: 1\n",
     "2: foo: unknown key: expected include, interfaces, mode, unserved, pin, socket, state, group, "
     "metrics, metrics-hosts, metrics-token-file, page, notify, hash-seed, zone, encap, limits, telemetry, announce, "
     "peers, api, nat, defaults or services"},
    {"an_unknown_key_with_the_nearest", WEB "    protocoll: tcp\n" BACKENDS,
     "6: service web: protocoll: unknown key: did you mean protocol?"},
    {"an_underscore_for_a_hyphen", "hash_seed: 1\nservices: []\n",
     "1: hash_seed: unknown key: did you mean hash-seed?"},
    {"a_key_in_capitals", WEB "    Algorithm: maglev\n" BACKENDS,
     "6: service web: Algorithm: unknown key: did you mean algorithm?"},
    {"the_beginning_of_a_key", WEB "    algo: maglev\n" BACKENDS,
     "6: service web: algo: unknown key: did you mean algorithm?"},
    {"an_unknown_key_of_a_backend",
     WEB "    backends:\n      - address: 10.0.0.1\n        cookie: a\n",
     "8: service web: backend 10.0.0.1: cookie: unknown key: expected address, name, port, weight, zone, priority, backup, drain, health or labels"},
    {"an_unknown_key_of_health", WEB "    health: { uri: / }\n" BACKENDS,
     "6: service web: health: uri: unknown key: expected type, port, to, path, host, "
     "status, interval, timeout, rise, fall, method, headers, body, send, send-hex, expect, "
     "expect-hex, name, record, verify, server-name, ca-file, certificate-file, key-file, command, fast-interval, passive, mtu, match or checks"},
    {"an_unknown_key_of_defaults", "defaults: { vip: 192.0.2.1 }\nservices: []\n",
     "1: defaults: vip: unknown key: expected algorithm, hash, forward, no-backend, fragments, "
     "tracking, affinity, affinity-timeout, affinity-mask, allow, deny, idle-timeout, limit, "
     "slow-start, flap-damping, "
     "panic-threshold, health or agent"},
    {"a_merge_key", "defaults: &d { forward: gue }\n" WEB "    <<: *d\n" BACKENDS,
     "7: service web: <<: merge keys are not supported: use `defaults`, or an alias for a whole value"},
    {"a_key_given_twice", WEB "    port: 81\n" BACKENDS,
     "6: service web: port: given twice: expected once, see line 5"},
    {"a_key_given_twice_with_one_alias", "pin: &p /a\nsocket: *p\nsocket: *p\nservices: []\n",
     "3: socket: given twice: expected once, see line 2"},
    {"a_key_that_is_a_list", "? [a]\n: 1\nservices: []\n", "1: a list: expected a key"},
    {"no_services", "interfaces: [eth0]\n", "1: services: missing: expected a list"},
    {"a_service_without_vip",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n" BACKENDS,
     "2: service web: vip: missing: expected an IPv4 or IPv6 address"},
    {"a_service_without_protocol",
     "services:\n  - name: web\n    vip: 192.0.2.1\n    port: 80\n" BACKENDS,
     "2: service web: protocol: missing: expected tcp or udp"},
    {"a_service_without_port",
     "services:\n  - name: web\n    vip: 192.0.2.1\n    protocol: tcp\n" BACKENDS,
     "2: service web: port: missing: expected 1 to 65535 or any"},
    {"a_service_without_backends", WEB, "2: service web: backends: missing: expected a list"},
    {"a_source_without_a_kind", WEB "    backends-from: { min: 2 }\n",
     "6: service web: backends-from: expected one source: file, dns, etcd, kubernetes or consul"},
    {"two_sources", WEB "    backends-from: { file: /a, dns: b }\n",
     "6: service web: backends-from: expected one source: file, dns, etcd, kubernetes or consul"},
    {"a_source_that_is_no_name", WEB "    backends-from: { dns: a..b }\n",
     "6: service web: backends-from: dns: a..b: expected a whole DNS name, such as web.example.net"},
    {"a_server_without_a_name", WEB "    backends-from: { file: /a, server: 10.0.0.1 }\n",
     "6: service web: backends-from: server: 10.0.0.1: has no meaning without `dns`"},
    {"a_server_with_a_wrong_port", WEB "    backends-from: { dns: a, server: '10.0.0.1:0' }\n",
     "6: service web: backends-from: server: 10.0.0.1:0: expected 1 to 3 addresses, each with a port or "
     "without, separated by blanks"},
    {"an_etcd_without_a_prefix", WEB "    backends-from: { etcd: 'http://10.0.0.5:2379' }\n",
     "6: service web: backends-from: prefix: missing: expected what the keys begin with"},
    {"an_etcd_with_a_name", WEB "    backends-from: { etcd: 'http://etcd:2379', prefix: /a }\n",
     "6: service web: backends-from: etcd: http://etcd:2379: expected 1 to 8 URLs such as "
     "http://10.0.0.5:2379, separated by blanks"},
    {"an_etcd_without_a_port", WEB "    backends-from: { etcd: 'http://10.0.0.5', prefix: /a }\n",
     "6: service web: backends-from: etcd: http://10.0.0.5: expected 1 to 8 URLs such as "
     "http://10.0.0.5:2379, separated by blanks"},
    {"an_etcd_without_a_port_by_ipv6",
     WEB "    backends-from: { etcd: 'http://[2001:db8::5]', prefix: /a }\n",
     "6: service web: backends-from: etcd: http://[2001:db8::5]: expected 1 to 8 URLs such as "
     "http://10.0.0.5:2379, separated by blanks"},
    {"a_certificate_without_a_key",
     WEB "    backends-from: { etcd: 'https://10.0.0.5:2379', prefix: /a, ca: /a, cert: /c }\n",
     "6: service web: backends-from: key: missing: expected both cert and key, or neither"},
    {"an_etcd_by_tls_without_an_authority",
     WEB "    backends-from: { etcd: 'https://10.0.0.5:2379', prefix: /a }\n",
     "6: service web: backends-from: ca: missing: expected the authority of the servers' "
     "certificates: the system's are not used"},
    {"a_prefix_without_etcd", WEB "    backends-from: { dns: a, prefix: /a }\n",
     "6: service web: backends-from: prefix: /a: has no meaning without `etcd`"},
    {"a_record_that_is_unknown", WEB "    backends-from: { dns: a, record: mx }\n",
     "6: service web: backends-from: record: mx: expected a, aaaa or srv"},
    {"a_source_with_an_unknown_key", WEB "    backends-from: { url: x }\n",
     "6: service web: backends-from: url: unknown key: expected file, dns, record, server, "
     "etcd, prefix, kubernetes, consul, service, namespace, port, family, datacenter, tag, "
     "token-file, ca, cert, key, server-name or min"},
    {"a_kubernetes_without_a_namespace",
     KUBERNETES("https://10.0.0.5:6443", "service: web, ca: /a"),
     "6: service web: backends-from: namespace: missing: expected that of the service"},
    {"a_kubernetes_without_a_service",
     KUBERNETES("https://10.0.0.5:6443", "namespace: shop, ca: /a"),
     "6: service web: backends-from: service: missing: expected the name of the service in Kubernetes"},
    {"a_kubernetes_with_a_name_that_it_cannot_have",
     KUBERNETES("https://10.0.0.5:6443", "namespace: shop, service: Web, ca: /a"),
     "6: service web: backends-from: service: Web: expected 1 to 63 small letters, digits or -, as "
     "Kubernetes has it"},
    {"a_kubernetes_with_a_namespace_that_it_cannot_have",
     KUBERNETES("https://10.0.0.5:6443", "namespace: a/b, service: web, ca: /a"),
     "6: service web: backends-from: namespace: a/b: expected 1 to 63 small letters, digits or -"},
    {"a_kubernetes_with_a_wrong_port",
     KUBERNETES("https://10.0.0.5:6443", "namespace: shop, service: web, port: 65536, ca: /a"),
     "6: service web: backends-from: port: 65536: expected the name of a port or 1 to 65535"},
    {"a_kubernetes_by_a_name",
     KUBERNETES("https://api:6443", "namespace: shop, service: web, ca: /a"),
     "6: service web: backends-from: kubernetes: https://api:6443: expected 1 to 8 URLs such as "
     "https://10.0.0.5:6443 and a path or none, separated by blanks"},
    {"a_kubernetes_with_a_query",
     KUBERNETES("https://10.0.0.5:6443/a?b", "namespace: shop, service: web, ca: /a"),
     "6: service web: backends-from: kubernetes: https://10.0.0.5:6443/a?b: expected 1 to 8 URLs such "
     "as https://10.0.0.5:6443 and a path or none, separated by blanks"},
    {"a_kubernetes_without_an_authority",
     KUBERNETES("https://10.0.0.5:6443", "namespace: shop, service: web"),
     "6: service web: backends-from: ca: missing: expected the authority of the servers' "
     "certificates: the system's are not used"},
    {"a_token_that_would_be_sent_in_clear",
     KUBERNETES("http://10.0.0.5:8080", "namespace: shop, service: web, token-file: /t"),
     "6: service web: backends-from: token-file: /t: expected https, or http to this host "
     "(127.0.0.1): a token is not sent unencrypted over a network"},
    {"a_token_that_would_be_sent_in_clear_by_the_second_server",
     CONSUL("http://127.0.0.1:8500 http://10.0.0.5:8500", "service: web, token-file: /t"),
     "6: service web: backends-from: token-file: /t: expected https, or http to this host "
     "(127.0.0.1): a token is not sent unencrypted over a network"},
    {"a_consul_without_a_service", CONSUL("http://127.0.0.1:8500", "min: 1"),
     "6: service web: backends-from: service: missing: expected the name of the service in Consul"},
    {"a_consul_with_a_namespace", CONSUL("http://127.0.0.1:8500", "service: web, namespace: a"),
     "6: service web: backends-from: namespace: a: has no meaning without `kubernetes`"},
    {"a_consul_with_a_family", CONSUL("http://127.0.0.1:8500", "service: web, family: ipv6"),
     "6: service web: backends-from: family: has no meaning without `kubernetes`"},
    {"a_server_name_without_tls",
     CONSUL("http://127.0.0.1:8500", "service: web, server-name: server.dc1.consul"),
     "6: service web: backends-from: server-name: server.dc1.consul: has no meaning without https"},
    {"a_service_of_a_source_without_one", WEB "    backends-from: { dns: a, service: web }\n",
     "6: service web: backends-from: service: web: has no meaning without `kubernetes` or `consul`"},
    {"an_authority_without_a_server", WEB "    backends-from: { dns: a, ca: /a }\n",
     "6: service web: backends-from: ca: /a: has no meaning without `etcd`, `kubernetes` or `consul`"},
    {"a_source_file_that_is_relative", WEB "    backends-from: { file: web }\n",
     "6: service web: backends-from: file: web: expected a path from /, such as /etc/lbd/backends/web"},
    {"a_source_with_no_minimum", WEB "    backends-from: { file: /a, min: 0 }\n",
     "6: service web: backends-from: min: 0: expected 1 to 1024"},
    {"a_source_with_a_large_minimum", WEB "    backends-from: { file: /a, min: 1025 }\n",
     "6: service web: backends-from: min: 1025: expected 1 to 1024"},
    {"a_source_beside_an_empty_list", WEB "    backends-from: { file: /a }\n    backends: []\n",
     "7: service web: backends: empty: expected at least one"},
    {"a_backend_without_address", WEB "    backends: [{ weight: 1 }]\n",
     "6: service web: backend #1: address: missing: expected an IPv4 or IPv6 address"},
    {"services_as_mapping", "services: { a: 1 }\n", "1: services: a mapping: expected a list"},
    {"services_as_nothing", "services:\n", "1: services: nothing: expected a list"},
    {"a_service_that_is_a_word", "services:\n  - web\n",
     "2: service #1: web: expected a mapping with the keys *"},
    {"a_port_that_is_a_list",
     "services:\n  - vip: 192.0.2.1\n    protocol: tcp\n    port: [80, 443]\n" BACKENDS,
     "4: service #1: port: a list: expected a single value"},
    {"health_that_is_a_word", WEB "    health: http\n" BACKENDS,
     "6: service web: health: http: expected a mapping with the keys type, port, to, "
     "path, host, status, interval, timeout, rise, fall, method, headers, body, send, send-hex, "
     "expect, expect-hex, name, record, verify, server-name, ca-file, certificate-file, key-file, command, fast-interval, passive, mtu, match or checks"},
    {"backends_that_are_words", WEB "    backends: [10.0.0.1]\n",
     "6: service web: backend #1: 10.0.0.1: expected a mapping with the keys address, name, port, weight, zone, priority, backup, drain, health or labels"},
    {"an_interface_that_is_a_mapping", "interfaces: [{ name: eth0 }]\nservices: []\n",
     "1: interfaces: a mapping: expected a single value"},
    {"interfaces_that_are_a_word", "interfaces: eth0\nservices: []\n",
     "1: interfaces: eth0: expected a list"},
    {"a_value_with_a_zero_byte", "pin: \"/a\\0b\"\nservices: []\n",
     "1: pin: /a: expected text without a zero byte"},
    {"a_value_too_long", "pin: /" LONG "\nservices: []\n",
     "1: pin: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: expected at most 1023 bytes"},
    {"a_value_with_escapes_is_shown_harmless", "mode: \"\\e[31mred\"\nservices: []\n",
     "1: mode: ?[31mred: expected auto, native or generic"},
    {"an_unknown_mode", "mode: fast\nservices: []\n",
     "1: mode: fast: expected auto, native or generic"},
    {"a_pin_that_is_relative", "pin: lbd\nservices: []\n",
     "1: pin: lbd: expected an absolute path on a bpffs"},
    {"a_socket_path_too_long", "socket: /" NAME_107 "\nservices: []\n",
     "1: socket: "
     "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: "
     "expected an absolute path of at most 107 bytes"},
    {"a_group_of_blanks", "group: a b\nservices: []\n",
     "1: group: a b: expected the name of a group"},
    {"an_interface_name_too_long",
     "interfaces:\n  - eth0\n  - interface-is-too-long\nservices: []\n",
     "3: interfaces: interface-is-too-long: expected the name of an interface, 1 to 15 bytes"},
    {"an_interface_name_with_a_slash", "interfaces: [eth/0]\nservices: []\n",
     "1: interfaces: eth/0: expected the name of an interface, 1 to 15 bytes"},
    {"an_interface_listed_twice", "interfaces:\n  - eth0\n  - eth0\nservices: []\n",
     "3: interfaces: eth0: listed twice: expected once"},
    {"metrics_without_port", "metrics: 127.0.0.1\nservices: []\n",
     "1: metrics: 127.0.0.1: expected an address and port, such as 127.0.0.1:9469 or [::1]:9469, unix:PATH, or off"},
    {"metrics_on_a_host_name", "metrics: localhost:9469\nservices: []\n",
     "1: metrics: localhost:9469: expected an address and port, such as 127.0.0.1:9469 or [::1]:9469, unix:PATH, or off"},
    {"metrics_on_ipv6_without_brackets", "metrics: ::1:9469\nservices: []\n",
     "1: metrics: ::1:9469: expected an address and port, such as 127.0.0.1:9469 or [::1]:9469, unix:PATH, or off"},
    {"metrics_on_a_bad_port", "metrics: 127.0.0.1:0\nservices: []\n",
     "1: metrics: 127.0.0.1:0: expected an address and port, such as 127.0.0.1:9469 or [::1]:9469, unix:PATH, or off"},
    {"metrics_on_a_relative_socket", "metrics: unix:metrics.sock\nservices: []\n",
     "1: metrics: unix:metrics.sock: expected unix: and an absolute path of at most 107 bytes"},
    {"metrics_on_the_control_socket",
     "socket: /run/lbd/a.sock\nmetrics: unix:/run/lbd/a.sock\nservices: []\n",
     "2: metrics: unix:/run/lbd/a.sock: is the control socket: expected another path"},
    {"metrics_hosts_with_a_port", "metrics-hosts: [lb1, \"lb1:9469\"]\nservices: []\n",
     "1: metrics-hosts: lb1:9469: expected the name of a host or an address, without port and brackets"},
    {"metrics_hosts_with_a_pattern", "metrics-hosts: [\"*\"]\nservices: []\n",
     "1: metrics-hosts: *: expected the name of a host or an address, without port and brackets"},
    {"a_page_that_is_neither_on_nor_off", "page: yes\nservices: []\n",
     "1: page: yes: expected on or off"},
    {"a_page_without_its_listener", "metrics: off\npage: on\nservices: []\n",
     "2: page: on: is served by the listener of `metrics`, which is off: expected off, or an address in "
     "`metrics`"},
    {"a_relative_token_file", "metrics-token-file: token\nservices: []\n",
     "1: metrics-token-file: token: expected an absolute path"},
    {"a_notify_command_without_its_path", "notify: logger -t lbd\nservices: []\n",
     "1: notify: logger -t lbd: expected an absolute path and at most 15 arguments, separated by "
     "blanks; no shell reads them, so quotes, backslashes and $ have no place there"},
    {"a_notify_command_for_a_shell", "notify: /bin/echo \"$LBD_TEXT\"\nservices: []\n",
     "1: notify: /bin/echo \"$LBD_TEXT\": expected an absolute path and at most 15 arguments, "
     "separated by blanks; no shell reads them, so quotes, backslashes and $ have no place there"},
    {"a_notify_command_of_17_words",
     "notify: /bin/a 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nservices: []\n",
     "1: notify: /bin/a 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16: expected an absolute path and at "
     "most 15 arguments, separated by blanks; no shell reads them, so quotes, backslashes and $ "
     "have no place there"},
    {"a_hash_seed_over_64_bits", "hash-seed: 18446744073709551616\nservices: []\n",
     "1: hash-seed: 18446744073709551616: expected 1 to 18446744073709551615"},
    {"a_sample_that_is_no_power_of_two", "telemetry: { sample: 1/10 }\nservices: []\n",
     "1: telemetry: sample: 1/10: expected off, or 1/N with a power of two from 1 to 1024, such as 1/16"},
    {"a_sample_of_none", "telemetry: { sample: 1/0 }\nservices: []\n",
     "1: telemetry: sample: 1/0: expected off, or 1/N*"},
    {"a_sample_without_a_number", "telemetry: { sample: on }\nservices: []\n",
     "1: telemetry: sample: on: expected off, or 1/N*"},
    {"a_sample_that_is_too_thin", "telemetry: { sample: 1/2048 }\nservices: []\n",
     "1: telemetry: sample: 1/2048: expected off, or 1/N*"},
    {"a_hash_seed_of_zero", "hash-seed: 0\nservices: []\n",
     "1: hash-seed: 0: expected 1 to 18446744073709551615"},
    {"a_state_directory_that_is_relative", "state: lbd\nservices: []\n",
     "1: state: lbd: expected an absolute path"},
    {"a_hash_seed_that_is_a_word", "hash-seed: random\nservices: []\n",
     "1: hash-seed: random: expected 1 to 18446744073709551615 (a number, decimal or 0x and hexadecimal)"},
    {"an_encap_source_of_the_other_family", "encap:\n  source-v4: 100::/64\nservices: []\n",
     "2: encap: source-v4: 100::/64: expected an IPv4 prefix from /8 to /32 with "
     "no bits beyond it, such as 172.16.0.0/16"},
    {"an_encap_source_with_host_bits", "encap:\n  source-v6: fd00::1/64\nservices: []\n",
     "2: encap: source-v6: fd00::1/64: expected an IPv6 prefix from /16 to /128 "
     "with no bits beyond it, such as 100::/64"},
    {"a_gue_port_0", "encap: { gue-port: 0 }\nservices: []\n",
     "1: encap: gue-port: 0: expected 1 to 65535"},
    {"a_table_that_is_the_kernels", "announce:\n  table: 255\nservices: []\n",
     "2: announce: table: 255: is the kernel's table of local addresses: expected another"},
    {"the_main_table_with_checks_to_the_vip",
     "announce:\n  table: 254\n" WEB "    health: { to: vip }\n" BACKENDS,
     "2: announce: table: 254: is the main table, in which its own routes would keep checks of "
     "service web from the VIP (health: to: vip): expected another table"},
    {"a_table_0", "announce:\n  table: 0\nservices: []\n",
     "2: announce: table: 0: expected 1 to 4294967295"},
    {"a_protocol_of_the_kernel", "announce: { protocol: 4 }\nservices: []\n",
     "1: announce: protocol: 4: expected 5 to 255"},
    {"a_protocol_beyond_a_byte", "announce: { protocol: 256 }\nservices: []\n",
     "1: announce: protocol: 256: expected 5 to 255"},
    {"a_metric_0", "announce: { metric: 0 }\nservices: []\n",
     "1: announce: metric: 0: expected 1 to 999"},
    {"a_metric_that_means_draining", "announce: { metric: 1000 }\nservices: []\n",
     "1: announce: metric: 1000: expected 1 to 999"},
    {"a_drain_metric_that_does_not", "announce: { drain-metric: 999 }\nservices: []\n",
     "1: announce: drain-metric: 999: expected 1000 to 4294967295"},
    {"a_min_up_0", "announce: { min-up: 0 }\nservices: []\n",
     "1: announce: min-up: 0: expected 1 to 32767"},
    {"a_requirement_of_most", "announce: { require: most }\nservices: []\n",
     "1: announce: require: most: expected any or all"},
    {"a_file_without_a_directory", "announce: { file: vrrp }\nservices: []\n",
     "1: announce: file: vrrp: expected an absolute path"},
    {"a_file_that_is_the_socket", "announce: { file: /run/lbd/lbd.sock }\nservices: []\n",
     "1: announce: file: /run/lbd/lbd.sock: is the control socket: expected another path"},
    {"an_unknown_key_of_announce", "announce: { bgp: yes }\nservices: []\n",
     "1: announce: bgp: unknown key: expected table, protocol, metric, drain-metric, min-up, "
     "require or file"},
    {"peers_without_nodes", "peers: { key-file: /k }\nservices: []\n",
     "1: peers: nodes: missing: expected the addresses of 2 to 9 nodes, this one's too"},
    {"peers_without_a_key", "peers: { nodes: [10.0.0.1, 10.0.0.2] }\nservices: []\n",
     "1: peers: key-file: missing: expected the path of a file with the key that all nodes have"},
    {"a_node_that_is_alone", "peers: { key-file: /k, nodes: [10.0.0.1] }\nservices: []\n",
     "1: peers: nodes: 1 given: expected the addresses of 2 to 9 nodes, this one's too"},
    {"ten_nodes",
     "peers: { key-file: /k, nodes: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, "
     "10.0.0.7, 10.0.0.8, 10.0.0.9, 10.0.0.10] }\nservices: []\n",
     "1: peers: nodes: 10 given: expected the addresses of 2 to 9 nodes, this one's too"},
    {"a_node_twice", "peers: { key-file: /k, nodes: [10.0.0.1, 10.0.0.1] }\nservices: []\n",
     "1: peers: nodes: 10.0.0.1: listed twice: expected once"},
    {"a_node_with_a_port",
     "peers: { key-file: /k, nodes: [10.0.0.1, '10.0.0.2:7646'] }\nservices: []\n",
     "1: peers: nodes: 10.0.0.2:7646: expected an IPv4 or IPv6 address, without a port or prefix "
     "length"},
    {"nodes_of_two_families",
     "peers: { key-file: /k, nodes: [10.0.0.1, '2001:db8::2'] }\nservices: []\n",
     "1: peers: nodes: 2001:db8::2: expected addresses of one family, as the first is IPv4"},
    {"a_node_that_is_the_loopback",
     "peers: { key-file: /k, nodes: [10.0.0.1, 127.0.0.1] }\nservices: []\n",
     "1: peers: nodes: 127.0.0.1: a loopback address: expected the address of one host"},
    {"a_key_file_beside_the_config",
     "peers: { key-file: k, nodes: [10.0.0.1, 10.0.0.2] }\nservices: []\n",
     "1: peers: key-file: k: expected an absolute path"},
    {"a_port_of_peers_0",
     "peers: { port: 0, key-file: /k, nodes: [10.0.0.1, 10.0.0.2] }\nservices: []\n",
     "1: peers: port: 0: expected 1 to 65535"},
    {"announce_as_a_word", "announce: yes\nservices: []\n",
     "1: announce: yes: expected a mapping with the keys table, protocol, metric, drain-metric, "
     "min-up, require or file"},
    {"a_limit_too_high", "limits:\n  backends: 32k\nservices: []\n",
     "2: limits: backends: 32k: expected 1 to 32767"},
    {"a_limit_with_a_bad_unit", "limits:\n  flows: 1MB\nservices: []\n",
     "2: limits: flows: 1MB: expected 1k to 256M (a number, optionally with k, M or G)"},
    {"a_limit_that_overflows", "limits:\n  flows: 17179869184G\nservices: []\n",
     "2: limits: flows: 17179869184G: expected 1k to 256M"},
    {"more_services_than_the_limit", "limits: { services: 1 }\n" WEB BACKENDS DNS BACKENDS,
     "3: services: 2 services: expected at most 1, see limits: services"},
    {"more_backends_than_the_limit",
     "limits: { backends: 1 }\n" WEB "    backends: [{address: 10.0.0.1}, {address: 10.0.0.2}]\n",
     "3: services: 2 backends in all: expected at most 1, see limits: backends"},
    {"more_slots_than_the_limit", "limits: { slots: 1k }\n" WEB "    slots: 65537\n" BACKENDS,
     "3: services: 65537 slots in all: expected at most 1024, see limits: slots"},
    {"a_port_of_70000",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 70000\n" BACKENDS,
     "5: service web: port: 70000: expected 1 to 65535 or any"},
    {"a_port_of_0",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 0\n" BACKENDS,
     "5: service web: port: 0: expected 1 to 65535 or any"},
    {"a_port_by_name",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: http\n" BACKENDS,
     "5: service web: port: http: expected 1 to 65535 or any"},
    {"an_empty_port",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port:\n" BACKENDS,
     "5: service web: port: \"\": expected 1 to 65535 or any"},
    {"an_unknown_protocol",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: sctp\n    port: 1\n" BACKENDS,
     "4: service web: protocol: sctp: expected tcp or udp"},
    {"a_vip_with_a_port",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 192.0.2.10:80\n" BACKENDS,
     "5: service web: vip: 192.0.2.10:80: expected an IPv4 or IPv6 address, without a port or prefix length"},
    {"a_vip_with_a_prefix",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 192.0.2.10/32\n" BACKENDS,
     "5: service web: vip: 192.0.2.10/32: expected an IPv4 or IPv6 address, without a port or prefix length"},
    {"a_vip_that_is_a_name",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: www.example.org\n" BACKENDS,
     "5: service web: vip: www.example.org: expected an IPv4 or IPv6 address, without a port or prefix length"},
    {"a_vip_unspecified",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 0.0.0.0\n" BACKENDS,
     "5: service web: vip: 0.0.0.0: an unspecified address: expected the address of one host"},
    {"a_vip_unspecified_v6",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: \"::\"\n" BACKENDS,
     "5: service web: vip: ::: an unspecified address: expected the address of one host"},
    {"a_vip_loopback",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 127.0.0.1\n" BACKENDS,
     "5: service web: vip: 127.0.0.1: a loopback address: expected the address of one host"},
    {"a_vip_loopback_v6",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: \"::1\"\n" BACKENDS,
     "5: service web: vip: ::1: a loopback address: expected the address of one host"},
    {"a_vip_multicast",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 239.1.2.3\n" BACKENDS,
     "5: service web: vip: 239.1.2.3: a multicast address: expected the address of one host"},
    {"a_vip_multicast_v6",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: ff02::1\n" BACKENDS,
     "5: service web: vip: ff02::1: a multicast address: expected the address of one host"},
    {"a_vip_broadcast",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: 255.255.255.255\n" BACKENDS,
     "5: service web: vip: 255.255.255.255: the broadcast address: expected the address of one host"},
    {"a_vip_link_local",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: fe80::1\n" BACKENDS,
     "5: service web: vip: fe80::1: a link-local address: expected the address of one host"},
    {"a_vip_mapped",
     "services:\n  - name: web\n    protocol: tcp\n    port: 80\n    vip: ::ffff:192.0.2.1\n" BACKENDS,
     "5: service web: vip: ::ffff:192.0.2.1: an IPv4-mapped address: expected the address of one host"},
    {"a_name_with_a_blank",
     "services:\n  - name: web 1\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n" BACKENDS,
     "2: service web 1: name: web 1: expected 1 to 63 letters, digits or any of . _ - : / [ ]"},
    {"an_empty_name",
     "services:\n  - name:\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n" BACKENDS,
     "2: service #1: name: \"\": expected 1 to 63 letters, digits or any of . _ - : / [ ]"},
    {"an_unnamed_service_is_called_by_its_number",
     WEB BACKENDS "  - vip: 192.0.2.11\n    protocol: tcp\n    port: 70000\n" BACKENDS,
     "9: service #2: port: 70000: expected 1 to 65535 or any"},
    {"a_name_used_twice",
     WEB BACKENDS "  - name: web\n    vip: 192.0.2.11\n    protocol: tcp\n    port: 80\n" BACKENDS,
     "7: service web: name: web: the service in line 2 has the same name: expected another"},
    {"a_vip_protocol_and_port_used_twice",
     WEB BACKENDS "  - name: www\n    vip: 192.0.2.10\n    protocol: tcp\n    port: 80\n" BACKENDS,
     "8: service www: vip: 192.0.2.10: service web in line 2 has the same VIP, protocol and port: expected others"},
    {"an_ipv6_vip_written_in_two_ways",
     "services:\n  - {vip: \"2001:db8::1\", protocol: tcp, port: 80, backends: "
     "[{address: 10.0.0.1}]}\n  - {vip: \"2001:DB8:0::1\", protocol: tcp, port: "
     "80, backends: [{address: 10.0.0.1}]}\n",
     "3: service #2: vip: 2001:db8::1: service #1 in line 2 has the same VIP, protocol and port: expected others"},
    {"an_unknown_algorithm", WEB "    algorithm: fastest\n" BACKENDS,
     "6: service web: algorithm: fastest: expected one of *"},
    {"an_unknown_hash_field", WEB "    hash: [source-port, source-address]\n" BACKENDS,
     "6: service web: hash: source-address: expected source-port or destination-port"},
    {"a_hash_that_is_a_word", WEB "    hash: source-port\n" BACKENDS,
     "6: service web: hash: source-port: expected a list"},
    {"a_hash_for_round_robin",
     WEB "    algorithm: rr\n"
	 "    hash: [source-port]\n" BACKENDS,
     "7: service web: hash: has no meaning for round-robin, which picks a backend for each flow"},
    {"a_hash_of_ports_for_source_hash",
     WEB "    algorithm: source-hash\n"
	 "    hash: [source-port]\n" BACKENDS,
     "7: service web: hash: has no meaning for source-hash, which hashes only the "
     "client address: expected another algorithm"},
    {"an_unknown_forward", WEB "    forward: dsr\n" BACKENDS,
     "6: service web: forward: dsr: expected ipip, gue, gre, l2 or nat"},
    {"an_unknown_no_backend", WEB "    no-backend: reset\n" BACKENDS,
     "6: service web: no-backend: reset: expected reject, drop or pass"},
    {"unknown_fragments", WEB "    fragments: reject\n" BACKENDS,
     "6: service web: fragments: reject: expected pass or drop"},
    {"a_list_that_is_a_word", WEB "    deny: everyone\n" BACKENDS,
     "6: service web: deny: everyone: expected a list of prefixes, or { file: PATH }"},
    {"a_list_of_lists", WEB "    deny: [10.0.0.0/8, [11.0.0.0/8]]\n" BACKENDS,
     "6: service web: deny: expected a list of prefixes, or { file: PATH }"},
    {"a_list_with_another_key", WEB "    deny: { path: /etc/deny }\n" BACKENDS,
     "6: service web: deny: expected a list of prefixes, or { file: PATH }"},
    {"a_list_with_two_keys", WEB "    deny: { file: /etc/deny, format: x }\n" BACKENDS,
     "6: service web: deny: expected a list of prefixes, or { file: PATH }"},
    {"a_list_in_a_relative_file", WEB "    deny: { file: deny.txt }\n" BACKENDS,
     "6: service web: deny: deny.txt: expected an absolute path"},
    {"a_list_in_a_file_that_is_not_there", WEB "    deny: { file: /no/such/file }\n" BACKENDS,
     "6: service web: deny: /no/such/file: cannot open: No such file or directory"},
    {"a_list_in_a_directory", WEB "    deny: { file: / }\n" BACKENDS,
     "6: service web: deny: /: expected a regular file"},
    {"a_prefix_with_bits_beyond_its_length",
     WEB "    deny:\n      - 192.0.2.0/24\n      - 10.1.0.0/8\n" BACKENDS,
     "8: service web: deny: 10.1.0.0/8: has bits beyond its length: expected 10.0.0.0/8"},
    {"a_prefix_that_is_a_name", WEB "    allow: [example.com]\n" BACKENDS,
     "6: service web: allow: example.com: expected an IPv4 or IPv6 prefix or address, such as "
     "192.0.2.0/24 or 2001:db8::/32"},
    {"a_wrong_prefix_in_the_defaults", "defaults:\n  deny: [10.0.0.0/33]\n" WEB BACKENDS,
     "2: defaults: deny: 10.0.0.0/33: expected a length from 0 to 32"},
    {"an_allow_list_without_prefixes", WEB "    allow: []\n" BACKENDS,
     "6: service web: allow: no IPv4 prefix: expected at least one, as nobody could use the IPv4 "
     "VIP"},
    {"an_allow_list_of_the_other_family", WEB "    allow: [\"2001:db8::/32\"]\n" BACKENDS,
     "6: service web: allow: no IPv4 prefix: expected at least one, as nobody could use the IPv4 "
     "VIP"},
    {"a_prefix_that_is_allowed_and_denied",
     WEB "    allow: [192.0.2.0/24, 10.0.0.0/8]\n    deny:\n      - 10.0.0.0/9\n"
	 "      - 10.0.0.0/8\n" BACKENDS,
     "8: service web: deny: 10.0.0.0/8: is in both lists: expected one of them: allow at "
     "lbd.yaml:6, deny at lbd.yaml:9"},
    {"an_include_without_a_pattern", "include: conf.d\nservices: []\n",
     "1: include: conf.d: expected a directory and /*.yaml, such as conf.d/*.yaml"},
    {"an_include_with_another_pattern", "include: conf.d/web-*.yaml\nservices: []\n",
     "1: include: conf.d/web-*.yaml: expected a directory and /*.yaml, *"},
    {"an_include_with_a_pattern_in_the_directory", "include: conf.?/*.yaml\nservices: []\n",
     "1: include: conf.?/*.yaml: expected a directory and /*.yaml, *"},
    {"an_include_without_a_directory", "include: /*.yaml\nservices: []\n",
     "1: include: /*.yaml: expected a directory and /*.yaml, *"},
    {"an_include_that_is_a_list", "include: [a.yaml]\nservices: []\n",
     "1: include: a list: expected a single value"},
    {"an_unknown_unserved", "unserved: deny\nservices: []\n",
     "1: unserved: deny: expected reject, drop or pass"},
    {"l2_to_the_other_family",
     WEB "    forward: l2\n"
	 "    backends: [{address: 10.0.0.1}, {address: \"fd00::1\"}]\n",
     "7: service web: backend fd00::1: address: fd00::1: expected an IPv4 address "
     "like the VIP: `forward: l2` cannot change the family"},
    {"an_unknown_tracking", WEB "    tracking: sometimes\n" BACKENDS,
     "6: service web: tracking: sometimes: expected auto, always or never"},
    {"tracking_never_for_least_conn",
     WEB "    algorithm: least-conn\n"
	 "    tracking: never\n" BACKENDS,
     "7: service web: tracking: never: expected auto or always, since least-conn tracks every flow"},
    {"tracking_never_from_defaults_for_least_conn",
     "defaults: { tracking: never }\n" WEB "    algorithm: lc\n" BACKENDS,
     "3: service web: tracking: never: expected auto or always, since least-conn tracks every flow"},
    {"tracking_never_with_affinity",
     WEB "    affinity: client-ip\n"
	 "    tracking: never\n" BACKENDS,
     "7: service web: tracking: never: expected auto or always, since `affinity: client-ip` remembers clients"},
    {"an_unknown_affinity", WEB "    affinity: cookie\n" BACKENDS,
     "6: service web: affinity: cookie: expected client-ip or none"},
    {"an_affinity_timeout_without_affinity", WEB "    affinity-timeout: 5m\n" BACKENDS,
     "6: service web: affinity-timeout: 5m: has no meaning without `affinity: client-ip`"},
    {"an_affinity_mask_without_affinity", WEB "    affinity-mask: { v4: 24 }\n" BACKENDS,
     "6: service web: affinity-mask: has no meaning for maglev without `affinity: "
     "client-ip`: expected that, or source-hash"},
    {"an_affinity_mask_too_long",
     WEB "    affinity: client-ip\n"
	 "    affinity-mask: { v4: 33 }\n" BACKENDS,
     "7: service web: affinity-mask: v4: 33: expected 1 to 32"},
    {"an_idle_timeout_without_unit", WEB "    idle-timeout: { tcp: 300 }\n" BACKENDS,
     "6: service web: idle-timeout: tcp: 300: expected a unit (ms, s, m, h or d), such as 300s"},
    {"an_idle_timeout_too_long",
     WEB "    idle-timeout:\n"
	 "      tcp: 60s\n      udp: 5h\n" BACKENDS,
     "8: service web: idle-timeout: udp: 5h: expected 3s to *"},
    {"an_idle_timeout_too_short", WEB "    idle-timeout: { udp: 1s }\n" BACKENDS,
     "6: service web: idle-timeout: udp: 1s: expected 3s to *"},
    {"a_rate_without_unit", WEB "    limit: { new-flows: 1000 }\n" BACKENDS,
     "6: service web: limit: new-flows: 1000: expected 1/m to 10000000/s or off (a number and /s "
     "or /m)"},
    {"a_rate_of_0", WEB "    limit: { new-flows: 0/s }\n" BACKENDS,
     "6: service web: limit: new-flows: 0/s: expected 1/m to 10000000/s or off"},
    {"a_rate_an_hour", WEB "    limit: { new-flows: 10/h }\n" BACKENDS,
     "6: service web: limit: new-flows: 10/h: expected 1/m to 10000000/s or off (a number and /s "
     "or /m)"},
    {"a_rate_too_high", WEB "    limit: { new-flows: 10000001/s }\n" BACKENDS,
     "6: service web: limit: new-flows: 10000001/s: expected 1/m to 10000000/s or off"},
    {"a_source_rate_too_high", WEB "    limit: { per-source: { rate: 100001/s } }\n" BACKENDS,
     "6: service web: limit: per-source: rate: 100001/s: expected 1/m to 100000/s or off"},
    {"a_limit_that_is_a_rate", WEB "    limit: 1000/s\n" BACKENDS,
     "6: service web: limit: 1000/s: expected a mapping *"},
    {"an_unknown_key_of_limit", WEB "    limit: { rate: 1000/s }\n" BACKENDS,
     "6: service web: limit: rate: unknown key: expected new-flows, burst or per-source"},
    {"an_unknown_key_of_per_source", WEB "    limit: { per-source: { prefix: 24 } }\n" BACKENDS,
     "6: service web: limit: per-source: prefix: unknown key: expected v4, v6, rate or burst"},
    {"a_source_prefix_too_long", WEB "    limit: { per-source: { v4: 33, rate: 5/s } }\n" BACKENDS,
     "6: service web: limit: per-source: v4: 33: expected 1 to 32"},
    {"a_burst_without_a_rate", WEB "    limit: { burst: 50 }\n" BACKENDS,
     "6: service web: limit: burst: 50: has no meaning without `new-flows`"},
    {"a_source_burst_without_a_rate",
     WEB "    limit:\n      new-flows: 10/s\n      per-source: { burst: 50 }\n" BACKENDS,
     "8: service web: limit: per-source: burst: 50: has no meaning without `rate`"},
    {"a_source_prefix_without_a_rate", WEB "    limit: { per-source: { v4: 32 } }\n" BACKENDS,
     "6: service web: limit: per-source: v4: 32: has no meaning without `rate`"},
    {"a_burst_below_a_step_of_the_clock",
     WEB "    limit: { new-flows: 20000/s, burst: 199 }\n" BACKENDS,
     "6: service web: limit: burst: 199: expected at least 200, what 20000/s lets through in "
     "10 ms"},
    {"a_burst_of_more_than_an_hour", WEB "    limit: { new-flows: 2/m, burst: 121 }\n" BACKENDS,
     "6: service web: limit: burst: 121: expected at most 120, what 2/m lets through in an hour"},
    {"a_limit_for_udp_that_is_not_tracked",
     "services:\n  - { name: dns, vip: 192.0.2.53, protocol: udp, port: 53, tracking: never,\n"
     "      limit: { new-flows: 10/s },\n      backends: [{address: 10.0.0.1}] }\n",
     "3: service dns: limit: has no meaning for UDP with `tracking: never`: only the flow table "
     "shows which datagram is a flow's first"},
    {"a_duration_with_a_bad_unit", WEB "    slow-start: 3 days\n" BACKENDS,
     "6: service web: slow-start: 3 days: expected 0s to 1h (a number and ms, s, m, h or d)"},
    {"a_duration_that_overflows", WEB "    slow-start: 18446744073709551615h\n" BACKENDS,
     "6: service web: slow-start: 18446744073709551615h: expected 0s to 1h"},
    {"a_negative_duration", WEB "    slow-start: -1s\n" BACKENDS,
     "6: service web: slow-start: -1s: expected 0s to 1h (a number and ms, s, m, h or d)"},
    {"a_flap_damping_of_more_than_an_hour", WEB "    flap-damping: 2h\n" BACKENDS,
     "6: service web: flap-damping: 2h: expected 0s to 1h"},
    {"passive_checks_of_udp",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: udp\n    port: 80\n"
     "    health: { type: icmp, passive: 50% }\n" BACKENDS,
     "6: service web: health: passive: 50%: is of connects, which UDP has not: expected it with `protocol: tcp`"},
    {"a_passive_share_over_100", WEB "    health: { passive: 101% }\n" BACKENDS,
     "6: service web: health: passive: 101%: expected 0% to 100%"},
    {"long_packets_that_are_short", WEB "    health: { mtu: 500 }\n" BACKENDS,
     "6: service web: health: mtu: 500: expected 576 to 9216 or off"},
    {"long_packets_with_nat", WEB "    forward: nat\n    health: { mtu: 1400 }\n" BACKENDS,
     "7: service web: health: mtu: 1400: has no meaning with `forward: nat`: long packets are tried "
     "only where checks go to the VIP: expected off"},
    {"a_panic_threshold_over_100", WEB "    panic-threshold: 120%\n" BACKENDS,
     "6: service web: panic-threshold: 120%: expected 0% to 100%"},
    {"slots_that_are_no_prime", WEB "    slots: 65536\n" BACKENDS,
     "6: service web: slots: 65536: expected a prime, such as 65521 or 65537"},
    {"slots_fewer_than_backends",
     WEB
     "    slots: 3\n"
     "    backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}, {address: 10.0.0.4}]\n",
     "6: service web: slots: 3: expected at least one for each of the 4 backends"},
    {"an_empty_list_of_backends", WEB "    backends: []\n",
     "6: service web: backends: empty: expected at least one"},
    {"backends_as_nothing", WEB "    backends:\n",
     "6: service web: backends: nothing: expected a list"},
    {"a_weight_of_minus_1",
     WEB
     "    backends:\n      - { address: 10.0.0.1 }\n      - { address: 10.0.0.2, weight: -1 }\n",
     "8: service web: backend 10.0.0.2: weight: -1: expected 0 to 10000"},
    {"a_weight_too_large", WEB "    backends: [{address: 10.0.0.1, weight: 10001}]\n",
     "6: service web: backend 10.0.0.1: weight: 10001: expected 0 to 10000"},
    {"a_priority_too_large", WEB "    backends: [{address: 10.0.0.1, priority: 8}]\n",
     "6: service web: backend 10.0.0.1: priority: 8: expected 0 to 7"},
    {"a_backup_with_a_priority",
     WEB "    backends: [{address: 10.0.0.1, priority: 1, backup: true}]\n",
     "6: service web: backend 10.0.0.1: priority: 1: has no meaning for a backup, which comes after all priorities: expected one of the two"},
    {"a_zone_with_a_blank", WEB "    backends: [{address: 10.0.0.1, zone: a b}]\n",
     "6: service web: backend 10.0.0.1: zone: a b: expected 1 to 63 letters, digits or any of . _ - : /, such as eu-west-1a"},
    {"a_zone_of_the_node_with_a_blank", "zone: a b\n" WEB BACKENDS,
     "1: zone: a b: expected 1 to 63 letters, digits or any of . _ - : /, such as eu-west-1a"},
    {"a_weight_with_a_fraction", WEB "    backends: [{address: 10.0.0.1, weight: 1.5}]\n",
     "6: service web: backend 10.0.0.1: weight: 1.5: expected 0 to 10000"},
    {"a_drain_that_is_a_time", WEB "    backends: [{address: 10.0.0.1, drain: 5m}]\n",
     "6: service web: backend 10.0.0.1: drain: 5m: expected true, false, yes or no"},
    {"a_backup_that_is_a_number", WEB "    backends: [{address: 10.0.0.1, backup: 1}]\n",
     "6: service web: backend 10.0.0.1: backup: 1: expected true, false, yes or no"},
    {"a_backend_listed_twice",
     WEB
     "    backends:\n      - address: 10.0.0.1\n      - address: 10.0.0.2\n      - address: 10.0.0.1\n",
     "9: service web: backend 10.0.0.1: address: 10.0.0.1: listed twice, see line 7: expected once"},
    {"a_backends_name_that_is_an_address",
     WEB "    backends: [{address: 10.0.0.1, name: 10.0.0.2}]\n",
     "6: service web: backend 10.0.0.1: name: 10.0.0.2: expected 1 to 63 letters, digits or any "
     "of . _ -, beginning with a letter"},
    {"a_backends_name_with_a_colon", WEB "    backends: [{address: 10.0.0.1, name: \"a:b\"}]\n",
     "6: service web: backend 10.0.0.1: name: a:b: expected 1 to 63 letters, *"},
    {"a_backends_name_too_long",
     WEB "    backends: [{address: 10.0.0.1, name: " X16 X16 X16 X16 "}]\n",
     "6: service web: backend 10.0.0.1: name: xxx*"},
    {"an_empty_name_of_a_backend", WEB "    backends: [{address: 10.0.0.1, name: }]\n",
     "6: service web: backend 10.0.0.1: name: \"\": expected 1 to 63 letters, *"},
    {"a_backends_name_used_twice",
     WEB "    backends:\n      - { address: 10.0.0.1, name: a }\n      - { address: 10.0.0.2 }\n"
	 "      - { address: 10.0.0.3, name: a }\n",
     "9: service web: backend 10.0.0.3: name: a: backend 10.0.0.1 has the same name, see "
     "line 7: expected another"},
    {"labels_that_are_a_list", WEB "    backends: [{address: 10.0.0.1, labels: [a]}]\n",
     "6: service web: backend 10.0.0.1: labels: expected a mapping such as { zone: a }"},
    {"a_label_that_no_metric_can_have",
     WEB "    backends: [{address: 10.0.0.1, labels: { data-center: a }}]\n",
     "6: service web: backend 10.0.0.1: labels: data-center: expected 1 to 32 letters, digits or "
     "_, beginning with a letter, as the key of a label"},
    {"a_label_given_twice", WEB "    backends: [{address: 10.0.0.1, labels: { a: 1, a: 2 }}]\n",
     "6: service web: backend 10.0.0.1: labels: a: given twice: expected once"},
    {"a_label_without_a_value", WEB "    backends: [{address: 10.0.0.1, labels: { a: }}]\n",
     "6: service web: backend 10.0.0.1: labels: a: \"\": expected 1 to 63 visible ASCII "
     "characters or blanks"},
    {"a_label_that_is_a_list", WEB "    backends: [{address: 10.0.0.1, labels: { a: [1] }}]\n",
     "6: service web: backend 10.0.0.1: labels: a: expected 1 to 63 visible *"},
    {"more_labels_than_eight",
     WEB "    backends: [{address: 10.0.0.1, labels: { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, "
	 "h: 1, i: 1 }}]\n",
     "6: service web: backend 10.0.0.1: labels: too many: expected at most 8 for a backend"},
    {"a_backend_that_is_the_vip", WEB "    backends: [{address: 192.0.2.10}]\n",
     "6: service web: backend 192.0.2.10: address: 192.0.2.10: is the VIP itself: expected the backend's own address"},
    {"a_backend_that_is_another_vip", WEB "    backends: [{address: 192.0.2.53}]\n" DNS BACKENDS,
     "6: service web: backend 192.0.2.53: address: 192.0.2.53: is the VIP of "
     "service dns: expected the address of a backend"},
    {"a_backend_with_a_port", WEB "    backends: [{address: \"10.0.0.1:8080\"}]\n",
     "6: service web: backend 10.0.0.1:8080: address: 10.0.0.1:8080: expected an "
     "IPv4 or IPv6 address, without a port or prefix length"},
    {"a_backend_on_loopback", WEB "    backends: [{address: 127.0.0.1}]\n",
     "6: service web: backend 127.0.0.1: address: 127.0.0.1: a loopback address: expected the address of one host"},
    {"a_backend_that_is_multicast", WEB "    backends: [{address: \"ff05::2\"}]\n",
     "6: service web: backend ff05::2: address: ff05::2: a multicast address: expected the address of one host"},
    {"an_unknown_health_type", WEB "    health: { type: ping }\n" BACKENDS,
     "6: service web: health: type: ping: expected one of none, *"},
    {"a_health_kind_that_is_not_a_type", WEB "    health: { type: tcp-answer }\n" BACKENDS,
     "6: service web: health: type: tcp-answer: expected one of *"},
    {"a_health_method_in_small_letters", WEB "    health: { type: http, method: get }\n" BACKENDS,
     "6: service web: health: method: get: expected a method in capital letters, such as GET or HEAD"},
    {"a_health_header_that_injects_another",
     WEB "    health: { type: http, headers: [\"X: a\\r\\nY: b\"] }\n" BACKENDS,
     "6: service web: health: headers: X: a??Y: b: expected \"Name: value\", not Host (that is `host`)"},
    {"a_health_header_without_a_name",
     WEB "    health: { type: http, headers: [\"X-A: 1\", \": 2\"] }\n" BACKENDS,
     "6: service web: health: headers: : 2: expected \"Name: value\", not Host (that is `host`)"},
    {"a_health_header_host", WEB "    health: { type: http, headers: [\"Host: a\"] }\n" BACKENDS,
     "6: service web: health: headers: Host: a: expected \"Name: value\", not Host (that is `host`)"},
    {"a_health_header_for_a_tcp_check",
     WEB "    health: { type: tcp, headers: [\"X: 1\"] }\n" BACKENDS,
     "6: service web: health: headers: X: 1: has no meaning for a tcp check: expected `type: http` beside it"},
    {"a_health_body_of_a_head_request",
     WEB "    health: { type: http, method: HEAD, body: ok }\n" BACKENDS,
     "6: service web: health: body: ok: has no meaning beside `method: HEAD`, whose answer has no body"},
    {"a_health_text_to_send_by_http", WEB "    health: { type: http, send: PING }\n" BACKENDS,
     "6: service web: health: send: PING: has no meaning for a http check: expected `type: tcp` beside it"},
    {"health_digits_that_are_not_hexadecimal", WEB "    health: { send-hex: 0x00 }\n" BACKENDS,
     "6: service web: health: send-hex: 0x00: expected pairs of hexadecimal digits for 1 to 511 bytes"},
    {"a_health_text_and_its_digits", WEB "    health: { expect: a, expect-hex: \"61\" }\n" BACKENDS,
     "6: service web: health: expect-hex: 61: has no meaning beside expect: expected one of the two"},
    {"a_udp_check_that_asks_nothing", WEB "    health: { type: udp, expect: a }\n" BACKENDS,
     "6: service web: health: send: missing: expected what a udp check sends: without a question there is no answer"},
    {"a_dns_check_without_a_name", WEB "    health: { type: dns }\n" BACKENDS,
     "6: service web: health: name: missing: expected the domain name that a dns check asks for"},
    {"a_dns_record_that_does_not_exist",
     WEB "    health: { type: dns, name: a.example, record: ADDR }\n" BACKENDS,
     "6: service web: health: record: ADDR: expected one of A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT"},
    {"a_dns_name_with_an_empty_label", WEB "    health: { type: dns, name: a..example }\n" BACKENDS,
     "6: service web: health: name: a..example: expected a domain name"},
    {"a_dns_name_with_a_slash", WEB "    health: { type: dns, name: a/b }\n" BACKENDS,
     "6: service web: health: name: a/b: expected a domain name"},
    {"a_dns_name_for_a_tcp_check", WEB "    health: { name: a.example }\n" BACKENDS,
     "6: service web: health: name: a.example: has no meaning for a tcp check: expected `type: dns` beside it"},
    {"a_fast_health_interval_that_is_none",
     WEB "    health: { interval: 1s, fast-interval: 1s }\n" BACKENDS,
     "6: service web: health: fast-interval: 1s: expected less than the interval, 1s"},
    {"a_health_check_that_verifies_by_nothing",
     WEB "    health: { type: https, verify: yes }\n" BACKENDS,
     "6: service web: health: ca-file: missing: expected the authorities that a certificate is verified by: "
     "the system's own are not used"},
    {"a_health_check_with_a_certificate_and_no_key",
     WEB "    health: { type: tls, certificate-file: /nonexistent }\n" BACKENDS,
     "6: service web: health: certificate-file: /nonexistent: No such file or directory"},
    {"a_health_check_with_authorities_in_a_relative_path",
     WEB "    health: { type: tls, ca-file: ca.pem }\n" BACKENDS,
     "6: service web: health: ca-file: ca.pem: expected an absolute path"},
    {"a_health_check_with_authorities_that_are_a_device",
     WEB "    health: { type: tls, ca-file: /dev/zero }\n" BACKENDS,
     "6: service web: health: ca-file: /dev/zero: expected a regular file"},
    {"a_health_check_with_authorities_that_are_none",
     WEB "    health: { type: tls, ca-file: /etc/passwd }\n" BACKENDS,
     "6: service web: health: ca-file: /etc/passwd: expected a file in PEM, with a line \"-----BEGIN CERTIFICATE-----\""},
    {"health_authorities_for_a_http_check", WEB "    health: { type: http, verify: no }\n" BACKENDS,
     "6: service web: health: verify: no: has no meaning for a http check: expected `type: https` beside it"},
    {"a_health_name_of_a_server_with_a_port",
     WEB "    health: { type: https, server-name: \"a:443\" }\n" BACKENDS,
     "6: service web: health: server-name: a:443: expected a host name, without a port"},
    {"a_list_of_health_statuses_with_a_word",
     WEB "    health: { type: http, status: \"200,OK\" }\n" BACKENDS,
     "6: service web: health: status: 200,OK: expected a status from 100 to 599, or a range of them such as 200-399"},
    {"a_list_of_health_statuses_that_ends_with_a_comma",
     WEB "    health: { type: http, status: \"200,\" }\n" BACKENDS,
     "6: service web: health: status: 200,: expected a status from 100 to 599, or a range of them such as 200-399"},
    {"a_health_check_by_a_command_without_it", WEB "    health: { type: exec }\n" BACKENDS,
     "6: service web: health: command: missing: expected the command that an exec check runs, such as "
     "[/usr/local/bin/check, $LBD_ADDRESS]"},
    {"a_health_check_by_a_command_of_no_path",
     WEB "    health: { type: exec, command: [check, $LBD_ADDRESS] }\n" BACKENDS,
     "6: service web: health: command: check: expected the absolute path of a program"},
    {"a_health_check_by_a_command_in_one_word",
     WEB "    health: { type: exec, command: /bin/true }\n" BACKENDS,
     "6: service web: health: command: /bin/true: expected a list"},
    {"a_health_check_by_a_command_with_a_line_end",
     WEB "    health: { type: exec, command: [/bin/echo, \"a\\nb\"] }\n" BACKENDS,
     "6: service web: health: command: a?b: expected no control characters"},
    {"a_health_check_by_a_command_to_the_vip",
     WEB "    health: { type: exec, to: vip, command: [/bin/true] }\n" BACKENDS,
     "6: service web: health: to: vip: has no meaning for an exec check: lbd does not send its packets"},
    {"a_health_command_for_a_tcp_check", WEB "    health: { command: [/bin/true] }\n" BACKENDS,
     "6: service web: health: command: /bin/true: has no meaning for a tcp check: expected `type: exec` beside it"},
    {"a_health_check_of_several_without_its_name",
     WEB "    health: { checks: [{ type: tcp }, { type: dns }] }\n" BACKENDS,
     "6: service web: health: check #2: name: missing: expected the domain name that a dns check asks for"},
    {"a_health_check_of_several_with_a_key_of_another_type",
     WEB "    health: { checks: [{ path: /healthz }] }\n" BACKENDS,
     "6: service web: health: check #1: path: /healthz: has no meaning for a tcp check: expected `type: http` beside it"},
    {"a_health_check_of_several_that_is_none",
     WEB "    health: { checks: [{ type: none }] }\n" BACKENDS,
     "6: service web: health: check #1: type: none: has no meaning as one of several checks"},
    {"a_health_check_of_several_with_an_interval",
     WEB "    health: { checks: [{ interval: 2s }] }\n" BACKENDS,
     "6: service web: health: check #1: interval: unknown key: expected type, port, to, path, host, "
     "status, timeout, method, *"},
    {"a_health_check_of_several_as_long_as_the_interval",
     WEB "    health: { interval: 2s, checks: [{}, { timeout: 2s }] }\n" BACKENDS,
     "6: service web: health: check #2: timeout: 2s: expected less than the interval, 2s"},
    {"a_health_type_beside_checks", WEB "    health: { type: tcp, checks: [{}] }\n" BACKENDS,
     "6: service web: health: type: tcp: has no meaning beside `checks`: expected it in one of them"},
    {"health_verification_beside_checks", WEB "    health: { verify: no, checks: [{}] }\n" BACKENDS,
     "6: service web: health: verify: no: has no meaning beside `checks`: expected it in one of them"},
    {"a_health_command_beside_checks",
     WEB "    health: { command: [/bin/true], checks: [{}] }\n" BACKENDS,
     "6: service web: health: command: /bin/true: has no meaning beside `checks`: expected it in one of them"},
    {"a_health_path_beside_checks_that_are_inherited",
     "defaults: { health: { checks: [{ type: http }] } }\n" WEB
     "    health: { path: /a }\n" BACKENDS,
     "7: service web: health: path: /a: has no meaning beside `checks`: expected it in one of them"},
    {"a_health_match_without_checks", WEB "    health: { match: any }\n" BACKENDS,
     "6: service web: health: match: has no meaning without `checks`"},
    {"a_health_match_of_two", WEB "    health: { match: two, checks: [{}] }\n" BACKENDS,
     "6: service web: health: match: two: expected all or any"},
    {"no_health_check_in_a_list", WEB "    health: { checks: [] }\n" BACKENDS,
     "6: service web: health: checks: empty: expected at least one"},
    {"nine_health_checks", WEB "    health: { checks: [{},{},{},{},{},{},{},{},{}] }\n" BACKENDS,
     "6: service web: health: checks: 9 items: expected at most 8"},
    {"a_health_port_of_a_backend_of_0",
     WEB "    backends: [{address: 10.0.0.11, health: { port: 0 }}]\n",
     "6: service web: backend 10.0.0.11: health: port: 0: expected 1 to 65535"},
    {"a_health_address_of_a_backend_that_is_a_name",
     WEB "    backends: [{address: 10.0.0.11, health: { address: web1 }}]\n",
     "6: service web: backend 10.0.0.11: health: address: web1: expected an IPv4 or IPv6 address, without a port or prefix length"},
    {"a_health_address_of_a_backend_that_is_checked_at_the_vip",
     WEB
     "    health: { to: vip }\n    backends: [{address: 10.0.0.11, health: { address: 10.1.0.11 }}]\n",
     "7: service web: backend 10.0.0.11: health: address: 10.1.0.11: has no meaning with `to: vip`: such a check goes to the VIP"},
    {"an_agent_without_a_port", WEB "    agent: { interval: 5s }\n" BACKENDS,
     "6: service web: agent: port: missing: expected the port at which the agents answer, 1 to 65535 or off"},
    {"an_agent_of_port_0", WEB "    agent: { port: 0 }\n" BACKENDS,
     "6: service web: agent: port: 0: expected 1 to 65535 or off"},
    {"an_agent_that_has_as_long_as_the_interval",
     WEB "    agent: { port: 1, interval: 1s, timeout: 1s }\n" BACKENDS,
     "6: service web: agent: timeout: 1s: expected less than the interval, 1s"},
    {"an_agent_as_a_health_check", WEB "    health: { type: agent }\n" BACKENDS,
     "6: service web: health: type: agent: expected one of none, *"},
    {"an_agent_with_a_path", WEB "    agent: { port: 1, path: / }\n" BACKENDS,
     "6: service web: agent: path: unknown key: expected port, interval, timeout or send"},
    {"a_health_port_of_0", WEB "    health: { port: 0 }\n" BACKENDS,
     "6: service web: health: port: 0: expected 1 to 65535"},
    {"a_health_check_of_something_else", WEB "    health: { to: gateway }\n" BACKENDS,
     "6: service web: health: to: gateway: expected auto, backend or vip"},
    {"a_health_path_without_slash", WEB "    health: { type: http, path: healthz }\n" BACKENDS,
     "6: service web: health: path: healthz: expected a path that begins with / and has no blanks"},
    {"a_health_path_that_injects_a_header",
     WEB "    health: { type: http, path: \"/\\r\\nHost: x\" }\n" BACKENDS,
     "6: service web: health: path: /??Host: x: expected a path that begins with / and has no blanks"},
    {"a_health_host_with_a_blank", WEB "    health: { type: http, host: \"a b\" }\n" BACKENDS,
     "6: service web: health: host: a b: " HOST},
    {"a_health_host_that_is_a_bare_ipv6_address",
     WEB "    health: { type: http, host: \"2001:db8::10\" }\n" BACKENDS,
     "6: service web: health: host: 2001:db8::10: " HOST},
    {"a_health_host_in_brackets_that_is_no_ipv6_address",
     WEB "    health: { type: http, host: \"[192.0.2.1]\" }\n" BACKENDS,
     "6: service web: health: host: [192.0.2.1]: " HOST},
    {"a_health_host_with_an_open_bracket",
     WEB "    health: { type: http, host: \"[2001:db8::10\" }\n" BACKENDS,
     "6: service web: health: host: [2001:db8::10: " HOST},
    {"a_health_host_with_a_port_that_is_none",
     WEB "    health: { type: http, host: \"[2001:db8::10]80\" }\n" BACKENDS,
     "6: service web: health: host: [2001:db8::10]80: " HOST},
    {"a_health_host_with_a_user",
     WEB "    health: { type: http, host: me@www.example.com }\n" BACKENDS,
     "6: service web: health: host: me@www.example.com: " HOST},
    {"a_health_path_for_a_tcp_check", WEB "    health: { path: /healthz }\n" BACKENDS,
     "6: service web: health: path: /healthz: has no meaning for a tcp check: expected `type: http` beside it"},
    {"a_health_status_of_99", WEB "    health: { type: http, status: 99 }\n" BACKENDS,
     "6: service web: health: status: 99: expected a status from 100 to 599, or a range of them such as 200-399"},
    {"a_health_status_range_upside_down",
     WEB "    health: { type: http, status: 300-200 }\n" BACKENDS,
     "6: service web: health: status: 300-200: expected a status from 100 to 599, or a range of them such as 200-399"},
    {"a_health_status_that_is_a_word", WEB "    health: { type: http, status: OK }\n" BACKENDS,
     "6: service web: health: status: OK: expected a status from 100 to 599, or a range of them such as 200-399"},
    {"a_health_interval_without_unit", WEB "    health: { interval: 2 }\n" BACKENDS,
     "6: service web: health: interval: 2: expected a unit (ms, s, m, h or d), such as 2s"},
    {"a_health_interval_too_short", WEB "    health: { interval: 10ms }\n" BACKENDS,
     "6: service web: health: interval: 10ms: expected 100ms to 1h"},
    {"a_health_timeout_of_0", WEB "    health: { timeout: 0s }\n" BACKENDS,
     "6: service web: health: timeout: 0s: expected 10ms to 10m"},
    {"a_health_timeout_as_long_as_the_interval",
     WEB "    health: { interval: 1s, timeout: 1s }\n" BACKENDS,
     "6: service web: health: timeout: 1s: expected less than the interval, 1s"},
    {"a_health_timeout_longer_than_the_default_interval",
     WEB "    health: { timeout: 3s }\n" BACKENDS,
     "6: service web: health: timeout: 3s: expected less than the interval, 2s"},
    {"an_interval_shorter_than_the_timeout_of_defaults",
     "defaults: { health: { interval: 10s, timeout: 5s } }\n" WEB
     "    health: { interval: 3s }\n" BACKENDS,
     "7: service web: health: interval: 3s: expected more than the timeout, 5s"},
    {"a_rise_of_0", WEB "    health: { rise: 0 }\n" BACKENDS,
     "6: service web: health: rise: 0: expected 1 to 1000"},
    {"a_fall_of_0", WEB "    health: { fall: 0 }\n" BACKENDS,
     "6: service web: health: fall: 0: expected 1 to 1000"},
    {"a_check_of_any_port",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: any\n"
     "    health: { type: tcp }\n" BACKENDS,
     "6: service web: health: port: missing: expected 1 to 65535, since the service takes any port"},
    {"a_check_of_any_port_of_backends_that_a_source_names",
     "services:\n  - name: web\n    vip: 192.0.2.10\n    protocol: tcp\n    port: any\n"
     "    health: { type: tcp }\n    backends-from: { file: /a }\n"
     "    backends: [{ address: 10.0.0.1, health: { port: 81 } }]\n",
     "6: service web: health: port: missing: expected 1 to 65535, since the service takes any port"},
    {"a_mistake_in_defaults_that_nobody_inherits", "defaults:\n  algorithm: fast\nservices: []\n",
     "2: defaults: algorithm: fast: expected one of *"},
    {"the_first_of_two_mistakes",
     WEB "    slots: 1\n"
	 "    backends: [{address: 10.0.0.1, weight: -1}]\n" DNS "    forward: ipip\n"
	 "    panic-threshold: 101\n" BACKENDS,
     "6: service web: slots: 1: expected 3 to 268435455"},
    {"a_wrong_value_that_an_alias_brings_at_its_anchor",
     "pin: &a /lbd\nsocket: /run/s\n" WEB "    slow-start: *a\n" BACKENDS,
     "1: service web: slow-start: /lbd: expected 0s to 1h (a number and ms, s, m, h or d)"},
    {"an_alias_within_itself", "services: &s\n  - *s\n",
     "1: service #1: a list: expected a mapping with the keys *"},
    {"aliases_that_multiply",
     "interfaces: &i [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, "
     "a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]\nservices: [ *i, "
     "*i ]\n",
     "1: service #1: a list: expected a mapping with the keys *"},
};

static void is_refused(void **state)
{
	const struct refusal *row = *state;
	const char *star = strrchr(row->error, '*');
	struct config *config = NULL;
	struct error err = {""};
	size_t length = star && !star[1] ? (size_t)(star - row->error) : strlen(row->error) + 1;

	assert_int_equal(config_parse(row->yaml, strlen(row->yaml), "lbd.yaml", &config, &err),
			 -EINVAL);
	assert_null(config);
	assert_memory_equal(err.text, "lbd.yaml:", 9);
	if (strncmp(err.text + 9, row->error, length))
		fail_msg("\n  is     \"%s\"\n  wanted \"%s\"", err.text + 9, row->error);
}

/* The longest idle time is what the flow table's ticks can count, in whole seconds. */
static void idle_timeouts_reach_as_far_as_the_ticks_of_the_flow_table(void **state)
{
	uint64_t longest = ((uint64_t)LB_FLOW_MAX_IDLE << LB_TICK_SHIFT) / 1000000000;
	struct config *config = NULL;
	char yaml[512], expected[64];
	struct error err = {""};

	snprintf(
	    yaml, sizeof(yaml),
	    WEB
	    "    affinity: client-ip\n    affinity-timeout: %us\n    idle-timeout: { tcp: %us }\n" BACKENDS,
	    (unsigned)longest, (unsigned)longest);
	assert_int_equal(config_parse(yaml, strlen(yaml), "lbd.yaml", &config, &err), 0);
	assert_int_equal(config->services[0].tcp_idle_ms, longest * 1000);
	assert_int_equal(config->services[0].affinity_timeout_ms, longest * 1000);
	config_free(config);
	snprintf(yaml, sizeof(yaml), WEB "    idle-timeout: { tcp: %us }\n" BACKENDS,
		 (unsigned)longest + 1);
	assert_int_equal(config_parse(yaml, strlen(yaml), "lbd.yaml", &config, &err), -EINVAL);
	snprintf(expected, sizeof(expected), "expected 3s to %us", (unsigned)longest);
	assert_non_null(strstr(err.text, expected));
}

/* ---- what is accepted ---- */

static struct config *parse(const char *yaml)
{
	struct config *config = NULL;
	struct error err = {""};

	if (config_parse(yaml, strlen(yaml), "lbd.yaml", &config, &err))
		fail_msg("%s", err.text);
	return config;
}

static void assert_addr(const struct addr *addr, const char *text)
{
	char is[ADDR_TEXT];

	assert_string_equal(addr_format(addr, is), text);
}

static void no_services_give_the_defaults(void **state)
{
	struct config *config = parse("services: []\n");

	assert_int_equal(config->services_count, 0);
	assert_int_equal(config->interfaces_count, 0);
	assert_int_equal(config->mode, CONFIG_MODE_AUTO);
	assert_string_equal(config->pin, "/sys/fs/bpf/lbd");
	assert_string_equal(config->socket, "/run/lbd/lbd.sock");
	assert_string_equal(config->state, "/var/lib/lbd");
	assert_true(config->hash_seed == 0); /* none: seed.c finds or creates one */
	assert_string_equal(config->group, "lbd");
	assert_string_equal(config->metrics, "127.0.0.1:9469");
	assert_addr(&config->metrics_address, "127.0.0.1");
	assert_int_equal(config->metrics_port, 9469);
	assert_addr(&config->encap_source4, "172.16.0.0");
	assert_int_equal(config->encap_source4_len, 16);
	assert_addr(&config->encap_source6, "100::");
	assert_int_equal(config->encap_source6_len, 64);
	assert_int_equal(config->gue_port, 6080);
	assert_int_equal(config->limits.services, 1024);
	assert_int_equal(config->unserved, LB_REFUSE_REJECT);
	assert_int_equal(config->limits.backends, 16384);
	assert_int_equal(config->limits.slots, 4 << 20);
	assert_int_equal(config->limits.flows, 1 << 20);
	assert_false(config->announce.on);
	assert_false(config->peers.on);
	config_free(config);
}

static void the_main_table_is_fine_without_checks_to_the_vip(void **state)
{
	config_free(parse("announce: { table: 254 }\n" WEB BACKENDS));
	config_free(parse("announce: { table: 253 }\n" WEB "    health: { to: vip }\n" BACKENDS));
}

static void announce_without_keys_has_the_defaults(void **state)
{
	struct config *config = parse("announce: {}\nservices: []\n");

	assert_true(config->announce.on);
	assert_int_equal(config->announce.table, 76);
	assert_int_equal(config->announce.protocol, 76);
	assert_int_equal(config->announce.metric, 10);
	assert_int_equal(config->announce.drain_metric, 2000);
	assert_int_equal(config->announce.min_up, 1);
	assert_false(config->announce.all);
	assert_null(config->announce.file);
	config_free(config);
}

static void peers_are_read_and_copied(void **state)
{
	struct config *config = parse("peers: { key-file: /etc/lbd/peers.key, nodes: "
				      "[10.0.0.1, 10.0.0.2, 10.0.0.3] }\nservices: []\n"),
		      *copy;

	assert_int_equal(config_copy(config, &copy), 0);
	config_free(config);
	assert_true(copy->peers.on);
	assert_int_equal(copy->peers.port, 7646);
	assert_int_equal(copy->peers.nodes_count, 3);
	assert_addr(&copy->peers.nodes[2], "10.0.0.3");
	assert_string_equal(copy->peers.key_file, "/etc/lbd/peers.key");
	config_free(copy);
}

/* keys: of the service; weights: of two backends besides one of weight 100. */
static enum ring_grain grain_of(const char *keys, int second, int third)
{
	char text[512];
	struct config *config;
	enum ring_grain grain;

	snprintf(text, sizeof(text),
		 WEB "%s    backends: [{address: 10.0.0.11}, {address: 10.0.0.12, weight: %d}, "
		     "{address: 10.0.0.13, weight: %d}]\n",
		 keys, second, third);
	config = parse(text);
	grain = config_ring_grain(&config->services[0]);
	config_free(config);
	return grain;
}

static void a_ring_is_coarse_where_weights_are_equal_and_whole_flows_are_hashed(void **state)
{
	assert_int_equal(grain_of("", 100, 100), RING_COARSE);
	assert_int_equal(grain_of("", 100, 0), RING_COARSE); /* has no share */
	assert_int_equal(grain_of("", 100, 101), RING_FINE);
	assert_int_equal(grain_of("", 0, 50), RING_FINE);
	assert_int_equal(grain_of("    algorithm: source-hash\n", 100, 100), RING_FINE);
	assert_int_equal(grain_of("    hash: [destination-port]\n", 100, 100), RING_FINE);
	assert_int_equal(grain_of("    algorithm: wrr\n", 100, 50), RING_COARSE);
}

/* keys: of the second of two backends, whose first is of zone a. zone: of the node. */
static enum ring_grain grain_in_zone(const char *zone, const char *keys)
{
	char text[512];
	struct config *config;
	enum ring_grain grain;

	snprintf(text, sizeof(text),
		 "%s" WEB
		 "    backends: [{address: 10.0.0.11, zone: a}, {address: 10.0.0.12, %s}]\n",
		 zone, keys);
	config = parse(text);
	grain = config_ring_grain(&config->services[0]);
	config_free(config);
	return grain;
}

/* What spills makes unequal weights of equal ones. All nodes have rings of one size. */
static void a_ring_is_fine_where_flows_may_spill_whatever_the_zone_of_the_node(void **state)
{
	static const char *const zones[] = {"", "zone: a\n", "zone: b\n", "zone: c\n"};

	for (size_t i = 0; i < sizeof(zones) / sizeof(*zones); i++) {
		assert_int_equal(grain_in_zone(zones[i], "zone: a"), RING_COARSE);
		assert_int_equal(grain_in_zone(zones[i], "zone: b"), RING_FINE);
		assert_int_equal(grain_in_zone(zones[i], "weight: 100"),
				 RING_FINE); /* of no zone */
		assert_int_equal(grain_in_zone(zones[i], "zone: a, priority: 1"), RING_FINE);
	}
}

static void a_service_gets_the_defaults(void **state)
{
	struct config *config = parse(WEB BACKENDS);
	const struct config_service *web = config_find_service(config, "web");

	assert_ptr_equal(web, &config->services[0]);
	assert_addr(&web->vip, "192.0.2.10");
	assert_int_equal(web->protocol, CONFIG_TCP);
	assert_int_equal(web->port, 80);
	assert_string_equal(web->algorithm->name, "maglev");
	assert_int_equal(web->hash, LB_HASH_FULL);
	assert_int_equal(web->forward, LB_FORWARD_IPIP);
	assert_int_equal(web->no_backend, LB_REFUSE_REJECT);
	assert_false(web->no_fragments);
	assert_int_equal(web->tracking, CONFIG_TRACKING_AUTO);
	assert_int_equal(web->mask4, 32);
	assert_int_equal(web->mask6, 128);
	assert_false(web->affinity);
	assert_int_equal(web->affinity_timeout_ms, 600000);
	assert_int_equal(web->tcp_idle_ms, 300000);
	assert_int_equal(web->udp_idle_ms, 30000);
	assert_int_equal(web->slots, 0);
	assert_int_equal(web->slow_start_ms, 0);
	assert_int_equal(web->flap_damping_ms, 0);
	assert_int_equal(web->panic_threshold, 0);
	assert_int_equal(web->backends_count, 1);
	assert_addr(&web->backends[0].address, "10.0.0.11");
	assert_int_equal(web->backends[0].weight, 100);
	assert_false(web->backends[0].backup);
	config_free(config);
}

static void a_health_check_gets_the_defaults(void **state)
{
	struct config *config = parse(WEB BACKENDS);
	const struct health_spec *health = &config->services[0].health;

	assert_string_equal(health->type, "tcp");
	assert_int_equal(health->port, 0);
	assert_int_equal(health->to, HEALTH_TO_AUTO);
	assert_string_equal(health->path, "/");
	assert_null(health->host);
	assert_int_equal(health->status_min, 200);
	assert_int_equal(health->status_max, 399);
	assert_int_equal(health->interval_ms, 2000);
	assert_int_equal(health->timeout_ms, 1500);
	assert_int_equal(health->rise, 2);
	assert_int_equal(health->fall, 3);
	config_free(config);
}

static void long_packets_are_tried_where_checks_may_go_to_the_vip(void **state)
{
	struct config *config = parse(
	    "defaults: { health: { mtu: 1400 } }\n" WEB BACKENDS
	    "  - { vip: 192.0.2.11, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}],\n"
	    "      health: { mtu: off } }\n"
	    "  - { vip: 192.0.2.12, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}],\n"
	    "      forward: nat }\n"
	    "  - { vip: 192.0.2.13, protocol: tcp, port: 80, backends: [{address: 10.0.0.2}],\n"
	    "      forward: nat, health: { mtu: off } }\n");

	assert_int_equal(config->services[0].health.mtu, 1400);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(config->services[i].health.mtu, 0);
	config_free(config);
	config = parse(WEB BACKENDS);
	assert_int_equal(config->services[0].health.mtu, 1500);
	config_free(config);
}

static void several_health_checks_have_what_the_mapping_says(void **state)
{
	struct config *config = parse(
	    "defaults: { health: { checks: [{ type: tcp }, { type: icmp }] } }\n" WEB
	    "    health: { interval: 4s, timeout: 2s, port: 8080, to: vip, match: any,\n"
	    "      checks: [{ type: http, path: /a, timeout: 3s, to: backend },\n"
	    "               { port: 25, expect: \"220\" }] }\n" BACKENDS
	    "  - { vip: 192.0.2.11, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}] }\n"
	    "  - { vip: 192.0.2.12, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}],\n"
	    "      health: { type: http } }\n");
	const struct health_spec *own = &config->services[0].health,
				 *inherited = &config->services[1].health,
				 *one = &config->services[2].health;

	assert_int_equal(own->checks_count, 2);
	assert_int_equal(own->fast_ms, 0);
	assert_true(own->any);
	assert_int_equal(own->timeout_ms, 3000); /* of all together */
	assert_int_equal(own->port, 8080);
	assert_string_equal(own->checks[0].type, "http");
	assert_string_equal(own->checks[0].path, "/a");
	assert_int_equal(own->checks[0].timeout_ms, 3000);
	assert_int_equal(own->checks[0].status_max, 399);
	assert_int_equal(own->checks[0].to, HEALTH_TO_BACKEND);
	assert_string_equal(own->checks[1].type, "tcp");
	assert_string_equal(own->checks[1].expect, "220");
	assert_int_equal(own->checks[1].timeout_ms, 2000);
	assert_int_equal(own->checks[1].port, 25);
	assert_int_equal(own->checks[1].to, HEALTH_TO_VIP);
	assert_int_equal(inherited->checks_count, 2);
	assert_false(inherited->any);
	assert_string_equal(inherited->checks[1].type, "icmp");
	assert_int_equal(one->checks_count, 0);
	assert_string_equal(one->type, "http");
	config_free(config);
}

static void a_health_check_takes_several_statuses(void **state)
{
	struct config *config = parse(
	    "defaults: { health: { type: http, status: \"200,204\" } }\n" WEB
	    "    health: { status: \"401, 200-204,301-308\" }\n" BACKENDS
	    "  - { vip: 192.0.2.11, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}],\n"
	    "      health: { status: 204 } }\n");
	const struct health_spec *list = &config->services[0].health,
				 *one = &config->services[1].health;

	assert_string_equal(list->status, "401, 200-204,301-308");
	assert_int_equal(list->status_min, 200);
	assert_int_equal(list->status_max, 401);
	assert_int_equal(health_status_within(list->status, 401), 1);
	assert_int_equal(health_status_within(list->status, 204), 1);
	assert_int_equal(health_status_within(list->status, 308), 1);
	assert_int_equal(health_status_within(list->status, 205), 0);
	assert_int_equal(health_status_within(list->status, 400), 0);
	assert_null(one->status);
	assert_int_equal(one->status_min, 204);
	assert_int_equal(one->status_max, 204);
	config_free(config);
}

static void the_host_of_a_health_check_may_be_an_ipv6_address(void **state)
{
	static const char *const hosts[] = {"[2001:db8::10]:8080", "[2001:db8::10]",
					    "192.0.2.1:8080", "www.example.com"};
	char yaml[512];

	for (unsigned i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct config *config;

		snprintf(yaml, sizeof(yaml),
			 WEB "    health: { type: http, host: \"%s\" }\n" BACKENDS, hosts[i]);
		config = parse(yaml);
		assert_string_equal(config->services[0].health.host, hosts[i]);
		config_free(config);
	}
}

static void certificates_of_a_health_check_are_read_with_the_config(void **state)
{
	static const char certificate[] =
	    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
	static const char key[] = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
	char ca_path[] = "/tmp/lbd-test-ca-XXXXXX", key_path[] = "/tmp/lbd-test-key-XXXXXX";
	char text[1024];
	struct config *config;
	const struct health_spec *health;

	close(mkstemp(ca_path));
	close(mkstemp(key_path));
	test_file_put(ca_path, certificate);
	test_file_put(key_path, key);
	snprintf(text, sizeof(text),
		 WEB "    health: { type: https, ca-file: %s, certificate-file: %s, key-file: %s, "
		     "server-name: a.example }\n" BACKENDS,
		 ca_path, ca_path, key_path);
	config = parse(text);
	unlink(ca_path);
	unlink(key_path);
	health = &config->services[0].health;
	assert_true(health->verify);
	assert_string_equal(health->ca, certificate);
	assert_string_equal(health->certificate, certificate);
	assert_string_equal(health->key, key);
	assert_string_equal(health->server_name, "a.example");
	config_free(config);
}

static void an_agent_is_asked_if_there_is_a_port(void **state)
{
	struct config *config = parse(
	    "defaults: { agent: { port: 9000, interval: 5s, send: \"a\\n\" } }\n" WEB
	    "    agent: { timeout: 2s }\n"
	    "    backends: [{ address: 10.0.0.1, health: { agent-port: 9001 } }]\n"
	    "  - { vip: 192.0.2.11, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}],\n"
	    "      agent: { port: off } }\n");
	const struct health_spec *agent = &config->services[0].agent;

	assert_string_equal(agent->type, "agent");
	assert_int_equal(agent->port, 9000);
	assert_int_equal(agent->interval_ms, 5000);
	assert_int_equal(agent->timeout_ms, 2000);
	assert_string_equal(agent->send, "a\n");
	assert_int_equal(config->services[0].backends[0].target.agent_port, 9001);
	assert_null(config->services[1].agent.type);
	config_free(config);
}

static void a_backend_may_say_where_it_is_checked(void **state)
{
	struct config *config =
	    parse("services:\n  - { vip: 192.0.2.11, protocol: udp, port: any, backends: [\n"
		  "      { address: 10.0.0.1, health: { port: 81, address: 10.9.0.1 } },\n"
		  "      { address: 10.0.0.2, health: { port: 82 } }] }\n");
	const struct config_service *service = &config->services[0];
	const struct addr address = test_addr("10.9.0.1");

	assert_int_equal(service->backends[0].target.port, 81);
	assert_true(addr_equal(&service->backends[0].target.address, &address));
	assert_int_equal(service->backends[1].target.port, 82);
	assert_int_equal(service->backends[1].target.address.family, 0);
	/* each of them has a port to connect to */
	assert_string_equal(service->health.type, "tcp");
	config_free(config);
}

static void a_health_check_has_the_texts_that_are_given(void **state)
{
	struct config *config = parse(
	    "defaults: { health: { type: http, method: PUT, headers: [\"A: 1\"] } }\n" WEB
	    "    health: { headers: [\"B: 2\", \"C-D: 3 4\"], body: \"up\", method: OPTIONS }\n" BACKENDS
	    "  - vip: 192.0.2.2\n    protocol: udp\n    port: 53\n"
	    "    health: { type: dns, name: example.org., record: aaaa, expect: \"::1\" }\n" BACKENDS
	    "  - vip: 192.0.2.3\n    protocol: tcp\n    port: 25\n"
	    "    health: { type: tcp, send: \"a\\r\\n\", expect-hex: \"0aff\" }\n" BACKENDS
	    "  - vip: 192.0.2.4\n    protocol: tcp\n    port: any\n"
	    "    health: { type: icmp }\n" BACKENDS
	    "  - vip: 192.0.2.5\n    protocol: udp\n    port: any\n"
	    "    health: { type: exec, command: [/bin/sh, -c, \"exit $X\", \"\"] }\n" BACKENDS);
	const struct health_spec *http = &config->services[0].health;
	const struct health_spec *dns = &config->services[1].health;
	const struct health_spec *tcp = &config->services[2].health;

	assert_string_equal(http->type, "http");
	assert_string_equal(http->method, "OPTIONS");
	assert_string_equal(http->headers, "B: 2\nC-D: 3 4");
	assert_string_equal(http->body, "up");
	assert_string_equal(dns->name, "example.org.");
	assert_string_equal(dns->record, "aaaa");
	assert_string_equal(dns->expect, "::1");
	assert_string_equal(tcp->send, "a\r\n");
	assert_string_equal(tcp->expect_hex, "0aff");
	assert_null(tcp->expect);
	assert_string_equal(config->services[3].health.type, "icmp");
	assert_string_equal(config->services[4].health.command, "/bin/sh\n-c\nexit $X\n");
	config_free(config);
}

static void checks_differ_in_any_of_their_texts(void **state)
{
	struct health_spec one = {.type = (char *)"tcp"}, other = one;

	assert_true(health_spec_same(&one, &other));
	for (unsigned i = 0; i < HEALTH_TEXT_COUNT; i++) {
		other.texts[i] = (char *)"x";
		assert_false(health_spec_same(&one, &other));
		other.texts[i] = NULL;
	}
	other.rise = 7;
	assert_false(health_spec_same(&one, &other));
}

static void assert_to(const char *yaml, enum health_to expected)
{
	struct config *config = parse(yaml);

	assert_int_equal(config->services[0].health.to, expected);
	config_free(config);
}

static void checks_go_where_a_service_or_the_defaults_say(void **state)
{
	assert_to(WEB BACKENDS, HEALTH_TO_AUTO);
	assert_to(WEB "    health: { to: vip }\n" BACKENDS, HEALTH_TO_VIP);
	assert_to(WEB "    health: { to: backend }\n" BACKENDS, HEALTH_TO_BACKEND);
	assert_to("defaults: { health: { to: vip } }\n" WEB BACKENDS, HEALTH_TO_VIP);
	assert_to("defaults: { health: { to: vip } }\n" WEB
		  "    health: { to: backend }\n" BACKENDS,
		  HEALTH_TO_BACKEND);
	assert_to("defaults: { health: { to: backend } }\n" WEB
		  "    health: { to: auto }\n" BACKENDS,
		  HEALTH_TO_AUTO);
}

static void assert_health_type(const char *yaml, const char *type)
{
	struct config *config = parse(yaml);

	assert_string_equal(config->services[0].health.type, type);
	config_free(config);
}

static void the_default_check_depends_on_what_there_is_to_connect_to(void **state)
{
	assert_health_type(WEB BACKENDS, "tcp");
	assert_health_type("services:\n" DNS BACKENDS, "none");
	assert_health_type("services:\n" DNS "    health: { port: 8053 }\n" BACKENDS, "tcp");
	assert_health_type("services:\n" DNS "    health: { type: http, port: 8053 }\n" BACKENDS,
			   "http");
	assert_health_type(
	    "services:\n  - { vip: 192.0.2.1, protocol: tcp, port: any, backends: [{address: 10.0.0.1}] }\n",
	    "none");
	assert_health_type("defaults: { health: { type: http } }\n" WEB BACKENDS, "http");
	assert_health_type("defaults: { health: { type: http } }\n" WEB
			   "    health: { type: none }\n" BACKENDS,
			   "none");
}

static void the_default_timeout_fits_into_the_interval(void **state)
{
	struct config *config = parse(WEB "    health: { interval: 500ms }\n" BACKENDS);

	assert_int_equal(config->services[0].health.timeout_ms, 375);
	config_free(config);
	config = parse(WEB "    health: { interval: 1h }\n" BACKENDS);
	assert_int_equal(config->services[0].health.timeout_ms, 1500);
	config_free(config);
}

static void a_service_without_a_name_is_named_after_its_vip(void **state)
{
	struct config *config = parse(
	    "services:\n"
	    "  - { vip: 192.0.2.1, protocol: udp, port: 53, backends: [{address: 10.0.0.1}] }\n"
	    "  - { vip: 2001:db8::1, protocol: tcp, port: any, backends: [{address: 10.0.0.1}] }\n");

	assert_non_null(config_find_service(config, "192.0.2.1:53/udp"));
	assert_non_null(config_find_service(config, "[2001:db8::1]:any/tcp"));
	assert_null(config_find_service(config, "web"));
	config_free(config);
}

/* For backends that are added at run time. */
static void the_rules_for_addresses_can_be_asked_for_one(void **state)
{
	struct config *config = parse(
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: udp, port: 53, forward: l2, backends: [{address: 10.0.0.1}] }\n"
	    "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 80, backends: [{address: 10.0.0.1}] }\n");
	static const struct {
		unsigned service;
		const char *address, *says;
	} cases[] = {
	    {1, "127.0.0.1", "a loopback address: expected the address of one host"},
	    {1, "::", "an unspecified address: expected the address of one host"},
	    {1, "224.0.0.1", "a multicast address: expected the address of one host"},
	    {1, "192.0.2.1", "is a VIP: expected the address of a backend"},
	    {0, "2001:db8::1", "expected an address of the VIP's family"},
	    {1, "2001:db8::1", NULL},
	    {0, "10.0.0.2", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = {""};
		struct addr addr;
		int rc;

		assert_int_equal(addr_parse(cases[i].address, &addr), 0);
		rc = config_check_backend(config, &config->services[cases[i].service], &addr, 0,
					  &err);
		assert_int_equal(rc, cases[i].says ? -EINVAL : 0);
		if (cases[i].says && !strstr(err.text, cases[i].says))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].address, err.text,
				 cases[i].says);
	}
	config_free(config);
}

static const char full[] =
    "# every key there is\n"
    "interfaces: [eth0, bond0.100]\n"
    "mode: native\n"
    "unserved: pass\n"
    "pin: /sys/fs/bpf/edge\n"
    "socket: /run/edge.sock\n"
    "state: /var/lib/edge\n"
    "group: netops\n"
    "metrics: '[::1]:9100'\n"
    "metrics-hosts: [lb1.example.com, 2001:db8::1]\n"
    "metrics-token-file: /etc/edge/token\n"
    "page: off\n"
    "notify: /usr/local/bin/page --team edge\n"
    "hash-seed: 0xfeedface12345678\n"
    "telemetry: { sample: 1/64 }\n"
    "encap:\n"
    "  source-v4: 10.255.0.0/16\n"
    "  source-v6: fd00:1::/96\n"
    "  gue-port: 5555\n"
    "limits: { services: 16k, backends: 20000, slots: 8M, flows: 64k }\n"
    "announce: { table: 100, protocol: 200, metric: 20, drain-metric: 1000, min-up: 2,\n"
    "  require: all, file: /run/edge/vrrp }\n"
    "defaults:\n"
    "  algorithm: lc\n"
    "  forward: gue\n"
    "  no-backend: pass\n"
    "  fragments: drop\n"
    "  deny: [10.0.0.0/8, \"2001:db8:bad::/48\"]\n"
    "  slow-start: 30s\n"
    "  flap-damping: 5m\n"
    "  idle-timeout: { tcp: 1h }\n"
    "  health: { type: http, path: /up, interval: 5s, timeout: 2s, status: 204 }\n"
    "services:\n"
    "  - name: web\n"
    "    vip: 192.0.2.10\n"
    "    protocol: tcp\n"
    "    port: 443\n"
    "    algorithm: sh\n"
    "    forward: l2\n"
    "    no-backend: drop\n"
    "    fragments: pass\n"
    "    tracking: always\n"
    "    affinity: client-ip\n"
    "    affinity-timeout: 15m\n"
    "    affinity-mask: { v4: 24, v6: 56 }\n"
    "    allow: [10.1.0.0/16, 192.0.2.7]\n"
    "    idle-timeout: { udp: 10s }\n"
    "    slots: 65537\n"
    "    slow-start: 0s\n"
    "    panic-threshold: 20%\n"
    "    health: &check\n"
    "      type: https\n"
    "      port: 8443\n"
    "      path: \"/health?full=1\"\n"
    "      host: www.example.org\n"
    "      status: 200-204\n"
    "      interval: 1500ms\n"
    "      timeout: 700ms\n"
    "      rise: 5\n"
    "      fall: 1\n"
    "    backends: &pool\n"
    "      - address: 10.0.0.11\n"
    "        weight: 0\n"
    "        drain: true\n"
    "      - { address: 10.0.0.12, weight: 10000, backup: true }\n"
    "  - name: any6\n"
    "    vip: \"2001:db8::10\"\n"
    "    protocol: udp\n"
    "    port: any\n"
    "    algorithm: maglev\n"
    "    hash: [source-port]\n"
    "    panic-threshold: 50\n"
    "    health: *check\n"
    "    backends: *pool\n"
    "  - { vip: 192.0.2.10, protocol: tcp, port: 80, backends: *pool, health: { type: none } }\n";

/* ---- allow and deny ---- */

static char list_path[64];

static int make_list_path(void **state)
{
	snprintf(list_path, sizeof(list_path), "/tmp/test_config-%d.txt", (int)getpid());
	return 0;
}

static int remove_list(void **state)
{
	unlink(list_path);
	return 0;
}

static void lists_are_inherited_one_by_one(void **state)
{
	struct config *config = parse(full);
	const struct config_lists *web = &config->services[0].lists,
				  *any6 = &config->services[1].lists,
				  *third = &config->services[2].lists;

	assert_int_equal(web->allow->count, 2);
	assert_int_equal(web->deny->count, 2);
	assert_null(any6->allow);
	assert_ptr_equal(any6->deny, web->deny);
	assert_ptr_equal(any6->filter, third->filter);
	assert_ptr_not_equal(web->filter, third->filter);
	config_free(config);
}

static void a_service_without_lists_has_no_filter(void **state)
{
	struct config *config =
	    parse("defaults: { deny: [10.0.0.0/8] }\n" WEB "    deny: []\n" BACKENDS);

	assert_null(config->services[0].lists.filter);
	assert_int_equal(config->services[0].lists.deny->count, 0);
	config_free(config);
	config = parse(WEB BACKENDS);
	assert_null(config->services[0].lists.deny);
	assert_null(config->services[0].lists.filter);
	config_free(config);
}

/* A service whose deny list is in list_path, and whose allow list is inline. */
static struct config *parse_with_file(void)
{
	char yaml[512];

	snprintf(yaml, sizeof(yaml),
		 WEB "    allow: [10.0.0.0/8]\n    deny: { file: %s }\n" BACKENDS DNS
		     "    deny: { file: %s }\n" BACKENDS,
		 list_path, list_path);
	return parse(yaml);
}

static void expect_lists_again(const struct config *config, const char *text, const char *error)
{
	struct config_lists *lists = NULL;
	struct error err = {0};
	char expected[512];

	test_file_put(list_path, text);
	assert_true(config_read_lists_again(config, &lists, &err) < 0);
	snprintf(expected, sizeof(expected), error, list_path);
	assert_string_equal(err.text, expected);
	assert_null(lists);
}

static void files_of_lists_are_read_again_and_nothing_else(void **state)
{
	struct config_lists *lists;
	struct config *config;
	struct error err = {0};

	test_file_put(list_path, "10.1.0.0/16\n");
	config = parse_with_file();
	test_file_put(list_path, "10.1.0.0/16\n10.2.0.0/16\n");
	if (config_read_lists_again(config, &lists, &err))
		fail_msg("%s", err.text);
	assert_ptr_equal(lists[0].allow, config->services[0].lists.allow);
	assert_int_equal(lists[0].deny->count, 2);
	assert_ptr_equal(lists[0].deny, lists[1].deny);
	assert_int_equal(config->services[0].lists.deny->count, 1);
	assert_false(filter_equal(lists[0].filter, config->services[0].lists.filter));
	config_lists_free(lists, config->services_count);
	config_free(config);
}

static void a_bad_file_names_service_list_file_and_line(void **state)
{
	struct config *config;

	test_file_put(list_path, "10.1.0.0/16\n");
	config = parse_with_file();
	expect_lists_again(config, "10.1.0.0/16\nnonsense/8\n",
			   "service web: deny: %s:2: expected an IPv4 or IPv6 prefix "
			   "or address, such as 192.0.2.0/24 or 2001:db8::/32");
	expect_lists_again(config, "10.0.0.0/8\n",
			   "service web: deny: 10.0.0.0/8: is in both lists: expected one of them: "
			   "allow at lbd.yaml:6, deny at %s:1");
	config_free(config);
}

static void every_key_of_the_top_is_read(void **state)
{
	struct config *config = parse(full);

	assert_int_equal(config->interfaces_count, 2);
	assert_string_equal(config->interfaces[0], "eth0");
	assert_string_equal(config->interfaces[1], "bond0.100");
	assert_int_equal(config->mode, CONFIG_MODE_NATIVE);
	assert_string_equal(config->pin, "/sys/fs/bpf/edge");
	assert_string_equal(config->socket, "/run/edge.sock");
	assert_string_equal(config->state, "/var/lib/edge");
	assert_string_equal(config->group, "netops");
	assert_string_equal(config->metrics, "[::1]:9100");
	assert_addr(&config->metrics_address, "::1");
	assert_int_equal(config->metrics_port, 9100);
	assert_null(config->metrics_path);
	assert_int_equal(config->metrics_hosts_count, 2);
	assert_string_equal(config->metrics_hosts[0], "lb1.example.com");
	assert_string_equal(config->metrics_hosts[1], "2001:db8::1");
	assert_string_equal(config->metrics_token_file, "/etc/edge/token");
	assert_false(config->page);
	assert_string_equal(config->notify, "/usr/local/bin/page --team edge");
	assert_true(config->hash_seed == 0xfeedface12345678);
	assert_int_equal(config->sample, 64);
	assert_addr(&config->encap_source4, "10.255.0.0");
	assert_int_equal(config->encap_source4_len, 16);
	assert_addr(&config->encap_source6, "fd00:1::");
	assert_int_equal(config->encap_source6_len, 96);
	assert_int_equal(config->gue_port, 5555);
	assert_int_equal(config->limits.services, 16384);
	assert_int_equal(config->unserved, LB_REFUSE_PASS);
	assert_int_equal(config->limits.backends, 20000);
	assert_int_equal(config->limits.slots, 8 << 20);
	assert_int_equal(config->limits.flows, 65536);
	assert_true(config->announce.on && config->announce.all);
	assert_int_equal(config->announce.table, 100);
	assert_int_equal(config->announce.protocol, 200);
	assert_int_equal(config->announce.metric, 20);
	assert_int_equal(config->announce.drain_metric, 1000);
	assert_int_equal(config->announce.min_up, 2);
	assert_string_equal(config->announce.file, "/run/edge/vrrp");
	assert_int_equal(config->services_count, 3);
	config_free(config);
}

static void every_key_of_a_service_is_read(void **state)
{
	struct config *config = parse(full);
	const struct config_service *web = config_find_service(config, "web");

	assert_string_equal(web->algorithm->name, "source-hash");
	assert_int_equal(web->hash, 0);
	assert_int_equal(web->forward, LB_FORWARD_L2);
	assert_int_equal(web->no_backend, LB_REFUSE_DROP);
	assert_false(web->no_fragments);
	assert_int_equal(web->tracking, CONFIG_TRACKING_ALWAYS);
	assert_true(web->affinity);
	assert_int_equal(web->affinity_timeout_ms, 900000);
	assert_int_equal(web->mask4, 24);
	assert_int_equal(web->mask6, 56);
	assert_int_equal(web->tcp_idle_ms, 3600000);
	assert_int_equal(web->udp_idle_ms, 10000);
	assert_int_equal(web->slots, 65537);
	assert_int_equal(web->slow_start_ms, 0);
	assert_int_equal(web->panic_threshold, 20);
	assert_int_equal(web->backends_count, 2);
	assert_int_equal(web->backends[0].weight, 0);
	assert_false(web->backends[0].backup);
	assert_true(web->backends[0].drain);
	assert_false(web->backends[1].drain);
	assert_addr(&web->backends[1].address, "10.0.0.12");
	assert_int_equal(web->backends[1].weight, 10000);
	assert_true(web->backends[1].backup);
	config_free(config);
}

static void every_key_of_a_health_check_is_read(void **state)
{
	struct config *config = parse(full);
	const struct health_spec *health = &config_find_service(config, "web")->health;

	assert_string_equal(health->type, "https");
	assert_int_equal(health->port, 8443);
	assert_string_equal(health->path, "/health?full=1");
	assert_string_equal(health->host, "www.example.org");
	assert_int_equal(health->status_min, 200);
	assert_int_equal(health->status_max, 204);
	assert_int_equal(health->interval_ms, 1500);
	assert_int_equal(health->timeout_ms, 700);
	assert_int_equal(health->rise, 5);
	assert_int_equal(health->fall, 1);
	config_free(config);
}

static void services_inherit_defaults_key_by_key(void **state)
{
	struct config *config = parse(full);
	const struct config_service *any6 = config_find_service(config, "any6");
	const struct config_service *plain = config_find_service(config, "192.0.2.10:80/tcp");

	assert_string_equal(any6->algorithm->name, "maglev");
	assert_int_equal(any6->hash, LB_HASH_SPORT);
	assert_int_equal(any6->port, 0);
	assert_int_equal(any6->forward, LB_FORWARD_GUE);
	assert_int_equal(any6->no_backend, LB_REFUSE_PASS);
	assert_true(any6->no_fragments);
	assert_int_equal(any6->slow_start_ms, 30000);
	assert_int_equal(any6->flap_damping_ms, 300000);
	assert_int_equal(any6->panic_threshold, 50);
	assert_string_equal(any6->health.type, "https");
	assert_int_equal(any6->backends_count, 2);
	assert_string_equal(plain->algorithm->name, "least-conn");
	assert_int_equal(plain->forward, LB_FORWARD_GUE);
	assert_int_equal(plain->tcp_idle_ms, 3600000);
	assert_int_equal(plain->udp_idle_ms, 30000);
	assert_string_equal(plain->health.type, "none");
	assert_string_equal(plain->health.path, "/up");
	assert_int_equal(plain->health.status_min, 204);
	assert_int_equal(plain->health.status_max, 204);
	assert_int_equal(plain->health.interval_ms, 5000);
	config_free(config);
}

static void algorithms_go_by_their_short_names_too(void **state)
{
	static const char *const names[][2] = {
	    {"mh", "maglev"},      {"sh", "source-hash"},
	    {"rr", "round-robin"}, {"wrr", "weighted-round-robin"},
	    {"lc", "least-conn"},  {"least-response-time", "least-response-time"}};
	char yaml[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(yaml, sizeof(yaml), WEB "    algorithm: %s\n" BACKENDS, names[i][0]);
		struct config *config = parse(yaml);

		assert_string_equal(config->services[0].algorithm->name, names[i][1]);
		config_free(config);
	}
}

static void a_service_has_no_limit_by_default(void **state)
{
	struct config *config = parse(WEB BACKENDS);
	const struct config_limit *limit = &config->services[0].limit;

	assert_int_equal(limit->service.per_minute, 0);
	assert_int_equal(limit->source.per_minute, 0);
	config_free(config);
}

static void assert_rate(const struct config_rate *rate, unsigned per_minute, unsigned burst)
{
	assert_int_equal(rate->per_minute, per_minute);
	assert_int_equal(rate->burst, burst);
}

static void rates_of_new_flows_are_read(void **state)
{
	struct config *config =
	    parse(WEB "    limit: { new-flows: 1000/s, burst: 30, per-source: "
		      "{ v4: 32, v6: 64, rate: 10/m, burst: 600 } }\n" BACKENDS);
	const struct config_limit *limit = &config->services[0].limit;

	assert_rate(&limit->service, 60000, 30);
	assert_rate(&limit->source, 10, 600);
	assert_int_equal(limit->source4, 32);
	assert_int_equal(limit->source6, 64);
	config_free(config);
}

/* A burst is a second of the rate, but at least 5; prefixes are /24 and /56. */
static void each_part_of_a_limit_has_defaults(void **state)
{
	struct config *config = parse(WEB "    limit: { new-flows: 1000/s }\n" BACKENDS DNS
					  "    limit: { per-source: { rate: 90/m } }\n" BACKENDS);

	assert_rate(&config->services[0].limit.service, 60000, 1000);
	assert_int_equal(config->services[0].limit.source.per_minute, 0);
	assert_int_equal(config->services[1].limit.service.per_minute, 0);
	assert_rate(&config->services[1].limit.source, 90, 5);
	assert_int_equal(config->services[1].limit.source4, 24);
	assert_int_equal(config->services[1].limit.source6, 56);
	config_free(config);
}

static void a_limit_is_inherited_key_by_key_and_can_be_off(void **state)
{
	struct config *config = parse(
	    "defaults: { limit: { new-flows: 100/s, per-source: { v4: 28, rate: 5/s } } }\n" WEB
	    "    limit: { new-flows: off, per-source: { rate: 50/s } }\n" BACKENDS DNS
	    "    tracking: never\n" BACKENDS);
	const struct config_limit *limit = &config->services[0].limit;

	assert_int_equal(limit->service.per_minute, 0);
	assert_rate(&limit->source, 3000, 50);
	assert_int_equal(limit->source4, 28);
	/* where nothing is tracked, a limit that is not its own does not apply */
	assert_int_equal(config->services[1].limit.service.per_minute, 0);
	assert_int_equal(config->services[1].limit.source.per_minute, 0);
	config_free(config);
}

static void an_empty_hash_means_the_client_alone(void **state)
{
	struct config *config = parse(WEB "    hash: []\n    affinity-mask: { v4: 24 }\n" BACKENDS);

	assert_int_equal(config->services[0].hash, 0);
	assert_int_equal(config->services[0].mask4, 24);
	config_free(config);
}

static void a_hash_from_defaults_is_for_the_services_it_fits(void **state)
{
	struct config *config =
	    parse("defaults: { hash: [source-port] }\n" WEB BACKENDS DNS
		  "    algorithm: source-hash\n" BACKENDS
		  "  - { vip: 192.0.2.1, protocol: tcp, port: 1, algorithm: rr,\n"
		  "      backends: [{address: 10.0.0.1}] }\n");

	assert_int_equal(config->services[0].hash, LB_HASH_SPORT);
	assert_int_equal(config->services[1].hash, 0);
	assert_int_equal(config->services[2].hash, config->services[2].algorithm->hash);
	config_free(config);
}

static void encapsulation_takes_all_pairings_of_families(void **state)
{
	struct config *config = parse(
	    "services:\n"
	    "  - { vip: 192.0.2.1, protocol: tcp, port: 1, backends: [{address: 10.0.0.1}, {address: fd00::1}] }\n"
	    "  - { vip: 2001:db8::1, protocol: tcp, port: 1, forward: gue,\n"
	    "      backends: [{address: 10.0.0.1}, {address: fd00::1}] }\n"
	    "  - { vip: 2001:db8::2, protocol: tcp, port: 1, forward: l2, backends: [{address: fd00::1}] }\n");

	assert_int_equal(config->services_count, 3);
	config_free(config);
}

static void metrics_can_be_off(void **state)
{
	struct config *config = parse("metrics: off\nservices: []\n");

	assert_null(config->metrics);
	assert_int_equal(config->metrics_port, 0);
	config_free(config);
}

static void metrics_can_be_on_a_unix_socket(void **state)
{
	struct config *config = parse("metrics: unix:/run/lbd/metrics.sock\nservices: []\n");

	assert_string_equal(config->metrics, "unix:/run/lbd/metrics.sock");
	assert_string_equal(config->metrics_path, "/run/lbd/metrics.sock");
	assert_int_equal(config->metrics_port, 0);
	config_free(config);
}

static void backends_have_names_and_labels(void **state)
{
	struct config *config = parse(
	    WEB "    backends:\n"
		"      - { address: 10.0.0.1, name: web-1, labels: { zone: a b, rack: \"7\" } }\n"
		"      - { address: 10.0.0.2 }\n"
		"      - { address: 10.0.0.3, labels: { zone: b } }\n" DNS
		"    backends: [{ address: 10.0.0.1, name: web-1 }]\n");
	const struct config_service *web = &config->services[0];
	const struct config_tag *tag = web->backends[0].tag;

	assert_string_equal(tag->name, "web-1");
	assert_int_equal(tag->labels_count, 2);
	assert_string_equal(tag->labels[0].key, "rack"); /* by key */
	assert_string_equal(tag->labels[0].value, "7");
	assert_string_equal(tag->labels[1].value, "a b");
	assert_null(web->backends[1].tag);
	assert_null(config_tag_name(web->backends[2].tag));
	assert_ptr_equal(config_find_named(web, "web-1"), &web->backends[0]);
	assert_null(config_find_named(web, "web-2"));
	assert_null(config_find_named(web, NULL));
	assert_false(config_tag_equal(tag, config->services[1].backends[0].tag)); /* no labels */
	config_free(config);
}

static void backends_have_zones_and_priorities(void **state)
{
	struct config *config = parse(
	    "zone: eu-west-1a\n" WEB "    backends:\n"
	    "      - { address: 10.0.0.1, zone: eu-west-1a }\n"
	    "      - { address: 10.0.0.2, name: two, zone: 1, priority: 7, labels: { a: b } }\n"
	    "      - { address: 10.0.0.3, priority: 0, backup: true }\n");
	const struct config_backend *backends = config->services[0].backends;
	struct config *copy;

	assert_string_equal(config->zone, "eu-west-1a");
	assert_string_equal(config_tag_zone(backends[0].tag), "eu-west-1a");
	assert_int_equal(backends[0].priority, 0);
	assert_string_equal(config_tag_zone(backends[1].tag), "1");
	assert_string_equal(config_tag_name(backends[1].tag), "two");
	assert_int_equal(backends[1].priority, 7);
	assert_null(config_tag_zone(backends[2].tag));
	assert_true(backends[2].backup);
	assert_int_equal(config_copy(config, &copy), 0);
	assert_string_equal(copy->zone, "eu-west-1a");
	config_free(copy);
	config_free(config);
}

static void one_vip_serves_both_protocols_and_many_ports(void **state)
{
	struct config *config = parse(
	    "services:\n"
	    "  - { vip: 192.0.2.1, protocol: tcp, port: 53, backends: [{address: 10.0.0.1}] }\n"
	    "  - { vip: 192.0.2.1, protocol: udp, port: 53, backends: [{address: 10.0.0.1}] }\n"
	    "  - { vip: 192.0.2.1, protocol: udp, port: any, backends: [{address: 10.0.0.1}] }\n");

	assert_int_equal(config->services_count, 3);
	config_free(config);
}

/* ---- files ---- */

static void a_file_that_is_not_there_is_refused_with_the_reason(void **state)
{
	struct config *config = NULL;
	struct error err = {""};

	assert_int_equal(config_load("/nonexistent/lbd.yaml", &config, &err), -ENOENT);
	assert_string_equal(err.text,
			    "/nonexistent/lbd.yaml: cannot open: No such file or directory. An "
			    "example to begin with: /etc/lbd/lbd.yaml.example (dist/lbd.yaml in "
			    "the source)");
	assert_null(config);
}

static void a_directory_is_refused_with_the_reason(void **state)
{
	struct config *config = NULL;
	struct error err = {""};

	assert_int_equal(config_load("/", &config, &err), -EISDIR);
	assert_string_equal(err.text, "/: cannot read: Is a directory");
	assert_null(config);
}

static void a_file_without_end_is_refused(void **state)
{
	struct config *config = NULL;
	struct error err = {""};

	assert_int_equal(config_load("/dev/zero", &config, &err), -EFBIG);
	assert_string_equal(err.text, "/dev/zero: too large: expected at most 16 MiB");
}

static void a_file_is_read_and_named_in_errors(void **state)
{
	char path[] = "/tmp/test_config.XXXXXX", want[128];
	static const char text[] = WEB "    weight: 3\n" BACKENDS;
	struct config *config = NULL;
	struct error err = {""};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(config_load(path, &config, &err), -EINVAL);
	snprintf(want, sizeof(want), "%s:6: service web: weight: unknown key", path);
	assert_memory_equal(err.text, want, strlen(want));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, full, sizeof(full) - 1, 0), sizeof(full) - 1);
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_int_equal(config->services_count, 3);
	config_free(config);
	close(fd);
	unlink(path);
}

/* ---- every mistake ---- */

struct said {
	char text[65536];
	unsigned count;
};

static void say(void *arg, const char *sentence, size_t count)
{
	struct said *said = arg;
	size_t length = strlen(said->text);

	said->count++;
	snprintf(said->text + length, sizeof(said->text) - length, "%s\n",
		 strrchr(sentence, '/') ? strchr(sentence, ':') + 1 : sentence);
}

/* What is said of a file with this text, without its name. */
static struct said mistakes_of(const char *text)
{
	char path[] = "/tmp/test_config.XXXXXX";
	struct said said = {.count = 0};
	struct config *config = NULL;
	struct error err = {""};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	test_file_put(path, text);
	assert_true(config_load_all(path, say, &said, &config, &err) < 0);
	assert_null(config);
	unlink(path);
	return said;
}

static void every_mistake_in_keys_and_types_is_named_by_line(void **state)
{
	const struct said said = mistakes_of("mode: fast\n"
					     "services:\n"
					     "  - vip: 192.0.2.10\n"
					     "    protocol: sctp\n"
					     "    port: 80\n"
					     "    algoritm: maglev\n"
					     "    backends: {}\n");

	assert_string_equal(said.text,
			    "1: mode: fast: expected auto, native or generic\n"
			    "4: service #1: protocol: sctp: expected tcp or udp\n"
			    "6: service #1: algoritm: unknown key: did you mean algorithm?\n"
			    "7: service #1: backends: a mapping: expected a list\n");
}

static void every_mistake_in_values_is_named_by_line(void **state)
{
	const struct said said = mistakes_of("metrics: here\n"
					     "services:\n"
					     "  - name: web\n"
					     "    vip: 192.0.2.256\n"
					     "    protocol: tcp\n"
					     "    port: 70000\n"
					     "    backends:\n"
					     "      - { address: 10.0.0.11, weight: x }\n"
					     "      - { address: 10.0.0 }\n");

	assert_int_equal(said.count, 5);
	assert_non_null(strstr(said.text, "1: metrics: here: "));
	assert_non_null(strstr(said.text, "\n4: service web: vip: 192.0.2.256: "));
	assert_non_null(strstr(said.text, "\n6: service web: port: 70000: "));
	assert_non_null(strstr(said.text, "\n8: service web: backend 10.0.0.11: weight: x: "));
	assert_non_null(strstr(said.text, "\n9: service web: backend 10.0.0: address: 10.0.0: "));
}

static void mistakes_in_keys_do_not_hide_those_in_values(void **state)
{
	const struct said said = mistakes_of("colour: blue\n"
					     "metrics: here\n"
					     "services:\n"
					     "  - name: web\n"
					     "    vip: [192.0.2.1]\n" /* not also missing */
					     "    protocol: tcp\n"
					     "    port: 70000\n"
					     "    health: { rise: 0, tpye: tcp }\n"
					     "    backends:\n"
					     "      - { address: 10.0.0.11, weight: x }\n"
					     "      - hello\n"
					     "  - name: dns\n" /* without protocol */
					     "    vip: 192.0.2.2\n"
					     "    port: 53\n"
					     "    backends: [{ address: 10.0.0.11 }]\n"
					     "  - name: last\n"
					     "    vip: 192.0.2.3\n"
					     "    protocol: udp\n"
					     "    port: 0\n"
					     "    backends: [{ address: 10.0.0.11, zz: 3 }]\n");
	static const char *const parts[] = {
	    "1: colour: unknown key",
	    "2: metrics: here: ",
	    "5: service web: vip: a list: ",
	    "7: service web: port: 70000: ",
	    "8: service web: health: rise: 0: ",
	    "8: service web: health: tpye: unknown key",
	    "10: service web: backend 10.0.0.11: weight: x: ",
	    "11: service web: backend #2: hello: expected a mapping",
	    "12: service dns: protocol: missing",
	    "19: service last: port: 0: ",
	    "20: service last: backend 10.0.0.11: zz: unknown key"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(said.text, parts[i]))
			fail_msg("no \"%s\" in:\n%s", parts[i], said.text);
	assert_int_equal(said.count, sizeof(parts) / sizeof(parts[0]));
}

static void a_mistake_behind_an_alias_is_named_once(void **state)
{
	const struct said said = mistakes_of(
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, health: &h { rise: 0 },\n"
	    "      backends: [{ address: 10.0.0.1 }] }\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80, health: *h,\n"
	    "      backends: [{ address: 10.0.0.1 }] }\n");

	assert_int_equal(said.count, 1);
}

static void an_alias_is_checked_by_the_keys_of_each_place(void **state)
{
	const struct said said = mistakes_of(
	    "colour: blue\n"
	    "services:\n"
	    "  - { name: a, vip: 192.0.2.1, protocol: tcp, port: 80,\n"
	    "      health: &h { port: 81, type: tcp, checks: [{ type: tcp }] }, agent: *h,\n"
	    "      backends: [{ address: 10.0.0.1, health: *h, name: &n web }] }\n"
	    "  - { name: b, vip: 192.0.2.2, protocol: tcp, port: 80, limit: { burst: *n },\n"
	    "      backends: [*h] }\n");
	static const char *const parts[] = {
	    "1: colour: unknown key",
	    "4: service a: agent: type: unknown key",
	    "4: service a: agent: checks: unknown key",
	    "5: service b: limit: burst: web: ",
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(said.text, parts[i]))
			fail_msg("no \"%s\" in:\n%s", parts[i], said.text);
	assert_null(strstr(said.text, "libcyaml"));
}

static void mistakes_beyond_a_hundred_are_counted(void **state)
{
	static char text[16384];
	struct said said;

	for (unsigned i = 0; i < 140; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "key%u: 1\n", i);
	strcat(text, "services: []\n");
	said = mistakes_of(text);
	assert_int_equal(said.count, 100 + 1);
	assert_non_null(strstr(said.text, "\nand 40 more\n"));
}

static void a_text_that_is_no_yaml_has_one_mistake(void **state)
{
	const struct said said = mistakes_of("interfaces: [eth0\nservices: []\n");

	assert_int_equal(said.count, 1);
	assert_non_null(strstr(said.text, "2: not YAML: "));
}

/* ---- the example that is installed; tests run in the root of the repository ---- */

#define EXAMPLE "dist/lbd.yaml"

static void the_example_is_valid(void **state)
{
	struct config *config = NULL;
	struct error err = {""};

	if (config_load(EXAMPLE, &config, &err))
		fail_msg("%s", err.text);
	assert_true(config->services_count > 0);
	config_free(config);
}

/* "#key" or "#  key", but not "# prose". */
static bool hides_key(const char *at)
{
	return *at == '#' && (strspn(at + 1, " \n") == 0 || strspn(at + 1, " ") == 2);
}

static void uncomment(char *text)
{
	char *to = text;
	bool blank = true; /* nothing but blanks in the line so far */

	for (const char *from = text; *from; from++) {
		if (!blank || !hides_key(from))
			*to++ = *from;
		blank = *from == '\n' || (blank && *from == ' ');
	}
	*to = 0;
}

static struct config *parse_example_with_its_defaults(void)
{
	static char text[16384];
	FILE *file = fopen(EXAMPLE, "re");
	size_t length;

	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = 0;
	uncomment(text);
	return parse(text);
}

static void the_defaults_of_the_example_are_the_defaults(void **state)
{
	struct config *example = parse_example_with_its_defaults(),
		      *defaults = parse("services: []\n");

	assert_int_equal(example->mode, defaults->mode);
	assert_int_equal(example->unserved, defaults->unserved);
	assert_string_equal(example->pin, defaults->pin);
	assert_string_equal(example->socket, defaults->socket);
	assert_string_equal(example->state, defaults->state);
	assert_string_equal(example->group, defaults->group);
	assert_string_equal(example->metrics, defaults->metrics);
	assert_int_equal(defaults->metrics_hosts_count, 0);
	assert_null(defaults->metrics_token_file);
	assert_null(defaults->notify);
	assert_true(defaults->page);
	assert_true(example->page);
	assert_int_equal(example->metrics_hosts_count, 0);
	assert_null(example->metrics_token_file);
	assert_null(example->notify);
	assert_true(example->hash_seed == defaults->hash_seed);
	assert_true(addr_equal(&example->encap_source4, &defaults->encap_source4));
	assert_true(addr_equal(&example->encap_source6, &defaults->encap_source6));
	assert_int_equal(example->encap_source4_len, defaults->encap_source4_len);
	assert_int_equal(example->encap_source6_len, defaults->encap_source6_len);
	assert_int_equal(example->gue_port, defaults->gue_port);
	assert_memory_equal(&example->limits, &defaults->limits, sizeof(defaults->limits));
	config_free(example);
	config_free(defaults);
}

static void the_service_defaults_of_the_example_are_the_defaults(void **state)
{
	struct config *example = parse_example_with_its_defaults(), *config = parse(WEB BACKENDS);
	const struct config_service *shown = &example->services[0],
				    *defaults = &config->services[0];

	assert_ptr_equal(shown->algorithm, defaults->algorithm);
	assert_int_equal(shown->hash, defaults->hash);
	assert_int_equal(shown->forward, defaults->forward);
	assert_int_equal(shown->no_backend, defaults->no_backend);
	assert_int_equal(shown->no_fragments, defaults->no_fragments);
	assert_int_equal(shown->tracking, defaults->tracking);
	assert_int_equal(shown->affinity, defaults->affinity);
	assert_int_equal(shown->tcp_idle_ms, defaults->tcp_idle_ms);
	assert_int_equal(shown->udp_idle_ms, defaults->udp_idle_ms);
	assert_int_equal(shown->slow_start_ms, defaults->slow_start_ms);
	assert_int_equal(shown->flap_damping_ms, defaults->flap_damping_ms);
	assert_int_equal(shown->panic_threshold, defaults->panic_threshold);
	config_free(example);
	config_free(config);
}

/* ---- any text ---- */

struct wanted {
	const char *sentence;
	unsigned count;
	bool found;
};

static void look_for(void *arg, const char *sentence, size_t count)
{
	struct wanted *wanted = arg;

	wanted->count++;
	wanted->found |= !strcmp(sentence, wanted->sentence);
}

/* The same result when every mistake is looked for, among which is the one that was reported. */
static void try_all(const char *text, size_t length, int rc, const struct error *first)
{
	struct wanted wanted = {.sentence = first->text};
	struct config *config = NULL;
	struct error err = {""};

	assert_int_equal(config_parse_all(text, length, "f", look_for, &wanted, &config, &err) == 0,
			 rc == 0);
	assert_int_equal(!config, rc != 0);
	if (rc && !wanted.found && wanted.count <= 100)
		fail_msg("%s beside %s in\n%.*s", err.text, first->text, (int)length, text);
	config_free(config);
}

/* A value or one error. */
static int try_text(const char *text, size_t length)
{
	struct config *config = NULL;
	struct error err = {""};
	char *copy =
	    malloc(length + 1); /* an allocation of its own: ASan sees reads beyond the end */
	int rc;

	assert_non_null(copy);
	memcpy(copy, text, length);
	rc = config_parse(copy, length, "f", &config, &err);
	try_all(copy, length, rc, &err);
	free(copy);
	if (rc) {
		assert_null(config);
		assert_memory_equal(err.text, "f:", 2);
	} else {
		assert_non_null(config);
	}
	config_free(config);
	return rc;
}

static void every_prefix_of_a_file_is_taken_or_refused(void **state)
{
	size_t taken = 0;

	for (size_t length = 0; length < sizeof(full); length++)
		taken += try_text(full, length) == 0;
	assert_in_range(taken, 1, 60); /* a few cuts, in the last lines, leave a valid file */
}

static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void mutate(char *text, size_t *length, size_t max, uint32_t *seed)
{
	static const char bytes[] = ":-[]{},&*!|>'\"%@`#?\n\t 0129azx.\\\0\xff\xc3";
	size_t at = random_next(seed) % *length, from = random_next(seed) % *length,
	       n = random_next(seed) % 40;

	switch (random_next(seed) % 4) {
	case 0:
		text[at] = bytes[random_next(seed) % sizeof(bytes)];
		break;
	case 1: /* cut */
		n = n < *length - at ? n : *length - at - 1;
		memmove(text + at, text + at + n, *length - at - n);
		*length -= n;
		break;
	case 2: /* insert */
		if (*length == max)
			break;
		memmove(text + at + 1, text + at, *length - at);
		text[at] = bytes[random_next(seed) % sizeof(bytes)];
		(*length)++;
		break;
	default: /* copy from elsewhere */
		n = n < *length - at ? n : *length - at;
		n = n < *length - from ? n : *length - from;
		memmove(text + at, text + from, n);
	}
}

static void mutated_files_are_taken_or_refused(void **state)
{
	static char text[sizeof(full) + 64];
	uint32_t seed = 20240607;

	for (unsigned i = 0; i < 20000; i++) {
		size_t length = sizeof(full) - 1;

		memcpy(text, full, length);
		for (unsigned changes = 1 + random_next(&seed) % 4; changes; changes--)
			mutate(text, &length, sizeof(text), &seed);
		try_text(text, length);
	}
}

/* Short lists of aliases to each other: what they expand to is limited before it is built. */
static void aliases_cannot_multiply_without_bound(void **state)
{
	size_t size = 1 << 20, length;
	char *yaml = malloc(size);

	assert_non_null(yaml);
	length = (size_t)snprintf(
	    yaml, size,
	    "services:\n  - &s\n    vip: 192.0.2.1\n    protocol: tcp\n    port: 80\n"
	    "    backends:\n");
	for (unsigned i = 0; i < 1000; i++)
		length += (size_t)snprintf(yaml + length, size - length,
					   "      - address: 10.0.%u.%u\n", i / 250, 1 + i % 250);
	for (unsigned i = 0; i < 10000; i++)
		length += (size_t)snprintf(yaml + length, size - length, "  - *s\n");
	assert_int_equal(try_text(yaml, length), -EINVAL);
	free(yaml);
}

/* Quadratic steps anywhere would take minutes. */
#define MANY_SERVICES LB_MAX_SERVICES

static void the_largest_config_is_read(void **state)
{
	size_t size = 8 << 20, length;
	char *yaml = malloc(size);
	struct config *config;

	assert_non_null(yaml);
	length = (size_t)snprintf(
	    yaml, size, "limits: { services: 16k, backends: 32767, slots: 64M }\nservices:\n");
	for (unsigned i = 0; i < MANY_SERVICES; i++)
		length += (size_t)snprintf(
		    yaml + length, size - length,
		    "  - { name: s%u, vip: 192.0.%u.%u, protocol: tcp, port: 80, slots: 251,\n"
		    "      backends: [{address: 10.0.0.1}%s] }\n",
		    i, i / 250, 1 + i % 250, i ? ", {address: 10.0.0.2}" : "");
	config = parse(yaml);
	assert_int_equal(config->services_count, MANY_SERVICES);
	config_free(config);
	free(yaml);
}

/* ---- all ---- */

static const struct CMUnitTest others[] = {
    cmocka_unit_test(idle_timeouts_reach_as_far_as_the_ticks_of_the_flow_table),
    cmocka_unit_test(no_services_give_the_defaults),
    cmocka_unit_test(announce_without_keys_has_the_defaults),
    cmocka_unit_test(peers_are_read_and_copied),
    cmocka_unit_test(the_main_table_is_fine_without_checks_to_the_vip),
    cmocka_unit_test(a_ring_is_coarse_where_weights_are_equal_and_whole_flows_are_hashed),
    cmocka_unit_test(a_ring_is_fine_where_flows_may_spill_whatever_the_zone_of_the_node),
    cmocka_unit_test(a_service_gets_the_defaults),
    cmocka_unit_test(a_health_check_gets_the_defaults),
    cmocka_unit_test(long_packets_are_tried_where_checks_may_go_to_the_vip),
    cmocka_unit_test(several_health_checks_have_what_the_mapping_says),
    cmocka_unit_test(a_health_check_takes_several_statuses),
    cmocka_unit_test(the_host_of_a_health_check_may_be_an_ipv6_address),
    cmocka_unit_test(certificates_of_a_health_check_are_read_with_the_config),
    cmocka_unit_test(an_agent_is_asked_if_there_is_a_port),
    cmocka_unit_test(a_backend_may_say_where_it_is_checked),
    cmocka_unit_test(a_health_check_has_the_texts_that_are_given),
    cmocka_unit_test(checks_differ_in_any_of_their_texts),
    cmocka_unit_test(checks_go_where_a_service_or_the_defaults_say),
    cmocka_unit_test(the_default_check_depends_on_what_there_is_to_connect_to),
    cmocka_unit_test(the_default_timeout_fits_into_the_interval),
    cmocka_unit_test(a_service_without_a_name_is_named_after_its_vip),
    cmocka_unit_test(the_rules_for_addresses_can_be_asked_for_one),
    cmocka_unit_test(every_key_of_the_top_is_read),
    cmocka_unit_test(every_key_of_a_service_is_read),
    cmocka_unit_test(every_key_of_a_health_check_is_read),
    cmocka_unit_test(services_inherit_defaults_key_by_key),
    cmocka_unit_test(algorithms_go_by_their_short_names_too),
    cmocka_unit_test(a_service_has_no_limit_by_default),
    cmocka_unit_test(rates_of_new_flows_are_read),
    cmocka_unit_test(each_part_of_a_limit_has_defaults),
    cmocka_unit_test(a_limit_is_inherited_key_by_key_and_can_be_off),
    cmocka_unit_test(an_empty_hash_means_the_client_alone),
    cmocka_unit_test(a_hash_from_defaults_is_for_the_services_it_fits),
    cmocka_unit_test(encapsulation_takes_all_pairings_of_families),
    cmocka_unit_test(metrics_can_be_off),
    cmocka_unit_test(metrics_can_be_on_a_unix_socket),
    cmocka_unit_test(backends_have_names_and_labels),
    cmocka_unit_test(backends_have_zones_and_priorities),
    cmocka_unit_test(one_vip_serves_both_protocols_and_many_ports),
    cmocka_unit_test(a_file_that_is_not_there_is_refused_with_the_reason),
    cmocka_unit_test(a_directory_is_refused_with_the_reason),
    cmocka_unit_test(a_file_without_end_is_refused),
    cmocka_unit_test(a_file_is_read_and_named_in_errors),
    cmocka_unit_test(every_mistake_in_keys_and_types_is_named_by_line),
    cmocka_unit_test(every_mistake_in_values_is_named_by_line),
    cmocka_unit_test(mistakes_in_keys_do_not_hide_those_in_values),
    cmocka_unit_test(a_mistake_behind_an_alias_is_named_once),
    cmocka_unit_test(an_alias_is_checked_by_the_keys_of_each_place),
    cmocka_unit_test(mistakes_beyond_a_hundred_are_counted),
    cmocka_unit_test(a_text_that_is_no_yaml_has_one_mistake),
    cmocka_unit_test(the_example_is_valid),
    cmocka_unit_test(the_defaults_of_the_example_are_the_defaults),
    cmocka_unit_test(lists_are_inherited_one_by_one),
    cmocka_unit_test(a_service_without_lists_has_no_filter),
    cmocka_unit_test_setup_teardown(files_of_lists_are_read_again_and_nothing_else, make_list_path,
				    remove_list),
    cmocka_unit_test_setup_teardown(a_bad_file_names_service_list_file_and_line, make_list_path,
				    remove_list),
    cmocka_unit_test(the_service_defaults_of_the_example_are_the_defaults),
    cmocka_unit_test(every_prefix_of_a_file_is_taken_or_refused),
    cmocka_unit_test(mutated_files_are_taken_or_refused),
    cmocka_unit_test(aliases_cannot_multiply_without_bound),
    cmocka_unit_test(the_largest_config_is_read),
};

#define REFUSALS (sizeof(refusals) / sizeof(refusals[0]))
#define OTHERS   (sizeof(others) / sizeof(others[0]))

int main(void)
{
	static struct CMUnitTest tests[REFUSALS + OTHERS];
	static char names[REFUSALS][96];

	for (size_t i = 0; i < REFUSALS; i++) {
		snprintf(names[i], sizeof(names[i]), "%s_is_refused", refusals[i].promise);
		tests[i] =
		    (struct CMUnitTest){names[i], is_refused, NULL, NULL, (void *)&refusals[i]};
	}
	memcpy(tests + REFUSALS, others, sizeof(others));
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
