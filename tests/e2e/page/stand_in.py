#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Serves lbd's page with made-up data: states, texts and numbers that a lab does not have at will.

usage: stand_in.py [--services N] [--backends N] [--port PORT] [--hostile] [--token TOKEN] [--well] [--speed N]
Prints the port. --hostile: every text is one that would be a script if the page made HTML of it.
--well: nothing is wrong. --speed: its time runs N times as fast. GET /hang makes it answer no more, GET /hang?no ends that.
"""
import argparse
import http.server
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = ROOT / "user/lbd/api/page.html"
HOSTILE = "<img src=x onerror='window.broken=1'>\"'&<script>window.broken=1</script>"
REASONS = re.findall(r'X\((\w+), (SENT|PASSED|DROPPED),\s*"((?:[^"]|"\s*")*)"\)',
                     (ROOT / "include/lb_reasons.h").read_text().replace("\\\n", "\n"))
NAMES = ("web", "api", "dns", "mail", "cache", "login", "files", "metrics", "chat", "search")
WHY = ("connect: timed out after 1 s", "connect: connection refused", "HTTP status 503, expected 200-399")


def header_of_lbd():
    """The policy as page.c writes it, with this page's hashes."""
    source = (ROOT / "user/lbd/api/page.c").read_text()
    block = source[source.index("#define PAGE_FIELDS"):]
    block = block[block.index("Content-Security-Policy: "):block.index("Cross-Origin-Opener-Policy")]
    hashes = dict(re.findall(r'#define (\w+) "([^"]+)"', subprocess.run(
        [ROOT / "tools/page-hashes", PAGE], check=True, capture_output=True, text=True).stdout))
    parts = re.findall(r'(PAGE_\w+_HASH)|"((?:[^"\\]|\\.)*)"', '"' + block)
    text = "".join(hashes[name] if name else part for name, part in parts)
    return text.removeprefix("Content-Security-Policy: ").replace("\\r\\n", "")


class World:
    def __init__(self, options):
        self.options, self.random = options, random.Random(7)
        self.opened = time.time()
        self.begun = self.opened - 86400 * 9.2
        self.services = [self.service(i) for i in range(options.services)]

    def now(self):
        return self.opened + (time.time() - self.opened) * self.options.speed

    def times_json(self):
        return {"time_ms": int(self.now() * 1000), "clock_ms": int((self.now() - self.begun) * 1000)}

    def text(self, usual):
        return HOSTILE + usual if self.options.hostile else usual

    def service(self, i):
        pick = self.random
        name = NAMES[i % len(NAMES)] + (f"-{i // len(NAMES)}" if i >= len(NAMES) else "")
        status = "up"
        if not self.options.well:
            status = {1: "degraded", 7: "blind", 13: "panic", 21: "backup"}.get(i % 97, "up")
            status = "down" if i % 101 == 4 else status
        backends = [self.backend(i, j, status) for j in range(self.options.backends)]
        hours = ["0"] * 24
        if i % 5 == 1:
            hours[9], hours[10] = "2", "6"
        if status == "down":
            hours[23] = "3"
        if i % 7 == 2:
            hours[:6] = ["-"] * 6
        return {"name": self.text(name), "status": self.text(status) if self.options.hostile else status,
                "vip": f"192.0.{2 + i // 250}.{i % 250 + 1}" if i % 4 != 3 else f"2001:db8:5::{i + 1:x}",
                "port": (80, 443, 53, 0)[i % 4], "protocol": "udp" if i % 10 == 2 else "tcp", "list": backends,
                "nat": i % 5 == 3, "rate": 10 ** pick.uniform(0, 3.4), "phase": pick.uniform(0, 6), "hours": "".join(hours)}

    def backend(self, i, j, status):
        condition = "up"
        if not self.options.well:
            if status in ("down", "blind") or (status == "degraded" and j == 1):
                condition = "no-next-hop" if j == 2 else "down"
            elif i % 97 == 1 and j == 2:
                condition = "draining"
            elif i % 97 == 2 and j == 1:
                condition = "maintenance"
            elif i % 97 == 3 and j == 1:
                condition = "damped"
        return {"address": f"10.0.{i % 200}.{11 + j}", "name": self.text(f"srv-{i}-{j}") if i % 2 == 0 else None,
                "condition": condition, "why": self.text(WHY[(i + j) % 3]) if condition == "down" else "",
                "since": time.time() - (340 + 97 * j if condition != "up" else 86400 * 3),
                "slow": 1 + (i * 7 + j * 3) % 5}

    def counts(self, service, now):
        """Packets, bytes and flows: integrals of a rate that goes up and down."""
        if service["status"] == "down":
            now = self.begun + 86400 * 9
        t, rate, phase = now - self.begun, service["rate"], service["phase"]
        flows = rate * (t + 18 * math.sin(t / 40 + phase) + 2 * math.sin(t / 5 + phase * 3))
        return flows * 22, flows * 22 * 640, flows

    def times(self, slow, now):
        wave = 1 + 0.25 * math.sin(now / 30 + slow)
        return [int(180 * slow * wave), int(420 * slow * wave), int(1500 * slow * wave)]

    def connects(self, slow, fails):
        failed = 3 if fails else 0
        return {"p50_us": int(150 * slow), "p95_us": int(220 * slow), "p99_us": int(900 * slow),
                "first_byte_us": [int(2100 * slow), int(5400 * slow), int(31000 * slow)], "sampled": 40,
                "retried": failed, "unanswered": 0, "failed": failed}

    def service_json(self, service, now):
        packets, size, flows = self.counts(service, now)
        conditions = {}
        for backend in service["list"]:
            conditions[backend["condition"]] = conditions.get(backend["condition"], 0) + 1
        status = service["status"]
        down = sum(backend["condition"] in ("down", "no-next-hop") for backend in service["list"])
        return {"name": service["name"], "vip": service["vip"], "port": service["port"],
                "protocol": service["protocol"], "algorithm": "maglev", "status": status,
                "why": self.text("no backend is up") if "down" in status else "", "backends": len(service["list"]),
                "conditions": conditions, "packets": int(packets), "bytes": int(size), "flows": int(flows),
                "slots": 1009, "slots_in_transition": 101 if "degraded" in status else 0, "denied": 0, "over_rate": 0,
                "over_source_rate": 0, "limited": False, "failed": int(down * (now - self.begun - 86400 * 9) / 2),
                "losses": down, "latency_us": None if "down" in status else self.times(1 + service["phase"] % 4, now),
                "connects": None if "down" in status or service["protocol"] == "udp" else
                self.connects(1 + service["phase"] % 4, "degraded" in status),
                "availability": {"1h": 1.0 if "down" not in status else 0.9055,
                                 "24h": 0.98713 if "6" in service["hours"] else 0.98602 if "down" in status else 1.0, "30d": 0.99961},
                "hours": service["hours"], **self.returned(service, packets, size)}

    def returned(self, service, packets, size):
        """Replies, which are seen where the service is a NAT."""
        return {"returned_packets": int(packets * 1.6 * service["nat"]), "returned_bytes": int(size * 9 * service["nat"])}

    def backend_json(self, service, backend, now):
        share = 0 if backend["condition"] in ("down", "no-next-hop") else 1 / len(service["list"])
        packets, size, flows = (value * share for value in self.counts(service, now))
        return {"address": backend["address"], "name": backend["name"],
                "labels": {"zone": "abc"[len(backend["address"]) % 3]}, "condition": backend["condition"],
                "why": backend["why"], "since_ms": int(backend["since"] * 1000), "weight": 100,
                "effective_weight": 100 if share else 0, "backup": False, "zone": None, "priority": 0, "packets": int(packets),
                "bytes": int(size), "flows": int(flows), "active": int(service["rate"] * 3 * share),
                "slots": int(1009 * share), "kept_slots": 0, "passed": int(now - self.begun), "failed": 0 if share else 150,
                "losses": 0 if share else 1, "latency_us": self.times(backend["slow"], now) if share else None,
                "connects": self.connects(backend["slow"], False) if share and service["protocol"] != "udp" else None,
                "from": "config", "port": 8080 if service["nat"] else None, **self.returned(service, packets, size),
                "hint": self.text("120 SYNs in, nothing back in 10 s: is its route to clients through this machine, "
                                  "or another of its balancers?")
                        if service["nat"] and share and not self.options.well and backend["slow"] == 4 else ""}

    def reasons(self, now):
        list_ = []
        sent = sum(self.counts(service, now)[0] for service in self.services)
        for name, outcome, text in REASONS:
            share = {"forwarded_tx": 1, "not_vip": .003, "unserved": 1e-5, "vip_malformed": 2e-6, "no_backend": 4e-5,
                     "martian": 1e-7, "echo_answered": 1e-6, "unserved_rejected": 3e-6}.get(name, 0)
            packets = int(sent * share)
            list_.append({"name": name, "outcome": outcome.lower(), "help": re.sub(r'"\s*"', "", text),
                          "packets": packets, "bytes": packets * 640})
        return list_

    def events(self, service=None):
        now, list_ = time.time(), [] # these do not run
        for i in range(30):
            of = self.services[i * 3 % len(self.services)]
            kind = ("backend-down", "backend-up", "service-up", "reload-accepted")[i % 4]
            text = f"{of['name']} {of['vip']}:{of['port']}: backend {of['list'][0]['address']} " + \
                (f"down: {WHY[i % 3]}" if i % 4 == 0 else "up after 12s")
            if i % 4 == 3:
                text = "reload: 3 services, 30 backends; nothing changed"
            if service is None or of is service:
                list_.append({"seq": 1000 - i, "time_ms": int((now // 60 * 60 - 200 * i * i) * 1000), "kind": kind,
                              "level": "warning" if i % 4 == 0 else "info", "service": of["name"], "backend": None,
                              "text": self.text(text)})
        return list_

    def all_json(self):
        now, well = self.now(), self.options.well
        wrong = [{"service": service["name"], "address": backend["address"], "name": backend["name"],
                  "condition": backend["condition"], "why": backend["why"], "since_ms": int(backend["since"] * 1000)}
                 for service in self.services for backend in service["list"]
                 if backend["condition"] in ("down", "no-next-hop")]
        return {**self.times_json(),
                "lbd": {"host": self.text("lb1"), "version": "0.1.0", "start_ms": int(self.begun * 1000),
                        "starting": False, "forwarding": True, "forwarding_text": self.text("Forwarding"),
                        "config_refused": False, "config_ms": int(now * 1000) - 7200000, "overrides": 0 if well else 2,
                        "probe_process_down": False, "late_ms": 1,
                        "interfaces": [{"name": self.text("eth0"), "mode": "native", "running": True, "lost": 0}],
                        "node": {"state": "up", "why": "", "vips": len(self.services),
                                 "announced": len(self.services), "fault": ""},
                        "flow_table": {"entries": 18211, "places": 65536, "capacity": 2097152}},
                "reasons": self.reasons(now), "caused": [
                    {"name": "flow_inserted", "help": "flow table: entries inserted", "count": int(now - self.begun) * 3},
                    {"name": "flow_table_full", "help": "flow table: new flows that found no place", "count": 0}],
                "services": [self.service_json(service, now) for service in self.services],
                "wrong_count": len(wrong), "wrong": wrong[:200], "events": self.events()}

    def one_json(self, name):
        now = self.now()
        service = next((one for one in self.services if one["name"] == name), None)
        return service and {
            **self.times_json(), "service": name,
            "backends": [self.backend_json(service, backend, now) for backend in service["list"]],
            "minutes": "0" * 41 + ("13" if service["hours"].count("6") else "00") + "0" * 17,
            "hours": service["hours"], "days": "-" * 11 + "0" * 12 + "1" + "0" * 6, "events": self.events(service)}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, path = self.server, urllib.parse.urlsplit(self.path)
        if path.path == "/hang":
            server.hangs = path.query != "no"
        elif server.hangs:
            return
        elif path.path == "/page":
            return self.answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif path.path == "/page.json":
            return self.data(urllib.parse.parse_qs(path.query).get("service"))
        self.answer(404, "text/plain", b"nothing here\n")

    def data(self, service):
        token = self.server.options.token
        if token and self.headers.get("Authorization") != "Bearer " + token:
            return self.answer(401, "text/plain", b"expected the bearer token\n")
        value = self.server.world.one_json(service[0]) if service else self.server.world.all_json()
        if not value:
            return self.answer(404, "text/plain", b"no such service\n")
        return self.answer(200, "application/json", json.dumps(value, separators=(",", ":")).encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def make(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--services", type=int, default=3)
    parser.add_argument("--backends", type=int, default=10)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="")
    parser.add_argument("--speed", type=float, default=1)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--well", action="store_true")
    options = parser.parse_args(arguments)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads, server.hangs = True, False
    server.options, server.world, server.policy = options, World(options), header_of_lbd()
    return server


RUNNING = []


def start(*arguments):
    """In this process, until stop_all. Returns the server; its URL is in .url."""
    server = make(arguments)
    RUNNING.append(server)
    server.url = f"http://127.0.0.1:{server.server_address[1]}/page"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def stop_all():
    while RUNNING:
        server = RUNNING.pop()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    running = make(sys.argv[1:])
    print(running.server_address[1], flush=True)
    running.serve_forever()
