"""Port mapping at a real gateway: miniupnpd on a router with symmetric NAT, each protocol alone.
Spec 05 sections 6.9, 12; SV-94. The outside addresses look global, for the gateway maps no others."""
import json
import os
import shutil
import socket
import struct
import subprocess
import time

from net import Failed, Skipped, in_ns, ping, sh, wait_for, wait_ping

OUTSIDE = "46.0.0.11"
INSIDE = "192.168.1.1"
RULES = """table inet filter {
 chain forward {
  type filter hook forward priority 0; policy drop;
  iifname lan0 accept
  ct state established,related accept
  jump miniupnpd
 }
 chain input {
  type filter hook input priority 0; policy accept;
  iifname eth0 ct state new drop
 }
 chain blocked {
  type filter hook input priority -5; policy accept;
  %s
 }
 chain prerouting {
  type nat hook prerouting priority -100; policy accept;
  jump prerouting_miniupnpd
 }
 chain postrouting {
  type nat hook postrouting priority 100; policy accept;
  jump postrouting_miniupnpd
  oifname eth0 masquerade fully-random
 }
 chain miniupnpd {}
 chain prerouting_miniupnpd {}
 chain postrouting_miniupnpd {}
}
"""
# What the gateway does not hear, so that one protocol is left. A PCP request begins with byte 2.
ONLY = {
    "pcp": "udp dport 1900 drop; udp dport 5351 @th,64,8 0 drop;",
    "nat-pmp": "udp dport 1900 drop; udp dport 5351 @th,64,8 2 drop;",
    "upnp": "",
}


class Gateway:
    """A router in namespace r1 with a daemon that maps ports."""

    def __init__(self, net, only, outside=OUTSIDE, options=""):
        if not shutil.which("miniupnpd"):
            raise Skipped("miniupnpd is not installed")
        self.net = net
        self.process = None
        self.only = only
        net.nat("r1", outside + "/24", INSIDE + "/24", kind="symmetric")
        sh("nft flush ruleset && nft -f - <<'END'\n%s\nEND" % (RULES % ONLY[only]), ns="r1")
        self.conf = os.path.join(net.home, "miniupnpd.conf")
        with open(self.conf, "w") as out:
            out.write("ext_ifname=eth0\nlistening_ip=lan0\nenable_natpmp=%s\nenable_upnp=%s\n"
                      "secure_mode=yes\nuuid=00000000-1111-2222-3333-444444444444\n"
                      "ipv6_disable=yes\nallow 1024-65535 192.168.1.0/24 1024-65535\n%s\n" % (
                          "no" if only == "upnp" else "yes", "yes" if only == "upnp" else "no",
                          options))
        self.start()

    def start(self):
        log = open(os.path.join(self.net.home, "miniupnpd.log"), "a")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", "r1", "miniupnpd", "-d", "-f", self.conf, "-P",
             os.path.join(self.net.home, "miniupnpd.pid")],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        port = ":1900 " if self.only == "upnp" else ":5351 "
        wait_for("the gateway listens", lambda: port in sh("ss -uln", ns="r1") + " ")

    def kill(self, forget=True):
        """Stop it; with it go its rules, as after a power failure."""
        self.process.kill()
        self.process.wait()
        if forget:
            for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
                sh("nft flush chain inet filter " + chain, ns="r1")

    def rules(self):
        return sh("nft list chain inet filter prerouting_miniupnpd", ns="r1")

    def has(self, port):
        return "dport %d " % port in self.rules()


def node_behind(net, name="a", address="192.168.1.2", config=None, router="r1", gateway=INSIDE):
    net.behind(router, name, address + "/24", gateway)
    settings = {"portMappingEnabled": True}
    settings.update(config or {})
    return net.node(name, config={"settings": settings})


def mapping(node):
    return node.get("/status")["portMapping"]


def wait_mapped(node, protocol, timeout=20):
    def there():
        now = mapping(node)
        return now if now["state"] == "mapped" else None
    now = wait_for(node.ns + " mapped", there, timeout)
    if now["protocol"] != protocol:
        raise Failed("mapped by %s" % now)
    return now


def alone(net, only, config=None, **options):
    """One node behind the gateway, no others: enough to look at mappings."""
    gateway = Gateway(net, only, **options)
    a = node_behind(net, config=config)
    net.make_planet([(a, "46.0.0.200/9993")])
    a.start()
    return gateway, a


def reachable(net, protocol):
    """A node behind a symmetric NAT and one behind a port-restricted NAT meet at the mapping."""
    root = net.node(net.host("root", "46.0.0.1/24"))
    gateway = Gateway(net, protocol)
    a = node_behind(net)
    net.nat("r2", "46.0.0.12/24", "192.168.2.1/24")
    net.behind("r2", "b", "192.168.2.2/24", "192.168.2.1")
    b = net.node("b")
    net.make_planet([(root, "46.0.0.1/9993")])
    for node in (root, a, b):
        node.start()
    now = wait_mapped(a, protocol)
    wanted = {"state": "mapped", "gateway": INSIDE, "external": OUTSIDE + "/9993",
              "internalPort": 9993, "lease": 3600, "behindAnotherNat": False}
    if {key: now.get(key) for key in wanted} != wanted or not 0 < now["leaseLeft"] <= 3600:
        raise Failed("%s" % now)
    if not gateway.has(9993):
        raise Failed("rules: " + gateway.rules())
    nwid = root.create_network(private=False)
    for node in (a, b):
        node.join(nwid)
        node.wait_network(nwid)
    wait_ping("b", a.ip(nwid))

    def by_mapping():
        for peer in b.get("/peer"):
            if peer["address"] == a.address:
                return any(path["address"] == OUTSIDE + "/9993" and path["active"]
                           for path in peer["paths"])
        return False
    wait_for("b reaches a at the mapped address", by_mapping, 30)
    if ping("b", a.ip(nwid), 20):
        raise Failed("pings lost")
    text = a.request("GET", "/metrics", raw=True)[1]
    if 'panlan_port_mapping{protocol="%s"} 1' % protocol not in text:
        raise Failed("no metric")
    took = a.stop()
    if took > 2:
        raise Failed("stop took %.1f s" % took)
    wait_for("mapping deleted", lambda: not gateway.has(9993), 5)


def test_pcp_makes_reachable(net):
    reachable(net, "pcp")


def test_natpmp_makes_reachable(net):
    reachable(net, "nat-pmp")


def test_upnp_makes_reachable(net):
    reachable(net, "upnp")
