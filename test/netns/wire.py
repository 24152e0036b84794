#!/usr/bin/env python3
"""A bad wire: two devices, and between them UDP datagrams are lost, damaged, doubled, held back, cut anew.

  wire.py DEVICE DEVICE    settings as lines of JSON on stdin, answered with what happened so far

What is no UDP passes untouched. Settings, each 0 at first: loss, damage, double, hold, recut (probabilities)
and seed. Nothing is held for longer than HOLD_SECONDS.
"""
import collections
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from net import sh

HOLD_SECONDS = 0.004
HOLD_DATAGRAMS = 12
BATCH = 64
ETH_P_ALL = 3
PACKET_OUTGOING = 4
HEADERS = 14 + 20 + 8
HEAD_MIN, PART_HEADER, DATAGRAM_MAX = 28, 16, 1432
FRAGMENTED = 0x40
PACKETS = 256  # of which only parts came


def udp_payload(frame):
    """Payload of an unfragmented IPv4 UDP datagram, or None."""
    if frame[12:15] != b"\x08\x00\x45" or frame[23] != 17 or frame[20] & 0x3f or frame[21]:
        return None
    return frame[HEADERS:14 + int.from_bytes(frame[16:18], "big")]


def fold(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def with_payload(frame, payload):
    """The same addresses and ports with another payload."""
    ip = bytearray(frame[14:34])
    ip[2:4] = struct.pack(">H", 28 + len(payload))
    ip[10:12] = b"\0\0"
    ip[10:12] = struct.pack(">H", fold(bytes(ip)) ^ 0xffff)
    udp = frame[34:38] + struct.pack(">HH", 8 + len(payload), 0)
    total = fold(bytes(ip[12:20]) + struct.pack(">HH", 17, 8 + len(payload)) + udp + payload) ^ 0xffff
    return frame[:14] + bytes(ip) + udp[:6] + struct.pack(">H", total or 0xffff) + payload


class Cutter:
    """Joins the parts of a packet and cuts it at other places (spec 09 section 1.2 items 1 and 2)."""

    def __init__(self, dice):
        self.dice = dice
        self.packets = collections.OrderedDict()

    def take(self, frame, payload):
        """Datagrams to send in place of this one, none while parts are missing."""
        if len(payload) <= PART_HEADER:
            return [frame]
        is_part = payload[13] == 0xff
        if not is_part and (len(payload) < HEAD_MIN or not payload[18] & FRAGMENTED):
            return [frame]
        packet = self.packets.setdefault(payload[:8], {})
        if is_part:
            packet[payload[14] & 15] = payload
            packet["total"] = payload[14] >> 4
        else:
            packet[0] = payload
        if len(packet) - 1 < packet.get("total", 99):
            if len(self.packets) > PACKETS:
                self.packets.popitem(last=False)
            return []
        del self.packets[payload[:8]]
        whole = packet[0] + b"".join(packet[i][PART_HEADER:] for i in range(1, packet["total"]))
        return [with_payload(frame, piece) for piece in self.cut(whole)]

    def cut(self, whole):
        """A head and parts of any sizes that are allowed, in any order."""
        most = DATAGRAM_MAX - PART_HEADER
        least = max(2, -(-(len(whole) - PART_HEADER) // most))
        count = self.dice.randint(least, 7)
        sizes = [HEAD_MIN] + [1] * (count - 1)
        left = len(whole) - sum(sizes)
        rooms = [DATAGRAM_MAX - HEAD_MIN] + [most - 1] * (count - 1)
        order = list(range(count))
        self.dice.shuffle(order)
        for n, i in enumerate(order):
            others = sum(rooms[k] for k in order[n + 1:])
            low, high = max(0, left - others), min(left, rooms[i])
            more = self.dice.choice((low, high, self.dice.randint(low, high)))
            sizes[i] += more
            left -= more
        out, at = [whole[:sizes[0]]], sizes[0]
        for i in range(1, count):
            out.append(whole[:13] + bytes((0xff, count << 4 | i, 0)) + whole[at:at + sizes[i]])
            at += sizes[i]
        self.dice.shuffle(out)
        return out


class Direction:
    """What comes in at one device and leaves by the other."""

    def __init__(self, source, sink, dice, counts):
        self.source, self.sink, self.dice, self.counts = source, sink, dice, counts
        self.cutter = Cutter(dice)
        self.held = []  # [datagrams to let by, deadline, frame]

    def send(self, frame):
        try:
            self.sink.send(frame)
        except OSError:
            self.counts["refused"] += 1

    def hold(self, frame, now):
        self.held.append([self.dice.randint(1, HOLD_DATAGRAMS), now + HOLD_SECONDS, frame])

    def release(self, now, passed):
        kept = []
        for entry in self.held:
            entry[0] -= passed
            if entry[0] <= 0 or entry[1] <= now:
                self.send(entry[2])
            else:
                kept.append(entry)
        self.held = kept

    def damaged(self, frame):
        """With one bit flipped, but a checksum that is right: only the receiver's own test can tell."""
        payload = bytearray(udp_payload(frame))
        if payload:
            payload[self.dice.randrange(len(payload))] ^= 1 << self.dice.randrange(8)
        return with_payload(frame, bytes(payload))

    def datagram(self, frame, chances, now):
        roll = self.dice.random
        if roll() < chances["loss"]:
            self.counts["lost"] += 1
            return
        if roll() < chances["damage"]:
            self.counts["damaged"] += 1
            frame = self.damaged(frame)
        if roll() < chances["double"]:
            self.counts["doubled"] += 1
            self.hold(frame, now) if roll() < 0.5 else self.send(frame)
        if roll() < chances["hold"]:
            self.counts["held"] += 1
            self.hold(frame, now)
            return
        self.send(frame)
        if self.held:
            self.release(now, 1)

    def run(self, chances):
        """Take what is there."""
        now = time.monotonic()
        for _ in range(BATCH):
            try:
                frame, address = self.source.recvfrom(70000)
            except BlockingIOError:
                break
            if address[2] == PACKET_OUTGOING:
                continue
            payload = udp_payload(frame)
            if payload is None:
                self.send(frame)
                continue
            self.counts["datagrams"] += 1
            frames = [frame]
            if self.cutter.packets or self.dice.random() < chances["recut"]:
                frames = self.cutter.take(frame, payload)
                self.counts["cut"] += len(frames) > 1
            for one in frames:
                self.datagram(one, chances, now)
        if self.held:
            self.release(now, 0)


def packet_socket(device):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # RCVBUFFORCE
    sock.bind((device, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def main(one, two):
    chances = {"loss": 0, "damage": 0, "double": 0, "hold": 0, "recut": 0}
    counts = collections.Counter()
    dice = random.Random(1)
    sockets = [packet_socket(one), packet_socket(two)]
    ways = [Direction(*pair, dice, counts) for pair in (sockets, sockets[::-1])]
    print("{}", flush=True)
    while True:
        wait = 0.001 if any(way.held for way in ways) else 1.0
        ready, _, _ = select.select(sockets + [sys.stdin], [], [], wait)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            wanted = json.loads(line)
            dice.seed(wanted.pop("seed", 1))
            chances = {name: wanted.get(name, 0) for name in chances}
            print(json.dumps(counts), flush=True)
        for way in ways:
            way.run(chances)


class Wire:
    """The program above between bridges br0 and br1 of a Net; starts as a good wire."""

    def __init__(self, net):
        self.net = net
        sh("ip link add br1 type bridge && ip link set br1 up", ns=net.switch)
        net.namespace("wire")
        sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", ns="wire")
        for index in range(2):
            port = net.plug("wire", bridge="br%d" % index, device="w%d" % index)
            # What reaches the wire is single datagrams with complete checksums.
            sh("ethtool -K %s tx-udp-segmentation off tx off gso off tso off 2>/dev/null" % port,
               ns=net.switch)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", "wire", sys.executable, os.path.abspath(__file__), "w0", "w1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def set(self, **chances):
        """Change what happens; what happened so far."""
        self.process.stdin.write(json.dumps(chances) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(5)
        self.process.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
