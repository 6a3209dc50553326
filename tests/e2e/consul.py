#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A stand-in for an agent of Consul, as far as /v1/health/service goes: blocking queries (index,
wait), passing, tag, dc, ACL tokens; and PUT /v1/catalog/register and deregister, by which the test
changes it. Instances get what a real one adds.
usage: consul.py ADDRESS PORT DIRECTORY [CERTIFICATE KEY]
The test also says POST /touch: something changes that no answer shows; and POST /restore: the index
is a smaller one, as after a restored snapshot.
Faults: stand_in.py."""
import json
import random
import re
import sys
import time
import uuid

import stand_in

HEALTH = "/v1/health/service/"
WAIT_S = 300  # if the query says none
WAIT_MAX_S = 600


def seconds(text):
    found = re.fullmatch(r"(\d+)(ms|s|m)", text or "")
    if not found:
        return WAIT_S
    return min(int(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]], WAIT_MAX_S)


class Agent(stand_in.World):
    def load(self):
        state = json.loads(self.text("state") or '{"index": 10, "nodes": {}}')
        self.index = state["index"]
        self.nodes = state["nodes"]  # by name: what was registered

    def change(self):
        self.index += 1
        self.save({"index": self.index, "nodes": self.nodes})

    def register(self, node):
        before = self.nodes.get(node["Node"], {})
        node["ID"] = before.get("ID", str(uuid.uuid4()))
        node["CreateIndex"] = before.get("CreateIndex", self.index + 1)
        node["ModifyIndex"] = self.index + 1
        self.nodes[node["Node"]] = node
        self.change()

    def deregister(self, name):
        if self.nodes.pop(name, None):
            self.change()

    def restore(self):
        self.index //= 2
        self.change()


def instance(node):
    """As the health endpoint shows it."""
    given = node["Service"]
    indexes = {"CreateIndex": node["CreateIndex"], "ModifyIndex": node["ModifyIndex"]}
    check = {
        "Node": node["Node"],
        "CheckID": f"service:{given['ID']}",
        "Name": "Service check",
        "Status": node.get("Check", {}).get("Status", "passing"),
        "Notes": "",
        "Output": "HTTP GET http://127.0.0.1/healthz: 200 OK",
        "ServiceID": given["ID"],
        "ServiceName": given["Service"],
        "ServiceTags": given.get("Tags", []),
        "Type": "http",
        "Definition": {},
        **indexes,
    }
    return {
        "Node": {
            "ID": node["ID"],
            "Node": node["Node"],
            "Address": node["Address"],
            "Datacenter": "dc1",
            "TaggedAddresses": {"lan": node["Address"], "wan": node["Address"]},
            "Meta": {"consul-network-segment": ""},
            **indexes,
        },
        "Service": {
            "ID": given["ID"],
            "Service": given["Service"],
            "Tags": given.get("Tags", []),
            "Address": given.get("Address", ""),
            "Meta": None,
            "Port": given.get("Port", 0),
            "Weights": given.get("Weights", {"Passing": 1, "Warning": 1}),
            "EnableTagOverride": False,
            "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
            "Connect": {},
            "PeerName": "",
            **indexes,
        },
        "Checks": [check],
    }


class Handler(stand_in.Handler):
    def token(self):
        return self.headers.get("X-Consul-Token")

    def refuse(self):
        self.answer(500, "No cluster leader", "text/plain")

    def get(self, path, query):
        filtered = not self.token() and not self.world.takes(None)
        if self.token() and not self.world.takes(self.token()):
            self.answer(403, "ACL not found", "text/plain")
        elif not path.startswith(HEALTH):
            self.answer(404, "", "text/plain")
        elif query.get("dc", "dc1") != "dc1":
            self.answer(500, "No path to datacenter", "text/plain")
        else:
            self.show(path[len(HEALTH) :], query, filtered)

    def wait(self, query):
        """Until there is something newer than the query knows, or its time is over."""
        known = int(query.get("index", 0))
        most = seconds(query.get("wait"))
        end = time.monotonic() + most + random.random() * most / 16
        while known and self.world.index <= known and time.monotonic() < end:
            before = self.world.index
            self.world.changed.wait(min(end - time.monotonic(), 1))
            if self.world.index < before:
                break  # restored

    def show(self, service, query, filtered):
        with self.world.changed:
            self.wait(query)
            index = self.world.index
            shown = [
                instance(node)
                for _, node in sorted(self.world.nodes.items())
                if node["Service"]["Service"] == service
            ]
        if "passing" in query:
            shown = [one for one in shown if one["Checks"][0]["Status"] == "passing"]
        if "tag" in query:
            shown = [one for one in shown if query["tag"] in one["Service"]["Tags"]]
        headers = [
            ("X-Consul-Index", str(index)),
            ("X-Consul-KnownLeader", "true"),
            ("X-Consul-LastContact", "0"),
            ("X-Consul-Effective-Consistency", "leader"),
        ]
        if filtered:
            headers.append(("X-Consul-Results-Filtered-By-ACLs", "true"))
        self.answer(200, json.dumps([] if filtered else shown), headers=headers)

    def put(self, path, body):
        if path == "/restore":
            self.world.restore()
        elif path == "/touch":
            self.world.change()
        elif path == "/v1/catalog/register":
            self.world.register(body)
        elif path == "/v1/catalog/deregister":
            self.world.deregister(body["Node"])


stand_in.serve(Handler, Agent(sys.argv[3]), sys.argv[1:])
