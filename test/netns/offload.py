"""Each step of the bulk path switched off in turn: traffic is the same, only slower. Checklist: D-18."""
import socket
import threading

from flow import ping_largest, tcp_check, udp_runs, udp_sizes
from frames import VNET, Tap
from net import Failed, in_ns, ping, sh, tcp_transfer, wait_ping

SWITCHES = ("--no-offload", "--no-gso", "--no-gro", "--no-mmsg", "--no-tso", "--no-uso", "--no-csum",
            "--no-vnet")


def udp_echo(one, two, ip, sizes):
    """Datagrams of many sizes there and back, contents compared."""
    server = in_ns(two, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind((ip, 7009))
    server.settimeout(5)

    def echo():
        for _ in sizes:
            data, peer = server.recvfrom(70000)
            server.sendto(data, peer)
    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    client = in_ns(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.settimeout(5)
    for size in sizes:
        data = bytes((size + i) & 0xff for i in range(size))
        client.sendto(data, (ip, 7009))
        if client.recv(70000) != data:
            raise Failed("datagram of %d bytes came back changed" % size)
    thread.join(5)
    client.close()
    server.close()


def traffic(net, first, second):
    """Two members with these switches: pings of all kinds, TCP both ways, UDP."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    a.start(extra=first)
    b.start(extra=second)
    nwid = root.create_network(v6AssignMode={"rfc4193": True})
    for node in (a, b):
        root.authorize(nwid, node)
        node.join(nwid)
        node.wait_network(nwid)
    target = b.ip(nwid)
    wait_ping("a", target)
    a.wait_direct(b)
    b.wait_direct(a)
    for size in (0, 1400, 2772, 2773, 9000):
        if ping("a", target, 5, size=size):
            raise Failed("pings of %d bytes lost" % size)
    tcp_transfer("a", "b", target, size=20000000)
    tcp_transfer("b", "a", a.ip(nwid), size=20000000)
    tcp_transfer("a", "b", b.ip(nwid, 6), size=5000000)
    udp_echo("a", "b", target, (0, 1, 2, 63, 64, 1399, 1400, 2771, 2772, 2773, 8000, 30000, 60000))


def make(switch, both):
    def test(net):
        traffic(net, (switch,), (switch,) if both else ())
    return test


for name in SWITCHES:
    globals()["test_" + name[2:].replace("-", "_")] = make(name, True)
globals()["test_no_offload_on_one_side"] = make("--no-offload", False)


def test_everything_on(net):
    traffic(net, (), ())


# ---- the ladder of spec 09 section 6.10 ----

STEPS = {
    "A": (),
    "B": ("--no-uso",),
    "C": ("--no-uso", "--no-gso", "--no-gro"),
    "D": ("--no-vnet",),
    "E": ("--no-vnet", "--no-gso", "--no-gro"),
    "F": ("--no-vnet", "--no-gso", "--no-gro", "--no-mmsg"),
}


def device_features(node, nwid):
    """Which of TSO and USO the device offers the system."""
    out = sh("ethtool -k %s" % node.device(nwid), ns=node.ns)
    return tuple(name for name in ("tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation")
                 if name + ": on" in out)


def longest_datagram(node, action):
    """Length of the longest frame that leaves the node's network card while action runs."""
    tap = Tap(node.ns, "eth0")
    mac = bytes.fromhex(sh("cat /sys/class/net/eth0/address", ns=node.ns).strip().replace(":", ""))
    longest = 0
    action()
    tap.sock.setblocking(False)
    try:
        while True:
            message = tap.sock.recv(70000)
            if message[VNET.size + 6:VNET.size + 12] == mac:
                longest = max(longest, len(message) - VNET.size)
    except BlockingIOError:
        return longest
    finally:
        tap.close()


def step(net, flags, other):
    """D-18: what is forced is really so, and all traffic is the same, also with a member on another step."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    a.start(extra=flags)
    b.start(extra=other)
    made = {}
    for index, mtu in enumerate((1500, 2800, 9000)):
        lan = "10.%d.0" % (130 + index)
        made[mtu] = root.create_network(
            mtu=mtu, private=False, routes=[{"target": lan + ".0/24"}], v6AssignMode={"rfc4193": True},
            ipAssignmentPools=[{"ipRangeStart": lan + ".1", "ipRangeEnd": lan + ".254"}])
        for node in (a, b):
            node.join(made[mtu])
    for mtu, nwid in made.items():
        for node in (a, b):
            node.wait_network(nwid)
        wait_ping("a", b.ip(nwid))
        wait_ping("a", b.ip(nwid, 6))
        a.wait_direct(b)
        b.wait_direct(a)
        most = longest_datagram(a, lambda nwid=nwid: tcp_check("a", "b", b.ip(nwid), 3000000))
        if ("--no-gso" in flags) != (most <= 1514):
            raise Failed("longest datagram with %s: %d bytes" % (flags, most))
        tcp_check("b", "a", a.ip(nwid, 6), 3000000)
        udp_sizes("a", "b", b.ip(nwid), range(1, mtu - 27, 7))
        udp_sizes("a", "b", b.ip(nwid), (mtu - 27, 2 * mtu, 30000, 60000), window=2)
        udp_runs("a", "b", b.ip(nwid), mtu)
        udp_runs("b", "a", a.ip(nwid, 6), mtu)
        ping_largest("a", b.ip(nwid), mtu)
        wanted = () if "--no-vnet" in flags else ("tx-tcp-segmentation", "tx-tcp6-segmentation")
        wanted += () if {"--no-uso", "--no-vnet"} & set(flags) else ("tx-udp-segmentation",)
        if device_features(a, nwid) != wanted:
            raise Failed("device offers %r instead of %r" % (device_features(a, nwid), wanted))


def make_step(flags, other):
    return lambda net: step(net, flags, other)


for name, chosen in STEPS.items():
    globals()["test_step_%s_to_itself" % name] = make_step(chosen, chosen)
    if name != "A":
        globals()["test_step_%s_to_A" % name] = make_step(chosen, ())
