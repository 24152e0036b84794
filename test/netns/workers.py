"""Several worker threads: order of flows, change under full load, stop, idleness. Checklist: D-17, D-29, T-11;
data path contract, invariants 14 and 16."""
import ctypes
import errno
import os
import re
import socket
import struct
import threading
import time

from flow import POOL, UDP_SEGMENT, Load, background, tcp_check, udp_socket
from net import LIBC, Failed, Skipped, ping, sh, wait_for, wait_ping
from offload import traffic

STOP_S = 2.0        # a node stops within this, whatever goes on
REVOKED_S = 1.0     # frames of a member without rights stop within this
WAKES_A_SECOND = 4  # of an idle thread, at most
QUIET_S = 3         # how long quiet is looked at
ORDERED = 1500      # datagrams of a stream whose order is looked at


def workers(count):
    return ("--workers", str(count))


class Flood:
    """Datagrams at full rate to an address, whatever happens to the way there, until stopped; pause: between 30
    of them, where others are to have their share."""

    def __init__(self, ns, ip, port=7020, pause=0.0):
        self.ns = ns
        self.pause = pause
        self.to = (ip, port)
        self.sent = 0
        self.stopped = False
        self.thread = threading.Thread(target=self.send, daemon=True)
        self.thread.start()

    def send(self):
        sock = udp_socket(self.ns, family=socket.AF_INET)
        control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 1300))]
        while not self.stopped:
            try:
                sock.sendmsg([POOL[:39000]], control, 0, self.to)
                self.sent += 1
                time.sleep(self.pause)
            except OSError:
                time.sleep(0.005)
        sock.close()

    def stop(self):
        self.stopped = True
        self.thread.join(10)


class Sink:
    """Counts the datagrams that arrive at an address."""

    def __init__(self, ns, ip, port=7020):
        self.sock = udp_socket(ns, ip, port, timeout=0.05)
        self.count = 0
        self.stopped = False
        self.thread = threading.Thread(target=self.receive, daemon=True)
        self.thread.start()

    def receive(self):
        while not self.stopped:
            try:
                self.sock.recv(2048)
                self.count += 1
            except OSError:
                pass

    def stop(self):
        self.stopped = True
        self.thread.join(10)
        self.sock.close()


def members(net, first=2, second=2, networks=1, **settings):
    """A root that is the controller, too, and two members with so many workers each; root, members, networks."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    a.start(extra=workers(first))
    b.start(extra=workers(second))
    made = []
    for index in range(networks):
        lan = "10.%d.0" % (140 + index)
        made.append(root.create_network(routes=[{"target": lan + ".0/24"}], ipAssignmentPools=[
            {"ipRangeStart": lan + ".1", "ipRangeEnd": lan + ".254"}], **settings))
        for node in (a, b):
            root.authorize(made[-1], node)
            node.join(made[-1])
    for nwid in made:
        for node in (a, b):
            node.wait_network(nwid)
        wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    b.wait_direct(a)
    return root, a, b, made


def descriptors(node):
    return len(os.listdir("/proc/%d/fd" % node.process.pid))


def same_descriptors(node, before):
    wait_for("%s to have %d descriptors again" % (node.ns, before), lambda: descriptors(node) <= before, 5)


def know(node, other, nwid):
    """Tell the system the MAC of another member, so that frames flow as soon as there is a device."""
    sh("ip neigh replace %s lladdr %s dev %s nud permanent" % (
        other.ip(nwid), other.network(nwid)["mac"], node.device(nwid)), ns=node.ns)


def only_network(node):
    return node.get("/network")[0]["id"]


# ---- traffic ----

def numbered(one, two, ip, port=7021):
    """A stream of numbered datagrams at a moderate rate; the numbers as they arrive."""
    server = udp_socket(two, ip, port, timeout=1.0)
    client = udp_socket(one, family=socket.AF_INET)
    client.connect((ip, port))

    def send():
        for n in range(ORDERED):
            client.send(struct.pack("=I", n) + POOL[:n % 1300])
            if n % 10 == 9:
                time.sleep(0.003)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    got = []
    try:
        while len(got) < ORDERED:
            got.append(struct.unpack("=I", server.recv(2048)[:4])[0])
    except socket.timeout:
        pass
    thread.join(10)
    client.close()
    server.close()
    return got


def in_order(one, two, ip):
    """All of a stream arrive, in order; while a path changes order is not promised, so there is a second try."""
    for _ in range(2):
        got = numbered(one, two, ip)
        if got == list(range(ORDERED)):
            return
    late = sum(1 for before, after in zip(got, got[1:]) if after < before)
    raise Failed("%d of %d datagrams arrived, %d steps back" % (len(set(got)), ORDERED, late))


def count_threads(node, workers_wanted):
    threads = len(os.listdir("/proc/%d/task" % node.process.pid))
    if threads <= workers_wanted:
        raise Failed("%s has %d threads with %d workers" % (node.ns, threads, workers_wanted))


def pairs_of(first, second):
    """What offload.py tests, between nodes with so many workers; order of a stream of datagrams."""
    def test(net):
        traffic(net, workers(first), workers(second))
        a, b = net.nodes[1:]
        nwid = only_network(a)
        in_order("a", "b", b.ip(nwid))
        in_order("b", "a", a.ip(nwid))
        count_threads(a, first)
        count_threads(b, second)
    return test


test_two_workers = pairs_of(2, 2)
test_four_workers_and_one = pairs_of(4, 1)


def test_sixteen_workers_and_three(net):
    """As many as there can be, with one lane each, and a number that leaves a queue over."""
    _, a, b, (nwid,) = members(net, 16, 3)
    tcp_check("a", "b", b.ip(nwid), 2000000)
    in_order("a", "b", b.ip(nwid))
    count_threads(a, 16)
    count_threads(b, 3)


# ---- change under load ----

def test_leave_and_join_under_load(net):
    """Ten times: no crash, no descriptor lost, the other network does not notice."""
    _, a, b, (first, second) = members(net, networks=2)
    floods = [Flood("a", b.ip(first), pause=0.002), Flood("b", a.ip(first), pause=0.002)]
    load = Load("a", "b", b.ip(second))
    time.sleep(0.2)
    before = descriptors(a)
    target = b.ip(first)
    for n in range(10):
        sent = load.sent
        a.delete("/network/" + first)
        wait_for("end of the device", lambda: not a.network(first), 5)
        a.join(first)
        a.wait_network(first)
        know(a, b, first)
        if n % 4 == 1:
            wait_ping("a", target, 10)
        wait_for("load on the other network", lambda sent=sent: load.sent > sent, 3)
    for flood in floods:
        flood.stop()
    load.stop()
    same_descriptors(a, before)
    tcp_check("a", "b", target, 2000000)


def test_underlay_addresses_come_and_go(net):
    """Addresses of the machine are removed and added while the node sends by them."""
    _, a, b, (nwid,) = members(net)
    load = Load("a", "b", b.ip(nwid))
    time.sleep(0.2)
    before = descriptors(a)
    for n in range(4):
        sh("ip addr add 10.9.0.1%d/24 dev eth0" % n, ns="a")
        wait_for("socket", lambda n=n: "10.9.0.1%d/" % n in str(a.get("/status")), 5)
        sh("ip addr del 10.9.0.1%d/24 dev eth0" % n, ns="a")
    sh("ip addr add 10.9.0.20/24 dev eth0 && sleep 0.2 && ip addr del 10.9.0.2/24 dev eth0", ns="a")
    sh("ip addr show dev eth0 | grep -q 10.9.0.20 || ip addr add 10.9.0.20/24 dev eth0", ns="a")
    wait_ping("a", b.ip(nwid), 25)
    load.stop()
    same_descriptors(a, before)


def test_address_moves_to_another_device(net):
    """What served it on the old device is closed before the new one is served."""
    _, a, b, (nwid,) = members(net)
    flood = Flood("a", b.ip(nwid))
    net.plug("a", device="eth1")
    for old, new in (("eth0", "eth1"), ("eth1", "eth0")):
        sh("ip addr del 10.9.0.2/24 dev %s && ip addr add 10.9.0.2/24 dev %s" % (old, new), ns="a")
        wait_ping("a", b.ip(nwid), 20)
    flood.stop()
    with open(a.log) as handle:
        if "cannot bind" in handle.read():
            raise Failed("address was still taken")


def test_device_deleted_under_load(net):
    """Somebody removes the device: it is made anew, with its address."""
    _, a, b, (nwid,) = members(net)
    target = b.ip(nwid)
    floods = [Flood("a", target), Flood("b", a.ip(nwid))]
    time.sleep(0.2)
    before = descriptors(a)
    for _ in range(2):
        sh("ip link del " + a.device(nwid), ns="a")
        wait_for("loss of the device", lambda: not a.device(nwid), 5)
        wait_for("another device", lambda: a.device(nwid), 5)
        know(a, b, nwid)
        wait_ping("a", target, 10)
    for flood in floods:
        flood.stop()
    same_descriptors(a, before)
    tcp_check("a", "b", target, 2000000)


def test_stop_under_load(net):
    """A node stops at once under full load in both directions, and comes back."""
    _, a, b, (nwid,) = members(net)
    target = b.ip(nwid)
    floods = [Flood("a", target), Flood("b", a.ip(nwid))]
    for _ in range(2):
        time.sleep(0.3)
        took = a.stop()
        if took > STOP_S * 0.9:
            raise Failed("stopped after %.2f s" % took)
        a.start(extra=workers(2))
        a.wait_network(nwid)
        know(a, b, nwid)
        wait_ping("a", target, 20)
    for flood in floods:
        flood.stop()
    ping("a", target, 3)


def test_revocation_under_load(net):
    """Frames of a member stop when its rights end, also if it knows nothing of that and sends on."""
    root, a, b, (nwid,) = members(net)
    target = b.ip(nwid)
    sink = Sink("b", target)
    flood = Flood("a", target)
    wait_for("frames", lambda: sink.count > 1000, 10)
    sh("nft 'add table ip deaf; add chain ip deaf in { type filter hook input priority 0; }; "
       "add rule ip deaf in ip saddr 10.9.0.1 drop'", ns="a")
    root.authorize(nwid, a, authorized=False)
    time.sleep(REVOKED_S)
    count = sink.count
    sent = flood.sent
    time.sleep(1)
    if flood.sent == sent:
        raise Failed("the member sends no more: nothing is tested")
    if sink.count != count:
        raise Failed("%d datagrams after rights ended" % (sink.count - count))
    flood.stop()
    sink.stop()


def test_configuration_changes_under_load(net):
    """Rules, routes and members change while frames flow; the other network comes and goes."""
    root, a, b, (first, second) = members(net, networks=2)
    load = Load("a", "b", b.ip(first))
    floods = [Flood("a", b.ip(second), pause=0.002), Flood("b", a.ip(second), pause=0.002)]
    rules = {"rules": [{"type": "ACTION_ACCEPT"}]}
    for n in range(6):
        more = [{"type": "MATCH_IP_PROTOCOL", "ipProtocol": 100 + n}, {"type": "ACTION_DROP"}]
        root.post("/controller/network/" + first, {"rules": more * n + rules["rules"]})
        root.authorize(second, a, authorized=n % 2 == 1)
        if n % 3 == 2:
            b.delete("/network/" + second)
            b.join(second)
        time.sleep(0.2)
    for flood in floods:
        flood.stop()
    load.stop()
    for node in (a, b):
        node.wait_network(second)
        node.stop()


def test_order_is_kept_while_the_configuration_changes(net):
    """At each change frames go by the engine for a moment, and those after them do not overtake them."""
    root, a, b, (nwid,) = members(net)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    ended = []

    def change():
        for n in range(1000):
            if ended:
                break
            root.post("/controller/network/" + nwid, {"rules": [
                {"type": "MATCH_IP_PROTOCOL", "ipProtocol": 100 + n % 50}, {"type": "ACTION_DROP"},
                {"type": "ACTION_ACCEPT"}]})
            time.sleep(0.02)
    changing = background(change)
    try:
        for _ in range(3):
            got = numbered("a", "b", b.ip(nwid))
            behind = [n for before, n in zip(got, got[1:]) if n < before]
            if behind:
                raise Failed("%d of %d datagrams came late: %r" % (len(behind), len(got), behind[:10]))
    finally:
        ended.append(True)
        changing()


# ---- a worker that does not move ----

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000


def trace(request, thread):
    if LIBC.ptrace(request, thread, None, None) != 0:
        if ctypes.get_errno() == errno.EPERM:
            raise Skipped("threads cannot be stopped here")
        raise Failed("ptrace %#x: %s" % (request, os.strerror(ctypes.get_errno())))


class Frozen:
    """The worker of a node with one of them stands still, in the middle of its work if there is any."""

    def __init__(self, node):
        base = "/proc/%d/task/" % node.process.pid

        def time_used(task):
            with open(base + task + "/stat") as handle:
                return sum(int(n) for n in handle.read().rsplit(")", 1)[1].split()[11:13])
        tasks = [task for task in os.listdir(base) if int(task) != node.process.pid]
        self.thread = int(max(tasks, key=time_used))
        for _ in range(50):
            trace(PTRACE_SEIZE, self.thread)
            trace(PTRACE_INTERRUPT, self.thread)
            os.waitpid(self.thread, WALL)
            with open(base + "%d/syscall" % self.thread) as handle:
                call = handle.read().split()[0]
            if call not in ("232", "281", "22"):  # not in a wait for events
                return
            self.thaw()
            time.sleep(0.01)
        raise Failed("the worker has nothing to do")

    def thaw(self):
        trace(PTRACE_DETACH, self.thread)


def test_worker_stands_still(net):
    """Control goes on, says so, and closes nothing that the worker still uses; then all goes on."""
    _, a, b, (first, second) = members(net, 1, 1, networks=2)
    target = b.ip(second)
    floods = [Flood("a", target), Flood("b", a.ip(second))]
    sh("ip addr add 10.9.0.12/24 dev eth0", ns="a")
    wait_for("socket", lambda: "10.9.0.12/" in str(a.get("/status")), 5)
    before = descriptors(a)
    frozen = Frozen(a)
    try:
        sh("ip addr del 10.9.0.12/24 dev eth0", ns="a")
        a.delete("/network/" + second)
        wait_for("end of the device", lambda: not a.network(second), 5)
        a.join(second)
        wait_for("report", lambda: "a worker is stuck" in open(a.log).read(), 5)
    finally:
        frozen.thaw()
    a.wait_network(second)
    know(a, b, second)
    wait_ping("a", target, 20)
    for flood in floods:
        flood.stop()
    same_descriptors(a, before)
    tcp_check("a", "b", b.ip(first), 2000000)


# ---- quiet ----

def switches(node):
    """How often each thread went to sleep so far."""
    out = {}
    base = "/proc/%d/task" % node.process.pid
    for task in os.listdir(base):
        with open("%s/%s/status" % (base, task)) as handle:
            out[task] = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", handle.read(), re.M).group(1))
    return out


def test_idle_threads_sleep(net):
    """T-11: nothing wakes but deadlines, after traffic as before; the first frame after that is not lost."""
    _, a, b, (nwid,) = members(net)
    tcp_check("a", "b", b.ip(nwid), 4000000)
    time.sleep(4)  # memory of bulk transfers is given back
    before = [switches(node) for node in (a, b)]
    time.sleep(QUIET_S)
    for node, old in zip((a, b), before):
        for task, count in switches(node).items():
            rate = (count - old.get(task, 0)) / QUIET_S
            if rate > WAKES_A_SECOND:
                raise Failed("%s: thread %s woke %.1f times a second" % (node.ns, task, rate))
    if ping("a", b.ip(nwid), 1):
        raise Failed("first ping after quiet lost")


# ---- the address ----

def test_ports_are_not_shared_with_another_node(net):
    """Another node fails clearly at our port, and does not get half of our datagrams at the second."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.config["settings"]["secondaryPort"] = 31999
    root.start(extra=workers(2))
    home = os.path.join(net.home, "second")
    second = net.node("root", home=home, config={"settings": {"secondaryPort": 31999}})
    second.log = os.path.join(net.home, "second.log")
    second.start(wait=False)
    if second.process.wait(10) != 1:
        raise Failed("exit status %d" % second.process.returncode)
    with open(second.log) as handle:
        text = handle.read()
    if "cannot bind to port 9993" not in text:
        raise Failed("a second node at one port says: " + text)
    second.port = 9994
    second.start(extra=workers(2))
    with open(second.log) as handle:
        text = handle.read()
    if "cannot bind address=10.9.0.1/31999" not in text or "bound address=10.9.0.1/9994" not in text:
        raise Failed("a second node with another port says: " + text)
