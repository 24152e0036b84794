"""Networks of real daemons in namespaces.

Everything lives in namespaces that this process made itself: run.py first moves itself into new
network, mount and process namespaces, so that all of it is gone when the run ends, however it ends.
No route leads out of them.
"""
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PANLAN = os.environ.get("PANLAN", "")
ZEROTIER_ONE = os.environ.get("ZEROTIER_ONE", "")


class Failed(Exception):
    """A condition that a test waited for did not come true."""


class Skipped(Exception):
    """A test that cannot run here, with the reason."""


def sh(command, check=True, ns=None, timeout=30):
    """Run a shell command, in a namespace if named; its output."""
    argv = ["sh", "-ec", command]
    if ns:
        argv = ["ip", "netns", "exec", ns] + argv
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)
    if check and done.returncode != 0:
        raise Failed("%s: exit %d: %s" % (command, done.returncode, done.stdout.strip()))
    return done.stdout


def wait_for(what, condition, timeout=15.0, every=0.02):
    """Wait until condition() is true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failed("timed out after %.1f s: %s" % (timeout, what))
        time.sleep(every)


def in_ns(ns, function):
    """Call function with the calling thread in a namespace; sockets made there stay there."""
    box = {}

    def run():
        try:
            with open("/run/netns/" + ns) as handle:
                if LIBC.setns(handle.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns " + ns)
            box["value"] = function()
        except BaseException as error:  # handed to the caller's thread
            box["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in box:
        raise box["error"]
    return box["value"]


class Net:
    """One test's network: a switch that everything physical hangs on, and nodes."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="panlan-test-")
        self.names = []
        self.nodes = []
        self.wires = 0
        self.planet = None
        self.switch = self.namespace("sw")
        sh("ip link add br0 type bridge && ip link set br0 up", ns=self.switch)

    # ---- namespaces and wires ----

    def namespace(self, name):
        sh("ip netns add %s && ip -n %s link set lo up" % (name, name))
        self.names.append(name)
        return name

    def plug(self, ns, *addresses, bridge="br0", switch=None, device="eth0"):
        """A wire from the switch to a namespace, with addresses there."""
        self.wires += 1
        port = "p%d" % self.wires
        sw = switch or self.switch
        sh("ip -n %s link add %s type veth peer name %s netns %s" % (sw, port, device, ns))
        sh("ip -n %s link set %s master %s up" % (sw, port, bridge))
        for address in addresses:
            flags = " nodad" if ":" in address else ""
            sh("ip -n %s addr add %s dev %s%s" % (ns, address, device, flags))
        sh("ip -n %s link set %s up" % (ns, device))
        return port

    def host(self, name, *addresses, bridge="br0"):
        """A namespace on the switch."""
        self.namespace(name)
        self.plug(name, *addresses, bridge=bridge)
        return name

    def nat(self, name, outside, inside, kind="port-restricted", host=None):
        """A router with NAT; inside is its own address on a switch of its own (bridge lan0). kind:
        port-restricted (ports kept if free), moved (every port moved by a constant), full-cone (all
        UDP from outside goes to host), symmetric (a random port for each destination)."""
        self.namespace(name)
        self.plug(name, outside)
        sh("ip link add lan0 type bridge && ip addr add %s dev lan0 && ip link set lan0 up && "
           "sysctl -qw net.ipv4.ip_forward=1" % inside, ns=name)
        own = outside.split("/")[0]
        source = {"symmetric": "masquerade fully-random",
                  "moved": "udp sport 9993 snat to %s:31993\noifname eth0 udp sport 9994 snat to "
                           "%s:31994\noifname eth0 masquerade" % (own, own)}
        dest = through = ""
        if kind == "full-cone":
            dest = ("chain pre {\n type nat hook prerouting priority -100;\n"
                    "iifname eth0 meta l4proto udp dnat to %s\n }\n" % host)
            through = "ip daddr %s meta l4proto udp accept\n" % host
        sh("nft -f - <<'END'\n"
           "table ip nat {\n chain post {\n type nat hook postrouting priority 100;\n"
           "oifname eth0 %s\n }\n%s }\n"
           "table ip guard {\n chain through {\n type filter hook forward priority 0; policy drop;\n"
           "iifname lan0 accept\n ct state established,related accept\n %s }\n"
           "chain local {\n type filter hook input priority 0; policy accept;\n"
           "iifname eth0 ct state new drop\n }\n }\n"
           "END" % (source.get(kind, "masquerade persistent"), dest, through), ns=name)
        return name

    def behind(self, router, name, address, gateway):
        """A namespace behind a router made by nat()."""
        self.namespace(name)
        self.plug(name, address, bridge="lan0", switch=router)
        sh("ip -n %s route add default via %s" % (name, gateway))
        return name

    # ---- nodes ----

    def node(self, ns, reference=False, home=None, binary=None, config=None, identity=None):
        node = Node(self, ns, reference, home, binary, config, identity)
        self.nodes.append(node)
        return node

    def make_planet(self, roots, ident="00000000feedc0de"):
        """Sign a planet of [(node, "ip/port", ...)]; nodes that start later get it."""
        tool = [PANLAN, "identity"]
        work = os.path.join(self.home, "planet-work")
        os.makedirs(work, exist_ok=True)
        world = json.loads(subprocess.run(
            tool + ["initmoon", roots[0][0].public_identity()], cwd=work, check=True,
            stdout=subprocess.PIPE, text=True).stdout)
        world["worldType"] = "planet"
        world["id"] = ident
        world["roots"] = [{"identity": entry[0].public_identity(),
                           "stableEndpoints": list(entry[1:])} for entry in roots]
        with open(os.path.join(work, "world.json"), "w") as out:
            json.dump(world, out)
        subprocess.run(tool + ["genmoon", "world.json"], cwd=work, check=True,
                       stdout=subprocess.DEVNULL)
        self.planet = os.path.join(work, ident + ".moon")

    def close(self, keep=False):
        for node in self.nodes:
            node.kill()
        for name in self.names:
            sh("ip netns del " + name, check=False)
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def logs(self, lines=15):
        """The last lines of every node's log, for a failure report."""
        out = []
        for node in self.nodes:
            try:
                with open(node.log, errors="replace") as handle:
                    tail = handle.readlines()[-lines:]
            except OSError:
                continue
            out.append("--- %s (%s)" % (node.ns, "reference" if node.reference else "panlan"))
            out.extend(line.rstrip() for line in tail)
        return "\n".join(out)


class Node:
    """One daemon, ours or the reference's, in a namespace."""

    port = 9993  # of UDP and of the local API; another one lets two nodes share a namespace

    def __init__(self, net, ns, reference, home, binary, config, identity):
        self.net = net
        self.ns = ns
        self.reference = reference
        self.binary = binary or (ZEROTIER_ONE if reference else PANLAN)
        if reference and not self.binary:
            raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
        self.home = home or os.path.join(net.home, ns)
        self.log = os.path.join(net.home, ns + ".log")
        self.config = {"settings": {"portMappingEnabled": False, "allowTcpFallbackRelay": False}}
        for key, value in (config or {}).items():
            self.config.setdefault(key, {}).update(value)
        self.process = None
        self.started = 0.0
        os.makedirs(self.home, exist_ok=True)
        if identity:
            self.write("identity.secret", identity)
        elif not os.path.exists(self.path("identity.secret")):
            secret = subprocess.run([PANLAN, "identity", "generate"], check=True,
                                    stdout=subprocess.PIPE, text=True).stdout.strip()
            self.write("identity.secret", secret)

    def path(self, *names):
        return os.path.join(self.home, *names)

    def write(self, name, text):
        mode = "wb" if isinstance(text, bytes) else "w"
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), mode) as out:
            out.write(text)
        if "secret" in name:
            os.chmod(self.path(name), 0o600)

    def read(self, name):
        with open(self.path(name)) as handle:
            return handle.read()

    def public_identity(self):
        return ":".join(self.read("identity.secret").strip().split(":")[:3])

    @property
    def address(self):
        return self.read("identity.secret")[:10]

    # ---- life ----

    def start(self, wait=True, extra=()):
        planet = self.net.planet
        if planet:
            shutil.copy(planet, self.path("planet"))
        if not os.path.exists(self.path("planet")):
            raise Failed("a test node never runs with the public planet")
        if not os.path.exists(self.path("local.conf")):
            self.write("local.conf", json.dumps(self.config))
        argv = ["ip", "netns", "exec", self.ns, self.binary]
        if self.reference:
            argv += ["-U", "-p%d" % self.port, self.home]
        else:
            argv += ["service", "--home", self.home]
            argv += ["--port", str(self.port)] if self.port != Node.port else []
        out = open(self.log, "a")
        self.started = time.monotonic()
        self.process = subprocess.Popen(argv + list(extra), stdout=out, stderr=out,
                                        stdin=subprocess.DEVNULL)
        out.close()
        if wait:
            self.wait_api()
        return self

    def wait_api(self, timeout=20):
        def ready():
            if self.process.poll() is not None:
                raise Failed("%s exited with %d" % (self.ns, self.process.returncode))
            try:
                return self.get("/status")
            except (OSError, http.client.HTTPException, ValueError):
                return None
        return wait_for("API of " + self.ns, ready, timeout)

    def stop(self, timeout=5.0):
        """Ask it to stop; how long it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout)
        code = self.process.returncode
        self.process = None
        if code != 0 and not self.reference:
            raise Failed("%s stopped with %d" % (self.ns, code))
        return time.monotonic() - begin

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # ---- API ----

    def token(self):
        return self.read("authtoken.secret").strip()

    def request(self, method, path, body=None, headers=None, raw=False, timeout=10):
        sock = in_ns(self.ns, lambda: socket.create_connection(("127.0.0.1", self.port), timeout))
        conn = http.client.HTTPConnection("127.0.0.1", self.port)
        conn.sock = sock
        try:
            head = {"X-ZT1-Auth": self.token()} if headers is None else headers
            data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
            conn.request(method, path, data, head)
            reply = conn.getresponse()
            text = reply.read().decode()
        finally:
            conn.close()
        if raw:
            return reply.status, text
        if reply.status != 200:
            raise ValueError("%s %s: %d %s" % (method, path, reply.status, text))
        return json.loads(text)

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body):
        return self.request("POST", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    def cli(self, *args, name="zerotier-cli"):
        """Run a command of the CLI against this node; (exit code, output)."""
        argv = ["ip", "netns", "exec", self.ns, "bash", "-c", 'exec -a "$0" "$@"', name,
                self.binary, "-D" + self.home] + list(args)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=30)
        return done.returncode, done.stdout

    # ---- states to wait for ----

    def wait_online(self, timeout=30):
        wait_for(self.ns + " online", lambda: self.get("/status")["online"], timeout)
        return time.monotonic() - self.started

    def network(self, nwid):
        status, text = self.request("GET", "/network/" + nwid, raw=True)
        return json.loads(text) if status == 200 else {}

    def wait_network(self, nwid, status="OK", timeout=30):
        def there():
            net = self.network(nwid)
            return net if net.get("status") == status else None
        return wait_for("%s: network %s" % (self.ns, status), there, timeout)

    def join(self, nwid):
        self.post("/network/" + nwid, {})

    def device(self, nwid):
        return self.network(nwid)["portDeviceName"]

    def ip(self, nwid, family=4, timeout=30):
        def there():
            for assigned in self.network(nwid).get("assignedAddresses", []):
                if (":" in assigned) == (family == 6):
                    return assigned.split("/")[0]
            return None
        return wait_for("%s: managed address" % self.ns, there, timeout)

    def is_direct(self, other):
        for peer in self.get("/peer"):
            if peer["address"] == other.address:
                return any(path["active"] and not path["expired"] for path in peer["paths"])
        return False

    def wait_direct(self, other, timeout=30):
        wait_for("%s direct to %s" % (self.ns, other.ns), lambda: self.is_direct(other), timeout)

    # ---- controller ----

    def create_network(self, **settings):
        """A network on this node's controller: private, 10.121.0.0/16, broadcast."""
        body = {"private": True, "name": "test", "v4AssignMode": {"zt": True},
                "routes": [{"target": "10.121.0.0/16"}],
                "ipAssignmentPools": [{"ipRangeStart": "10.121.0.1",
                                       "ipRangeEnd": "10.121.255.254"}]}
        body.update(settings)
        return self.post("/controller/network/%s______" % self.address, body)["id"]

    def authorize(self, nwid, member, **settings):
        body = {"authorized": True}
        body.update(settings)
        return self.post("/controller/network/%s/member/%s" % (nwid, member.address), body)


def ping(ns, target, count=5, interval=0.05, size=56, deadline=5):
    """Ping; packets lost."""
    out = sh("ping -n -q -c %d -i %.3f -s %d -W 2 -w %d %s" % (
        count, interval, size, deadline, target), check=False, ns=ns, timeout=60)
    match = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    if not match:
        raise Failed("ping %s: %s" % (target, out.strip()))
    return count - int(match.group(2))


def wait_ping(ns, target, timeout=15):
    """Ping until the first answer; seconds it took."""
    begin = time.monotonic()
    sh("end=$(($(date +%%s) + %d)); until ping -n -q -c 1 -W 0.2 %s >/dev/null 2>&1; do "
       "[ $(date +%%s) -lt $end ] || exit 1; done" % (timeout, target), ns=ns, timeout=timeout + 10)
    return time.monotonic() - begin


def tcp_transfer(from_ns, to_ns, to_ip, size=2000000, timeout=30):
    """Send bytes by TCP from one namespace to another and check them; seconds."""
    payload = os.urandom(65536)
    family = socket.AF_INET6 if ":" in to_ip else socket.AF_INET

    def listen():
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((to_ip, 5001))
        server.listen(1)
        server.settimeout(timeout)
        return server

    server = in_ns(to_ns, listen)
    result = {}

    def receive():
        got = bytearray()
        conn, _ = server.accept()
        conn.settimeout(timeout)
        try:
            while len(got) < size:
                data = conn.recv(262144)
                if not data:
                    break
                got += data
        except socket.timeout:
            pass  # told below by what came
        conn.close()
        result["data"] = bytes(got)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    data = (payload * (size // len(payload) + 1))[:size]
    begin = time.monotonic()
    client = in_ns(from_ns, lambda: socket.socket(family, socket.SOCK_STREAM))
    client.settimeout(timeout)
    client.connect((to_ip, 5001))
    client.sendall(data)
    client.close()
    thread.join(timeout)
    server.close()
    if result.get("data") != data:
        raise Failed("TCP %s to %s: %d of %d bytes arrived intact" % (
            from_ns, to_ns, len(result.get("data", b"")), size))
    return time.monotonic() - begin
