"""Multicast, broadcast and address resolution while a TCP stream runs at full speed beside them.
Source: spec 03 sections 11 and 12, spec 09 section 6.8."""
import socket
import struct
import threading
import time

from flow import Load, background, udp_socket
from net import Failed, in_ns, sh, wait_for, wait_ping

GROUP, GROUP6 = "239.7.7.7", "ff15::77"
COUNT = 40
GAP = 0.004


def members(net, extra=()):
    root = net.node(net.host("root", "10.9.0.1/24"))
    three = [net.node(net.host(name, "10.9.0.%d/24" % (2 + i))) for i, name in enumerate("abc")]
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    for node in three:
        node.start(extra=extra)
    nwid = root.create_network(v6AssignMode={"rfc4193": True})
    for node in three:
        root.authorize(nwid, node)
        node.join(nwid)
    for node in three:
        node.wait_network(nwid)
    for one in three:
        for two in three:
            if one is not two:
                wait_ping(one.ns, two.ip(nwid))
                one.wait_direct(two)
    return three + [nwid]


class Listener:
    """Takes numbered datagrams of a group, or broadcasts, and notes how often each came."""

    def __init__(self, node, nwid, address, port):
        def make():
            v6 = ":" in address
            sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("::" if v6 else "", port))
            if v6:
                index = socket.if_nametoindex(node.device(nwid))
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                                socket.inet_pton(socket.AF_INET6, address) + struct.pack("=I", index))
            elif not address.endswith(".255"):
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(address) +
                                socket.inet_aton(node.ip(nwid)))
            return sock
        self.node = node
        self.sock = in_ns(node.ns, make)
        self.sock.settimeout(0.1)
        self.seen = {}
        self.stop = threading.Event()
        self.end = background(self.run)

    def run(self):
        while not self.stop.is_set():
            try:
                number = int(self.sock.recv(2000)[:8])
            except socket.timeout:
                continue
            self.seen[number] = self.seen.get(number, 0) + 1

    def close(self):
        self.stop.set()
        self.end()
        self.sock.close()


def sender(node, nwid, address):
    sock = udp_socket(node.ns, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    if ":" in address:
        index = in_ns(node.ns, lambda: socket.if_nametoindex(node.device(nwid)))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, struct.pack("=I", index))
    elif address.endswith(".255"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(node.ip(nwid)))
    return sock


def cast(node, nwid, address, port, receivers):
    """Numbered datagrams: first until all receivers got one, then a count that all have to get, once."""
    listeners = [Listener(receiver, nwid, address, port) for receiver in receivers]
    sock = sender(node, nwid, address)
    number = 0
    try:
        def send():
            nonlocal number
            sock.sendto(b"%08d" % number + bytes(400), (address, port))
            number += 1

        def all_heard():
            send()
            return all(listener.seen for listener in listeners)
        wait_for("%s at all members" % address, all_heard, 10)
        first = number
        for _ in range(COUNT):
            send()
            time.sleep(GAP)  # a pace, not a wait: casts are copied to each member
        wanted = set(range(first, number))
        try:
            wait_for("casts", lambda: all(wanted <= set(lis.seen) for lis in listeners), 3)
        except Failed:
            pass
        for listener in listeners:
            missing = sorted(wanted - set(listener.seen))
            twice = sorted(n for n, times in listener.seen.items() if times > 1)
            if missing or twice:
                raise Failed("%s at %s: missing %r, twice %r" % (address, listener.node.ns, missing, twice))
    finally:
        sock.close()
        for listener in listeners:
            listener.close()


def resolve(one, two, nwid):
    """Forget the neighbours, and find them again."""
    device = one.device(nwid)
    for ip in (two.ip(nwid), two.ip(nwid, 6)):
        # Under load neighbours come back while they are flushed, until ip gives up: only that of
        # the address itself has to be gone.
        sh("ip neigh del %s dev %s 2>/dev/null || true" % (ip, device), ns=one.ns)
        wait_ping(one.ns, ip, 5)
        if two.network(nwid)["mac"] not in sh("ip neigh show dev %s to %s" % (device, ip), ns=one.ns):
            raise Failed("%s has no neighbour %s" % (one.ns, ip))


def under_load(net, extra):
    a, b, c, nwid = members(net, extra)
    load = Load("a", "b", b.ip(nwid))
    other = Load("b", "a", a.ip(nwid, 6))
    try:
        for _ in range(3):
            resolve(a, c, nwid)
            resolve(c, b, nwid)
            resolve(b, a, nwid)
        cast(a, nwid, GROUP, 7101, (b, c))
        cast(c, nwid, GROUP6, 7102, (a, b))
        cast(b, nwid, "10.121.255.255", 7103, (a, c))
    finally:
        got = (load.stop(), other.stop())
    if min(got) < 1000000:
        raise Failed("the streams hardly ran: %r bytes" % (got,))


def test_casts_under_load(net):
    under_load(net, ())


def test_casts_under_load_without_offload(net):
    under_load(net, ("--no-offload",))
