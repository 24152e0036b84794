"""Two sites in one Ethernet: whatever kind of frame, and what happens when somebody makes a loop.
Checklist: BRG-1 to BRG-4; spec 03 section 10."""
import socket
import struct

from net import Failed, in_ns, ping, sh, wait_for, wait_ping
from offload_bridge import place

ETH_P_ALL = 3
KINDS = (
    # destination, ethertype or length, payload
    ("ffffffffffff", 0x8863, b"\x11\x09\x00\x00\x00\x04\x01\x01\x00\x00"),  # PPPoE discovery
    ("0180c2000014", 0x0020, b"\xfe\xfe\x03\x83" + bytes(28)),  # IS-IS: 802.3 with LLC
    ("0180c2000015", 0x0040, b"\xfe\xfe\x03\x83" + bytes(60)),
    ("ffffffffffff", 0x88b5, b"an ethertype for experiments"),
    ("ffffffffffff", 0x8137, b"\xff\xff" + bytes(28)),  # IPX
)


def raw(ns, device="eth0"):
    def make():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind((device, 0))
        sock.settimeout(0.2)
        return sock
    return in_ns(ns, make)


def arrives(sock, frame):
    """True if this frame is among those that come now; its tail may be padded."""
    try:
        while True:
            got = sock.recv(2000)
            if got[:len(frame)] == frame:
                return True
    except socket.timeout:
        return False


def test_frames_of_every_kind_cross(net):
    place(net)
    for here, there in (("lan1", "lan2"), ("lan2", "lan1")):
        sender, receiver = raw(here), raw(there)
        mac = sh("cat /sys/class/net/eth0/address", ns=here).strip().replace(":", "")
        peer = sh("cat /sys/class/net/eth0/address", ns=there).strip().replace(":", "")
        for dest, kind, payload in KINDS + ((peer, 0x8864, b"\x11\x00\x00\x01\x00\x04\xc0\x21\x01\x01"),):
            frame = bytes.fromhex(dest + mac) + struct.pack(">H", kind) + payload

            def crosses():
                sender.send(frame)
                return arrives(receiver, frame)
            wait_for("frame of kind %04x to %s" % (kind, dest), crosses, 5)
        sender.close()
        receiver.close()


def same_lan(net):
    """Two members that bridge their network with one and the same LAN, a host in it, and a member far
    away."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    nodes = [net.node(net.host(name, "10.9.0.%d/24" % (2 + i)))
             for i, name in enumerate(("one", "two", "plain"))]
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in [root] + nodes:
        node.start()
    nwid = root.create_network()
    for node in nodes[:2]:
        root.authorize(nwid, node, activeBridge=True, noAutoAssignIps=True)
    root.authorize(nwid, nodes[2])
    for node in nodes:
        node.join(nwid)
    for node in nodes:
        node.wait_network(nwid)
    wait_for("bridges known", lambda: all(node.network(nwid)["bridge"] for node in nodes[:2]))
    sh("ip link add lan type bridge && ip link set lan up", ns=net.switch)
    net.namespace("host")
    net.plug("host", "10.121.200.1/16", bridge="lan")
    for node in nodes[:2]:
        net.plug(node.ns, bridge="lan", device="eth1")
        sh("ip link add lan0 type bridge && ip link set %s master lan0 && ip link set eth1 master lan0 && "
           "ip link set lan0 up" % node.device(nwid), ns=node.ns)
    return nodes + [nwid]


def packets(ns):
    return int(sh("cat /sys/class/net/eth0/statistics/rx_packets", ns=ns))


def test_a_loop_melts_nothing(net):
    one, two, plain, nwid = same_lan(net)
    wait_ping("plain", "10.121.200.1", 20)
    wait_ping("host", plain.ip(nwid), 20)
    before = packets("host")
    # Frames that everybody gets, from both sides of the loop.
    sh("ping -n -b -c 20 -i 0.05 -W 1 10.121.255.255 2>&1 || true", ns="host")
    sh("ping -n -b -c 20 -i 0.05 -W 1 -I %s 10.121.255.255 2>&1 || true" % plain.device(nwid), ns="plain")
    more = packets("host") - before
    if more > 1000:
        raise Failed("%d frames came to the host for 40 broadcasts" % more)
    looped = [node.get("/datapath")["drops"].get("vl2_bridge_loop", 0) for node in (one, two)]
    if sum(looped) == 0:
        raise Failed("no loop was noticed")
    if "vl2: loop" not in open(one.log).read() + open(two.log).read():
        raise Failed("nobody said that there is a loop")
    if ping("plain", "10.121.200.1", 20):
        raise Failed("pings lost while there is a loop")
