"""Nodes behind real NAT routers: which pairs become direct, which stay relayed, and that neither loses
a frame on the way. Kinds of routers: net.py. Checklist: NT-3, NT-5."""
from net import Failed, ping, tcp_transfer, wait_for, wait_ping

NAT = {"f": "full-cone", "r": "port-restricted", "m": "moved", "s": "symmetric"}


def pair(net, kinds, reference=(), config=None, roots=1, extra=()):
    """A root that is also the controller, maybe a second one, and two members behind routers of these
    kinds."""
    root = net.node(net.host("root", "10.9.0.1/16"), reference="root" in reference)
    members = []
    for index, (name, kind) in enumerate(zip(("a", "b"), kinds), 1):
        host = "192.168.%d.2" % index
        net.nat("n" + name, "10.9.%d.1/16" % index, "192.168.%d.1/24" % index, NAT[kind], host)
        net.behind("n" + name, name, host + "/24", "192.168.%d.1" % index)
        settings = {"secondaryPort": 9994}
        settings.update(config or {})
        members.append(net.node(name, reference=name in reference, config={"settings": settings}))
    second = [net.node(net.host("root2", "10.9.0.2/16"))] if roots > 1 else []
    net.make_planet([(root, "10.9.0.1/9993")] + [(node, "10.9.0.2/9993") for node in second])
    for node in [root] + second + members:
        node.start(wait=False, extra=extra if node in members else ())
    for node in [root] + second + members:
        node.wait_api()
    nwid = root.create_network()
    for node in members:
        root.authorize(nwid, node)
        node.join(nwid)
    for node in members:
        node.wait_network(nwid, timeout=40)
    return root, members[0], members[1], nwid


def talk(a, b, nwid):
    wait_ping(a.ns, b.ip(nwid))
    wait_ping(b.ns, a.ip(nwid))


def direct(net, kinds, reference=(), timeout=20, roots=1, extra=()):
    _, a, b, nwid = pair(net, kinds, reference, roots=roots, extra=extra)
    talk(a, b, nwid)

    def is_direct():
        ping(a.ns, b.ip(nwid), 1)
        return a.is_direct(b) and b.is_direct(a)
    wait_for("%s direct" % kinds, is_direct, timeout, 0.1)
    if ping(a.ns, b.ip(nwid), 20) or ping(b.ns, a.ip(nwid), 20):
        raise Failed("pings lost on a direct path")
    tcp_transfer("a", "b", b.ip(nwid))


def test_full_cone_and_port_restricted(net):
    direct(net, "fr")


def test_full_cone_and_symmetric(net):
    direct(net, "fs")


def test_port_restricted_both(net):
    direct(net, "rr")


def test_port_restricted_that_moves_ports(net):
    direct(net, "rm")


def test_moved_ports_both(net):
    direct(net, "mm")


def test_port_restricted_and_symmetric(net):
    """By chance: many sockets on one side, many ports tried by the other. Two roots show the kind. The
    socket that wins is one alone, whatever number of workers there is."""
    direct(net, "rs", roots=2, timeout=90, extra=("--workers", "3"))
