"""Port mapping at a real gateway: miniupnpd on a router with symmetric NAT, each protocol alone.
Spec 05 sections 6.9, 12; SV-94. The outside addresses look global, for the gateway maps no others."""
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
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


# ---- one node and its gateway ----

def release_and_return(net, protocol):
    """Switched off and on at run time; a renewal asked for; the gateway forgets."""
    gateway, a = alone(net, protocol)
    wait_mapped(a, protocol)
    for enabled in (False, True):
        a.config["settings"]["portMappingEnabled"] = enabled
        a.write("local.conf", json.dumps(a.config))
        wait_for("mapping %s" % enabled, lambda: gateway.has(9993) == enabled, 10)
        wait_for("told", lambda: mapping(a)["state"] == ("mapped" if enabled else "off"), 5)
    wait_mapped(a, protocol)
    gateway.kill()
    gateway.start()
    if protocol == "upnp":  # which tells nobody; the next renewal repairs it
        a.process.send_signal(1)
    wait_for("mapped anew after the gateway restarted", lambda: gateway.has(9993), 15)
    wait_mapped(a, protocol)
    gateway.kill()
    a.process.send_signal(1)  # renew now
    wait_for("mapping gone with the gateway", lambda: mapping(a)["state"] == "none", 20)
    if mapping(a)["external"] is not None:
        raise Failed("%s" % mapping(a))
    took = a.stop()
    if took > 2:
        raise Failed("stop took %.1f s" % took)


def test_pcp_off_on_restart_gone(net):
    release_and_return(net, "pcp")


def test_natpmp_off_on_restart_gone(net):
    release_and_return(net, "nat-pmp")


def test_upnp_off_on_restart_gone(net):
    release_and_return(net, "upnp")


def test_pcp_renews(net):
    """A gateway that grants seconds only is asked again in time."""
    gateway, a = alone(net, "pcp", options="min_lifetime=5\nmax_lifetime=8")
    now = wait_mapped(a, "pcp")
    if now["lease"] != 8:
        raise Failed("%s" % now)
    end = time.monotonic() + 8.5
    while time.monotonic() < end:
        now = mapping(a)
        if now["state"] != "mapped" or now["leaseLeft"] < 1 or not gateway.has(9993):
            raise Failed("lapsed: %s %s" % (now, gateway.rules()))
        time.sleep(0.3)


def test_network_lost_and_back(net):
    gateway, a = alone(net, "pcp")
    wait_mapped(a, "pcp")
    sh("ip route del default", ns="a")
    wait_for("mapping gone with the route", lambda: mapping(a)["state"] == "none", 5)
    sh("ip route add default via " + INSIDE, ns="a")
    wait_mapped(a, "pcp", 5)
    sh("ip addr add 192.168.1.77/24 dev eth0 && ip addr del 192.168.1.2/24 dev eth0 && "
       "ip addr show dev eth0 | grep -q 1.77 || ip addr add 192.168.1.77/24 dev eth0; "
       "ip route replace default via " + INSIDE, ns="a")
    wait_for("mapped to the new address", lambda: "192.168.1.77" in gateway.rules(), 10)


def shared(net, protocol):
    """Two nodes want the same external port: each gets one of its own."""
    gateway, a = alone(net, protocol)
    first = wait_mapped(a, protocol)
    c = node_behind(net, "c", "192.168.1.3")
    c.start()
    second = wait_mapped(c, protocol)
    if first["external"] != OUTSIDE + "/9993" or second["external"] == first["external"]:
        raise Failed("%s %s" % (first, second))
    port = int(second["external"].split("/")[1])
    if not gateway.has(9993) or not gateway.has(port):
        raise Failed(gateway.rules())
    c.stop()
    wait_for("only the one of the other deleted", lambda: not gateway.has(port), 5)
    if not gateway.has(9993):
        raise Failed("a lost its mapping")


def test_pcp_shared(net):
    shared(net, "pcp")


def test_natpmp_shared(net):
    shared(net, "nat-pmp")


def test_upnp_shared(net):
    shared(net, "upnp")


# ---- gateways that lie ----

class Liar:
    """A gateway made of handlers: udp(port, data) and http(path, body) give answers or None."""

    def __init__(self, net, udp=None, http=None, ns="r1", at=INSIDE, router=True):
        self.udp = udp
        self.http = http
        self.seen = []  # (port, data) and (path, body)
        self.closing = False
        if router:
            net.nat("r1", OUTSIDE + "/24", INSIDE + "/24")
        self.sockets = []
        self.threads = []
        for port in (5351, 1900):
            sock = in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((at, port))
            self.run(self.datagrams, sock, port)
        listener = in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((at, 5000))
        listener.listen(8)
        self.run(self.connections, listener)

    def run(self, function, sock, *args):
        self.sockets.append(sock)
        thread = threading.Thread(target=function, args=(sock,) + args, daemon=True)
        thread.start()
        self.threads.append(thread)

    def datagrams(self, sock, port):
        sock.settimeout(0.1)
        while not self.closing:
            try:
                data, source = sock.recvfrom(2048)
            except OSError:
                continue
            self.seen.append((port, data))
            for answer in (self.udp(port, data) if self.udp else None) or []:
                sock.sendto(answer, source)

    def connections(self, listener):
        listener.settimeout(0.1)
        while not self.closing:
            try:
                conn = listener.accept()[0]
            except OSError:
                continue
            self.run(self.one, conn)

    def one(self, conn):
        try:
            conn.settimeout(2)
            data = b""
            while b"\r\n\r\n" not in data:
                data += conn.recv(4096) or b"\r\n\r\n"
            head, _, body = data.partition(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:")]
            while len(body) < (length or [0])[0]:
                body += conn.recv(4096)
            path = head.split(b" ")[1].decode()
            self.seen.append((path, body))
            answer = self.http(path, body) if self.http else None
            for piece in answer if isinstance(answer, list) else [answer or b""]:
                conn.sendall(piece)
        except OSError:
            pass
        conn.close()

    def close(self):
        self.closing = True
        for thread in self.threads:
            thread.join(5)
        for sock in self.sockets:
            sock.close()


def lied_to(net, udp=None, http=None):
    liar = Liar(net, udp, http)
    a = node_behind(net)
    net.make_planet([(a, "46.0.0.200/9993")])
    a.start()
    return liar, a


def natpmp(external, lifetime=3600, port=40000):
    """A NAT-PMP gateway with that external address."""
    def udp(at, data):
        if at != 5351:
            return None
        if data[0] != 0:
            return [struct.pack(">BBHI", 0, 128 | data[1], 1, 0)]
        if data[1] == 0:
            return [struct.pack(">BBHI", 0, 128, 0, 9) + socket.inet_aton(external)]
        return [struct.pack(">BBHIHHI", 0, 129, 0, 9, struct.unpack(">H", data[4:6])[0], port,
                            min(lifetime, struct.unpack(">I", data[8:12])[0]))]
    return udp


def test_address_behind_another_nat(net):
    """It is shown as what it is; the lease is short, so that it is renewed and taken back."""
    liar, a = lied_to(net, natpmp("10.0.0.5", lifetime=8))
    now = wait_mapped(a, "nat-pmp")
    if now["external"] != "10.0.0.5/40000" or not now["behindAnotherNat"]:
        raise Failed("%s" % now)

    def maps():
        return [data for port, data in liar.seen if port == 5351 and data[:2] == b"\0\1"]
    wait_for("renewed twice", lambda: len(maps()) >= 3, 15)
    if maps()[-1][6:8] != struct.pack(">H", 40000):
        raise Failed("renewal does not ask for the port it has")
    a.stop()
    wait_for("taken back", lambda: maps()[-1][6:] == bytes(6), 3)
    liar.close()


def test_addresses_that_are_none(net):
    """No mapping comes of them."""
    state = {"external": "0.0.0.0", "port": 1}
    liar, a = lied_to(net, lambda at, data: natpmp(state["external"], port=state["port"])(at, data))
    wait_for("given up", lambda: mapping(a)["state"] == "none", 15)
    for external, port in (("0.0.0.0", 1), ("127.0.0.1", 1), ("46.0.0.11", 0)):
        state.update(external=external, port=port)
        del liar.seen[:]
        a.process.send_signal(1)
        wait_for("asked", lambda: any(port == 5351 for port, _ in liar.seen), 5)
        wait_for("given up", lambda: mapping(a)["state"] == "none", 15)
    state.update(external="46.0.0.11", port=1)
    a.process.send_signal(1)
    wait_mapped(a, "nat-pmp", 5)
    liar.close()


def test_pcp_refused_natpmp_granted(net):
    def udp(port, data):
        if port == 5351 and data[0] == 2:  # not authorized
            return [data[:1] + b"\x81\0\2" + bytes(20) + data[24:]]
        return natpmp("46.0.0.11")(port, data)
    liar, a = lied_to(net, udp)
    wait_mapped(a, "nat-pmp")
    a.stop()
    liar.close()


def test_slow_gateway_without_pcp(net):
    """Its refusals of several PCP requests come together, after it was asked by NAT-PMP too."""
    queue = []

    def udp(port, data):
        queue.append(data)
        if port != 5351 or len(queue) < 3:
            return []
        answers = [natpmp("46.0.0.11")(port, item)[0] for item in queue]
        del queue[:-1]
        return answers
    liar, a = lied_to(net, udp)
    wait_mapped(a, "nat-pmp", 5)
    a.stop()
    liar.close()


def test_nonsense_and_floods(net):
    """A gateway that answers much, and nothing of use."""
    junk = [os.urandom(n) for n in (0, 1, 2, 3, 24, 59, 60, 61, 1100, 1400)]
    junk += [b"\x02\x81" + os.urandom(58), b"\0\x80" + os.urandom(2), b"\0\x81\0\0"]
    liar, a = lied_to(net, lambda port, data: junk * 50)
    wait_for("given up", lambda: mapping(a)["state"] == "none", 20)
    if not any(port == 1900 for port, _ in liar.seen):
        raise Failed("UPnP was not tried")
    if a.stop() > 2:
        raise Failed("stop took too long")
    liar.close()


IGD = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
WAN = "urn:schemas-upnp-org:service:WANIPConnection:1"


def found_at(url):
    def udp(port, data):
        if port != 1900:
            return None
        return [("HTTP/1.1 200 OK\r\nST: %s\r\nLocation: %s\r\n\r\n" % (IGD, url)).encode()]
    return udp


def page(body, status="200 OK"):
    return ("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)).encode()


def description(control):
    return page("<root><service><serviceType>%s</serviceType><controlURL>%s</controlURL>"
                "</service></root>" % (WAN, control))


def test_urls_of_others_are_not_contacted(net):
    net.nat("r1", OUTSIDE + "/24", INSIDE + "/24")
    net.behind("r1", "victim", "192.168.1.9/24", INSIDE)
    victim = Liar(net, ns="victim", at="192.168.1.9", router=False)
    state = {"location": "http://192.168.1.9:5000/x", "control": "/c"}
    liar = Liar(net, lambda port, data: found_at(state["location"])(port, data),
                lambda path, body: description(state["control"]), router=False)
    a = node_behind(net)
    net.make_planet([(a, "46.0.0.200/9993")])
    a.start()
    wait_for("given up", lambda: mapping(a)["state"] == "none", 20)
    if any(isinstance(path, str) for path, _ in liar.seen):
        raise Failed("something was fetched: %s" % liar.seen)
    state.update(location="http://%s:5000/d" % INSIDE, control="http://192.168.1.9:5000/c")
    a.process.send_signal(1)
    wait_for("description fetched", lambda: ("/d", b"") in liar.seen, 20)
    wait_for("given up", lambda: mapping(a)["state"] == "none", 20)
    if any(isinstance(path, str) for path, _ in victim.seen):
        raise Failed("contacted: %s" % victim.seen)
    a.stop()
    liar.close()
    victim.close()


def test_endless_and_silent_http(net):
    """A description without end, then calls without answers: bounded, and no delay of the stop."""
    state = {"mode": "endless"}

    def http(path, body):
        if path == "/d":
            if state["mode"] == "endless":
                return [b"HTTP/1.1 200 OK\r\n\r\n"] + [b"x" * 65536] * 64
            return description("/c")
        if b"GetExternalIPAddress" in body:
            return page("<NewExternalIPAddress>46.0.0.11</NewExternalIPAddress>")
        if b"DeletePortMapping" in body:
            time.sleep(4)
            return b""
        return page("") if b"AddPortMapping" in body else page("", "500 no")
    liar, a = lied_to(net, found_at("http://%s:5000/d" % INSIDE), http)
    wait_for("fetched", lambda: ("/d", b"") in liar.seen, 20)
    wait_for("given up", lambda: mapping(a)["state"] == "none", 20)
    state["mode"] = "silent"
    a.process.send_signal(1)
    wait_mapped(a, "upnp", 20)
    if a.stop() > 2:
        raise Failed("stop took too long")
    liar.close()
