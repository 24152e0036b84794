"""Managed addresses, routes and the default route, on the system of a member: what it gets, what its
owner allows, and that all of it goes again. Checklist: SV-9, SV-82 to SV-87."""
import ipaddress
import os

from basic import trio
from net import Failed, Skipped, ping, sh, tcp_transfer, wait_for, wait_ping


def routes(ns, device=None, family=4):
    out = sh("ip -%d -o route show%s" % (family, " dev " + device if device else ""), ns=ns)
    return [line.strip() for line in out.splitlines()]


def gateway(net):
    """A member b that forwards to a host "web" behind it, and a member a whose default route it can be.
    Both stay reachable by the underlay, where a's real default route leads to a router."""
    root, a, b, nwid = trio(net)
    sh("ip link add lan0 type bridge && ip addr add 172.20.0.1/24 dev lan0 && ip link set lan0 up && "
       "sysctl -qw net.ipv4.ip_forward=1", ns="b")
    net.behind("b", "web", "172.20.0.2/24", "172.20.0.1")
    sh("ip route add default via 10.9.0.1 dev eth0", ns="a")
    wait_ping("a", b.ip(nwid))
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "0.0.0.0/0", "via": b.ip(nwid)}]})
    return root, a, b, nwid


def has_default(a, nwid):
    device = a.device(nwid)
    return any(r.startswith("0.0.0.0/1") for r in routes("a", device)) and \
        any(r.startswith("128.0.0.0/1") for r in routes("a", device))


def test_default_route_is_the_owners_choice(net):
    _, a, b, nwid = gateway(net)
    wait_for("route offered", lambda: len(a.network(nwid)["routes"]) == 2)
    if has_default(a, nwid):
        raise Failed("default route taken without being allowed")
    a.post("/network/" + nwid, {"allowDefault": True})
    wait_for("default route", lambda: has_default(a, nwid))
    wait_ping("a", "172.20.0.2")
    a.post("/network/" + nwid, {"allowDefault": False})
    wait_for("default route gone", lambda: not has_default(a, nwid))
    if routes("a") and not any(r.startswith("default via 10.9.0.1") for r in routes("a")):
        raise Failed("the system's own default route is gone: %r" % routes("a"))


def test_full_tunnel_keeps_the_underlay(net):
    """Our datagrams never enter the tunnel they make: also not those to an address that no other
    route names, and after the peer's address changed to such a one."""
    root, a, b, nwid = gateway(net)
    a.post("/network/" + nwid, {"allowDefault": True})
    wait_for("default route", lambda: has_default(a, nwid))
    wait_ping("a", "172.20.0.2")
    a.wait_direct(b)
    # b moves to an address outside of a's subnet: reached by the real default route, by way of root
    sh("sysctl -qw net.ipv4.ip_forward=1", ns="root")
    sh("ip addr add 10.77.0.1/24 dev eth0", ns="root")
    sh("ip addr add 10.77.0.3/24 dev eth0 && ip addr del 10.9.0.3/24 dev eth0 && "
       "ip route replace default via 10.77.0.1 dev eth0", ns="b")
    wait_ping("a", "172.20.0.2", 20)
    if ping("a", "172.20.0.2", 20):
        raise Failed("pings lost in the tunnel")
    device = a.device(nwid)
    inside = sh("timeout 2 cat /sys/class/net/%s/statistics/tx_packets" % device, ns="a")
    if ping("a", "172.20.0.2", 10, interval=0.1):
        raise Failed("pings lost in the tunnel")
    more = int(sh("cat /sys/class/net/%s/statistics/tx_packets" % device, ns="a")) - int(inside)
    if more > 40:
        raise Failed("%d frames went into the tunnel for 10 pings: a loop" % more)


def device_mtu(node, nwid):
    return int(sh("cat /sys/class/net/%s/mtu" % node.device(nwid), ns=node.ns))


def stalls(from_ns, to_ns, to_ip):
    try:
        tcp_transfer(from_ns, to_ns, to_ip, 300000, timeout=2)
    except (Failed, OSError):
        return True
    return False


def test_gateway_with_a_lower_mtu(net):
    """MGD-2, SV-81: the owner of a gateway lowers the MTU of its device, which binds what it sends and not
    what it gets. Hosts behind it that hear of no "too big" stall, until the gateway clamps their MSS."""
    root, a, b, nwid = gateway(net)
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "172.20.0.0/24", "via": b.ip(nwid)}]})
    wait_ping("a", "172.20.0.2")
    sh("nft 'add table ip f; add chain ip f o { type filter hook output priority 0; }; "
       "add rule ip f o icmp type destination-unreachable drop'", ns="b")
    sh("sysctl -qw net.ipv4.tcp_mtu_probing=0", ns="web")
    shown = b.post("/network/" + nwid, {"mtuOverride": 1300})
    if shown["mtuOverride"] != 1300 or shown["clampMSS"] is not False or shown["mtu"] != 2800:
        raise Failed("shown: %r" % shown)
    wait_for("lower MTU", lambda: device_mtu(b, nwid) == 1300)
    if ping("a", b.ip(nwid), 3, size=2772):
        raise Failed("a frame within the network's MTU was not delivered")
    if not stalls("web", "a", a.ip(nwid)):
        raise Failed("TCP works without clamping: nothing is tested")
    b.post("/network/" + nwid, {"clampMSS": True})
    tcp_transfer("web", "a", a.ip(nwid))
    tcp_transfer("a", "web", "172.20.0.2")
    b.stop()
    b.start()
    b.wait_network(nwid)
    wait_for("lower MTU again", lambda: b.device(nwid) and device_mtu(b, nwid) == 1300)
    wait_ping("a", "172.20.0.2")
    tcp_transfer("web", "a", a.ip(nwid))
    for bad in (1279, 10001, -1, "1300", True):
        status, _ = b.request("POST", "/network/" + nwid, {"mtuOverride": bad}, raw=True)
        if status != 500 or b.network(nwid)["mtuOverride"] != 1300:
            raise Failed("an MTU of %r was taken" % bad)
    b.post("/network/" + nwid, {"mtuOverride": 9000, "clampMSS": False})
    wait_for("not above the network's", lambda: device_mtu(b, nwid) == 2800)
    b.post("/network/" + nwid, {"mtuOverride": 0})
    if "mtu" in b.read("networks.d/%s.local.conf" % nwid):
        raise Failed(b.read("networks.d/%s.local.conf" % nwid))


def test_gateway_with_a_lower_mtu_by_ipv6(net):
    """The same, where routers never cut packets: what is not told of is lost."""
    root, a, b, nwid = trio(net, v6AssignMode={"rfc4193": True, "6plane": False, "zt": False})
    quiet = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 "
    sh(quiet + "net.ipv6.conf.all.forwarding=1", ns="b")
    net.namespace("web")
    sh(quiet + "net.ipv4.tcp_mtu_probing=0", ns="web")
    sh("ip link add lan0 mtu 2800 type veth peer name eth0 mtu 2800 netns web && "
       "ip -6 addr add fd20:1::1/64 dev lan0 nodad && ip link set lan0 up && "
       "nft 'add table ip6 f; add chain ip6 f o { type filter hook output priority 0; }; "
       "add rule ip6 f o icmpv6 type packet-too-big drop'", ns="b")
    sh("ip -6 addr add fd20:1::2/64 dev eth0 nodad && ip link set eth0 up && "
       "ip -6 route add default via fd20:1::1", ns="web")
    wait_ping("a", b.ip(nwid, 6))
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "fd20:1::/64", "via": b.ip(nwid, 6)}]})
    wait_ping("a", "fd20:1::2")
    b.post("/network/" + nwid, {"mtuOverride": 1300})
    wait_for("lower MTU", lambda: device_mtu(b, nwid) == 1300)
    if not stalls("web", "a", a.ip(nwid, 6)):
        raise Failed("TCP works without clamping: nothing is tested")
    b.post("/network/" + nwid, {"clampMSS": True})
    tcp_transfer("web", "a", a.ip(nwid, 6))
    tcp_transfer("a", "web", "fd20:1::2")


def test_everything_goes_on_stop_and_after_a_kill(net):
    _, a, b, nwid = gateway(net)
    before = sorted(r for r in routes("a") if "eth0" in r)
    a.post("/network/" + nwid, {"allowDefault": True})
    wait_for("default route", lambda: has_default(a, nwid))
    device = a.device(nwid)
    a.stop()
    if sorted(routes("a")) != before or device in sh("ip -o link", ns="a"):
        raise Failed("left after a stop: %r" % routes("a"))
    a.start()
    a.wait_network(nwid)
    wait_for("default route", lambda: has_default(a, nwid))
    a.kill()
    wait_for("device gone with its process", lambda: device not in sh("ip -o link", ns="a"), 5)
    if sorted(routes("a")) != before:
        raise Failed("left after a kill: %r" % routes("a"))
    a.start()
    a.wait_network(nwid)
    wait_for("default route again", lambda: has_default(a, nwid))
    wait_ping("a", "172.20.0.2")
    a.delete("/network/" + nwid)
    wait_for("device gone", lambda: device not in sh("ip -o link", ns="a"))
    if sorted(routes("a")) != before:
        raise Failed("left after leaving: %r" % routes("a"))


def test_what_another_program_takes_comes_back(net):
    """Network managers clear devices they do not know."""
    _, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    device = a.device(nwid)
    own = a.ip(nwid)
    sh("ip addr del %s/16 dev %s" % (own, device), ns="a")
    wait_for("address again", lambda: own in sh("ip -o addr show dev " + device, ns="a"), 10)
    wait_ping("a", b.ip(nwid))


def test_allow_managed_list(net):
    """Only what the owner's list contains; the list survives changes of other settings."""
    root, a, b, nwid = trio(net)
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "10.50.0.0/24", "via": b.ip(nwid)},
        {"target": "10.60.0.0/24", "via": b.ip(nwid)}]})
    device = a.device(nwid)
    wait_for("routes", lambda: len([r for r in routes("a", device) if "via" in r]) == 2)
    a.stop()
    a.write("networks.d/%s.local.conf" % nwid,
            "allowManaged=10.121.0.0/16,10.50.0.0/16\nallowGlobal=0\nallowDefault=0\nallowDNS=0\n")
    a.start()
    a.wait_network(nwid)
    device = a.device(nwid)
    wait_for("one route", lambda: [r.split()[0] for r in routes("a", device) if "via" in r] == ["10.50.0.0/24"])
    a.post("/network/" + nwid, {"allowDNS": True})
    if "10.50.0.0/16" not in a.read("networks.d/%s.local.conf" % nwid):
        raise Failed("the list is gone: %r" % a.read("networks.d/%s.local.conf" % nwid))


def test_routes_are_replaced_and_global_ones_refused(net):
    root, a, b, nwid = trio(net)
    device = a.device(nwid)
    wait_ping("a", b.ip(nwid))
    second = "10.121.200.1"

    def offer(via, target="10.50.0.0/24"):
        root.post("/controller/network/" + nwid, {"routes": [
            {"target": "10.121.0.0/16"}, {"target": target, "via": via}]})
    offer(b.ip(nwid))
    wait_for("route", lambda: any(b.ip(nwid) in r for r in routes("a", device)))
    offer(second)
    wait_for("gateway changed", lambda: any(second in r for r in routes("a", device)) and
             not any("via " + b.ip(nwid) in r for r in routes("a", device)))
    offer(second, "44.1.0.0/16")
    wait_for("old route gone", lambda: not any("10.50.0.0" in r for r in routes("a", device)))
    if any("44.1.0.0" in r for r in routes("a", device)):
        raise Failed("a global route was taken")
    a.post("/network/" + nwid, {"allowGlobal": True})
    wait_for("global route", lambda: any("44.1.0.0" in r for r in routes("a", device)))


def test_route_without_gateway(net):
    root, a, b, nwid = trio(net)
    device = a.device(nwid)
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "10.78.0.0/16"}]})
    found = wait_for("route", lambda: [r for r in routes("a", device) if "10.78.0.0" in r])
    if "scope link" not in found[0] or a.ip(nwid) not in found[0]:
        raise Failed("route without gateway: %r" % found)


def test_conflicts_with_the_lan(net):
    """A route to the LAN's own subnet is left out, a narrower one is told of; both only as long as
    this machine is in that LAN."""
    root, a, b, nwid = trio(net)
    device = a.device(nwid)
    root.post("/controller/network/" + nwid, {"routes": [
        {"target": "10.121.0.0/16"}, {"target": "10.44.0.0/24", "via": b.ip(nwid)},
        {"target": "10.44.0.128/25", "via": b.ip(nwid)}]})
    wait_for("both routes", lambda: sum("10.44.0." in r for r in routes("a", device)) == 2)
    if a.network(nwid)["conflicts"]:
        raise Failed("conflicts of nothing: %r" % a.network(nwid)["conflicts"])
    sh("ip link add lan1 type bridge && ip addr add 10.44.0.9/24 dev lan1 && ip link set lan1 up", ns="a")
    wait_for("one route left out", lambda: [r.split()[0] for r in routes("a", device)
                                            if "10.44.0." in r] == ["10.44.0.128/25"])
    told = {c["route"]: c["skipped"] for c in a.network(nwid)["conflicts"] if c["interface"] == "lan1"}
    if told != {"10.44.0.0/24": True, "10.44.0.128/25": False}:
        raise Failed("conflicts: %r" % a.network(nwid)["conflicts"])
    sh("ip link del lan1", ns="a")
    wait_for("both routes again", lambda: sum("10.44.0." in r for r in routes("a", device)) == 2)


def with_dns(net, prepare):
    """A member whose network has name servers, on a machine prepared by a function of its home."""
    root, a, _, nwid = trio(net)
    prepare(a)
    root.post("/controller/network/" + nwid, {"dns": {"domain": "lan.example",
                                                      "servers": ["10.121.0.53", "fd00::53"]}})
    wait_for("servers offered", lambda: a.network(nwid).get("dns", {}).get("domain") == "lan.example")
    return a, nwid


def program(path, log):
    """A program that notes its arguments and its standard input, if that is not a terminal."""
    with open(path, "w") as out:
        out.write("#!/bin/sh\n{ echo \"$@\"; [ \"$1\" = -a ] && cat; } >>%s\n" % log)
    os.chmod(path, 0o755)


def read(path):
    return open(path).read() if os.path.exists(path) else ""


def dns_is_set_and_cleared(net, a, nwid, log, wanted, cleared):
    if read(log):
        raise Failed("servers set without being allowed: %r" % read(log))
    a.post("/network/" + nwid, {"allowDNS": True})
    wait_for("servers set", lambda: wanted in read(log))
    a.kill()
    a.start()
    wait_for("servers set again", lambda: read(log).count(wanted) == 2)
    a.stop()
    wait_for("cleared at the end", lambda: read(log).count(cleared) == 1)
    a.start()
    wait_for("servers set once more", lambda: read(log).count(wanted) == 3)
    a.post("/network/" + nwid, {"allowDNS": False})
    wait_for("cleared by the owner", lambda: read(log).count(cleared) == 2)


def test_dns_by_a_hook(net):
    log = os.path.join(net.home, "dns.log")
    a, nwid = with_dns(net, lambda node: program(node.path("dns-hook"), log))
    device = a.device(nwid)
    dns_is_set_and_cleared(net, a, nwid, log, "set %s lan.example 10.121.0.53 fd00::53\n" % device,
                           "clear %s\n" % device)


def test_dns_by_resolvconf(net):
    if os.path.exists("/run/systemd/resolve"):
        raise Skipped("systemd-resolved runs here")
    log = os.path.join(net.home, "dns.log")
    programs = os.path.join(net.home, "bin")
    os.mkdir(programs)
    program(os.path.join(programs, "resolvconf"), log)
    before = os.environ["PATH"]
    os.environ["PATH"] = programs + ":" + before
    try:
        a, nwid = with_dns(net, lambda node: None)
        device = a.device(nwid)
        # what a killed service may have left is cleared when the device comes up, here of both members
        wait_for("cleared at first", lambda: read(log) == 2 * ("-d %s.panlan\n" % device))
        os.unlink(log)
        dns_is_set_and_cleared(net, a, nwid, log, "-a %s.panlan\nsearch lan.example\n"
                               "nameserver 10.121.0.53\nnameserver fd00::53\n" % device,
                               "-d %s.panlan\n" % device)
    finally:
        os.environ["PATH"] = before


def test_6plane_addresses_of_containers(net):
    """All of a member's /80 leads to it, so that containers behind it need no announcement."""
    root, a, b, nwid = trio(net, v6AssignMode={"6plane": True, "rfc4193": False, "zt": False})
    plane = wait_for("6plane address", lambda: [
        ip.split("/")[0] for ip in a.network(nwid)["assignedAddresses"] if ip.endswith("/40")], 10)[0]
    prefix = ipaddress.ip_network(plane + "/80", strict=False)
    gate, inside = str(prefix[0xc0de0001]), str(prefix[0xc0de0002])
    net.namespace("box")
    quiet = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 "
    sh(quiet, ns="box")
    sh(quiet + "net.ipv6.conf.all.forwarding=1", ns="a")
    sh("ip link add box0 type veth peer name eth0 netns box && ip -6 addr add %s/112 dev box0 nodad && "
       "ip link set box0 up" % gate, ns="a")
    sh("ip -6 addr add %s/112 dev eth0 nodad && ip link set eth0 up && "
       "ip -6 route add default via %s" % (inside, gate), ns="box")
    wait_ping("b", inside)
    wait_ping("box", b.ip(nwid, 6))
    if ping("b", inside, 20):
        raise Failed("pings to a container lost")
    neighbour = sh("ip -6 neigh show %s" % inside, ns="b")
    if a.network(nwid)["mac"] not in neighbour:
        raise Failed("another neighbour: " + neighbour)
