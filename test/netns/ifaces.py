"""Which interfaces and addresses are used: tunnels and bridges of containers are not bound, no path leads
into an own network, blacklists hold at once, own packets that come back are seen. Checklist: SV-62, SV-69,
SV-88, SV-90, SV-92, PP-6, RX-2."""
import json
import re
import signal
import socket

from net import Failed, in_ns, sh, wait_for, wait_ping

ROOT_AT = "10.9.0.1"


def bound(ns):
    """Local IPs that carry UDP sockets of port 9993."""
    out = sh("ss -Hnlu 'sport = :9993'", ns=ns)
    return {line.split()[3].rsplit(":", 1)[0].strip("[]").split("%")[0] for line in out.splitlines()}


def reload(node, **sections):
    """Change local.conf and have it read."""
    for key, value in sections.items():
        node.config.setdefault(key, {}).update(value)
    node.write("local.conf", json.dumps(node.config))
    node.process.send_signal(signal.SIGHUP)


def pair(net, config=None):
    """A root with a network, and two members that reach each other directly."""
    root = net.node(net.host("root", ROOT_AT + "/24"))
    a = net.node(net.host("a", "10.9.0.2/24"), config=config)
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, ROOT_AT + "/9993")])
    return root, a, b


def join(root, *members, **settings):
    nwid = root.create_network(**settings)
    for node in members:
        root.authorize(nwid, node)
        node.join(nwid)
    for node in members:
        node.wait_network(nwid)
    return nwid


def tunnels(ns):
    """Interfaces of kinds that are no way to the world, under names that do not tell, and some that
    do."""
    sh("ip link add peerA type vxlan id 5 remote 10.9.0.99 dstport 4789 dev eth0 && "
       "ip addr add 10.30.0.1/24 dev peerA && ip link set peerA up && "
       "ip tuntap add dev other0 mode tun && ip addr add 10.31.0.1/24 dev other0 && "
       "ip link set other0 up && "
       "ip tuntap add dev other1 mode tap && ip addr add 10.32.0.1/24 dev other1 && "
       "ip link set other1 up && "
       "ip link add docker0 type bridge && ip addr add 10.33.0.1/24 dev docker0 && "
       "ip link set docker0 up && "
       "ip link add wg7 type veth peer name vethx && ip addr add 10.34.0.1/24 dev wg7 && "
       "ip addr add 10.35.0.1/24 dev vethx && ip link set wg7 up && ip link set vethx up && "
       "ip link add lan0 type bridge && ip addr add 10.36.0.1/24 dev lan0 && "
       "ip link set lan0 up", ns=ns)


def test_tunnels_and_containers_are_not_bound(net):
    """SV-88, SV-69, SV-90: by kind where the name does not tell; allow and deny lists, live."""
    root, a, _ = pair(net)
    tunnels("a")
    root.start()
    a.start()
    wait_for("the LAN bridge bound", lambda: bound("a") == {"10.9.0.2", "10.36.0.1"})
    reload(a, settings={"interfaceAllowlist": ["docker*", "peer?"],
                        "interfacePrefixBlacklist": "lan"})
    wait_for("docker0 and the VXLAN bound, the bridge not",
             lambda: bound("a") == {"10.9.0.2", "10.30.0.1", "10.33.0.1"})
    reload(a, settings={"interfaceAllowlist": "wg7", "interfacePrefixBlacklist": ["peer", "docker"]})
    wait_for("other lists", lambda: bound("a") == {"10.9.0.2", "10.34.0.1", "10.36.0.1"})
    sh("ip link del wg7", ns="a")
    wait_for("the removed interface closed", lambda: bound("a") == {"10.9.0.2", "10.36.0.1"})
    a.wait_online()


def test_many_addresses(net):
    """SV-92: sockets are bounded, the interface of the default route comes first."""
    root, a, _ = pair(net)
    sh("ip link add many type bridge && ip link set many up", ns="a")
    sh("for i in $(seq 1 120); do ip addr add 10.77.$i.1/24 dev many; done", ns="a", timeout=60)
    sh("ip route add default via 10.9.0.254", ns="a")
    root.start()
    a.start()
    a.wait_online()
    here = bound("a")
    if "10.9.0.2" not in here or len(here) > 64:
        raise Failed("%d addresses bound, of the default route: %s" % (len(here), "10.9.0.2" in here))


def paths(node, other):
    for peer in node.get("/peer"):
        if peer["address"] == other.address:
            return [path["address"].rsplit("/", 1)[0] for path in peer["paths"]]
    return []


def test_blacklists_hold_at_once(net):
    """SV-62: physical and virtual ones end existing paths; without them paths come back."""
    root, a, b = pair(net)
    for node in (root, a, b):
        node.start()
    nwid = join(root, a, b)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    reload(a, physical={"10.9.0.3/32": {"blacklist": True}})
    wait_for("no path to b", lambda: paths(a, b) == [], 10)
    wait_ping("a", b.ip(nwid))  # by the root
    a.config["physical"] = {}
    reload(a)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    reload(a, virtual={b.address: {"blacklist": ["10.9.0.0/24"]}})
    wait_for("no path to b", lambda: paths(a, b) == [], 10)
    if not paths(a, root):
        raise Failed("the blacklist of b is applied to the root")
    wait_ping("a", b.ip(nwid))


def test_no_path_into_an_own_network(net):
    """PP-6: when a route into the device of a network covers the address of a peer, the path ends, and no
    new one is made; other peers stay."""
    root, a, b = pair(net)
    for node in (root, a, b):
        node.start()
    nwid = join(root, a, b)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    sh("ip route add 10.9.0.3/32 dev %s" % a.device(nwid), ns="a")
    wait_for("no path to b", lambda: paths(a, b) == [], 15)
    wait_ping("a", b.ip(nwid))
    if not paths(a, root):
        raise Failed("the path to the root ended too")
    if paths(a, b):
        raise Failed("a path leads into the own network: %s" % paths(a, b))
    sh("ip route del 10.9.0.3/32 dev %s" % a.device(nwid), ns="a")
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b, 60)


def test_own_packets_come_back(net):
    """RX-2: somebody sends us what we sent: dropped, counted, said once."""
    root, a, _ = pair(net)
    root.start()
    a.start()
    a.wait_online()

    def mirror():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        packet = bytes(8) + bytes.fromhex(root.address) + bytes.fromhex(a.address) + bytes(40)
        for _ in range(50):
            sock.sendto(packet, ("10.9.0.2", 9993))
        sock.close()
    in_ns("root", mirror)
    wait_for("the drops counted", lambda: re.search(
        r'drop_own_source"?\S* *[1-9]', a.request("GET", "/metrics", raw=True)[1]), 10)
    with open(a.log) as log:
        told = log.read().count("our own packets come back")
    if told != 1:
        raise Failed("said %d times" % told)
