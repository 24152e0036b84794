"""Rules about tags, capabilities and certified addresses, REDIRECT, members that are shut out, and IPv6
addresses that follow from the network, each decided with the reference on the other side.
ZEROTIER_ONE names an installed zerotier-one; without it everything here is skipped.
Source: spec 03 sections 6, 7, 12.3 and 16."""
import ipaddress
import socket
import time

from flow import POOL, tcp_pair
from frames import Flow, mac_of
from ids import members, service_of_another, taps
from net import Failed, Skipped, ping, sh, wait_for, wait_ping, ZEROTIER_ONE
from offload_rules import ACCEPT, INBOUND, lan

TAG, CAPABILITY = 1000, 2000
LATE = 40  # the reference asks for its configuration once a minute, and is told of changes before


def seated(net, names, kinds, controller="p"):
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    return members(net, names, kinds, controller)


def private(controller, nodes, rules, **settings):
    nwid = controller.create_network(rules=rules, **dict(lan(0), **settings))
    for node in nodes:
        controller.authorize(nwid, node)
        node.join(nwid)
    for node in nodes:
        node.wait_network(nwid, timeout=LATE)
        wait_for("device", lambda node=node: node.device(nwid))
    return nwid


# ---- tags and capabilities ----

class Way:
    """UDP frames from one member to another, from an address (four bytes)."""

    def __init__(self, nwid, one, two, source=b"\x0a\xfa\x00\x01"):
        self.what = "from %s to %s" % (one.ns, two.ns)
        self.into, self.out = taps(nwid, one, two)
        self.flow = Flow(mac_of(two, nwid), mac_of(one, nwid), udp=True, ports=(7, 7))
        self.flow.ips = source + b"\x0a\xfa\x00\x02"
        self.number = 0

    def passes(self, timeout=0.3):
        """Does a frame, unlike those before it, come within this time?"""
        self.number += 1
        data = POOL[:100 + self.number]
        frame = self.flow.frame(data)
        self.into.put(self.flow.single(data))
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if frame in self.out.catch(max(0.01, end - time.monotonic())):
                return True
        return False

    def opens(self):
        wait_for("frames " + self.what, self.passes, LATE)

    def shuts(self):
        wait_for("no frames " + self.what, lambda: not any(self.passes() for _ in range(3)), LATE)

    def close(self):
        self.into.close()
        self.out.close()


def decisions(net, controller):
    """Frames pass between members of one department, and from who has a capability; nobody else's. What the
    receiver decides about a capability is what the sender has told of."""
    root, a, b = seated(net, "ab", "pr", controller)
    same = [{"type": "MATCH_TAGS_DIFFERENCE", "id": TAG, "value": 0}, ACCEPT]
    nwid = private(root, (a, b), same, tags=[{"id": TAG, "default": None}],
                   capabilities=[{"id": CAPABILITY, "default": False, "rules": [ACCEPT]}])
    there, back = Way(nwid, a, b), Way(nwid, b, a)

    def given(node, **what):
        root.authorize(nwid, node, **what)

    there.shuts()
    back.shuts()
    given(a, tags=[[TAG, 100]])
    given(b, tags=[[TAG, 100]])
    there.opens()
    back.opens()
    given(b, tags=[[TAG, 200]])
    there.shuts()
    back.shuts()
    given(a, capabilities=[CAPABILITY])
    there.opens()
    back.shuts()
    given(b, capabilities=[CAPABILITY])
    given(a, capabilities=[])
    back.opens()
    there.shuts()
    there.close()
    back.close()


def test_tags_and_capabilities_of_our_controller(net):
    decisions(net, "p")


def test_tags_and_capabilities_of_a_reference_controller(net):
    decisions(net, "r")


# ---- certified addresses ----

def test_addresses_certified_to_the_reference_and_by_it(net):
    """The receiver's rules want the sender's address to be one that the controller gave it."""
    root, a, b = seated(net, "ab", "pr")
    nwid = private(root, (a, b), [
        {"type": "MATCH_ETHERTYPE", "etherType": 0x0800}, INBOUND,
        {"type": "MATCH_CHARACTERISTICS", "mask": "1000000000000000", "not": True},
        {"type": "ACTION_DROP"}, ACCEPT])
    for here, there in ((a, b), (b, a)):
        for node, passes in ((here, True), (there, False)):
            way = Way(nwid, here, there, socket.inet_aton(node.ip(nwid)))
            if passes:
                way.opens()
            elif any(way.passes() for _ in range(3)):
                raise Failed("%s took an address that is its own from another" % there.ns)
            way.close()


# ---- REDIRECT and WATCH ----

def test_reference_takes_redirected_frames(net):
    service_of_another(net, *seated(net, "abc", "ppr"))


def test_reference_redirects_what_it_sends(net):
    service_of_another(net, *seated(net, "abc", "rpp"))


def test_reference_is_the_addressed(net):
    service_of_another(net, *seated(net, "abc", "prp"))


# ---- shut out ----

def shut_out(net, controller, kinds):
    """A member that lost its right is refused by all others, although the controller goes away at once."""
    root, a, b, out = seated(net, ["a", "b", "out"], kinds, controller)
    nwid = private(root, (a, b, out), [ACCEPT])
    for node in (a, b):
        wait_ping("out", node.ip(nwid), LATE)
        wait_ping(node.ns, out.ip(nwid), LATE)
    wait_ping("a", b.ip(nwid), LATE)
    for one in (a, b, out):
        for two in (a, b, out):
            if one is not two:
                one.wait_direct(two, LATE)
    ways = [Way(nwid, out, a), Way(nwid, out, b), Way(nwid, a, b), Way(nwid, b, a)]
    for way in ways:
        way.opens()
    root.post("/controller/network/%s/member/%s" % (nwid, out.address), {"authorized": False})
    root.kill()
    for way in ways[:2]:
        way.shuts()
    for way in ways[2:]:
        way.opens()
    for way in ways:
        way.close()


def test_reference_is_shut_out(net):
    shut_out(net, "p", "prr")


def test_reference_shuts_ours_out(net):
    shut_out(net, "p", "prp")


def test_shut_out_by_a_reference_controller(net):
    shut_out(net, "r", "prp")


# ---- IPv6 ----

def test_addresses_from_network_and_node(net):
    """6PLANE, with an address of a container behind each, and RFC 4193: neighbours are not asked for but
    known."""
    root, a, b = seated(net, "ab", "pr")
    for node in (a, b):
        sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 "
           "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0", ns=node.ns)
    nwid = private(root, (a, b), [ACCEPT], v6AssignMode={"6plane": True, "rfc4193": True, "zt": False},
                   enableBroadcast=False, multicastLimit=0)
    for here, there in ((a, b), (b, a)):
        assigned = [ip for ip in there.network(nwid)["assignedAddresses"] if ":" in ip]
        plane = [ip.split("/")[0] for ip in assigned if ip.endswith("/40")][0]
        unique = [ip.split("/")[0] for ip in assigned if ip.endswith("/88")][0]
        inside = str(ipaddress.ip_network(plane + "/80", strict=False)[0xc0de0002])
        sh("ip -6 addr add %s/128 dev lo" % inside, ns=there.ns)
        for target in (plane, unique, inside):
            wait_ping(here.ns, target, LATE)
            if ping(here.ns, target, 5):
                raise Failed("pings to %s lost" % target)


def test_networks_without_a_controller(net):
    """NET-1, NET-2: both kinds of ad-hoc networks, whose configuration follows from their ID."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    root, a, b = [net.node(net.host(name, "192.168.%d.1/16" % index), reference=name == "b")
                  for index, name in enumerate(("root", "a", "b"), 77)]
    net.make_planet([(root, "192.168.77.1/9993")])
    for node in (root, a, b):
        sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0", ns=node.ns)
        node.start()
    ports, lan4 = "ff13881388000000", "ff0a000000000001"  # port 5000 alone; 10.0.0.0/8
    for node in (a, b):
        node.join(ports)
        node.join(lan4)
    for node in (a, b):
        node.wait_network(ports, timeout=LATE)
        node.wait_network(lan4, timeout=LATE)
    for here, there in ((a, b), (b, a)):
        for target in (there.ip(ports, 6), there.ip(lan4), there.ip(lan4, 6)):
            wait_ping(here.ns, target, LATE)
            if ping(here.ns, target, 5):
                raise Failed("pings to %s lost" % target)
        if can_connect(here.ns, there.ns, there.ip(ports, 6), 5001):
            raise Failed("a connection to a port that is not of the network")
        for target in (there.ip(ports, 6), there.ip(lan4)):
            if not can_connect(here.ns, there.ns, target, 5000):
                raise Failed("no connection to %s" % target)


def can_connect(here, there, ip, port):
    try:
        for sock in tcp_pair(here, there, ip, timeout=2, port=port):
            sock.close()
    except OSError:
        return False
    return True
