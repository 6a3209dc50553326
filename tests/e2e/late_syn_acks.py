#!/usr/bin/env python3
# Sends what is routed into the device late0 on after a delay: where nothing else can make packets
# late. The kernel of the machines that run the tests may have no netem.
# usage: late_syn_acks.py SECONDS MARK
# Packets that it sends have the firewall mark MARK, by which rules leave them alone.
import fcntl
import os
import select
import socket
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
delay, mark = float(sys.argv[1]), int(sys.argv[2])

tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"late0", IFF_TUN | IFF_NO_PI))
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
out.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
print("ready", flush=True)

waiting = []  # (due, packet), as all wait for as long in the order in which they came
while True:
    left = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    if select.select([tun], [], [], left)[0]:
        packet = os.read(tun, 65536)
        if packet[0] >> 4 == 4:
            waiting.append((time.monotonic() + delay, packet))
    while waiting and waiting[0][0] <= time.monotonic():
        packet = waiting.pop(0)[1]
        out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
