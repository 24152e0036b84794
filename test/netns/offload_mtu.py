"""Networks of every size of frame: TCP, datagrams of every length, the largest ping, also with the
reference. Checklist: D-12, D-13, D-14, D-31, FRM-6. The MTUs are those where the number of datagrams of a
packet changes (spec 09 sections 1.1, 6.4)."""
from flow import device_mtu, ping_largest, tcp_check, udp_runs, udp_sizes
from interop import seats
from net import Failed, wait_for, wait_ping

MTUS = (1280, 1300, 1394, 1500, 2800, 4000, 9000, 10000)
CAP = 9869  # what seven datagrams of 1432 bytes carry of a MULTICAST_FRAME (spec 03 section 8.5)


def networks(controller, members):
    """A network of each MTU with all members; {mtu: network ID}. All but one are public: a member takes
    credentials from another only once a second."""
    made = {}
    for index, mtu in enumerate(MTUS):
        lan = "10.%d.0" % (130 + index)
        made[mtu] = controller.create_network(
            mtu=mtu, private=mtu == 2800, routes=[{"target": lan + ".0/24"}],
            v6AssignMode={"rfc4193": True},
            ipAssignmentPools=[{"ipRangeStart": lan + ".1", "ipRangeEnd": lan + ".254"}])
        for node in members:
            controller.authorize(made[mtu], node)
            node.join(made[mtu])
    for nwid in made.values():
        for node in members:
            node.wait_network(nwid, timeout=60)
    return made


def pair(net, first=(), second=()):
    """A root with the controller, and two members in all networks."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    a.start(extra=first)
    b.start(extra=second)
    return a, b, networks(root, (a, b))


def sizes(mtu, step):
    """Every size, or every so many and those around the steps of the number of datagrams."""
    most = mtu - 28
    edges = {1432 - 66 + 1416 * k + d for k in range(8) for d in range(-2, 3)}
    wanted = set(range(1, most + 1, step)) | {e for e in edges if 0 < e <= most} | {most, most - 1}
    return sorted(wanted)


def exchange(one, two, nwid, mtu, step=1, tcp=3000000):
    there, v6 = two.ip(nwid), two.ip(nwid, 6)
    what = "MTU %d" % mtu
    wait_for(what + " on the device", lambda: device_mtu(one, nwid) == min(mtu, CAP))
    wait_ping(one.ns, there)
    wait_ping(one.ns, v6)
    ping_largest(one.ns, there, min(mtu, CAP))
    ping_largest(one.ns, v6, min(mtu, CAP))
    tcp_check(one.ns, two.ns, there, tcp, what=what)
    tcp_check(one.ns, two.ns, v6, tcp // 2, what=what + " IPv6")
    udp_sizes(one.ns, two.ns, there, sizes(min(mtu, CAP), step))
    udp_sizes(one.ns, two.ns, v6, sizes(min(mtu, CAP) - 20, 97))
    udp_runs(one.ns, two.ns, there, min(mtu, CAP))
    udp_runs(two.ns, one.ns, one.ip(nwid, 6), min(mtu, CAP))


def all_sizes(net, first, second, step):
    a, b, made = pair(net, first, second)
    for mtu, nwid in made.items():
        if mtu == MTUS[0]:
            wait_ping("a", b.ip(nwid))
            a.wait_direct(b)
            b.wait_direct(a)
        exchange(a, b, nwid, mtu, step)
    return a


def test_every_size_among_ours(net):
    """D-31: the device is capped, and the log says to what."""
    a = all_sizes(net, (), (), 1)
    with open(a.log) as log:
        if "configured=%d usable=%d" % (MTUS[-1], CAP) not in log.read():
            raise Failed("no line in the log tells the capped MTU")


def test_sizes_with_offload_on_one_side(net):
    all_sizes(net, ("--no-offload",), (), 41)


def test_sizes_without_offload(net):
    all_sizes(net, ("--no-offload",), ("--no-offload",), 41)


def test_every_size_with_reference(net):
    """D-3, D-12: the reference takes what ours cut and ours what the reference cuts."""
    _, ctl, one, two, _ = seats(net, "p", "p", "p", "r")
    for mtu, nwid in networks(ctl, (one, two)).items():
        if mtu == MTUS[0]:
            wait_ping("one", two.ip(nwid), 30)
            one.wait_direct(two, 40)
            two.wait_direct(one, 40)
        exchange(one, two, nwid, mtu, 7, 1500000)
