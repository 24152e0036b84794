"""Bad input to a running daemon and to one that starts: a clear error, nothing lost, it lives."""
import http.client
import json
import os
import random
import socket
import threading
import time

from basic import trio
from net import Failed, Skipped, in_ns, ping, sh, wait_for, wait_ping


def alone(net, **kwargs):
    node = net.node(net.host("root", "10.9.0.1/24"), **kwargs)
    net.make_planet([(node, "10.9.0.1/9993")])
    return node


def log_of(node):
    with open(node.log, errors="replace") as handle:
        return handle.read()


def test_corrupt_identity_is_refused(net):
    node = alone(net)
    secret = node.read("identity.secret")
    node.write("identity.secret", secret[:40] + "0" + secret[41:-1])
    node.start(wait=False)
    if node.process.wait(10) != 1:
        raise Failed("exit status %r" % node.process.returncode)
    if "identity" not in log_of(node):
        raise Failed("no word about the identity: " + log_of(node))
    if len(node.read("identity.secret")) != len(secret) - 1:
        raise Failed("the file was changed")


def test_corrupt_planet_is_ignored_and_said(net):
    node = alone(net)
    net.planet = None
    node.write("planet", b"\x01 this is not a planet")
    node.write("local.conf", json.dumps({"settings": {"noDefaultPlanet": True,
                                                      "portMappingEnabled": False}}))
    node.start()
    if "planet" not in log_of(node):
        raise Failed("no word about the planet")


def test_corrupt_network_cache_is_ignored(net):
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    a.stop()
    a.write(os.path.join("networks.d", nwid + ".conf"), b"\xff\x00v=zz\nC=\\0\\0")
    a.start()
    a.wait_network(nwid)
    wait_ping("a", b.ip(nwid))


def test_corrupt_database_stops_only_the_controller(net):
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    root.stop()
    path = root.path("controller.d", "controller.sqlite")
    with open(path, "r+b") as handle:
        handle.write(b"this is no database at all" * 100)
    for extra in ("-wal", "-shm"):
        if os.path.exists(path + extra):
            os.unlink(path + extra)
    root.start()
    wait_for("API", lambda: root.request("GET", "/controller", raw=True))
    if "controller.sqlite" not in log_of(root):
        raise Failed("no word about the database")
    if ping("a", b.ip(nwid), 5):
        raise Failed("members were disturbed")
    with open(path, "rb") as handle:
        if not handle.read(20).startswith(b"this is no database"):
            raise Failed("the damaged file was overwritten")


def test_bad_local_conf_at_start_and_while_running(net):
    node = alone(net)
    node.write("local.conf", '{"settings": {"primaryPort": 9993,}}')
    node.start(wait=False)
    if node.process.wait(10) != 1:
        raise Failed("exit status %r" % node.process.returncode)
    text = log_of(node)
    if "local.conf" not in text or "line 1" not in text:
        raise Failed("no position in: " + text)
    node.write("local.conf", json.dumps({"settings": {"portMappingEnabled": False}}))
    node.start()
    node.write("local.conf", '{"settings": ')
    wait_for("word about the bad file", lambda: log_of(node).count("local.conf") > 1, 15)
    if node.get("/config")["settings"]["portMappingEnabled"] is not False:
        raise Failed("old configuration lost")
    if not node.is_running():
        raise Failed("a bad configuration killed a running daemon")


def test_port_taken(net):
    node = alone(net)
    taken = in_ns("root", lambda: socket.create_server(("0.0.0.0", 9993)))
    other = in_ns("root", lambda: socket.create_server(("::", 9993), family=socket.AF_INET6))
    node.start(wait=False)
    code = node.process.wait(10)
    taken.close()
    other.close()
    if code not in (1, 255) or "9993" not in log_of(node):
        raise Failed("exit %d, %s" % (code, log_of(node)))


def test_no_tun_device(net):
    node = alone(net)
    node.start()
    nwid = node.create_network(private=False)
    node.stop()
    # The daemon gets a /dev without net/tun in a mount namespace of its own.
    node.binary, real = "/usr/bin/env", node.binary
    net_argv = ["unshare", "--mount", "sh", "-c",
                "mount -t tmpfs tmpfs /dev/net && exec %s service --home %s" % (real, node.home)]
    import subprocess
    out = open(node.log, "a")
    os.makedirs("/dev/net", exist_ok=True)
    node.started = time.monotonic()
    node.process = subprocess.Popen(["ip", "netns", "exec", "root"] + net_argv, stdout=out,
                                    stderr=out)
    node.binary = real
    node.wait_api()
    node.join(nwid)
    info = wait_for("port error", lambda: node.network(nwid) if node.network(nwid).get(
        "status") == "PORT_ERROR" else None)
    if info["portError"] == 0 or info["portDeviceName"] != "":
        raise Failed(str(info))
    if not node.is_running():
        raise Failed("daemon died")


def test_not_root(net):
    """Without privileges the node lives and says on the network what it lacks."""
    import shutil
    import subprocess
    root = alone(net)
    root.start()
    nwid = root.create_network(private=False)
    node = net.node(net.host("user", "10.9.0.9/24"))
    shutil.copy(net.planet, node.path("planet"))
    node.write("local.conf", json.dumps(node.config))
    if os.geteuid() != 0 or not os.path.exists("/usr/bin/setpriv"):
        raise Skipped("needs root and setpriv")
    for path in (net.home, node.home):
        os.chmod(path, 0o755)
    sh("chown -R 65534:65534 " + node.home)
    binary = os.path.join(net.home, "panlan")
    shutil.copy(node.binary, binary)
    os.chmod(binary, 0o755)
    out = open(node.log, "a")
    node.started = time.monotonic()
    node.process = subprocess.Popen(
        ["ip", "netns", "exec", "user", "setpriv", "--reuid=65534", "--regid=65534",
         "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", binary, "service", "--home",
         node.home], stdout=out, stderr=out)
    node.wait_api()
    node.wait_online()
    node.join(nwid)
    info = wait_for("port error", lambda: node.network(nwid) if node.network(nwid).get(
        "status") == "PORT_ERROR" else None)
    if info["portError"] == 0 or not node.is_running():
        raise Failed(str(info))
    shown = sh("%s --home %s networks" % (binary, node.home), ns="user")
    if "run as root" not in info["statusAdvice"] or info["statusAdvice"] not in shown:
        raise Failed("no advice: %r %s" % (info, shown))
    if "permi" not in log_of(node).lower() and "root" not in log_of(node).lower():
        raise Failed("no word about privileges: " + log_of(node)[-500:])


def test_wrong_token_and_malformed_http(net):
    node = alone(net)
    node.start()
    for headers in ({}, {"X-ZT1-Auth": "wrong"}, {"Authorization": "Bearer wrong"}):
        status, body = node.request("GET", "/status", headers=headers, raw=True)
        if (status, body) != (401, "{}"):
            raise Failed("%r: %d %s" % (headers, status, body))
    status, _ = node.request("GET", "/health", headers={}, raw=True)
    if status != 200:
        raise Failed("/health needs no token")
    pieces = [b"\x00\x01\x02\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
              b"POST /status HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
              b"POST /network HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
              b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
              b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n"]
    for piece in pieces:
        sock = in_ns("root", lambda: socket.create_connection(("127.0.0.1", 9993), 5))
        try:
            sock.sendall(piece)
            sock.settimeout(2)
            sock.recv(1000)
        except OSError:
            pass
        sock.close()
    if not node.get("/status")["address"]:
        raise Failed("API is gone")
    code, out = node.cli("-Twrong", "info")
    if code != 1 or not out.startswith("401 info"):
        raise Failed("%d %s" % (code, out))


def rss(node):
    """Resident memory of a node in KiB."""
    with open("/proc/%d/status" % node.process.pid) as handle:
        return int([x for x in handle if x.startswith("VmRSS")][0].split()[1])


def test_bodies_of_strangers_are_not_kept(net):
    node = alone(net)
    node.start()
    node.get("/status")
    before = rss(node)
    size = 7 << 20
    head = "POST /network/8056c2e21c000001 HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n"
    socks = []
    for _ in range(12):
        sock = in_ns("root", lambda: socket.create_connection(("127.0.0.1", 9993), 5))
        sock.sendall((head % (size, "X-ZT1-Auth: wrong\r\n")).encode() + b"x" * (size - 1))
        socks.append(sock)
    if rss(node) - before > 20000:
        raise Failed("memory grew by %d KiB" % (rss(node) - before))
    for sock in socks:
        sock.sendall(b"x")
        if not sock.recv(100).startswith(b"HTTP/1.1 401"):
            raise Failed("not refused")
        sock.close()
    sock = in_ns("root", lambda: socket.create_connection(("127.0.0.1", 9993), 5))
    size = 9 << 20
    sock.sendall((head % (size, "X-ZT1-Auth: %s\r\n" % node.token())).encode() + b"x" * size)
    if not sock.recv(100).startswith(b"HTTP/1.1 413"):
        raise Failed("too large a body was taken")
    sock.close()


def test_slow_clients_of_the_api_do_not_lock_others_out(net):
    """Connections that say little and never end: one address gets a few, this machine is served."""
    node = alone(net, config={"settings": {"allowManagementFrom": ["10.9.0.0/24"]}})
    node.start()
    for ns, address in (("evil", "10.9.0.66/24"), ("good", "10.9.0.67/24")):
        net.host(ns, address)

    def connect(ns, target):
        return in_ns(ns, lambda: socket.create_connection((target, 9993), 5))

    def is_open(sock):
        try:
            return sock.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    socks = []
    for _ in range(200):
        sock = connect("evil", "10.9.0.1")
        socks.append(sock)
        sock.setblocking(False)
        try:
            sock.sendall(b"GET /status HTTP/1.1\r\nX-Slow: ")
        except OSError:
            pass  # closed already
    wait_for("few open", lambda: 0 < sum(map(is_open, socks)) <= 16, 4)
    good = connect("good", "10.9.0.1")
    good.settimeout(5)
    good.sendall(b"GET /health HTTP/1.1\r\nHost: 10.9.0.1\r\n\r\n")
    if not good.recv(100).startswith(b"HTTP/1.1 200"):
        raise Failed("another machine is locked out")
    for _ in range(120):
        try:
            socks.append(connect("root", "127.0.0.1"))
        except OSError:
            break
    for sock in socks:
        sock.close()
    wait_for("service", lambda: node.get("/status")["address"])


def test_random_and_mutated_datagrams_at_full_rate(net):
    root, a, b, nwid = trio(net)
    target = b.ip(nwid)
    wait_ping("a", target)
    rng = random.Random(7)
    net.host("evil", "10.9.0.66/24")
    samples = []
    for _ in range(64):
        size = rng.choice([13, 17, 27, 28, 100, 137, 1432])
        data = bytearray(rng.randbytes(size))
        if size >= 28:
            data[8:13] = bytes.fromhex(rng.choice([a.address, b.address, root.address]))
            data[13:18] = bytes.fromhex(rng.choice([a.address, b.address, root.address]))
            data[18] = rng.choice([0x00, 0x08, 0x18, 0x40, 0x58, 0x88, 0xc8, 0x10, 0x30])
            if rng.random() < 0.3:
                data[13] = 0xff
                data[14] = rng.randrange(256)
            if rng.random() < 0.3:
                data[27] = 1
                data[18] = 0
        samples.append(bytes(data))
    sock = in_ns("evil", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    before = rss(a)
    end = time.monotonic() + 4
    sent = 0
    while time.monotonic() < end:
        for _ in range(200):
            data = bytearray(rng.choice(samples))
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            data[0:8] = sent.to_bytes(8, "big")
            sock.sendto(data, (rng.choice(["10.9.0.1", "10.9.0.2"]), 9993))
            sent += 1
    for node in (root, a, b):
        if not node.is_running():
            raise Failed(node.ns + " died")
    if rss(a) - before > 60000:
        raise Failed("memory grew by %d KiB" % (rss(a) - before))
    if ping("a", target, 10):
        raise Failed("pings lost after the flood of %d datagrams" % sent)


def test_many_clients_of_the_api_at_once(net):
    """Requests that read, change and wait for the database, from eight clients, and a stop in between."""
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    paths = ["/status", "/network", "/peer", "/metrics", "/config", "/moon", "/controller",
             "/controller/network", "/controller/network/" + nwid,
             "/unstable/controller/network/%s/member" % nwid]
    ending = threading.Event()
    served, faults = [0] * 8, []

    def client(number):
        rng = random.Random(number)
        member = "/controller/network/%s/member/%010x" % (nwid, 0x1000000000 + number)
        while True:
            try:
                change = rng.random()
                if change < 0.2:
                    status, _ = root.request("POST", member, {"authorized": rng.random() < 0.5,
                                                              "name": str(served[number])}, raw=True)
                elif change < 0.3:
                    status, _ = root.request("POST", "/network/%016x" % (1 + number), {}, raw=True)
                elif change < 0.4:
                    status, _ = root.request("DELETE", "/network/%016x" % (1 + number), raw=True)
                else:
                    status, _ = root.request("GET", rng.choice(paths), raw=True)
                if status != 200 and not ending.is_set():
                    faults.append("client %d: status %d" % (number, status))
                served[number] += 1
            except (OSError, http.client.HTTPException) as error:
                if not ending.is_set():
                    faults.append("client %d: %s" % (number, error))
                return

    clients = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in clients:
        thread.start()
    time.sleep(4)
    if ping("a", b.ip(nwid), 10):
        faults.append("pings lost")
    ending.set()  # from here on a request may fail, and the first that does ends its client
    took = root.stop()
    for thread in clients:
        thread.join(15)
    if faults or took > 2 or min(served) < 20:
        raise Failed("%s, stop took %.1f s, served %r" % (faults[:5], took, served))
    root.start()
    a.wait_online()
