#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An agent as HAProxy's agent-check asks one: answers each connection with the line in a file.
usage: agent.py ADDRESS PORT FILE
What the file begins with may also be a fault: !silent, !slow (a byte a second), !flood, !close."""
import socket
import sys
import threading
import time


def answer(connection, line):
    try:
        if line.startswith("!silent"):
            time.sleep(60)
        elif line.startswith("!slow"):
            for byte in b"down #one byte a second\n":
                connection.sendall(bytes([byte]))
                time.sleep(1)
        elif line.startswith("!flood"):
            while True:
                connection.sendall(b"up " * 10000)
        elif not line.startswith("!close"):
            connection.sendall(line.encode())
    except OSError:
        pass
    connection.close()


def main():
    address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with socket.create_server((address, port)) as server:
        while True:
            connection, _ = server.accept()
            with open(path, encoding="ascii") as file:
                line = file.read()
            threading.Thread(target=answer, args=(connection, line), daemon=True).start()


main()
