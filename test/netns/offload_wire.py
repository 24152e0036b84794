"""Over a bad wire: datagrams lost, damaged, doubled, held back, packets cut at other places. Streams arrive
whole, datagrams unchanged and once. With the kernel's segmentation and merging on the wire, and without.
Checklist: D-3, D-11, D-20, RP-1; spec 09 section 10 items 19 to 21 and 24."""
import socket
import struct
import threading
import zlib

from flow import POOL, background, compare, family_of, tcp_check, udp_socket
from interop import seats
from net import Failed, sh, wait_ping
from wire import Wire

NUMBERED = struct.Struct(">II")
END = 0xffffffff
WINDOW = 48


def numbered(number):
    """A datagram that tells its number and whether it is intact, of lengths that need one part to three."""
    size = (16, 500, 1300, 1360, 1400, 2000, 2770)[number % 7] + number * 37 % 30
    data = POOL[number % 5000:number % 5000 + size - NUMBERED.size]
    return NUMBERED.pack(number, zlib.crc32(data)) + data


class Receiver:
    """Takes numbered datagrams and notes how often each came."""

    def __init__(self, ns, ip, port):
        self.sock = udp_socket(ns, ip, port, timeout=10)
        self.seen = {}
        self.more = threading.Condition()
        self.is_done = threading.Event()
        self.result = background(self.run)

    def run(self):
        try:
            while self.take():
                pass
            self.is_done.set()
            self.sock.settimeout(0.05)  # the wire holds nothing longer than some milliseconds
            while True:
                self.take()
        except socket.timeout:
            pass
        finally:
            self.is_done.set()
            self.sock.close()

    def take(self):
        """One datagram; false at the last one."""
        data = self.sock.recv(70000)
        number, crc = NUMBERED.unpack_from(data)
        if number == END:
            return False
        if zlib.crc32(data[NUMBERED.size:]) != crc:
            raise Failed("datagram %d of %d bytes is damaged" % (number, len(data)))
        compare("datagram %d" % number, data, numbered(number))
        with self.more:
            self.seen[number] = self.seen.get(number, 0) + 1
            self.more.notify()
        return True

    def wait_until(self, count, timeout):
        """Wait for so many different ones; false if they did not come."""
        with self.more:
            return self.more.wait_for(lambda: len(self.seen) >= count or self.is_done.is_set(), timeout)


def udp_check(one, two, ip, count, lossy=False, port=7020, once=True):
    """Numbered datagrams: none damaged, none twice, and none missing unless the wire loses some."""
    receiver = Receiver(two, ip, port)
    sender = udp_socket(one, family=family_of(ip))
    sender.connect((ip, port))
    lost = 0
    for number in range(count):
        sender.send(numbered(number))
        lost += not receiver.wait_until(number - WINDOW - lost, 0.003 if lossy else 0.3)
    receiver.wait_until(count, 0.05 if lossy else 3)
    while not receiver.is_done.wait(0.02):
        sender.send(NUMBERED.pack(END, 0))
    sender.close()
    receiver.result()
    twice = sorted(n for n, times in receiver.seen.items() if times > 1)
    if once and twice:
        raise Failed("%d datagrams came twice or more: %r" % (len(twice), twice[:20]))
    missing = sorted(set(range(count)) - set(receiver.seen))
    if len(missing) > (count // 8 if lossy else 0):
        raise Failed("%d of %d datagrams are missing: %r" % (len(missing), count, missing[:20]))


def place(net):
    """Two members with the wire between them, and its settings harmless."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    wire = Wire(net)
    b = net.node(net.host("b", "10.9.0.3/24", bridge="br1"))
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in (root, a, b):
        node.start()
    nwid = root.create_network(private=False, v6AssignMode={"rfc4193": True})
    for node in (a, b):
        node.join(nwid)
        node.wait_network(nwid)
    return wire, a, b, nwid


def features(segmented):
    """What the network cards of both sides do: cut and pass runs on, or cut in software and merge."""
    for ns in ("a", "b"):
        if segmented:
            sh("ethtool -K eth0 tx-udp-segmentation off gro on rx-udp-gro-forwarding on", ns=ns)


def over(net, segmented=False, udp=4000, **chances):
    """The checks over a wire with these chances."""
    wire, a, b, nwid = place(net)
    try:
        features(segmented)
        wait_ping("a", b.ip(nwid))
        a.wait_direct(b)
        b.wait_direct(a)
        tcp_check("a", "b", b.ip(nwid), 300000)
        before = wire.set(seed=7, **chances)
        lossy = chances.get("loss", 0) + chances.get("damage", 0) > 0
        size = 600000 if lossy else 3000000
        tcp_check("a", "b", b.ip(nwid), size)
        tcp_check("b", "a", a.ip(nwid, 6), size // 2)
        udp_check("a", "b", b.ip(nwid), udp, lossy)
        udp_check("b", "a", a.ip(nwid), udp, lossy)
        after = wire.set()
        for what, name in (("loss", "lost"), ("damage", "damaged"), ("double", "doubled"),
                           ("hold", "held"), ("recut", "cut")):
            if chances.get(what) and after.get(name, 0) <= before.get(name, 0):
                raise Failed("the wire did nothing of %s: %r" % (what, after))
        if after.get("refused", 0) > before.get("refused", 0):
            raise Failed("the wire could not send %r" % after)
    finally:
        wire.close()


def test_wire_good(net):
    over(net)


def test_wire_good_with_segmentation_in_software(net):
    over(net, segmented=True)


def test_wire_loses_one_in_hundred(net):
    over(net, loss=0.01)


def test_wire_loses_with_segmentation_in_software(net):
    over(net, segmented=True, loss=0.01)


def test_wire_damages_one_in_hundred(net):
    """D-11: any bit of a datagram."""
    over(net, damage=0.01)


def test_wire_narrower_than_datagrams(net):
    """D-20: the system refuses to cut runs into datagrams that do not fit; IP fragments arrive instead."""
    wire, a, b, nwid = place(net)
    try:
        wait_ping("a", b.ip(nwid))
        a.wait_direct(b)
        b.wait_direct(a)
        for mtu in (1300, 600):
            for ns in ("a", "b"):
                sh("ip link set eth0 mtu %d" % mtu, ns=ns)
            tcp_check("a", "b", b.ip(nwid), 1000000)
            udp_check("a", "b", b.ip(nwid), 2000)
            udp_check("b", "a", a.ip(nwid), 2000)
        replays = sum(one["gsoReplays"] for one in a.get("/datapath")["sockets"])
        if not 1 <= replays <= 8:  # once a minute for each path, and a few by the engine
            raise Failed("%d runs were cut anew" % replays)
    finally:
        wire.close()


def test_wire_reorders(net):
    over(net, hold=0.05)


def test_wire_doubles(net):
    over(net, double=0.1)


def test_wire_cuts_anew(net):
    """D-3: heads of 28 bytes, parts of 17, up to seven, in any order."""
    over(net, recut=1)


def test_wire_does_everything(net):
    over(net, segmented=True, recut=0.5, hold=0.02, double=0.05, loss=0.005, damage=0.002)


def test_wire_with_reference(net):
    """D-3: the reference joins what is cut anew in any order, and ours what the reference sent. It lets
    copies through, ours does not."""
    wire = Wire(net)
    try:
        _, _, one, two, nwid = seats(net, "p", "p", "p", "r", bridges={"two": "br1"})
        wait_ping("one", two.ip(nwid), 30)
        one.wait_direct(two, 40)
        two.wait_direct(one, 40)
        wire.set(seed=8, recut=1, double=0.05, hold=0.01)
        tcp_check("one", "two", two.ip(nwid), 1500000)
        udp_check("one", "two", two.ip(nwid), 2000, once=False)
        udp_check("two", "one", one.ip(nwid), 2000)
    finally:
        wire.close()
