/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* clang-format off */
/* The API between lbctl and lbd: HTTP/1.1 with JSON bodies over a Unix socket. `curl --unix-socket`
 * can use it too.
 *
 * Every answer is a JSON object. Success is 200. The body of a failure is
 *      { "error": "one sentence: object, value, what was expected",
 *        "hint": "what to do next" or "" }
 *      400  bad argument, unknown field, or a body that is not a JSON object
 *      404  unknown path, service, backend or interface
 *      405  wrong method for this path
 *      409  conflict: the backend exists already, the service's backends take traffic, the interface has another XDP program, the driver
 *           has no native XDP, the config has no `announce:`, or a limit is reached
 *      422  the config is bad; nothing was changed
 *      507  a run-time change cannot be written to disk; nothing was changed
 *      500  any other failure
 * Each connection takes one request. What is malformed, too large or over a limit of docs/faces.md
 * is answered in the same form with 400, 411, 413, 431, 501, 503 or 505, or closed.
 *
 * GET  /v1/status
 *      { "version", "abi": 9, "pid", "uptime_s", "config": PATH,
 *        "adopted": bool (took over the pinned maps of a previous lbd),
 *        "starting": bool (the takeover is under way: an earlier program forwards, changes wait),
 *        "overrides": number of run-time changes, "interfaces": [ INTERFACE ],
 *        "services", "services_down", "services_panic", "services_backup", "services_blind",
 *        "backends", "backends_up" (numbers),
 *        "memory": { "total", "flows", "arena", "services", "backends", "counters",
 *                    "filters" (allow and deny lists), "other" } (bytes),
 *        "flows": { "capacity" (places), "places" (of them in use), "limit": as `limits: flows` has it, half of them,
 *                   "entries" (at the last sweep),
 *                   "without_place": new flows of the last minute, sent by slot because the
 *                                    table had no place for them,
 *                   "limited_services": number of services that are "limited", see SERVICE },
 *        "hash_seed": "0x" and 16 digits,
 *        "hash_seed_from": "config", "random" (the config has no hash-seed), or "pinned" (from the
 *                          pinned maps; the config has another one),
 *        "loop": { "late_ms": worst lateness of the last 1 to 2 minutes,
 *                  "late_max_ms": worst lateness since lbd started },
 *        "probe_process": null (no check needs it) or { "running": bool, "pid": null or number,
 *                         "probes": that run in it, "restarts", "last_end_s": null or number,
 *                         "why": "reason of the last restart" },
 *        "node": null (the config has no `announce:`) or NODE,
 *        "kernel": "6.1.0-...",
 *        "sources", "sources_failed": services with `backends-from`, and those whose source fails,
 *        "zone": null or text, of this node,
 *        "shared_config": null (the config is in files of this node) or CONFIG, see GET
 *        /v1/fleet,
 *        "backends_silent": of services with `forward: nat`, those without replies (see "hint") }
 *      NODE:
 *      { "state": "starting"|"syncing"|"up"|"draining"|"blind"|"withdrawn", "why": "sentence" or "",
 *        "since_s" (since the state began), "table", "metric" (of the routes), "vips",
 *        "announced" (numbers), "not_announced": [ { "vip", "why" } ], the first 100,
 *        "fault": "what failed" or "" (then routes and file are not as they should be),
 *        "drain": null or { "since_s", "withdrawn": bool (by order),
 *                           "quiet_ms": since the last packet was forwarded, or since the drain
 *                                       began } }
 *      INTERFACE:
 *      { "name", "ifindex", "mode": "native"|"generic",
 *        "dispatcher": bool (beside other XDP programs), "running": bool (up, with a carrier),
 *        "lost": frames that the program sent and no device took, since this lbd attached it,
 *        "turned_off": [ { "device", "feature" } ] (offloads; turned on again at detach),
 *        "warnings": [ "sentence" ] }
 *
 * GET  /v1/fleet
 *      { "fleet": null (the config has no `peers:`) or
 *                 { "name" (of this host), "identity" (16 digits, kept over restarts; "": none), "address" (of this node; "": not found yet), "port",
 *                   "version", "key": id of the first key, "config_digest" (16 digits),
 *                   "joining": bool (its peers have not told it everything yet), "why": "what it waits for" or "",
 *                   "fault": "why peers cannot connect" or "",
 *                   "conflicts": slots that had untracked flows on different backends at two nodes when they met,
 *                   "unplaced": flows of others without a place in this node's flow table,
 *                   "strangers": connections closed, as their addresses are none of the nodes,
 *                   "notes": [ "sentence" ]: nodes with the same name or identity, nodes that are others than before,
 *                   "peers": [ PEER ] },
 *        "config": null (the config is in files of this node) or CONFIG }
 *      CONFIG, of lbd -c etcd://...:
 *      { "servers" (URLs), "key", "node" (who this node is to the others),
 *        "heard_s": null or since etcd has answered, "failed_s": null or since when it cannot be read,
 *        "why": "of that" or "", "revision": null or that of the text in etcd,
 *        "in_force": bool (that text is, here), "copy": bool (what is in force is of the copy on disk),
 *        "refused": "why the text was refused here" or "", "waits": "for what" or "",
 *        "former": bool (etcd has the text before),
 *        "rollout": null (the text was put there by hand) or
 *                   { "digest" of the text, "max_unavailable", "limit_ms", "by" (a node), "age_s",
 *                     "state": "running"|"done"|"stopped", "why": "it is stopped" or "",
 *                     "nodes": [ { "name", "state": "waiting"|"applying"|"done"|"failed",
 *                                  "live": bool, "why" } ] },
 *        "write": null or { "number", "state": "pending"|"made"|"failed", "why" }, the last one of
 *                 POST /v1/fleet/apply on this node }
 *      PEER:
 *      { "address", "name", "identity", "version" (each "": not heard of yet),
 *        "state": "unreachable"|"greeting"|"syncing"|"synced"|"refused",
 *        "why": "reason of that state, or how the last connection ended" or "", "since_s",
 *        "connects": bool (this node makes the connection), "connections", "losses" (numbers),
 *        "session": null (there is none) or
 *                   { "key": id of the key in use, "protocol": version that both speak, "same_config": bool (services and backends),
 *                     "peer_synced": bool (as the peer says), "services": that both have,
 *                     "other_rings": of them, with another ring there,
 *                     "lag_ms": until what changes there is known here,
 *                     "behind_ms": for how long something here waits to be sent,
 *                     "sent_bytes", "received_bytes", "conflicts", "unplaced" (as the peer counts them) } }
 *
 * GET  /v1/services
 *      { "services": [ SERVICE ] }
 *      SERVICE:
 *      { "name", "vip", "protocol": "tcp"|"udp", "port" (0: any), "algorithm", "forward",
 *        "tracking",
 *        "status": "up"|"degraded"|"panic"|"backup"|"blind"|"down",
 *        "backends", "backends_up", "slots", "slots_in_transition",
 *        "ring_digest": 16 hexadecimal digits; the same config, hash seed and healthy backends
 *                       give the same digest,
 *        "availability": { "1h", "24h", "30d": null (nothing known) or the share of the time in
 *                          which it was known and a backend was usable, 0 to 1 },
 *        "answered": { "1h", "24h", "30d": null (none was timed) or the share of the timed connects
 *                      that were answered, 0 to 1 },
 *        "flows_per_s": new flows a second, last 5 to 10 s,
 *        "connects": null (they are not timed) or CONNECTS of all its backends, not modulo 2^32,
 *        "limited": bool (holds more than its share of a crowded flow table: its new flows are sent
 *                   by slot),
 *        "packets", "bytes", "flows",
 *        "allow", "deny": null or number of prefixes,
 *        "denied": packets of clients that these lists do not admit,
 *        "limit": null or { "service": null or RATE, "per_source": null or RATE with "v4", "v6"
 *                           (lengths of the prefixes) },
 *        "over_rate", "over_source_rate": new flows dropped above these rates, in packets,
 *        "why": if it is down, why no backend takes flows; else "",
 *        "runtime": bool (added at run time),
 *        "source": null (the service has no `backends-from`) or SOURCE,
 *        "levels": [ { "priority": 0 to 7 or null (backups), "local": bool (in the node's zone, or it has none),
 *                      "backends", "backends_up", "share": of new flows, 0 to 1, "panic": bool } ], in the
 *                  order in which they take new flows; only those with backends,
 *        "returned_packets", "returned_bytes": replies that came back through lbd, "refused": TCP
 *                  connects that backends refused with a reset (`forward: nat`),
 *        "checks_to": null (none is checked) or backends that are checked there { "vip", "backend",
 *                     "hint": why not at the VIP, where that was to be expected, or "" } }
 *      SOURCE:
 *      { "kind": "file"|"dns"|"etcd"|"kubernetes"|"consul", "what": path, name or URLs, "min": as configured, "named": backends in the last list that was
 *        taken over, "listed_s": null (none yet) or since then, "failed_s": null or since when it has
 *        failed, "why": "of that" or "", "ignored": of that list, "ignored_why": "of the first of them" or "" }
 *      RATE:
 *      { "rate" (new flows per second), "burst" }
 *
 * Wherever a request names a service it may also give its VIP, VIP:PORT or VIP:PORT/PROTOCOL ("any"
 * is a port), with brackets around IPv6; if several services have it, the error lists them. Wherever
 * it gives the "address" of a backend that is there, it may give the backend's name.
 *
 * GET  /v1/backends?service=NAME (without it: the backends of all services)
 *      Also, alone or together: down=true (only those that are "down" or "no-next-hop"), filter=TEXT
 *      (only those in which each word of TEXT occurs: in service, address, name, labels as KEY=VALUE,
 *      condition or why; at most 256 bytes), fields=NAME,NAME (of each backend only these, and of them
 *      not those that are null, false, "" or {}: of ten thousand backends all fields are 8 MB)
 *      { "backends": [ BACKEND ] }
 *      BACKEND:
 *      { "service", "address", "name": null or text, "labels": { KEY: text }, "weight",
 *        "effective_weight", "backup": bool,
 *        "condition": "up"|"starting"|"draining"|"drained"|"checking"|"damped"|"maintenance"|
 *                     "no-next-hop"|"down",
 *        "why", "since_s" (since the condition began), "latency_us" (of health checks),
 *        "packets", "bytes", "flows", "active" (tracked flows), "slots",
 *        "kept_slots" (kept for older flows), "drained": bool, "drain": null or DRAIN,
 *        "next_hop": null or { "interface", "mac", "vlan",
 *                      "mtu": of the whole path, for a packet with what lbd puts in front },
 *        "admin": "auto"|"up"|"down"|"maintenance" (the state that an operator has set),
 *        "agent": null (the service asks none) or { "heard": bool (it has answered),
 *                      "state": "up"|"down"|"drain"|"maint", "weight": null or percent,
 *                      "text": its reason or "",
 *                      "fault": why the last question had no answer, or "" },
 *        "checks": { "passed", "failed", "losses" (times that they took it down), since lbd's start,
 *                    "p50_us", "p95_us", "p99_us" (of those that passed in the last 5 to 10 minutes;
 *                    null: none has),
 *                    "last_failure": null or { "why", "ago_s" },
 *                    "to": null (it is not checked) or "vip"|"backend"|"both",
 *                    "to_why": with `to: auto`, why one goes to the backend, or "",
 *                    "long_packets": null (they are not tried) or
 *                       { "length": bytes, "state": "arrive"|"lost"|"unknown",
 *                         "why": why it is not known, or does not count, or "" } },
 *        "damped_s": null or, while it is damped, until it takes new flows,
 *        "response_us": what least-response-time goes by, null: another algorithm, or not known,
 *        "connects": null (they are not timed) or CONNECTS,
 *        "from": "config", "runtime" (added by hand), "lease" (registered) or "source" (`backends-from`),
 *        "lease": null or LEASE, "zone": null or text, "priority": 0 to 7,
 *        "local": bool (in the node's zone, or it has none), "health": null (as the service says) or TARGET,
 *        "port": null or, with `forward: nat`, where it gets its packets (0: any),
 *        "returned_packets", "returned_bytes": replies that came back through lbd, "refused": TCP
 *                  connects that it refused with a reset (`forward: nat`),
 *        "hint": what is to be looked at, though it is up ("120 SYNs in, nothing back in 10 s: ..."), or "" }
 *      TARGET, where it is checked, each only if the backend has one of its own:
 *      { "port", "agent-port", "address" }
 *      LEASE:
 *      { "ttl_s": null (it has no end) or number, "left_s": null or until it ends; 0: it has ended, but its
 *                 backend is the last one }
 *      CONNECTS, of a sample of its TCP connects:
 *      { "sampled", "retried" (of them, sent again before any other packet), "reset" (by the client's
 *        next packet), "unanswered" (no answer within 3 s), with `forward: nat` "refused" (answered
 *        with a reset) and "answered_again" (the SYN-ACK came again), since lbd's start, modulo 2^32,
 *        "p50_us", "p95_us", "p99_us" (from the SYN to the client's next packet, with `forward: nat`
 *        to the SYN-ACK, last 5 to 10 s; null: none was answered),
 *        "first_byte": { "timed" (backends' first bytes), "none" (data of the client, and no byte of
 *                        the backend within 17 s), as above, "p50_us", "p95_us", "p99_us" (from that
 *                        data, or the end of the handshake, without the client's round trip; null:
 *                        none), "recent" (timed), of the last 5 to 10 s; docs/telemetry.md },
 *        "recent": { "sampled", "answered", "retried", "unanswered", "refused", "failed" (retried,
 *                    unanswered or refused) } of the same seconds }
 *      DRAIN:
 *      { "since_s": null or since the drain began,
 *        "last_packet_s": null or since the last packet of the flows that hold it,
 *        "forced_in_s": null or until its deadline, "forced": bool (the deadline has passed),
 *        "given_up": flows given up at the deadline }
 *
 * GET  /v1/stats
 *      { "reasons": [ { "name", "outcome": "sent"|"passed"|"dropped", "help", "packets",
 *                       "bytes" } ],
 *        "events": [ { "name", "help", "count" } ] (of packets),
 *        "sources_over_rate": [ { "service", "prefix": "198.51.100.0/24",
 *                                 "dropped": packets, at most, "dropped_at_least",
 *                                 "last_s": since the last one } ], the 100 with the most }
 *
 * GET  /v1/top, all of the above in one answer
 *      { "time_ms" (CLOCK_MONOTONIC), "status": { ... }, "services": [ ... ], "backends": [ ... ],
 *        "reasons": [ ... ], "events": [ ... ] }
 *      lbctl top --once --json makes two of them "interval_ms" apart, and adds to the second "rates"
 *      (of all, of each SERVICE and BACKEND: null or { "packets", "bits", "flows", "returned_packets",
 *      "returned_bits" } a second) and
 *      "rate" (of each reason and event: null or a number a second).
 *
 * GET  /v1/events?after=SEQ&since_s=SECONDS&service=NAME&wait_s=SECONDS, each optional
 *      { "events": [ EVENT ], oldest first, a page of them,
 *        "next": the "after" of the next call, "more": bool (the next call has more at once),
 *        "missed": bool (events after SEQ are not kept any more, and so not shown) }
 *      after: only events after this number; since_s: only those of this many seconds until now;
 *      service: only those of this service and its backends, also if it is gone. wait_s, 0 to 15:
 *      if there are none, the answer comes with the next one, or empty after this time. At most a
 *      quarter of the connections wait; one more is refused with 503.
 *      EVENT (what changed; not to be mixed up with the events of /v1/stats, which packets cause):
 *      { "seq": its number; numbers grow, over restarts too, but not one by one,
 *        "time": "2026-11-26T15:36:01.123Z", "time_ms": the same in ms since 1970,
 *        "kind": "backend-down", ... as in docs/api.md, "level": "info"|"warning"|"error",
 *        "service", "backend" (address), "interface", "vip": null or what it is about,
 *        "text": the line of the log, "why": the reason alone, or "",
 *        "count": how many changes it stands for,
 *        "uid": null or the user who asked for it, "who": the user's name, or "lbd";
 *        from another machine null, and the certificate's subject or the token's name }
 *
 * Changes are made one after the other, and each is answered when it is made. Meanwhile GET is
 * answered. 409: 64 changes wait already, or lbd is stopping.
 *
 * POST /v1/attach          { "interface", "mode": "auto"|"native"|"generic" (default: that of the
 *                            config) }
 *                          -> { "interface": INTERFACE }
 * POST /v1/detach          { "interface", "force": bool (default false) } -> {}. An interface of the
 *                          config stays detached, also over reloads, until it is attached by hand.
 *                          force: also while replies of services with `forward: nat` come in there
 * POST /v1/reload          { "lists", "dry_run", "keep": bool (default false) }
 *                          -> { "services", "backends",
 *                          "kept_overrides", "dropped_overrides": numbers of run-time changes,
 *                          "kept", "dropped": [ { "service", "address": null (the change is of the
 *                          service itself) or text, "name": null or text, "change" } ], 100 in
 *                          all }
 *                          With "keep": true all run-time changes are kept where their service and
 *                          backend stay, not only drains.
 *                          With "dry_run": true nothing is changed, and the answer also has
 *                          "changed": how much a reload would change, and "changes":
 *                          [ "sentence" ], the first 100. "services" and "backends" are those in
 *                          force.
 *                          With "lists": true only the files of allow and deny lists are read:
 *                          -> { "services": number of services with lists, "changed": how many of
 *                          them admit other clients now, "prefixes": of all lists }
 * POST /v1/save            {} -> { "path": of the config file, "text": the file with the run-time
 *                          changes in it, "files": [ { "path", "text" } ], that file and those it
 *                          includes as far as they change, "changes": how many, "left": [ {
 *                          "service", "address", "name", "change" } ] there is no place for }.
 *                          Nothing is written
 * POST /v1/service/add     a service as the config has it in `services`, with the same keys:
 *                          { "vip", "protocol", "port", "backends": [ { "address" } ], and if
 *                          wanted "name", "backend-port", "slots", "algorithm", "hash", "forward", "no-backend",
 *                          "fragments", "tracking", "affinity", "affinity-timeout",
 *                          "affinity-mask", "allow", "deny", "idle-timeout", "limit", "slow-start",
 *                          "flap-damping",
 *                          "panic-threshold", "health", "agent", "backends-from" (then "backends" may be missing) }
 *                          -> { "service": SERVICE }
 * POST /v1/service/remove  { "service", "force": bool (default false) } -> { "service": its name }.
 *                          While its backends take traffic only with "force": true
 * POST /v1/backend/add     { "service", "address", "weight" (default 100), "name" (default: none),
 *                            "labels": { KEY: text } (default: none; 8 at most), "zone" (default: none),
 *                            "priority" (0 to 7, default 0) or "backup": bool (default false),
 *                            "health": TARGET (default: as the service says) }
 *                          -> { "backend": BACKEND }
 * POST /v1/backend/remove  { "service", "address", "now", "force": bool (default false) }
 *                          -> { "service", "address", "name", "others": number of other backends that
 *                          take new flows }. The last backend of a service is removed only with
 *                          "force": true
 * POST /v1/backend/drain   { "service", "address", "on": bool (default true), "force_after_ms" or
 *                            "force_after": "5m" (default: no deadline) } -> { "backend": BACKEND }
 * POST /v1/backend/weight  { "service", "address", "weight" } -> { "backend": BACKEND }
 * POST /v1/backend/state   { "service", "address", "state": as "admin" above }
 *      -> { "backend": BACKEND }
 * PUT /v1/services/{service}/backends/{address}
 *                          { "weight" (default 100), "ttl": seconds or "30s" (default: no end), and the others
 *                            as above } -> { "backend": BACKEND }. Registers a backend, or makes its registration
 *                          this one; the same again only renews it. It holds over reloads and restarts. Without
 *                          another PUT within "ttl" it is drained and removed, unless it is the last one
 * DELETE /v1/services/{service}/backends/{address}
 *                          { "now", "force": bool (default false) } -> as of /v1/backend/remove. Ends that; also
 *                          if there is no such backend
 * POST /v1/node/drain      { "on": bool (default true), "withdraw": bool (default false; with "on":
 *                            the VIPs are not announced any more) } -> { "node": NODE }
 *
 * POST /v1/fleet/apply     { "text" or "rollback": true (the text before that in etcd), "max_unavailable"
 *                            (default 1), "limit": "60s" (until a node must be usable), "dry_run": bool
 *                            (default false) }
 *                          -> { "write": null (a dry run) or its number, "digest" of the text, "changed",
 *                          "changes": as of a reload with "dry_run", on this node }. The text is checked
 *                          here and on its way to etcd; how that ends is "write" of GET /v1/fleet
 *
 * Each answer to a POST, PUT or DELETE also has "warnings": [ "sentence" ], 100 at most: what is not as it was
 * asked for, or as the config says (keys that only a start reads, interfaces that are not there or
 * left the config, a service that is down now, what could not be written to disk).
 *
 * Names that end in "_s" are seconds. The counts "packets", "bytes" and "flows" only grow; a
 * restart of lbd keeps them. */
/* clang-format on */
#ifndef LB_API_H
#define LB_API_H

#define LB_API_SOCKET           "/run/lbd/lbd.sock"
#define LB_API_SOCKET_ENV       "LBD_SOCKET"
#define LB_API_MAX_WEIGHT       10000 /* of a backend; the minimum is 0 */
#define LB_API_MAX_PRIORITY     7     /* of a backend; 0 comes first */
#define LB_API_PREFIX           "/v1"
#define LB_API_MAX_BODY         1048576 /* bytes of a request */
#define LB_API_MAX_REGISTRATION 16384   /* likewise, of PUT and DELETE */

#endif
