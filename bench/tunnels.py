"""What throughput.py compares: tunnels between two namespaces "one" and "two" on one wire.

Each candidate is a function that takes a Pair and starts a tunnel in it, with the device MTU that
this program has by default. A program that is not installed raises lab.Skipped.
"""
import os
import re
import shutil
import socket
import subprocess

import benchlib as bench
from benchlib import lab

WIRE = ("10.9.0.1", "10.9.0.2")  # addresses on the wire
INNER = ("10.200.0.1", "10.200.0.2")  # addresses in a tunnel that does not choose its own
ENDS = ("one", "two")
OLD = {"settings": {"announceProtocol": 11}}  # makes both sides use suite 1


class Pair(lab.Net):
    """Two namespaces, a veth pair with MTU 1500, and the daemons between them."""

    def __init__(self, link="pass"):
        super().__init__()
        self.daemons = []
        self.pids = []
        self.target = WIRE[1]
        for ns in ENDS:
            self.namespace(ns)
        lab.sh("ip -n one link add eth0 type veth peer name eth0 netns two")
        for ns, address in zip(ENDS, WIRE):
            lab.sh("ip -n %s addr add %s/24 dev eth0 && ip -n %s link set eth0 up" % (
                ns, address, ns))
        if link != "pass":
            if not shutil.which("ethtool"):
                raise lab.Skipped("ethtool is not installed")
            for ns in ENDS:
                lab.sh("ethtool -K eth0 tx-udp-segmentation off", ns=ns)
                if link == "merged":
                    lab.sh("ethtool -K eth0 gro on rx-udp-gro-forwarding on", ns=ns)

    def run(self, ns, argv, env=None):
        """Start a daemon whose CPU time counts; its output is kept for failure reports."""
        with open(os.path.join(self.home, "%s.%d.out" % (ns, len(self.daemons))), "a") as out:
            process = bench.spawn(ns, argv, stdout=out, stderr=out,
                                  env=dict(os.environ, **(env or {})))
        self.daemons.append(process)
        self.pids.append(process.pid)
        return process

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def address(self, device):
        """Give both ends' devices ("%s": one or two) their inner addresses when they are there."""
        for ns, ip in zip(ENDS, INNER):
            name = device.replace("%s", ns)
            lab.wait_for(name, lambda: " mtu " in lab.sh("ip link show " + name, ns=ns,
                                                         check=False), 10)
            lab.sh("ip addr replace %s/24 dev %s && ip link set %s up" % (ip, name, name), ns=ns)
        self.target = INNER[1]

    def mtu(self):
        """MTU of the device that leads to the target."""
        route = lab.sh("ip -o route get " + self.target, ns="one")
        device = re.search(r"dev (\S+)", route).group(1)
        return int(re.search(r"mtu (\d+)", lab.sh("ip link show " + device, ns="one")).group(1))

    def reports(self):
        """The last lines of every daemon, for a failure report."""
        out = [self.logs()]
        for name in sorted(os.listdir(self.home)):
            if name.endswith(".out"):
                with open(os.path.join(self.home, name), errors="replace") as handle:
                    out.append("--- " + name + "\n" + "".join(handle.readlines()[-8:]))
        return "\n".join(out)

    def close(self, keep=False):
        for process in self.daemons:
            process.kill()
            process.wait()
        super().close(keep)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise lab.Skipped(program + " is not installed")


def make(command, **kwargs):
    """Run a tool that prepares keys; its output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, **kwargs)
    if done.returncode != 0:
        raise lab.Failed("%s: %s" % (command[0], done.stdout.strip()[-400:]))
    return done.stdout


# ---- ours and the reference's ----

def plain(pair):
    """The wire itself."""


def zerotier(first, second, extra=(), config=None):
    """Nodes "p" (ours) or "r" (the reference's); a root of ours, which is also the controller, sits
    beside the first and sees none of the traffic."""
    def start(pair):
        if "r" in first + second and not lab.ZEROTIER_ONE:
            raise lab.Skipped("ZEROTIER_ONE names no program")
        root = pair.node("one", home=os.path.join(pair.home, "root"))
        root.port = 9995
        root.log = os.path.join(pair.home, "root.log")
        one = pair.node("one", reference=first == "r", config=config)
        two = pair.node("two", reference=second == "r", config=config)
        pair.make_planet([(root, "%s/%d" % (WIRE[0], root.port))])
        for node in (root, one, two):
            node.start(wait=False, extra=() if node is root or node.reference else extra)
        for node in (root, one, two):
            node.wait_api()
        nwid = root.create_network()
        for node in (one, two):
            root.authorize(nwid, node)
            node.join(nwid)
        for node in (one, two):
            node.wait_network(nwid, timeout=60)
        pair.target = two.ip(nwid)
        pair.pids = [one.process.pid, two.process.pid]
        lab.wait_ping("one", pair.target, 60)
        one.wait_direct(two, 60)
        two.wait_direct(one, 60)
    return start


# ---- others ----

def wireguard_version(program):
    text = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"\d+\.\d+\.(\d{8})", text)
    return int(found.group(1)) if found else 0


def x25519_pair():
    """(secret, public) in hex, by OpenSSL."""
    need("openssl")
    text = make(["openssl", "genpkey", "-algorithm", "X25519", "-text"])
    block = re.findall(r"(?:priv|pub):\s*((?:[0-9a-f]{2}[:\s]*){32})", text)
    return [re.sub(r"[:\s]", "", part) for part in block]


def wireguard(program):
    """wireguard-go, set up through its own socket."""
    def start(pair):
        need(program)
        keys = [x25519_pair() for _ in ENDS]
        for i, ns in enumerate(ENDS):
            device = "wg" + ns
            path = "/var/run/wireguard/%s.sock" % device
            if os.path.exists(path):
                os.unlink(path)  # of an earlier turn
            pair.run(ns, [program, "-f", device], env={"LOG_LEVEL": "error"})
            lab.wait_for(path, lambda: os.path.exists(path), 10)
            other = 1 - i
            text = ("set=1\nprivate_key=%s\nlisten_port=51820\npublic_key=%s\n"
                    "endpoint=%s:51820\nallowed_ip=0.0.0.0/0\n\n" % (
                        keys[i][0], keys[other][1], WIRE[other]))
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(text.encode())
                answer = sock.recv(4096).decode()
            if "errno=0" not in answer:
                raise lab.Failed("wireguard-go: " + answer.strip())
        pair.address("wg%s")
    return start


def fastd(method):
    def start(pair):
        need("fastd")
        keys = [re.findall(r"(?:Secret|Public): ([0-9a-f]{64})",
                           make(["fastd", "--generate-key"])) for _ in ENDS]
        for i, ns in enumerate(ENDS):
            other = 1 - i
            conf = pair.file("fastd-%s.conf" % ns, (
                'log level warn;\nmode tap;\ninterface "tap0";\nmtu 1406;\nmethod "%s";\n'
                'bind any:10000;\nsecret "%s";\npeer "other" { key "%s"; remote %s:10000; }\n' % (
                    method, keys[i][0], keys[other][1], WIRE[other])))
            pair.run(ns, ["fastd", "-c", conf])
        pair.address("tap0")
    return start


def tinc(pair):
    """tinc 1.0 in switch mode."""
    need("tincd")
    for i, ns in enumerate(ENDS):
        other = ENDS[1 - i]
        pair.file("tinc-%s/tinc.conf" % ns, (
            "Name = %s\nMode = switch\nDeviceType = tap\nInterface = tap0\nConnectTo = %s\n"
            "AddressFamily = ipv4\n" % (ns, other)))
        pair.file("tinc-%s/tinc-up" % ns, "#!/bin/sh\nip link set tap0 up\n", 0o700)
        pair.file("tinc-%s/hosts/%s" % (ns, ns), "Address = %s\n" % WIRE[i])
        make(["tincd", "-c", os.path.join(pair.home, "tinc-" + ns), "-K2048"])
    for ns, other in (ENDS, ENDS[::-1]):
        shutil.copy(os.path.join(pair.home, "tinc-%s/hosts/%s" % (other, other)),
                    os.path.join(pair.home, "tinc-%s/hosts/%s" % (ns, other)))
    for ns in ENDS:
        home = os.path.join(pair.home, "tinc-" + ns)
        pair.run(ns, ["tincd", "-c", home, "-D", "--pidfile", os.path.join(home, "pid")])
    pair.address("tap0")


def n2n(pair):
    """edge at both ends, a supernode beside the first; its CPU time is not counted."""
    need("edge", "supernode")
    pair.run("one", ["supernode", "-l", "7654"])
    for i, ns in enumerate(ENDS):
        pair.run(ns, ["edge", "-d", "n2n0", "-a", INNER[i], "-s", "255.255.255.0", "-c", "bench",
                      "-k", "secret", "-l", WIRE[0] + ":7654",
                      "-m", "02:00:00:00:00:0%d" % (i + 1)])
    pair.pids = pair.pids[1:]
    pair.address("n2n0")


def nebula(pair):
    need("nebula", "nebula-cert")
    home = os.path.join(pair.home, "nebula")
    os.makedirs(home)
    make(["nebula-cert", "ca", "-name", "bench"], cwd=home)
    for ns, ip in zip(ENDS, INNER):
        make(["nebula-cert", "sign", "-name", ns, "-ip", ip + "/24"], cwd=home)
    for i, ns in enumerate(ENDS):
        seat = ("lighthouse: {am_lighthouse: true}\n" if i == 0 else
                'lighthouse: {am_lighthouse: false, hosts: ["%s"]}\n' % INNER[0])
        conf = pair.file("nebula/%s.yml" % ns, (
            "pki: {ca: %s/ca.crt, cert: %s/%s.crt, key: %s/%s.key}\n"
            'static_host_map: {"%s": ["%s:4242"]}\n%s'
            "listen: {host: 0.0.0.0, port: 4242}\ncipher: aes\n"
            "tun: {dev: neb0, mtu: 1300}\nlogging: {level: error}\n"
            "firewall: {outbound: [{port: any, proto: any, host: any}],"
            " inbound: [{port: any, proto: any, host: any}]}\n" % (
                home, home, ns, home, ns, INNER[0], WIRE[0], seat)))
        pair.run(ns, ["nebula", "-config", conf])
    for ns in ENDS:
        lab.wait_for("nebula in " + ns, lambda: "10.200.0." in lab.sh("ip -o -4 addr", ns=ns), 15)
    pair.target = INNER[1]


def openvpn(pair):
    """OpenVPN in TLS mode with AES-256-GCM and without a kernel module."""
    need("openvpn", "openssl")
    prints = {}
    for ns in ENDS:
        base = os.path.join(pair.home, "openvpn-" + ns)
        make(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
              "-nodes", "-days", "30", "-subj", "/CN=" + ns, "-keyout", base + ".key",
              "-out", base + ".crt"])
        prints[ns] = make(["openssl", "x509", "-in", base + ".crt", "-noout", "-fingerprint",
                           "-sha256"]).strip().split("=")[1]
    for i, ns in enumerate(ENDS):
        base = os.path.join(pair.home, "openvpn-" + ns)
        seat = (["--tls-server", "--dh", "none", "--lport", "1194"] if i == 0 else
                ["--tls-client", "--nobind", "--remote", WIRE[0], "1194"])
        pair.run(ns, ["openvpn", "--dev", "tun0", "--dev-type", "tun", "--proto", "udp4",
                      "--ifconfig", INNER[i], INNER[1 - i], "--cert", base + ".crt",
                      "--key", base + ".key", "--peer-fingerprint", prints[ENDS[1 - i]],
                      "--data-ciphers", "AES-256-GCM", "--disable-dco", "--verb", "1"] + seat)
    pair.target = INNER[1]


def candidates():
    """[(label, function)] in the order of the table."""
    rows = [("plain veth", plain),
            ("ours to ours", zerotier("p", "p")),
            ("reference to reference", zerotier("r", "r")),
            ("ours to reference", zerotier("p", "r")),
            ("reference to ours", zerotier("r", "p")),
            ("ours, --no-offload", zerotier("p", "p", ("--no-offload",))),
            ("ours, protocol 11", zerotier("p", "p", config=OLD))]
    programs = [os.environ.get("WIREGUARD_GO"), shutil.which("wireguard-go") or "wireguard-go"]
    for program in programs:
        if program:
            date = wireguard_version(program) if shutil.which(program) else 0
            rows.append(("wireguard-go %s" % (date or ""), wireguard(program)))
    rows += [("fastd null", fastd("null")), ("fastd salsa2012+umac", fastd("salsa2012+umac")),
             ("tinc", tinc), ("n2n", n2n), ("nebula", nebula), ("openvpn", openvpn)]
    return rows
