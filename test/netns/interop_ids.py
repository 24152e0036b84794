"""Members that watch others by rules, where one of them is a node of the reference: as a watcher it takes our
copies, as sender or receiver it makes them for us. Source: spec 03 sections 16.2 to 16.5."""
from ids import members, warm, watch_connections
from net import Skipped, ZEROTIER_ONE


def watched(net, kinds):
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    root, a, b, inside, outside = members(net, ["a", "b", "inside", "outside"], kinds)
    warm(root, (a, b, inside, outside))
    watch_connections(root, a, b, inside, outside)


def test_reference_watches(net):
    watched(net, "pprr")


def test_reference_sends(net):
    watched(net, "rppp")


def test_reference_receives(net):
    watched(net, "prpp")
