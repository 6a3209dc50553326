/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* clang-format off */
/* What lbctl and lbd say to each other: HTTP/1.1 with JSON bodies over the Unix socket. `curl --unix-socket` speaks it
 * too. Included by user/lbd/api.c and user/lbctl/client.c.
 *
 * Every answer is a JSON object. Success: 200. Failure: 400 (bad argument), 404 (no such object), 409 (conflict), 422
 * (the config is bad), 500; body { "error": "one sentence: object, value, what was expected", "hint": "what to do next"
 * or "" }.
 *
 * GET  /v1/status    { "version", "abi": 2, "pid", "uptime_s", "config": PATH, "adopted": bool,
 *                      "overrides": N (run-time changes), "interfaces": [ INTERFACE ],
 *                      "services": N, "services_down": N, "backends": N, "backends_up": N,
 *                      "memory": { "total", "flows", "arena", "services", "backends", "counters", "other" } (bytes),
 *                      "flows": { "capacity", "entries" },
 *                      "loop": { "late_ms" (at worst in the last 1 to 2 min), "late_max_ms" (since lbd started) },
 *                      "kernel": "6.1.0-..." }
 *      INTERFACE:    { "name", "ifindex", "mode": "native"|"generic", "dispatcher": bool,
 *                      "running": bool (up, with a carrier),
 *                      "turned_off": [ { "device", "feature" } ] (offloads, on again after detach),
 *                      "warnings": [ "sentence" ] }
 * GET  /v1/services  { "services": [ SERVICE ] }
 *      SERVICE:      { "name", "vip", "protocol": "tcp"|"udp", "port" (0: any), "algorithm", "forward", "tracking",
 *                      "status": "up"|"degraded"|"panic"|"backup"|"down", "backends", "backends_up",
 *                      "slots", "slots_in_transition", "packets", "bytes", "flows" }
 * GET  /v1/backends?service=NAME (all without)
 *                    { "backends": [ BACKEND ] }
 *      BACKEND:      { "service", "address", "weight", "effective_weight", "backup": bool,
 *                      "condition" (state.h's names), "why", "since_s", "latency_us", "packets", "bytes", "flows",
 *                      "active", "slots", "kept_slots", "drained": bool,
 *                      "next_hop": null or { "interface", "mac", "mtu", "vlan" } }
 * GET  /v1/stats     { "reasons": [ { "name", "outcome": "sent"|"passed"|"dropped", "help", "packets", "bytes" } ],
 *                      "events": [ { "name", "help", "count" } ] }
 * GET  /v1/top       { "time_ms" (CLOCK_MONOTONIC), "status": {...}, "services": [...], "backends": [...],
 *                      "reasons": [...], "events": [...] } in one answer
 * POST /v1/attach    { "interface", "mode": "auto"|"native"|"generic" }  -> { "interface": INTERFACE }
 * POST /v1/detach    { "interface" }                                     -> {}
 * POST /v1/reload    {}                    -> { "services", "backends", "dropped_overrides" }
 * POST /v1/backend/add     { "service", "address", "weight" }            -> { "backend": BACKEND }
 * POST /v1/backend/remove  { "service", "address", "now": bool }         -> {}
 * POST /v1/backend/drain   { "service", "address", "on": bool }          -> { "backend": BACKEND }
 * POST /v1/backend/weight  { "service", "address", "weight" }            -> { "backend": BACKEND }
 *
 * "since_s" is how long the condition has held, in seconds; "uptime_s" likewise. Counts ("packets", "bytes", "flows")
 * only grow, over restarts of lbd too. 404 for an unknown path, service, backend or interface; 405 for a wrong method;
 * 409 for a backend that exists already, an interface with a foreign program, a limit that is reached.
 */
/* clang-format on */
#ifndef LB_API_H
#define LB_API_H

#define LB_API_SOCKET     "/run/lbd/lbd.sock"
#define LB_API_SOCKET_ENV "LBD_SOCKET"
#define LB_API_PREFIX     "/v1"
#define LB_API_MAX_BODY   1048576

#endif
