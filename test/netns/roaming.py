"""What changes below a pair of members while they talk: traffic goes on soon, by bounds that a busy machine
keeps (bench/roaming.py measures). Checklist PP-9 to PP-14, NT-8, RT-6, CB-4; spec 02 section 6.7, 05 section
6.8."""
import os
import signal
import socket
import struct
import time

from net import Failed, in_ns, ping, sh, wait_for, wait_ping

SOON_S = 5      # between our own nodes
AT = "10.9.0.%d"


def pair(net, natted=(), roots=1, apart=False, reference=False):
    """A root (or two; the first is the controller) and the members one and two, which know each other."""
    tops = [net.node(net.host("root%d" % i, AT % (1 + i) + "/24")) for i in range(roots)]
    nodes = []
    for i, name in enumerate(("one", "two")):
        if name in natted:
            net.nat("nat" + name, AT % (11 + i) + "/24", "192.168.%d.1/24" % (11 + i))
            net.behind("nat" + name, name, "192.168.%d.2/24" % (11 + i), "192.168.%d.1" % (11 + i))
        else:
            net.host(name, AT % (11 + i) + "/24")
        sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=1", ns=name)
        config = {"settings": {"allowSecondaryPort": False}} if natted else None
        nodes.append(net.node(name, reference=reference and name == "two", config=config))
    if apart:
        drop("one", 12)
        drop("two", 11)
    net.make_planet([(root, AT % (1 + i) + "/9993") for i, root in enumerate(tops)])
    for node in tops + nodes:
        node.start()
    nwid = tops[0].create_network()
    for node in nodes:
        tops[0].authorize(nwid, node)
        node.join(nwid)
    for node in nodes:
        node.wait_network(nwid)
    one, two = nodes
    wait_ping("one", two.ip(nwid), 30)
    if not apart:
        one.wait_direct(two)
        two.wait_direct(one)
    return tops, one, two, nwid


def drop(ns, host):
    sh("nft 'add table ip cut; add chain ip cut in { type filter hook input priority 0; }; "
       "add rule ip cut in ip saddr %s drop'" % (AT % host), ns=ns)


def move(ns, old, new):
    sh("ip addr add %s/24 dev eth0 && ip addr del %s/24 dev eth0" % (AT % new, AT % old), ns=ns)


def forget_mappings(ns):
    """The router's connections are forgotten, as by a restart."""
    def flush():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
            netfilter.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, socket.AF_INET, 0, 0))
    sh("nft -f - <<'END'\nflush chain ip nat post\n"
       "add rule ip nat post oifname eth0 udp sport 9993 masquerade to :31993\n"
       "add rule ip nat post oifname eth0 masquerade\nEND", ns=ns)
    in_ns(ns, flush)


def goes_on(two, nwid, limit=SOON_S):
    """Both ways."""
    wait_ping("one", two.ip(nwid), limit)


# ---- our own nodes ----

def test_address_changes_twice(net):
    """NT-8; the pair is direct again by the new address."""
    _, one, two, nwid = pair(net)
    for old, new in ((11, 21), (21, 22)):
        move("one", old, new)
        goes_on(two, nwid)
    wait_for("direct path to the new address", lambda: any(
        path["address"].startswith(AT % 22 + "/") and path["active"]
        for peer in two.get("/peer") if peer["address"] == one.address for path in peer["paths"]), 15)


def test_address_is_away_for_a_moment(net):
    """Between two leases there is no address at all."""
    _, one, two, nwid = pair(net)
    sh("ip addr del %s/24 dev eth0 && sleep 0.3 && ip addr add %s/24 dev eth0" % (AT % 11, AT % 21), ns="one")
    goes_on(two, nwid)
    one.wait_direct(two, 15)


def test_nat_takes_another_port(net):
    """PP-14, the other side public."""
    _, _, two, nwid = pair(net, natted=("one",))
    forget_mappings("natone")
    goes_on(two, nwid)


def test_nat_takes_another_port_both_behind(net):
    """PP-14: relayed at once, introduced again by the root, direct again."""
    _, one, two, nwid = pair(net, natted=("one", "two"))
    forget_mappings("natone")
    goes_on(two, nwid)
    one.wait_direct(two, 15)


def test_direct_path_dies_and_returns(net):
    """PP-13."""
    _, one, two, nwid = pair(net)
    drop("one", 12)
    drop("two", 11)
    goes_on(two, nwid)
    wait_for("the relay", lambda: not one.is_direct(two), 15)
    for ns in ("one", "two"):
        sh("nft delete table ip cut", ns=ns)
    wait_for("the direct path", lambda: ping("one", two.ip(nwid), 2) == 0 and one.is_direct(two), 25)


def test_one_direction_dies(net):
    """What two sends to one directly is lost, the other way works."""
    _, _, two, nwid = pair(net)
    drop("one", 12)
    goes_on(two, nwid)
    if ping("one", two.ip(nwid), 20) > 4:
        raise Failed("traffic does not stay")


def test_a_root_dies(net):
    """RT-6: whichever relays."""
    for victim in (0, 1):
        tops, _, two, nwid = pair(net, roots=2, apart=True)
        tops[victim].kill()
        goes_on(two, nwid)
        if victim == 0:
            for node in net.nodes:
                node.kill()
            for name in net.names[1:]:
                sh("ip netns del " + name)
            net.nodes, net.names = [], net.names[:1]


def test_a_laptop_sleeps(net):
    """SIGSTOP for longer than anybody waits, and another address when it wakes."""
    _, one, two, nwid = pair(net)
    os.kill(one.process.pid, signal.SIGSTOP)
    move("one", 11, 21)
    time.sleep(3)
    os.kill(one.process.pid, signal.SIGCONT)
    goes_on(two, nwid)


def test_link_goes_down_and_up(net):
    """With the same address: only events of the link tell."""
    _, _, two, nwid = pair(net)
    sh("ip link set eth0 down && sleep 2 && ip link set eth0 up", ns="one")
    goes_on(two, nwid)


def test_peer_is_killed_and_started(net):
    _, _, two, nwid = pair(net)
    target = two.ip(nwid)
    two.kill()
    two.start()
    wait_ping("one", target, SOON_S)


def test_root_restart_loses_no_ping(net):
    tops, _, two, nwid = pair(net)
    tops[0].kill()
    if ping("one", two.ip(nwid), 20):
        raise Failed("pings of a direct pair lost")
    tops[0].start()
    if ping("one", two.ip(nwid), 20):
        raise Failed("pings of a direct pair lost")


def test_the_network_comes_after_the_node(net):
    """CB-4: no address at all for some seconds, then one."""
    root = net.node(net.host("root0", AT % 1 + "/24"))
    one = net.node(net.namespace("one"))
    net.plug("one")
    net.make_planet([(root, AT % 1 + "/9993")])
    root.start()
    one.start()
    time.sleep(1.5)
    sh("ip addr add %s/24 dev eth0" % (AT % 11), ns="one")
    one.wait_online(SOON_S)


def test_leave_and_join_again(net):
    """The first ping passes: credentials are given at once to who lost them."""
    _, one, two, nwid = pair(net)
    target = two.ip(nwid)
    for _ in range(3):
        one.delete("/network/" + nwid)
        one.join(nwid)
        one.wait_network(nwid)
        wait_ping("one", target, SOON_S)
