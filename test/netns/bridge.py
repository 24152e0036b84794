"""Two sites in one Ethernet: whatever kind of frame, and what happens when somebody makes a loop.
Checklist: BRG-1 to BRG-4; spec 03 section 10."""
import socket
import struct

from net import Failed, in_ns, ping, sh, wait_for, wait_ping
from offload_bridge import place

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8
TAGGED, TAG_TYPE = 0x10, 0x40  # status bits of auxiliary data
ISIS = (
    # destination, ethertype or length, payload
    ("0180c2000014", 0x0020, b"\xfe\xfe\x03\x83" + bytes(28)),  # 802.3 with LLC
    ("0180c2000015", 0x0040, b"\xfe\xfe\x03\x83" + bytes(60)),
)
PPPOE = (("ffffffffffff", 0x8863, b"\x11\x09\x00\x00\x00\x04\x01\x01\x00\x00"),  # discovery
         ("lan", 0x8864, b"\x11\x00\x00\x01\x00\x04\xc0\x21\x01\x01"))  # session, to the other host
VLAN = (("ffffffffffff", 0x8100, b"\xe0\x65\x08\x00" + bytes(46)),  # priority 7, VLAN 101
        ("lan", 0x8100, b"\x00\x65\x88\x64\x11\x00\x00\x01\x00\x04\xc0\x21\x01\x01"),
        ("ffffffffffff", 0x88a8, b"\x00\x05\x81\x00\x00\x65\x08\x06" + bytes(46)))  # two tags
OTHERS = (("ffffffffffff", 0x88b5, b"an ethertype for experiments"),
          ("ffffffffffff", 0x8137, b"\xff\xff" + bytes(28)))  # IPX
CONTROL = ("ffffffffffff", 0x0806, b"\x00\x01\x08\x00\x06\x04\x00\x02" + bytes(38))  # an ARP reply


def raw(ns, device="eth0"):
    def make():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((device, 0))
        sock.settimeout(0.2)
        return sock
    return in_ns(ns, make)


def receive(sock):
    """A frame as it was on the wire: the system takes the outer tag out and tells of it beside it."""
    frame, extra, _, _ = sock.recvmsg(2000, 256)
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, tag, tag_type = struct.unpack("=I12xHH", data[:20])
            if status & TAGGED:
                return frame[:12] + struct.pack(">HH", tag_type if status & TAG_TYPE else 0x8100, tag) + frame[12:]
    return frame


def arrives(sock, frame, until=None):
    """True if this frame is among those that come now, or before another; its tail may be padded."""
    try:
        while True:
            got = receive(sock)
            if got[:len(frame)] == frame:
                return True
            if until and got[:len(until)] == until:
                return False
    except socket.timeout:
        if until:
            raise Failed("not even what is allowed came") from None
        return False


def frame_between(here, there, kind):
    dest, ethertype, payload = kind
    mac = [sh("cat /sys/class/net/eth0/address", ns=ns).strip().replace(":", "") for ns in (there, here)]
    return bytes.fromhex((mac[0] if dest == "lan" else dest) + mac[1]) + struct.pack(">H", ethertype) + payload


def each_way():
    for here, there in (("lan1", "lan2"), ("lan2", "lan1")):
        sender, receiver = raw(here), raw(there)
        yield here, there, sender, receiver
        sender.close()
        receiver.close()


def cross(kinds):
    for here, there, sender, receiver in each_way():
        for kind in kinds:
            frame = frame_between(here, there, kind)

            def crosses():
                sender.send(frame)
                return arrives(receiver, frame)
            wait_for("frame of kind %04x to %s" % (kind[1], kind[0]), crosses, 5)


def stay_out(kinds):
    """None of these comes before a frame that may, sent after it."""
    for here, there, sender, receiver in each_way():
        receiver.settimeout(5)
        for number, kind in enumerate(kinds):
            frame = frame_between(here, there, kind)
            last = frame_between(here, there, CONTROL) + bytes([number])
            sender.send(frame)
            sender.send(last)
            if arrives(receiver, frame, last):
                raise Failed("a frame of kind %04x came from %s" % (kind[1], here))


def test_frames_of_every_kind_cross(net):
    place(net)
    cross(ISIS + PPPOE + VLAN + OTHERS)


def ethertype(number, **more):
    return dict(more, type="MATCH_ETHERTYPE", etherType=number)


# Those by which controllers begin, and what lets more pass.
USUAL = [ethertype(kind, **{"not": True}) for kind in (0x0800, 0x0806, 0x86dd)] + [
    {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}]
MORE = [ethertype(0x8863)] + [ethertype(kind, **{"or": True}) for kind in (0x8864, 0x8100, 0x88a8)] + [
    {"type": "MATCH_MAC_DEST", "mac": "01:80:c2:00:00:14", "or": True},
    {"type": "MATCH_MAC_DEST", "mac": "01:80:c2:00:00:15", "or": True}, {"type": "ACTION_ACCEPT"}]


def test_kinds_of_frames_under_rules(net):
    """Not before rules say so: PPPoE by its ethertypes, tagged frames by that of their tag, IS-IS, which has
    none, by where it goes to."""
    nwid = place(net, rules=USUAL)[-1]
    stay_out(ISIS + PPPOE + VLAN + OTHERS)
    net.nodes[0].post("/controller/network/" + nwid, {"rules": MORE + USUAL})
    cross(ISIS + PPPOE + VLAN)
    stay_out(OTHERS)


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
