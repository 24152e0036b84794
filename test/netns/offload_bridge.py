"""A member that is an active bridge: its device and a wire to a LAN host are ports of a Linux bridge, so
super-frames of other machines go in and out. Checklist: D-12, D-14, FRM-6; spec 03 section 10, spec 09
section 10 items 1, 2, 7 and 8.
"""
from flow import POOL, tcp_check, udp_runs, udp_sizes
from frames import ACK, Flow, Tap
from net import Failed, ping, sh, wait_for, wait_ping

LAN = "10.121.%d.%d"
QUIET = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"


def attach(net, node, nwid, name, index, mtu):
    """Put the node's device and a LAN host into a bridge; the host's namespace."""
    device = node.device(nwid)
    net.namespace(name)
    sh(QUIET, ns=name)
    sh("ip link add lan0 type bridge && ip link set lan0 mtu %d && ip link set %s master lan0 && "
       "ip link add lan1 mtu %d type veth peer name eth0 mtu %d netns %s && "
       "ip link set lan1 master lan0 up && ip link set lan0 up" % (mtu, device, mtu, mtu, name),
       ns=node.ns)
    sh("ip addr add %s/16 dev eth0 && ip -6 addr add fd12::%d/64 dev eth0 nodad && ip link set eth0 up" % (
        LAN % (200, index), index), ns=name)
    return name


def place(net, extra=(), mtu=2800, **settings):
    """Two bridges with a LAN host each, and a plain member."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    one, two, plain = [net.node(net.host(name, "10.9.0.%d/24" % (2 + i)))
                       for i, name in enumerate(("one", "two", "plain"))]
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in (root, one, two, plain):
        node.start(extra=extra if node is not root else ())
    nwid = root.create_network(mtu=mtu, **settings)
    for node in (one, two):
        root.authorize(nwid, node, activeBridge=True, noAutoAssignIps=True)
        node.join(nwid)
    root.authorize(nwid, plain)
    plain.join(nwid)
    for node in (one, two, plain):
        node.wait_network(nwid)
    wait_for("bridges known", lambda: all(node.network(nwid)["bridge"] for node in (one, two)))
    attach(net, one, nwid, "lan1", 1, mtu)
    attach(net, two, nwid, "lan2", 2, mtu)
    for ns, target in (("lan1", LAN % (200, 2)), ("lan1", plain.ip(nwid)), ("plain", LAN % (200, 2))):
        wait_ping(ns, target, 20)
    one.wait_direct(two)
    one.wait_direct(plain)
    return one, two, plain, nwid


def traffic(plain, nwid, size=2000000, mss=0):
    """All pairs that cross a bridge or two, from both ends."""
    for here, there, ip in (("lan1", "lan2", LAN % (200, 2)), ("lan1", "plain", plain.ip(nwid)),
                            ("plain", "lan2", LAN % (200, 2)), ("lan1", "lan2", "fd12::2")):
        tcp_check(here, there, ip, size, mss=mss, what="TCP %s to %s" % (here, there))


def test_bridge_streams_with_and_without_segmentation(net):
    one, two, plain, nwid = place(net)
    for settings in ("tso on gso on gro on tx on", "tso off", "gso off gro off", "tx off"):
        sh("ethtool -K eth0 " + settings, ns="lan1")
        traffic(plain, nwid)
    sh("ethtool -K eth0 tso on gso on gro on tx on", ns="lan2")
    traffic(plain, nwid)


def test_bridge_streams_with_other_sizes(net):
    """A LAN of 1500 bytes on a network of 2800, and segments of odd sizes."""
    one, two, plain, nwid = place(net)
    sh("ip link set eth0 mtu 1500", ns="lan1")
    traffic(plain, nwid)
    for mss in (536, 1447, 1001):
        traffic(plain, nwid, 1000000, mss)


def test_bridge_datagrams(net):
    one, two, plain, nwid = place(net)
    for here, there, ip in (("lan1", "lan2", LAN % (200, 2)), ("lan1", "plain", plain.ip(nwid)),
                            ("plain", "lan2", LAN % (200, 2))):
        udp_sizes(here, there, ip, range(1, 2773, 11))
        udp_runs(here, there, ip, 2800)
        udp_runs(here, there, ip, 1500)


def test_bridge_of_tagged_super_frames(net):
    """Super-frames with a VLAN tag: the headers lie four bytes further on."""
    one, two, plain, nwid = place(net)
    dest = bytes.fromhex(sh("cat /sys/class/net/eth0/address", ns="lan2").strip().replace(":", ""))
    source = bytes.fromhex(sh("cat /sys/class/net/eth0/address", ns="lan1").strip().replace(":", ""))
    into, out = Tap("lan1", "eth0"), Tap("lan2", "eth0")
    try:
        for v6, udp in ((False, False), (True, False), (False, True), (True, True)):
            tagged = Flow(dest, source, v6, udp, tag=bytes.fromhex("8100e007"))
            plain_flow = Flow(dest, source, v6, udp)
            for size, total in ((1000, 20300), (2700, 27000), (100, 6400)):
                into.put(tagged.super_frame(POOL[:total], size, 9, 7, ACK))
                want = plain_flow.segments(POOL[:total], size, 9, 7, ACK)
                got = []
                while len(got) < len(want):
                    more = out.catch()
                    if not more:
                        break
                    got += [f for f in more if f[6:12] == source and f[12:14] in (b"\x08\0", b"\x86\xdd")]
                if got != want:
                    raise Failed("%d of %d frames of %d bytes, IPv6 %r, UDP %r" % (
                        len(got), len(want), size, v6, udp))
    finally:
        into.close()
        out.close()


def test_bridge_without_offload(net):
    one, two, plain, nwid = place(net, ("--no-offload",))
    traffic(plain, nwid)
    udp_runs("lan1", "plain", plain.ip(nwid), 2800)


def test_bridge_to_member_of_large_network(net):
    """EXT_FRAME of the largest frames: its header is longer than FRAME's (FRM-6)."""
    one, two, plain, nwid = place(net, (), 10000)
    most = 9869
    for name in ("lan1", "lan2"):
        sh("ip link set eth0 mtu %d" % most, ns=name)
    traffic(plain, nwid)
    for size in (most - 28, most - 29, 9000):
        if ping("lan1", LAN % (200, 2), 3, size=size) or ping("plain", LAN % (200, 2), 3, size=size):
            raise Failed("pings of %d bytes lost" % size)


def test_bridge_drops_what_is_too_big(net):
    """Segments longer than the network's MTU vanish, those beside them arrive."""
    one, two, plain, nwid = place(net)
    sh("ip link set eth0 mtu 9000", ns="lan1")
    sh("ip link set lan1 mtu 9000 && ip link set lan0 mtu 9000", ns="one")
    dest = bytes.fromhex(plain.network(nwid)["mac"].replace(":", ""))
    source = bytes.fromhex(sh("cat /sys/class/net/eth0/address", ns="lan1").strip().replace(":", ""))
    flow = Flow(dest, source)
    into, out = Tap("lan1", "eth0"), Tap("plain", plain.device(nwid))
    try:
        for size in (2761, 4000, 8000):
            into.put(flow.super_frame(POOL[:size * 5], size, 1, 1, ACK))
            into.put(flow.super_frame(POOL[:2760 * 3], 2760, 1, size, ACK))
            got = [f for f in out.catch_all(3) if f[6:12] == source]
            if got != flow.segments(POOL[:2760 * 3], 2760, 1, size, ACK):
                raise Failed("after segments of %d bytes: %d frames" % (size, len(got)))
    finally:
        into.close()
        out.close()
    traffic(plain, nwid, 500000)
