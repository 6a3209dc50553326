/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* clang-format off */
/* What lbctl and lbd say to each other: HTTP/1.1 with JSON bodies over the Unix socket. `curl --unix-socket` speaks it
 * too.
 *
 * Every answer is a JSON object. Success: 200. Failure: 400 (bad argument), 404 (no such object), 409 (conflict), 422
 * (the config is bad), 500; body { "error": "one sentence: object, value, what was expected", "hint": "what to do next"
 * or "" }.
 *
 * GET  /v1/status    { "version", "abi": 3, "pid", "uptime_s", "config": PATH, "adopted": bool,
 *                      "overrides": N (run-time changes), "interfaces": [ INTERFACE ],
 *                      "services": N, "services_down": N, "services_panic": N, "services_backup": N,
 *                      "services_blind": N, "backends": N, "backends_up": N,
 *                      "memory": { "total", "flows", "arena", "services", "backends", "counters", "other" } (bytes),
 *                      "flows": { "capacity", "entries", "without_place": new flows sent by slot in the last minute
 *                      because the table had no place, "limited_services": N }, "hash_seed": "0x" and 16 digits,
 *                      "hash_seed_from": "config"|"random"|"pinned" (the config has another),
 *                      "loop": { "late_ms" (at worst in the last 1 to 2 min), "late_max_ms" (since lbd started) },
 *                      "kernel": "6.1.0-..." }
 *      INTERFACE:    { "name", "ifindex", "mode": "native"|"generic", "dispatcher": bool,
 *                      "running": bool (up, with a carrier),
 *                      "turned_off": [ { "device", "feature" } ] (offloads, on again after detach),
 *                      "warnings": [ "sentence" ] }
 * GET  /v1/services  { "services": [ SERVICE ] }
 *      SERVICE:      { "name", "vip", "protocol": "tcp"|"udp", "port" (0: any), "algorithm", "forward", "tracking",
 *                      "status": "up"|"degraded"|"panic"|"backup"|"blind"|"down",
 *                      "backends", "backends_up",
 *                      "slots", "slots_in_transition", "ring_digest": 16 hexadecimal digits (the same config, seed
 *                      and healthy backends give the same), "limited": bool (has its share of a crowded flow table:
 *                      new flows go by slot), "packets", "bytes", "flows" }
 * GET  /v1/backends?service=NAME (all without)
 *                    { "backends": [ BACKEND ] }
 *      BACKEND:      { "service", "address", "weight", "effective_weight", "backup": bool,
 *                      "condition" (state.h's names), "why", "since_s", "latency_us", "packets", "bytes", "flows",
 *                      "active", "slots", "kept_slots", "drained": bool, "drain": null or DRAIN,
 *                      "next_hop": null or { "interface", "mac", "mtu", "vlan" } }
 *      DRAIN:        { "since_s" (when it began), "last_packet_s": null or of the packets that hold it,
 *                      "forced_in_s": null or until its deadline, "forced": bool, "given_up": flows, by that }
 * GET  /v1/stats     { "reasons": [ { "name", "outcome": "sent"|"passed"|"dropped", "help", "packets", "bytes" } ],
 *                      "events": [ { "name", "help", "count" } ] }
 * GET  /v1/top       { "time_ms" (CLOCK_MONOTONIC), "status": {...}, "services": [...], "backends": [...],
 *                      "reasons": [...], "events": [...] } in one answer
 * POST /v1/attach    { "interface", "mode": "auto"|"native"|"generic" }  -> { "interface": INTERFACE }
 * POST /v1/detach    { "interface" }                                     -> {}
 * POST /v1/reload    {}                    -> { "services", "backends", "dropped_overrides" }
 * POST /v1/backend/add     { "service", "address", "weight" }            -> { "backend": BACKEND }
 * POST /v1/backend/remove  { "service", "address", "now": bool }         -> {}
 * POST /v1/backend/drain   { "service", "address", "on": bool, "force_after_ms": optional } -> { "backend": BACKEND }
 * POST /v1/backend/weight  { "service", "address", "weight" }            -> { "backend": BACKEND }
 *
 * "since_s" is how long the condition has held, in seconds; "uptime_s" likewise. Counts ("packets", "bytes", "flows")
 * only grow, over restarts of lbd too. 404 for an unknown path, service, backend or interface; 405 for a wrong method;
 * 409 for a backend that exists already, an interface with a foreign program, a limit that is reached. */
/* clang-format on */
#ifndef LB_API_H
#define LB_API_H

#define LB_API_SOCKET     "/run/lbd/lbd.sock"
#define LB_API_SOCKET_ENV "LBD_SOCKET"
#define LB_API_MAX_WEIGHT 10000 /* of a backend; the least is 0 */
#define LB_API_PREFIX     "/v1"
#define LB_API_MAX_BODY   1048576

#endif
