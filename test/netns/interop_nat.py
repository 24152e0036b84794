"""The cases of nat.py with the reference in one seat or another, which sets what is possible there.
ZEROTIER_ONE names an installed zerotier-one; without it everything here is skipped."""
from nat import direct, pair, talk
from net import Failed, ping


def test_port_restricted_with_a_reference(net):
    direct(net, "rr", ("b",), 60)


def test_port_restricted_by_a_reference_root(net):
    direct(net, "rr", ("root",), 60)


def test_port_restricted_two_references(net):
    direct(net, "rm", ("a", "b"), 60)


def test_moved_ports_with_a_reference(net):
    direct(net, "mm", ("a",), 60)


def test_full_cone_and_symmetric_reference(net):
    direct(net, "fs", ("b",), 60)


def test_full_cone_reference_and_symmetric(net):
    direct(net, "fs", ("a",), 60)


def test_symmetric_reference_is_relayed_without_loss(net):
    _, a, b, nwid = pair(net, "rs", ("b",))
    talk(a, b, nwid)
    if ping(a.ns, b.ip(nwid), 40) or ping(b.ns, a.ip(nwid), 40):
        raise Failed("pings lost by the relay")
