"""Networks that block UDP: nodes get through by the TCP relay of a root, and leave it again.

TC-3 (engaged when UDP is blocked, closed when it is back; ours engages after 3 s, not 60), TC-4
(forced: no UDP leaves), TC-5 (bounds of the server). The reference's own client: interop_tcprelay.
Addresses are of global scope, since the reference relays to no others; no route leads out.
"""
import json
import os
import socket
import struct
import threading
import time

from net import Failed, in_ns, ping, sh, tcp_transfer, wait_for, wait_ping

ROOT, ONE, TWO, THREE = ("46.9.0.%d" % i for i in (1, 2, 3, 4))
ALLOW = {"settings": {"allowTcpFallbackRelay": True}}


def settings(**more):
    return {"settings": dict({"allowTcpFallbackRelay": True}, **more)}


def block(ns, rule="meta l4proto udp"):
    """Drop what matches on the wire of a namespace, both ways."""
    sh("nft -f - <<'END'\ntable inet wall {\n"
       "chain in {\n type filter hook input priority -10;\niifname eth0 %s drop\n }\n"
       "chain out {\n type filter hook output priority -10;\noifname eth0 %s drop\n }\n }\nEND" %
       (rule, rule), ns=ns)


def allow(ns):
    sh("nft delete table inet wall", ns=ns)


def reset_tls(ns):
    """A middlebox beside the root that resets connections that begin with a ClientHello."""
    sh("nft -f - <<'END'\ntable inet dpi {\n chain in {\n type filter hook input priority -10;\n"
       "iifname eth0 tcp dport 443 @ih,0,8 0x16 reject with tcp reset\n }\n }\nEND", ns=ns)


def has_udp(ns, action):
    """Run action(); the UDP packets that left the namespace meanwhile."""
    sh("nft -f - <<'END'\ntable inet count {\n chain out {\n type filter hook output priority 10;\n"
       "oifname eth0 meta l4proto udp counter\n }\n }\nEND", ns=ns)
    action()
    out = sh("nft list table inet count", ns=ns)
    sh("nft delete table inet count", ns=ns)
    return int(out.split("counter packets ")[1].split()[0])


def relay_state(node):
    return node.get("/status")["tcpFallbackActive"]


def transport(node):
    return node.get("/status")["tcpRelay"]["transport"]


def metric(node, name):
    """Sum of a metric's values over its labels."""
    _, text = node.request("GET", "/metrics", raw=True)
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith((name + " ", name + "{")))


def wait_relay(node, active=True, timeout=30):
    wait_for("%s: TCP relay %s" % (node.ns, "in use" if active else "left"),
             lambda: relay_state(node) == active, timeout)


def wait_using(node, timeout=30):
    """In use and an upstream answers through it."""
    wait_relay(node, True, timeout)
    node.wait_online(timeout)


def lab(net, blocked=("one",), config=None, root_config=None, names=("one", "two")):
    """A root that is also the controller, and members, some of which have no UDP."""
    where = {"one": ONE, "two": TWO, "three": THREE}
    root = net.node(net.host("root", ROOT + "/16"), config=root_config)
    members = [net.node(net.host(name, where[name] + "/16"), config=config or ALLOW)
               for name in names]
    for name in blocked:
        block(name)
    net.make_planet([(root, ROOT + "/9993")])
    for node in [root] + members:
        node.start()
    nwid = root.create_network()
    for node in members:
        root.authorize(nwid, node)
        node.join(nwid)
    for node in members:
        node.wait_network(nwid, timeout=40)
    return [root] + members + [nwid]


def joined(root, one, two):
    """Start them, with both members in a network of the root; its ID."""
    for node in (root, one, two):
        node.start()
    nwid = root.create_network(private=False)
    for node in (one, two):
        node.join(nwid)
        node.wait_network(nwid, timeout=40)
    return nwid


def exchange(one, two, nwid):
    """Pings without much loss and an intact stream, both ways."""
    for here, there in ((one, two), (two, one)):
        target = there.ip(nwid)
        wait_ping(here.ns, target, 30)
        if ping(here.ns, target, 20, deadline=10) > 2:
            raise Failed("pings lost from %s" % here.ns)
        tcp_transfer(here.ns, there.ns, target, 1000000)


# TC-3
def test_udp_blocked_tls_and_left_again(net):
    root, one, two, nwid = lab(net)
    wait_using(one)
    if transport(one) != "tls":
        raise Failed("transport is %s" % transport(one))
    code, text = one.cli("info")
    if code != 0 or "TUNNELED" not in text:
        raise Failed("info says " + text)
    exchange(one, two, nwid)
    if relay_state(two):
        raise Failed("a node with UDP uses the relay")
    allow("one")
    wait_relay(one, False)
    exchange(one, two, nwid)
    one.wait_direct(two)
    block("one")
    wait_ping("one", two.ip(nwid), 40)  # traffic finds out; an idle node does within 25 s
    wait_using(one)
    if transport(one) != "tls":
        raise Failed("transport is %s the second time" % transport(one))


def test_both_without_udp(net):
    root, one, two, nwid = lab(net, blocked=("one", "two"))
    wait_using(one)
    wait_using(two)
    exchange(one, two, nwid)


def test_udp_between_neighbours_stays_in_use(net):
    """Only the way to the root is blocked for UDP: the two go on by UDP between themselves."""
    wall = "ip saddr %s meta l4proto udp" % ROOT
    root = net.node(net.host("root", ROOT + "/16"))
    one = net.node(net.host("one", ONE + "/16"), config=ALLOW)
    two = net.node(net.host("two", TWO + "/16"), config=ALLOW)
    for name in ("one", "two"):
        block(name, wall)
    net.make_planet([(root, ROOT + "/9993")])
    nwid = joined(root, one, two)
    wait_using(one)
    wait_ping("one", two.ip(nwid), 30)

    def by_udp():
        for peer in one.get("/peer"):
            if peer["address"] == two.address:
                return any(path["preferred"] and path["transport"] == "udp"
                           for path in peer["paths"])
        return False
    wait_for("UDP between the two", by_udp, 30)
    if not relay_state(one):
        raise Failed("the relay was left")


def test_tls_blocked_plain_is_tried(net):
    root = net.node(net.host("root", ROOT + "/16"))
    one = net.node(net.host("one", ONE + "/16"), config=ALLOW)
    block("one")
    reset_tls("root")
    net.make_planet([(root, ROOT + "/9993")])
    root.start()
    one.start()
    wait_using(one)
    if transport(one) != "plain":
        raise Failed("transport is %s" % transport(one))


def test_plain_listener_elsewhere(net):
    """A relay named by the setting, on another port, without TLS: the reference's framing."""
    root, one, two, nwid = lab(
        net, config=settings(tcpFallbackRelay=ROOT + "/4443"),
        root_config=settings(tcpRelayListen=[ROOT + "/4443"]))
    wait_using(one)
    if transport(one) != "plain":
        raise Failed("transport is %s" % transport(one))
    exchange(one, two, nwid)


def test_ipv6_root(net):
    root = net.node(net.host("root", "2a00:99::1/64"))
    one = net.node(net.host("one", "2a00:99::2/64"), config=ALLOW)
    two = net.node(net.host("two", "2a00:99::3/64"), config=ALLOW)
    block("one")
    block("two")
    net.make_planet([(root, "2a00:99::1/9993")])
    nwid = joined(root, one, two)
    exchange(one, two, nwid)


# TC-4
def test_forced_mode_sends_no_udp(net):
    root, one, two, nwid = lab(net, blocked=(), config=ALLOW)

    def forced():
        one.stop()
        one.config["settings"]["forceTcpRelay"] = True
        one.write("local.conf", json.dumps(one.config))
        one.start()
        wait_using(one)
        wait_ping("one", two.ip(nwid), 30)
    sent = has_udp("one", forced)
    if sent > 0:
        raise Failed("%d UDP packets left" % sent)
    if one.get("/status")["config"]["settings"]["listeningOn"]:
        raise Failed("UDP sockets are bound")


def test_root_restarts(net):
    root, one, two, nwid = lab(net)
    wait_using(one)
    target = two.ip(nwid)
    wait_ping("one", target, 30)
    root.kill()
    root.start()
    wait_for("relay again", lambda: relay_state(one) and metric(root, "panlan_tcp_relay_clients"),
             30)
    wait_ping("one", target, 30)


def test_second_root_is_used_when_the_first_has_no_relay(net):
    roots = [net.node(net.host("root%d" % i, "46.9.0.%d/16" % (10 + i)),
                      config=settings(tcpRelayListen=[]) if i == 0 else None) for i in range(2)]
    one = net.node(net.host("one", ONE + "/16"), config=ALLOW)
    block("one")
    net.make_planet([(node, "46.9.0.%d/9993" % (10 + i)) for i, node in enumerate(roots)])
    for node in roots + [one]:
        node.start()
    wait_using(one)
    # By one relay both roots are reached.
    wait_for("paths to both roots", lambda: all(one.is_direct(node) for node in roots), 30)


def test_root_behind_nat(net):
    """The root's endpoint is its router's address, which does not come back from inside."""
    net.nat("r", ROOT + "/16", "192.168.7.1/24")
    net.behind("r", "rootns", "192.168.7.2/24", "192.168.7.1")
    sh("nft -f - <<'END'\ntable ip nat {\n chain pre {\n type nat hook prerouting priority -100;\n"
       "iifname eth0 tcp dport 443 dnat to 192.168.7.2\n"
       "iifname eth0 udp dport 9993 dnat to 192.168.7.2\n }\n }\n"
       "table ip guard {\n chain through {\n ct status dnat accept\n }\n }\nEND", ns="r")
    root = net.node("rootns")
    one = net.node(net.host("one", ONE + "/16"), config=ALLOW)
    two = net.node(net.host("two", TWO + "/16"), config=ALLOW)
    block("one")
    net.make_planet([(root, ROOT + "/9993")])
    nwid = joined(root, one, two)
    wait_using(one)
    exchange(one, two, nwid)


# ---- a relay of the reference's kind ----

class PlainRelay:
    """The framing of spec 02 section 12 with one UDP socket for each client, IPv4, no TLS."""

    def __init__(self, ns, address):
        def listen():
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(5)
            return server
        self.ns = ns
        self.server = in_ns(ns, listen)
        self.greetings = []
        self.records = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            udp = in_ns(self.ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(("0.0.0.0", 0))
            threading.Thread(target=self.up, args=(conn, udp), daemon=True).start()
            threading.Thread(target=self.down, args=(conn, udp), daemon=True).start()

    def up(self, conn, udp):
        data = b""
        while True:
            try:
                more = conn.recv(65536)
            except OSError:
                more = b""
            if not more:
                udp.close()
                return
            data += more
            while len(data) >= 5 and len(data) >= 5 + struct.unpack(">H", data[3:5])[0]:
                if data[:3] != b"\x17\x03\x03":
                    raise Failed("record begins with " + data[:5].hex())
                n = struct.unpack(">H", data[3:5])[0]
                body, data = data[5:5 + n], data[5 + n:]
                if n == 4:
                    self.greetings.append(body)
                elif n >= 7 and body[0] == 4:
                    port = struct.unpack(">H", body[5:7])[0]
                    if port > 1024 and n - 7 >= 16:
                        self.records += 1
                        udp.sendto(body[7:], (socket.inet_ntoa(body[1:5]), port))

    @staticmethod
    def down(conn, udp):
        while True:
            try:
                data, source = udp.recvfrom(2048)
                body = b"\x04" + socket.inet_aton(source[0]) + struct.pack(">H", source[1]) + data
                conn.sendall(b"\x17\x03\x03" + struct.pack(">H", len(body)) + body)
            except OSError:
                conn.close()
                return

    def close(self):
        self.server.close()


def test_our_client_through_a_plain_relay(net):
    net.host("relay", "46.9.0.50/16")
    relay = PlainRelay("relay", ("46.9.0.50", 443))
    try:
        root, one, two, nwid = lab(net, config=settings(tcpFallbackRelay="46.9.0.50/443"),
                                   root_config=settings(tcpRelayListen=[]))
        wait_using(one)
        exchange(one, two, nwid)
        if len(relay.greetings) == 0 or relay.records < 10:
            raise Failed("the relay saw %d greetings and %d datagrams" % (
                len(relay.greetings), relay.records))
        allow("one")
        wait_relay(one, False)
    finally:
        relay.close()


# ---- hostile clients ----

GREETING = b"\x17\x03\x03\x00\x04\x01\x0e\x00\x01"


def connect(ns, address=(ROOT, 443)):
    sock = in_ns(ns, lambda: socket.create_connection(address, 5))
    sock.settimeout(15)
    return sock


def is_closed(sock):
    """True if the other end ends the connection before it sends much."""
    got = 0
    try:
        while got < 100000:
            data = sock.recv(65536)
            if not data:
                return True
            got += len(data)
    except ConnectionError:
        return True
    except socket.timeout:
        return False
    return False


def record(body):
    return b"\x17\x03\x03" + struct.pack(">H", len(body)) + body


def datagram(ip, port, payload):
    return record(b"\x04" + socket.inet_aton(ip) + struct.pack(">H", port) + payload)


def packet(length=100):
    """Looks like a packet of a made-up node to another."""
    return os.urandom(8) + b"\x11\x22\x33\x44\x55" + b"\x21\x22\x33\x44\x55" + b"\x18" + os.urandom(
        length - 19)


def alone(net, **more):
    root = net.node(net.host("root", ROOT + "/16"), config=settings(**more))
    net.host("evil", "46.9.0.66/16")
    net.make_planet([(root, ROOT + "/9993")])
    return root.start()


def test_garbage_ends_the_connection(net):
    root = alone(net)
    tls_garbage = b"\x16\x03\x01\x02\x00" + b"\x01\x00\x01\xfc\x03\x03" + os.urandom(508)
    for data in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(1000) + b"\x00", tls_garbage,
                 GREETING + b"\x17\x03\x03\xff\xff" + b"x" * 65535,  # giant record
                 GREETING + record(b"\x07" + b"x" * 50),             # unknown type
                 GREETING + record(b"\x04abcd"),                     # cut address
                 GREETING + b"\x15\x03\x03\x00\x02ab",               # no data record
                 datagram(ROOT, 9993, packet())):                    # no greeting
        sock = connect("evil")
        try:
            sock.sendall(data)
        except OSError:
            pass
        if not is_closed(sock):
            raise Failed("not closed after " + data[:20].hex())
        sock.close()
    wait_for("no client left", lambda: metric(root, "panlan_tcp_relay_clients") == 0)
    root.wait_online()


def test_slow_clients_are_ended(net):
    root = alone(net)
    begins = (b"", b"\x17", b"\x16\x03\x01", GREETING + b"\x17\x03\x03\x00\x40abc")
    socks = [connect("evil") for _ in begins]
    for sock, begin in zip(socks, begins):
        if begin:
            sock.sendall(begin)
    for sock, begin in zip(socks, begins):
        if not is_closed(sock):
            raise Failed("not closed after " + begin.hex())
    wait_for("no client left", lambda: metric(root, "panlan_tcp_relay_clients") == 0)


def test_many_connections_are_bounded(net):
    root = alone(net)
    one = net.node(net.host("one", ONE + "/16"), config=ALLOW)
    block("one")
    socks = []
    for _ in range(60):
        sock = connect("evil")
        sock.sendall(GREETING)
        socks.append(sock)
    wait_for("refusals", lambda: metric(root, "panlan_tcp_relay_refused") >= 44)
    if metric(root, "panlan_tcp_relay_clients") > 16:
        raise Failed("more than 16 clients of one address")
    one.start()
    wait_using(one)
    for sock in socks:
        sock.close()


# TC-5
def test_what_is_not_carried(net):
    root = alone(net)
    net.host("victim", "46.9.0.77/16")

    def listen(port, address="46.9.0.77"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.settimeout(1)
        return sock
    victims = {port: in_ns("victim", lambda p=port: listen(p)) for port in (53, 1024, 9993)}
    local = in_ns("root", lambda: listen(11211, ROOT))
    sock = connect("evil")
    sock.sendall(GREETING)
    refused = ([("46.9.0.77", 53, packet()), ("46.9.0.77", 1024, packet()),
                ("46.9.0.77", 9993, packet()[:15]), ("46.9.0.77", 9993, b"\x00" * 100),
                ("46.9.0.77", 9993, packet(2100)), ("10.9.0.77", 9993, packet()),
                ("127.0.0.1", 9993, packet()), ("224.0.0.1", 9993, packet()),
                ("255.255.255.255", 9993, packet()), ("169.254.1.1", 9993, packet()),
                (ROOT, 11211, packet()), (ROOT, 22, packet())])
    for ip, port, payload in refused:
        sock.sendall(datagram(ip, port, payload))
    wait_for("refusals counted",
             lambda: metric(root, "panlan_tcp_relay_drops") >= len(refused))
    # A destination that never answers gets a handful of datagrams, however many are sent.
    for _ in range(2000):
        sock.sendall(datagram("46.9.0.77", 9993, packet()))
    wait_for("the flood counted",
             lambda: metric(root, "panlan_tcp_relay_drops") >= len(refused) + 1800)
    got = 0
    try:
        while True:
            victims[9993].recv(3000)
            got += 1
    except socket.timeout:
        pass
    if not 1 <= got <= 200:
        raise Failed("the victim got %d datagrams" % got)
    for port in (53, 1024):
        try:
            victims[port].recv(3000)
            raise Failed("port %d was reached" % port)
        except socket.timeout:
            pass
    try:
        local.recv(3000)
        raise Failed("a service of the root's machine was reached")
    except socket.timeout:
        pass
    # What answers may get more, and the answers come back.
    for _ in range(3):
        sock.sendall(datagram("46.9.0.77", 9993, packet()))
        time.sleep(0.2)
    _, source = victims[9993].recvfrom(3000)
    victims[9993].sendto(b"a" * 15, source)
    victims[9993].sendto(b"a" * 16, source)
    data = b""
    while b"a" * 16 not in data:
        data += sock.recv(65536)
    if data.count(b"\x17\x03\x03") != 2 or socket.inet_aton("46.9.0.77") not in data:
        raise Failed("answer is " + data.hex())


def test_no_service_of_the_machine_is_reached(net):
    """Not at an address either that the root has no socket on."""
    root = alone(net, tcpRelayPrivate=True)
    places = (("46.9.8.1", "docker7"), ("192.168.77.1", "docker7"), ("46.9.8.2", "lo"))
    sh("ip link add docker7 type veth peer name docker8 && ip link set docker7 up && "
       "ip link set docker8 up", ns="root")
    for address, device in places:
        sh("ip addr add %s/32 dev %s" % (address, device), ns="root")

    def listen(address):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 11211))
        sock.settimeout(0.3)
        return sock
    services = [in_ns("root", lambda a=address: listen(a)) for address, _ in places]
    sock = connect("evil")
    sock.sendall(GREETING)

    def counts():
        return (metric(root, "panlan_tcp_relay_datagrams"), metric(root, "panlan_tcp_relay_drops"))

    def refused():  # once the service has seen the new addresses
        before = counts()
        for address, _ in places:
            sock.sendall(datagram(address, 11211, packet()))
        wait_for("datagrams counted", lambda: sum(counts()) >= sum(before) + len(places))
        return counts()[0] == before[0]
    wait_for("all refused", refused)
    for service in services:
        try:
            while service.recv(3000):  # what came before that
                pass
        except socket.timeout:
            pass
    if not refused():
        raise Failed("not refused any more")
    for service in services:
        try:
            service.recv(3000)
            raise Failed("a service was reached")
        except socket.timeout:
            pass


def test_slow_reader_harms_nobody(net):
    """A client that takes nothing costs no more than its queue; another goes on."""
    root, one, two, nwid = lab(net)
    wait_using(one)
    net.host("evil", "46.9.0.66/16")
    net.host("helper", "46.9.0.77/16")
    udp = in_ns("helper", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("46.9.0.77", 9993))
    sock = in_ns("evil", lambda: socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((ROOT, 443))
    sock.sendall(GREETING + datagram("46.9.0.77", 9993, packet()))
    udp.settimeout(10)
    _, source = udp.recvfrom(3000)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for _ in range(50):
            udp.sendto(packet(1400), source)
        time.sleep(0.01)
    if metric(root, "panlan_tcp_relay_lost") == 0:
        raise Failed("nothing was dropped")
    wait_ping("one", two.ip(nwid))
    with open("/proc/%d/status" % root.process.pid) as status:
        resident = int(status.read().split("VmRSS:")[1].split()[0])
    if resident > 200000:
        raise Failed("the root has %d KiB resident" % resident)
