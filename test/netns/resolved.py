"""allowDNS with a real systemd-resolved, on a bus of its own: names below the network's domain are asked of
its servers, others are not, and when the owner takes it back none are. Checklist: SV-87; spec 05 section 6.4.
SYSTEMD_RESOLVED names the program where it is not installed; skipped without it."""
import os
import shutil
import socket
import struct
import subprocess
import threading

from basic import trio
from net import Failed, Skipped, in_ns, sh, wait_for, wait_ping

RESOLVED = os.environ.get("SYSTEMD_RESOLVED", "/lib/systemd/systemd-resolved")
DOMAIN = "lan.example"
ANSWER = bytes([10, 9, 8, 7])
BUS = """<busconfig><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow send_type="method_call"/><allow receive_sender="*"/></policy></busconfig>"""


class Resolver:
    """systemd-resolved in a namespace, with the bus that it is spoken to by."""

    def __init__(self, net, ns):
        if not os.path.exists(RESOLVED) or not shutil.which("dbus-daemon") or not shutil.which("resolvectl"):
            raise Skipped("systemd-resolved, resolvectl or dbus-daemon is not installed")
        self.mounted, self.started = [], []
        bus, conf, users = (os.path.join(net.home, name) for name in ("bus", "bus.conf", "passwd"))
        with open(conf, "w") as out:
            out.write(BUS % bus)
        with open("/etc/passwd") as known, open(users, "w") as out:
            out.write(known.read() + "systemd-resolve:x:65533:65534::/:/usr/sbin/nologin\n")
        os.chmod(net.home, 0o755)  # it gives up its rights before it looks for the bus
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=" + bus
        try:
            self.mount("--bind " + users, "/etc/passwd")
            os.makedirs("/run/systemd", exist_ok=True)
            self.mount("-t tmpfs tmpfs", "/run/systemd")
            self.start(net, "dbus-daemon", "--nofork", "--config-file=" + conf)
            wait_for("bus", lambda: os.path.exists(bus), 5)
            self.start(net, "ip", "netns", "exec", ns, RESOLVED)
            wait_for("resolver", lambda: "Global" in sh("resolvectl status 2>&1", ns=ns, check=False), 10)
        except Failed as error:
            with open(os.path.join(net.home, "resolver.log")) as log:
                said = log.read()
            self.close()
            raise Failed("%s: %s" % (error, said)) from None

    def mount(self, what, where):
        sh("mount %s %s" % (what, where))
        self.mounted.append(where)

    def start(self, net, *argv):
        with open(os.path.join(net.home, "resolver.log"), "a") as log:
            self.started.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def close(self):
        for process in reversed(self.started):
            process.kill()
            process.wait()
        for where in reversed(self.mounted):
            sh("umount -l " + where)
        os.environ.pop("DBUS_SYSTEM_BUS_ADDRESS", None)


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def name_of(packet):
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 5


class Server:
    """Answers every question for an address, and notes what it was asked."""

    def __init__(self, ns, ip):
        def make():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((ip, 53))
            return sock
        self.sock = in_ns(ns, make)
        self.asked = set()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            packet, peer = self.sock.recvfrom(2000)
            name, end = name_of(packet)
            self.asked.add(name)
            head = packet[:2] + struct.pack(">5H", 0x8580, 1, 1, 0, 0)
            self.sock.sendto(head + packet[12:end] + struct.pack(">3HIH", 0xc00c, 1, 1, 60, 4) + ANSWER, peer)


def ask(ns, name, timeout=2.0):
    """The answer of the resolver in a namespace, None if there is no address in it."""
    sock = in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    try:
        sock.settimeout(timeout)
        sock.sendto(question(name), ("127.0.0.53", 53))
        packet = sock.recv(2000)
        return ANSWER if struct.unpack(">H", packet[6:8])[0] and packet.endswith(ANSWER) else None
    except (socket.timeout, ConnectionRefusedError):
        return None
    finally:
        sock.close()


def test_names_of_the_network_by_systemd_resolved(net):
    root, a, b, nwid = trio(net)
    sh("ip link set lo up", ns="a")
    wait_ping("a", b.ip(nwid))
    a.stop()
    resolver = Resolver(net, "a")
    try:
        a.start()
        a.wait_network(nwid)
        server = Server("b", b.ip(nwid))
        root.post("/controller/network/" + nwid, {"dns": {"domain": DOMAIN, "servers": [b.ip(nwid)]}})
        wait_for("servers offered", lambda: a.network(nwid).get("dns", {}).get("domain") == DOMAIN)
        if ask("a", "before." + DOMAIN, 1.0):
            raise Failed("a name is known before its owner allowed it")
        number = iter(range(1000))

        def known():
            return ask("a", "n%d.%s" % (next(number), DOMAIN))
        a.post("/network/" + nwid, {"allowDNS": True})
        wait_for("a name of the network", known, 20)
        ask("a", "elsewhere.example", 1.0)
        if "elsewhere.example" in server.asked:
            raise Failed("a name of somewhere else was asked of the network")
        a.kill()
        a.start()
        wait_for("a name after a kill", known, 20)
        a.post("/network/" + nwid, {"allowDNS": False})
        wait_for("no name of the network any more", lambda: not known(), 20)
    finally:
        resolver.close()
