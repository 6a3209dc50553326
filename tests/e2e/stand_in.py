# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the stand-ins of kubernetes.py and consul.py share: a server of HTTP or HTTPS, whose answers
wait for changes, and which is out of order when the test says so.

In its directory: `mode`, what is wrong with it ("" or no file: nothing), read for each request:
silent (no answer), slow (a byte a second), endless, head (without an end), nested (JSON that takes
a hundred times as much memory), elsewhere (a redirection to what a cloud tells its hosts), garbage
(a page of HTML), refuses (its own way to say that the cluster has no leader); `tokens`, those that
it takes, one a line (no file: all); `seen`, which it writes: of each request the token and the
path; `state`, which outlives it."""
import http.server
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse


class World:
    """What the server knows. `changed` is held while it is read or changed, and told of changes."""

    def __init__(self, directory):
        self.directory = directory
        self.changed = threading.Condition()
        self.index = 1
        self.streams = 0  # of an earlier number are ended
        self.load()

    def text(self, name):
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def load(self):
        raise NotImplementedError

    def save(self, state):
        path = os.path.join(self.directory, "state")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.rename(path + ".new", path)

    def takes(self, token):
        tokens = self.text("tokens")
        return tokens is None or token in tokens.split()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world = None

    def log_message(self, *_):
        pass

    def token(self):
        raise NotImplementedError

    def refuse(self):
        raise NotImplementedError

    def get(self, path, query):
        raise NotImplementedError

    def put(self, path, body):
        raise NotImplementedError

    # ---- answers ----

    def answer(self, status, body, kind="application/json", headers=()):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.world.text("mode") == "slow":
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(1)
        self.wfile.write(data)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def tell(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def be_wrong(self, mode):
        """False: what is wrong is another's matter."""
        if mode == "silent":
            time.sleep(3600)
        elif mode == "endless":
            self.begin_stream()
            while True:
                self.tell(" " * 100000)
        elif mode == "head":
            self.send_response(200)
            while True:
                self.send_header("X-More", "x" * 1000)
                self.flush_headers()
        elif mode == "nested":
            self.answer(200, "[" + "{}," * 1390000 + "{}]")
        elif mode == "elsewhere":
            self.answer(302, "", headers=[("Location", "http://169.254.169.254/latest/meta-data/")])
        elif mode == "garbage":
            self.answer(200, "<html><body>It works!</body></html>\n", "text/html")
        elif mode == "refuses":
            self.refuse()
        else:
            return False
        return True

    # ---- requests ----

    def note(self):
        path = os.path.join(self.world.directory, "seen")
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{self.token() or '-'} {self.path}\n")

    def do_GET(self):  # pylint: disable=invalid-name
        url = urllib.parse.urlsplit(self.path)
        self.note()
        try:
            if not self.be_wrong(self.world.text("mode")):
                self.get(url.path, dict(urllib.parse.parse_qsl(url.query, True)))
        except OSError:
            self.close_connection = True  # the client has gone

    def do_PUT(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.world.changed:
            self.put(urllib.parse.urlsplit(self.path).path, json.loads(body or "null"))
            self.world.changed.notify_all()
        self.answer(200, "{}")

    do_DELETE = do_POST = do_PUT


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)


def serve(handler, world, words):
    """words: ADDRESS PORT DIRECTORY [CERTIFICATE KEY]"""
    handler.world = world
    server = Server((words[0], int(words[1])), handler)
    if len(words) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(words[3], words[4])
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()
