"""The reference's own TCP fallback through our root. It engages after 60 s without UDP and relays to
addresses of global scope only; with forceTcpRelay at once. ZEROTIER_ONE names it; else skipped."""
from net import Failed, Skipped, ping, sh, wait_for, wait_ping, ZEROTIER_ONE
from tcprelay import ONE, ROOT, TWO, block, has_udp, metric, settings


def lab(net, config, two_config, blocked):
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    root = net.node(net.host("root", ROOT + "/16"))
    one = net.node(net.host("one", ONE + "/16"), reference=True, config=config)
    two = net.node(net.host("two", TWO + "/16"), config=two_config)
    for name in blocked:
        block(name)
    net.make_planet([(root, ROOT + "/9993")])
    for node in (root, one, two):
        node.start()
    nwid = root.create_network()
    for node in (one, two):
        root.authorize(nwid, node)
        node.join(nwid)
    return root, one, two, nwid


def meet(root, one, two, nwid, timeout):
    """Both get their configurations and pings pass."""
    for node in (two, one):
        node.wait_network(nwid, timeout=timeout)
    wait_ping("one", two.ip(nwid), 40)
    wait_ping("two", one.ip(nwid), 40)
    if ping("two", one.ip(nwid), 20, deadline=10) > 2:
        raise Failed("pings lost")
    if metric(root, "panlan_tcp_relay_clients") == 0:
        raise Failed("nobody uses the relay")


def test_reference_forced_to_tcp(net):
    relay = ROOT + "/443"
    root, one, two, nwid = lab(net, settings(forceTcpRelay=True, tcpFallbackRelay=relay),
                               settings(), ())
    sent = has_udp("one", lambda: meet(root, one, two, nwid, 60))
    if sent > 0:
        raise Failed("%d UDP packets left" % sent)


def test_reference_and_ours_without_udp(net):
    """TC-3 with the reference's client: 60 s of silence, then the relay; ours is there after 3 s."""
    relay = ROOT + "/443"
    root, one, two, nwid = lab(net, settings(tcpFallbackRelay=relay), settings(), ("one", "two"))
    meet(root, one, two, nwid, 110)
    wait_for("TUNNELED", lambda: "TUNNELED" in one.cli("info")[1], 10)
    sh("nft delete table inet wall", ns="one")
    wait_for("the reference leaves the relay", lambda: metric(root, "panlan_tcp_relay_clients") == 1,
             60)
    wait_ping("one", two.ip(nwid), 60)
