#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A stand-in for the API server of Kubernetes, as far as EndpointSlices go: list, watch with
resourceVersion, bookmarks and timeoutSeconds, 410 for versions that it has forgotten, tokens; and
PUT and DELETE of slices, by which the test changes them. Objects get what a real one adds.
usage: kubernetes.py ADDRESS PORT DIRECTORY [CERTIFICATE KEY]
The test also says POST /expire: a hundred other objects change, and all watches are told that their
version is too old. Faults: stand_in.py."""
import datetime
import json
import sys
import time
import urllib.parse
import uuid

import stand_in

PREFIX = "/apis/discovery.k8s.io/v1/namespaces/"
BOOKMARK_S = 2  # before the end of a watch, as a real one does


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(code, reason, message):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


class Cluster(stand_in.World):
    def load(self):
        state = json.loads(self.text("state") or '{"index": 1, "objects": {}}')
        self.index = state["index"]
        self.objects = state["objects"]  # by namespace/name
        self.history = []  # (version, type, object)
        self.oldest = self.index

    def note(self, kind, thing):
        self.index += 1
        thing["metadata"]["resourceVersion"] = str(self.index)
        self.history.append((self.index, kind, json.loads(json.dumps(thing))))
        self.save({"index": self.index, "objects": self.objects})

    def apply(self, key, thing):
        namespace, name = key.split("/")
        before = self.objects.get(key)
        metadata = thing.setdefault("metadata", {})
        metadata.update(
            name=name,
            namespace=namespace,
            uid=before["metadata"]["uid"] if before else str(uuid.uuid4()),
            generation=before["metadata"]["generation"] + 1 if before else 1,
            creationTimestamp=before["metadata"]["creationTimestamp"] if before else now(),
            managedFields=[
                {
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "apiVersion": "discovery.k8s.io/v1",
                    "time": now(),
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:addressType": {}, "f:endpoints": {}, "f:ports": {}},
                }
            ],
        )
        self.objects[key] = thing
        self.note("MODIFIED" if before else "ADDED", thing)

    def remove(self, key):
        thing = self.objects.pop(key, None)
        if thing:
            self.note("DELETED", thing)

    def expire(self):
        self.index += 100
        self.oldest = self.index
        self.history.clear()
        self.streams += 1


def selects(selector, namespace, thing):
    key, value = selector.split("=") if selector else (None, None)
    metadata = thing["metadata"]
    return metadata["namespace"] == namespace and (
        not key or metadata.get("labels", {}).get(key) == value
    )


def event(kind, thing):
    whole = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", **thing}
    return json.dumps({"type": kind, "object": whole}, separators=(",", ":")) + "\n"


class Handler(stand_in.Handler):
    def token(self):
        words = (self.headers.get("Authorization") or "").split()
        return words[1] if len(words) == 2 and words[0] == "Bearer" else None

    def answer_status(self, code, reason, message):
        self.answer(code, json.dumps(status(code, reason, message)))

    def refuse(self):
        self.answer_status(500, "InternalError", "etcdserver: leader changed")

    def get(self, path, query):
        if not self.world.takes(self.token()):
            self.answer_status(401, "Unauthorized", "Unauthorized")
            return
        words = path[len(PREFIX) :].split("/") if path.startswith(PREFIX) else []
        if len(words) != 2 or words[1] != "endpointslices":
            self.answer_status(404, "NotFound", "the server could not find the requested resource")
        elif query.get("watch") in ("true", "1"):
            self.watch(words[0], query)
        else:
            self.list(words[0], query)

    def list(self, namespace, query):
        with self.world.changed:
            items = [
                thing
                for _, thing in sorted(self.world.objects.items())
                if selects(query.get("labelSelector"), namespace, thing)
            ]
            version = str(self.world.index)
        self.answer(
            200,
            json.dumps(
                {
                    "kind": "EndpointSliceList",
                    "apiVersion": "discovery.k8s.io/v1",
                    "metadata": {"resourceVersion": version},
                    "items": items,
                }
            ),
        )

    def watch(self, namespace, query):
        world = self.world
        at = int(query["resourceVersion"])
        selector = query.get("labelSelector")
        end = time.monotonic() + int(query.get("timeoutSeconds", 3600))
        bookmark = end - BOOKMARK_S if query.get("allowWatchBookmarks") == "true" else None
        self.begin_stream()
        stream = world.streams
        while True:
            with world.changed:
                expired = at < world.oldest or stream != world.streams
                news = [one for one in world.history if one[0] > at]
                if not news and not expired:
                    until = bookmark if bookmark else end
                    world.changed.wait(max(0.01, min(until - time.monotonic(), 1)))
                version = world.index
            if expired:
                message = f"too old resource version: {at} ({version})"
                gone = {"type": "ERROR", "object": status(410, "Expired", message)}
                self.tell(json.dumps(gone) + "\n")
                break
            for number, kind, thing in news:
                if selects(selector, namespace, thing):
                    self.tell(event(kind, thing))
                at = number
            if bookmark and time.monotonic() >= bookmark:
                metadata = {"resourceVersion": str(at), "creationTimestamp": None}
                self.tell(event("BOOKMARK", {"metadata": metadata, "endpoints": None}))
                bookmark = None
            if time.monotonic() >= end:
                break
        self.end_stream()

    def put(self, path, body):
        if path == "/expire":
            self.world.expire()
            return
        namespace, _, name = urllib.parse.unquote(path[len(PREFIX) :]).split("/")
        if self.command == "DELETE":
            self.world.remove(f"{namespace}/{name}")
        else:
            self.world.apply(f"{namespace}/{name}", body)


stand_in.serve(Handler, Cluster(sys.argv[3]), sys.argv[1:])
