"""LAN discovery where members are nodes of the reference, in both directions. It looks at its groups every
5 s, so that what begins to listen there is found that much later. Source: spec 03 section 11."""
from interop import seats
from lan import game, mdns
from net import wait_ping

LATE = 25


def pair(net, root, controller):
    _, _, one, two, nwid = seats(net, root, controller, "p", "r")
    wait_ping("one", two.ip(nwid), 30)
    return [one, two], nwid


def test_mdns_with_reference(net):
    members, nwid = pair(net, "p", "p")
    mdns(members, nwid, False, LATE)
    mdns(members, nwid, True, LATE)


def test_mdns_with_reference_by_its_root(net):
    members, nwid = pair(net, "r", "r")
    mdns(members, nwid, False, LATE)


def test_game_servers_with_reference(net):
    members, nwid = pair(net, "p", "p")
    game(members, nwid, LATE)
    game(members[::-1], nwid, LATE)
