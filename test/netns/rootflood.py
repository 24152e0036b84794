"""Strangers flood a root: packets of forged sources, each from an address and port of its own. Known nodes
keep their paths and reach each other through it and itself; newcomers get in, and their configurations from
the controller on it (CTL-81). Spec 02 Do better 17, doc/operations.md "Running a root"."""
import random
import socket
import struct
import time

from flow import background
from hostile import rss
from net import Failed, in_ns, ping, sh, wait_ping
from relayed import AT, drops, members

SECONDS_MAX = 30
PIECES = 2000       # packets made before, sent again and again from other sources
PAUSE = 0.002       # after BATCH of them
BATCH = 100
IP_HEADER = struct.Struct(">BBHHHBBH4s4s")
UDP_HEADER = struct.Struct(">HHHH")


def hello(root, dice):
    """A HELLO with a fresh public key and no valid MAC: the root agrees on a key before it knows."""
    address = (0x2200000000 + dice.getrandbits(32)).to_bytes(5, "big")
    head = dice.randbytes(8) + int(root.address, 16).to_bytes(5, "big") + address + b"\0"
    body = (bytes([12, 1, 14]) + struct.pack(">H", 1) + struct.pack(">Q", int(time.time() * 1000)) +
            address + b"\0" + dice.randbytes(64) + b"\0")
    return head + dice.randbytes(8) + b"\1" + body


def sealed(root, dice):
    """A packet of a node that nobody knows: a WHOIS, a GATHER, who can tell."""
    return (dice.randbytes(8) + int(root.address, 16).to_bytes(5, "big") +
            (0x2200000000 + dice.getrandbits(32)).to_bytes(5, "big") + bytes([3 << 3]) + dice.randbytes(60))


def fragment(root, dice):
    """A part of a packet whose other parts never come."""
    return (dice.randbytes(8) + int(root.address, 16).to_bytes(5, "big") + b"\xff\x31\0" +
            dice.randbytes(1000))


def head(root, dice):
    """The same, its beginning."""
    data = bytearray(sealed(root, dice))
    data[18] |= 0x40
    return bytes(data)


class Strangers:
    """Such packets from a namespace until stopped, from forged addresses all over the Internet."""

    def __init__(self, ns, root, kinds):
        self.stopped = False
        self.sent = 0
        self.dice = random.Random(1)
        self.pieces = [kinds[i % len(kinds)](root, self.dice) for i in range(PIECES)]
        self.sock = in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        self.end = background(self.send)

    def datagram(self, payload):
        source = bytes([self.dice.choice((5, 46, 77, 81, 93)), *self.dice.randbytes(2),
                        1 + self.dice.randrange(254)])
        return (IP_HEADER.pack(0x45, 0, 0, 0, 0, 64, 17, 0, source, socket.inet_aton(AT["root"])) +
                UDP_HEADER.pack(1024 + self.dice.randrange(60000), 9993, 8 + len(payload), 0) + payload)

    def send(self):
        end = time.monotonic() + SECONDS_MAX
        while not self.stopped and time.monotonic() < end:
            for _ in range(BATCH):
                try:
                    self.sock.sendto(self.datagram(self.dice.choice(self.pieces)), (AT["root"], 0))
                    self.sent += 1
                except OSError:
                    pass  # full
            time.sleep(PAUSE)

    def stop(self):
        self.stopped = True
        self.end()
        self.sock.close()
        if self.sent < 5000:
            raise Failed("only %d packets sent" % self.sent)


def flooded(net, kinds, reasons):
    """Root, a, b and c are a network without direct paths; e floods; c joins meanwhile."""
    net.host("e", "10.9.0.9/24")
    (root, a, b), nwid = members(net, "ab")
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0", ns="root")
    c = net.node(net.host("c", AT["c"] + "/24"))
    wait_ping("a", b.ip(nwid))
    small = rss(root)
    before = sum(drops(root, reason) for reason in reasons)
    flood = Strangers("e", root, kinds)
    try:
        lost = ping("a", b.ip(nwid), 100, 0.02, deadline=15)
        begin = time.monotonic()
        c.start()
        root.authorize(nwid, c)
        c.join(nwid)
        c.wait_network(nwid, timeout=25)
        took = time.monotonic() - begin
        wait_ping("c", b.ip(nwid))
        lost += ping("a", b.ip(nwid), 100, 0.02, deadline=15)
    finally:
        flood.stop()
    if lost > 10:
        raise Failed("%d of 200 pings lost beside a flood" % lost)
    if a.is_direct(b):
        raise Failed("the two reached each other")
    dropped = sum(drops(root, reason) for reason in reasons) - before
    grown = rss(root) - small
    if grown > 24 * 1024:
        raise Failed("memory grew by %d KiB" % grown)
    if reasons and dropped < 100:
        raise Failed("dropped: %d of %d, %s" % (dropped, flood.sent, root.get("/datapath")["drops"]))
    print("newcomer in after %.1f s, %d of %d dropped" % (took, dropped, flood.sent))


def test_hellos_of_strangers(net):
    flooded(net, (hello,), ("drop_hello_rate",))


def test_packets_of_strangers(net):
    flooded(net, (sealed,), ("drop_rx_queue",))


def test_parts_of_strangers(net):
    """Nothing is dropped that could be counted: newer parts take the places of older ones."""
    flooded(net, (fragment, head), ())
