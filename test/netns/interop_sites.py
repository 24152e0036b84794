"""Gateways and bridges with the reference in one seat: full tunnel and two sites in one Ethernet.
ZEROTIER_ONE names an installed zerotier-one; without it everything here is skipped."""
from bridge import ISIS, OTHERS, PPPOE, VLAN, cross
from net import Failed, ping, sh, wait_for, wait_ping
from managed import has_default
from offload_bridge import LAN, attach


def members(net, kinds, **settings):
    """A root of ours that is also the controller, and two members, each of them ours (p) or not (r)."""
    root = net.node(net.host("root", "10.9.0.1/16"))
    nodes = [net.node(net.host(name, "10.9.%d.1/16" % index), reference=kind == "r")
             for index, (name, kind) in enumerate(zip(("a", "b"), kinds), 1)]
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in [root] + nodes:
        node.start(wait=False)
    for node in [root] + nodes:
        node.wait_api()
    nwid = root.create_network(**settings)
    return root, nodes[0], nodes[1], nwid


def full_tunnel(net, kinds):
    root, a, b, nwid = members(net, kinds)
    for node in (a, b):
        root.authorize(nwid, node)
        node.join(nwid)
    for node in (a, b):
        node.wait_network(nwid, timeout=40)
    sh("ip link add lan0 type bridge && ip addr add 172.20.0.1/24 dev lan0 && ip link set lan0 up && "
       "sysctl -qw net.ipv4.ip_forward=1", ns="b")
    net.behind("b", "web", "172.20.0.2/24", "172.20.0.1")
    sh("ip route add default via 10.9.0.1 dev eth0; sysctl -qw net.ipv4.conf.all.rp_filter=0", ns="a")
    wait_ping("a", b.ip(nwid), 30)
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "0.0.0.0/0", "via": b.ip(nwid)}]})
    a.post("/network/" + nwid, {"allowDefault": True})
    wait_for("default route", lambda: has_default(a, nwid), 60)
    wait_ping("a", "172.20.0.2", 20)
    a.wait_direct(b)
    if ping("a", "172.20.0.2", 20):
        raise Failed("pings lost in the tunnel")


def test_full_tunnel_through_a_reference(net):
    full_tunnel(net, "pr")


def test_full_tunnel_of_a_reference(net):
    full_tunnel(net, "rp")


def test_bridges_of_both_kinds(net):
    root, a, b, nwid = members(net, "pr", mtu=1500)
    for node in (a, b):
        root.authorize(nwid, node, activeBridge=True, noAutoAssignIps=True)
        node.join(nwid)
    for node in (a, b):
        node.wait_network(nwid, timeout=40)
    wait_for("bridges known", lambda: all(node.network(nwid)["bridge"] for node in (a, b)), 30)
    attach(net, a, nwid, "lan1", 1, 1500)
    attach(net, b, nwid, "lan2", 2, 1500)
    wait_ping("lan1", LAN % (200, 2), 30)
    wait_ping("lan2", LAN % (200, 1), 30)
    wait_ping("lan1", "fd12::2", 30)
    a.wait_direct(b, 40)
    cross(ISIS + PPPOE + VLAN + OTHERS)
    for size in (56, 1472):
        if ping("lan1", LAN % (200, 2), 20, size=size) or ping("lan2", LAN % (200, 1), 20, size=size):
            raise Failed("pings of %d bytes lost between the sites" % size)
