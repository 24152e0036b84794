"""What programs do on a LAN to find each other works over a network, soon after they started: mDNS with its
groups, by real packets, and the broadcasts by which games look for servers. Source: spec 03 sections 11 and
12. Checklist: MC-1, MC-5, SV-95.

A program that starts to listen joins a group; the system reports that on the device, which makes the service
look at the device's groups and announce them. So an answer within seconds is one that did not wait for the
look at all groups once a minute."""
import os
import shutil
import signal
import socket
import struct
import subprocess

from basic import trio
from flow import background
from net import Failed, Skipped, in_ns, sh, wait_for

MDNS = 5353
GROUP, GROUP6 = "224.0.0.251", "ff02::fb"
SERVICE = "_panlan-game._udp.local"
PTR, SRV, A = 12, 33, 1
SOON = 6  # s: two queries get lost, or a scan comes late on a busy machine; far below a minute


# ---- mDNS ----

def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def query(what):
    return struct.pack(">6H", 0, 0, 1, 0, 0, 0) + name(what) + struct.pack(">HH", PTR, 1)


def record(owner, kind, data):
    flush = 0 if kind == PTR else 0x8000
    return name(owner) + struct.pack(">HHIH", kind, flush | 1, 120, len(data)) + data


def answer(instance, address):
    """What a responder multicasts for its service: PTR, with SRV and A beside it."""
    host = instance + "-host.local"
    full = "%s.%s" % (instance, SERVICE)
    return struct.pack(">6H", 0, 0x8400, 0, 1, 0, 2) + record(SERVICE, PTR, name(full)) + \
        record(full, SRV, struct.pack(">HHH", 0, 0, 27015) + name(host)) + \
        record(host, A, socket.inet_aton(address))


def read_name(packet, at):
    parts = []
    while packet[at]:
        if packet[at] >= 0xc0:
            at = struct.unpack(">H", packet[at:at + 2])[0] & 0x3fff
            continue
        parts.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(parts)


def instances(packet):
    """Names of the instances that an answer tells of (its first record, as both responders write it)."""
    flags, questions, answers = struct.unpack(">HHH", packet[2:8])
    if not flags & 0x8000 or questions or not answers or read_name(packet, 12) != SERVICE:
        return set()
    return {read_name(packet, 12 + len(name(SERVICE)) + 10).split(".")[0]}


def mdns_socket(node, nwid, v6):
    """A socket as mDNS programs have it: port 5353 with others, in the group on the device."""
    def make():
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        index = struct.pack("=I", socket.if_nametoindex(node.device(nwid)))
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.bind(("::", MDNS))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                            socket.inet_pton(socket.AF_INET6, GROUP6) + index)
        else:
            own = socket.inet_aton(node.ip(nwid))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            sock.bind(("", MDNS))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
        return sock
    return in_ns(node.ns, make)


class Server:
    """Answers what comes to a socket until it is closed: reply(packet, sender) gives (answer, where to)."""

    def __init__(self, sock, reply):
        self.sock, self.reply, self.open = sock, reply, True
        self.sock.settimeout(0.1)
        self.end = background(self.run)

    def run(self):
        while self.open:
            try:
                packet, sender = self.sock.recvfrom(9000)
            except socket.timeout:
                continue
            out = self.reply(packet, sender)
            if out:
                self.sock.sendto(*out)

    def close(self):
        self.open = False
        self.end()
        self.sock.close()


def responder(node, nwid, v6):
    sock = mdns_socket(node, nwid, v6)
    packet = answer(node.ns, node.ip(nwid))
    return Server(sock, lambda asked, _: (packet, (GROUP6 if v6 else GROUP, MDNS))
                  if asked == query(SERVICE) else None)


def ask(sock, packet, where, found, wanted, timeout, what):
    """Ask as programs do, again each second, until the answers name all that is wanted."""
    got = set()

    def heard():
        sock.sendto(packet, where)
        sock.settimeout(1)
        try:
            while not wanted <= got:
                got.update(found(*sock.recvfrom(9000)))
        except socket.timeout:
            pass
        return wanted <= got
    try:
        wait_for(what, heard, timeout, 0)
    except Failed as error:
        raise Failed("%s: found %r instead of %r" % (error, got, wanted))


def browse(node, nwid, v6, wanted, timeout=SOON):
    sock = mdns_socket(node, nwid, v6)
    ask(sock, query(SERVICE), (GROUP6 if v6 else GROUP, MDNS), lambda packet, _: instances(packet), wanted,
        timeout, "mDNS answers by %s at %s" % (GROUP6 if v6 else GROUP, node.ns))
    sock.close()


def mdns(members, nwid, v6, timeout=SOON):
    """Each looks for the service of all others, first just after these began to listen."""
    for node in members if v6 else ():
        wait_for("link-local address of " + node.ns, lambda node=node: sh(
            "ip -6 -o addr show dev %s scope link -tentative" % node.device(nwid), ns=node.ns))
    servers = [responder(node, nwid, v6) for node in members]
    try:
        for node in members:
            browse(node, nwid, v6, {other.ns for other in members if other is not node}, timeout)
    finally:
        for server in servers:
            server.close()


def groups(node, nwid):
    return {group["mac"] for group in node.network(nwid)["multicastSubscriptions"]}


def four(net):
    root, a, b, nwid = trio(net)
    c = net.node(net.host("c", "10.9.0.4/24"))
    c.start()
    root.authorize(nwid, c)
    c.join(nwid)
    c.wait_network(nwid)
    for node in (a, b, c):
        node.ip(nwid)
        wait_for("device of " + node.ns, lambda node=node: node.device(nwid))
    return [a, b, c], nwid


def test_mdns(net):
    members, nwid = four(net)
    if "01:00:5e:00:00:fb" in groups(members[0], nwid):
        raise Failed("the group is there without a member")
    mdns(members, nwid, False)
    sock = mdns_socket(members[0], nwid, False)
    wait_for("subscription", lambda: "01:00:5e:00:00:fb" in groups(members[0], nwid), SOON)
    sock.close()
    wait_for("end of it", lambda: "01:00:5e:00:00:fb" not in groups(members[0], nwid), SOON)


def test_mdns_by_ipv6(net):
    members, nwid = four(net)
    mdns(members, nwid, True)


def test_mdns_of_avahi(net):
    """The same question, answered by avahi-daemon where it is installed."""
    program = shutil.which("avahi-daemon") or "/usr/sbin/avahi-daemon"
    if not os.path.exists(program):
        raise Skipped("avahi-daemon is not installed")
    root, a, b, nwid = trio(net)
    b.ip(nwid)
    device = wait_for("device", lambda: b.device(nwid))
    config = os.path.join(net.home, "avahi.conf")
    with open(config, "w") as out:
        out.write("[server]\nhost-name=%s\nallow-interfaces=%s\nenable-dbus=no\n[rlimits]\n" % (b.ns, device))
    # its services come from /etc/avahi/services alone: one of its own in a mount namespace
    services = os.path.join(net.home, "services")
    os.mkdir(services)
    with open(os.path.join(services, "game.service"), "w") as out:
        out.write("<?xml version='1.0'?><!DOCTYPE service-group SYSTEM 'avahi-service.dtd'><service-group>"
                  "<name>%s</name><service><type>%s</type><port>27015</port></service></service-group>" % (
                      b.ns, SERVICE[:-len(".local")]))
    script = "mkdir -p /run/avahi-daemon /etc/avahi && mount -t tmpfs none /run/avahi-daemon && " \
        "mount -t tmpfs none /etc/avahi && cp -r %s /etc/avahi/services && exec %s -f %s --no-drop-root " \
        "--no-chroot --no-rlimits" % (services, program, config)
    log = open(os.path.join(net.home, "avahi.log"), "w")
    daemon = subprocess.Popen(["ip", "netns", "exec", b.ns, "unshare", "-m", "sh", "-c", script], stdout=log,
                              stderr=log)
    try:
        browse(a, nwid, False, {b.ns}, 15)
    except Failed as error:
        with open(log.name) as text:
            raise Failed("%s\n%s" % (error, text.read()))
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)
        log.close()


# ---- broadcasts ----

def broadcast_socket(node, nwid, port):
    """As games have it: bound to a port on every address, of one device."""
    def make():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, node.device(nwid).encode())
        sock.bind(("", port))
        return sock
    return in_ns(node.ns, make)


def game(members, nwid, timeout=SOON):
    """Servers answer who asks all; the answer is unicast, and names the server."""
    port = 27015
    servers = [Server(broadcast_socket(node, nwid, port), lambda packet, sender, node=node:
                      (b"server " + node.ns.encode(), sender) if packet == b"who serves?" else None)
               for node in members[1:]]
    try:
        for where in ("255.255.255.255", "10.121.255.255"):
            sock = broadcast_socket(members[0], nwid, 0)

            def found(packet, sender):
                return {packet[len(b"server "):].decode() + " " + sender[0]}
            wanted = {"%s %s" % (node.ns, node.ip(nwid)) for node in members[1:]}
            ask(sock, b"who serves?", (where, port), found, wanted, timeout, "servers by " + where)
            sock.close()
    finally:
        for server in servers:
            server.close()


def test_game_servers_by_broadcast(net):
    members, nwid = four(net)
    game(members, nwid)
    game(members[::-1], nwid)
