"""Members kept apart by a packet filter: all their traffic goes through the root, whatever of the bulk
path is switched off; floods of others do not take it from them. Spec 02 section 4.2, 09 section 6.9."""
import socket
import struct
import time

from flow import UDP_SEGMENT, background, ping_largest, tcp_check, udp_runs, udp_sizes
from net import Failed, in_ns, ping, sh, wait_ping

PLAIN = ("--no-offload",)
AT = {"root": "10.9.0.1", "a": "10.9.0.2", "b": "10.9.0.3", "c": "10.9.0.4", "d": "10.9.0.5"}
SUITE_AES = 3 << 3
FLOOD_SIZE = 128
FLOOD_RUN = 60


def members(net, names, config=None, root_extra=(), extra=()):
    """A root and members of its network, of which none hears another."""
    nodes = [net.node(net.host("root", AT["root"] + "/24"), config=config)]
    for name in names:
        nodes.append(net.node(net.host(name, AT[name] + "/24")))
        sh("nft -f - <<'END'\ntable inet apart {\n chain in {\n type filter hook input priority 0;\n"
           "iif eth0 ip saddr != %s drop\n }\n }\nEND" % AT["root"], ns=name)
    root = nodes[0]
    net.make_planet([(root, AT["root"] + "/9993")])
    root.start(extra=root_extra)
    nwid = root.create_network()
    for node in nodes[1:]:
        node.start(extra=extra)
        root.authorize(nwid, node)
        node.join(nwid)
    for node in nodes[1:]:
        node.wait_network(nwid)
    return nodes, nwid


def must_be_relayed(root, a, b):
    if a.is_direct(b) or b.is_direct(a):
        raise Failed("the two reached each other")
    if root.get("/datapath")["counts"]["relayed"] < 1000:
        raise Failed("forwarded: %s" % root.get("/datapath")["counts"])


def traffic(net, root_extra=(), extra=()):
    """Content compared in both directions."""
    (root, a, b), nwid = members(net, "ab", root_extra=root_extra, extra=extra)
    target = b.ip(nwid)
    wait_ping("a", target)
    for size in (0, 1400, 2772, 9000):
        if ping("a", target, 5, size=size):
            raise Failed("pings of %d bytes lost" % size)
    ping_largest("a", target, 2800)
    tcp_check("a", "b", target)
    udp_sizes("a", "b", target, range(1, 3000, 37), window=4)
    udp_runs("b", "a", a.ip(nwid), 2800)
    must_be_relayed(root, a, b)


def test_content(net):
    traffic(net)


def test_content_by_a_root_without_offloads(net):
    traffic(net, root_extra=PLAIN)


def test_content_of_members_without_offloads(net):
    traffic(net, extra=PLAIN)


def test_content_without_offloads(net):
    traffic(net, root_extra=PLAIN, extra=PLAIN)


# ---- floods ----

def header(destination, source, number):
    """What a root looks at."""
    return (struct.pack(">Q", number) + int(destination, 16).to_bytes(5, "big") +
            int(source, 16).to_bytes(5, "big") + bytes([SUITE_AES]) + bytes(FLOOD_SIZE - 19))


class Flood:
    """Forged packets to the root from a namespace, in runs cut by the kernel, until stopped; pair(i)
    names destination and source."""

    def __init__(self, ns, pair):
        self.stopped = False
        self.sent = 0
        self.runs = [b"".join(header(*pair(i * FLOOD_RUN + j), i * FLOOD_RUN + j)
                              for j in range(FLOOD_RUN)) for i in range(50)]
        self.sock = in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, FLOOD_SIZE)
        self.sock.connect((AT["root"], 9993))
        self.end = background(self.send)

    def send(self):
        while not self.stopped:
            for run in self.runs:
                try:
                    self.sock.send(run)
                    self.sent += FLOOD_RUN
                except OSError:
                    pass  # full, or an earlier one was refused
            time.sleep(0.005)

    def stop(self):
        self.stopped = True
        self.end()
        self.sock.close()
        if self.sent < 20000:
            raise Failed("only %d packets sent" % self.sent)
        return self.sent


def drops(root, reason):
    return root.get("/datapath")["drops"][reason]


def flooded(net, pair, config=None):
    """Pings between c and d while a floods the root with pairs; the root, what it dropped and sent."""
    (root, a, b, c, d), nwid = members(net, "abcd", config=config)
    wait_ping("a", b.ip(nwid))
    wait_ping("c", d.ip(nwid))
    before = {name: drops(root, name)
              for name in ("drop_relay_rate", "drop_relay_pair", "drop_no_route")}
    flood = Flood("a", pair(a, b))
    try:
        lost = ping("c", d.ip(nwid), 100, 0.02, deadline=15)
    finally:
        sent = flood.stop()
    if lost > 10:
        raise Failed("%d of 100 pings lost beside a flood" % lost)
    wait_ping("a", b.ip(nwid))
    if c.is_direct(d):
        raise Failed("the two reached each other")
    dropped = {name: drops(root, name) - count for name, count in before.items()}
    return root, dropped, sent


def test_a_flood_gets_its_share_only(net):
    """Most of it is dropped, and others are not touched."""
    root, dropped, sent = flooded(
        net, lambda a, b: lambda i: (b.address, a.address),
        config={"settings": {"relayRate": 5000}})
    if dropped["drop_relay_rate"] < 1000:
        raise Failed("dropped: %s of %d" % (dropped, sent))


def test_a_pair_gets_its_share_only(net):
    """The limit is one of a pair: the other two nodes have their own."""
    root, dropped, sent = flooded(
        net, lambda a, b: lambda i: (b.address, a.address),
        config={"settings": {"relayPairRate": 1, "relayRate": 0}})
    if dropped["drop_relay_pair"] < 1000:
        raise Failed("dropped: %s of %d" % (dropped, sent))


def test_a_flood_to_nowhere(net):
    """Destinations that nobody knows."""
    root, dropped, sent = flooded(
        net, lambda a, b: lambda i: ("%010x" % (0x1100000000 + i), a.address))
    if dropped["drop_no_route"] < 1000:
        raise Failed("dropped: %s of %d" % (dropped, sent))


def test_a_flood_of_made_up_pairs(net):
    """Each packet is of a pair of its own: the engine is not kept busy by them."""
    root, dropped, sent = flooded(
        net, lambda a, b: lambda i: (b.address, "%010x" % (0x1100000000 + i)))
    given = root.get("/datapath")["given"]
    if given > 5000 + sent / 20:
        raise Failed("%d given of %d" % (given, sent))
