#!/usr/bin/env python3
"""How long traffic stops when something changes below it: addresses, NAT mappings, paths, roots,
sleep, restarts. Real daemons in namespaces, ours and the reference's in the same run.

  PANLAN=build/src/panlan [ZEROTIER_ONE=/path/to/zerotier-one] bench/roaming.py [RUNS] [EVENT...]

Two members of a network exchange a numbered datagram and its echo every 10 ms. An event is made to
happen, and the figure is the time from it to the first echo of a datagram sent after it: the median
of RUNS runs (3; the reference runs once, since some of its figures are minutes), ">N" where traffic
had not come back when the wait ended. "lost" counts datagrams without echo, of our runs.

The last two rows need no traffic before: a node that starts without any address until it is online
after it got one, and a member that left and joined again until its first echo.

The part for our own nodes takes about a minute and a half, the reference's up to ten. Nothing else
should run on the machine. `--ours` leaves the reference out.
"""
import os
import signal
import socket
import statistics
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "netns"))
import net as lab  # noqa: E402
import run as runner  # noqa: E402

PORT = 7007
STEP = 0.01       # between two datagrams
OURS_LIMIT = 20   # seconds that are waited for our nodes
FAR = "10.9.0.%d"


class Echo:
    """Datagrams between two members, with the time each was sent and echoed."""

    def __init__(self, one, two, target):
        self.server = lab.in_ns(two, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind(("0.0.0.0", PORT))
        self.client = lab.in_ns(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.server.settimeout(0.2)
        self.client.settimeout(0.2)
        self.target = (target, PORT)
        self.sent = []
        self.echoed = {}
        self.stopped = False
        self.threads = [threading.Thread(target=work, daemon=True)
                        for work in (self.serve, self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def serve(self):
        while not self.stopped:
            try:
                data, peer = self.server.recvfrom(100)
                self.server.sendto(data, peer)
            except OSError:
                pass

    def send(self):
        while not self.stopped:
            self.sent.append(time.monotonic())
            try:
                self.client.sendto(struct.pack("=I", len(self.sent) - 1), self.target)
            except OSError:
                pass  # no device, no route: that is part of the interruption
            time.sleep(STEP)

    def receive(self):
        while not self.stopped:
            try:
                number = struct.unpack("=I", self.client.recv(100)[:4])[0]
                self.echoed.setdefault(number, time.monotonic())
            except OSError:
                pass

    def count(self, since):
        """Echoes of datagrams sent after a time."""
        return sum(1 for number in list(self.echoed) if self.sent[number] >= since)

    def first(self, since):
        """When the first echo of a datagram sent after a time came, or None."""
        times = [at for number, at in list(self.echoed.items()) if self.sent[number] >= since]
        return min(times) if times else None

    def wait(self, since, limit):
        """Seconds from a time to the first echo of what was sent after it; None: not within limit."""
        while time.monotonic() - since < limit:
            at = self.first(since)
            if at is not None:
                return at - since
            time.sleep(STEP)
        return None

    def steady(self, limit=40):
        """Wait until everything of the last half second came back."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            begin = time.monotonic()
            time.sleep(0.5)
            if self.count(begin) >= 30:
                return
        raise lab.Failed("traffic does not become steady")

    def lost(self, since, until):
        return sum(1 for number, at in enumerate(list(self.sent))
                   if since <= at < until and number not in self.echoed)

    def close(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(2)
        self.server.close()
        self.client.close()


class Place:
    """Roots (the first is the controller too; a configured network does without it) and two members that talk."""

    def __init__(self, reference, roots=1, natted=(False, False), apart=False):
        self.net = net = lab.Net()
        self.echo = None
        try:
            self.build(net, reference, roots, natted, apart)
        except BaseException:
            self.close()
            raise

    def build(self, net, reference, roots, natted, apart):
        self.roots = [net.node(net.host("root%d" % i, FAR % (1 + i) + "/24"), reference=reference)
                      for i in range(roots)]
        self.members = []
        for i, name in enumerate(("one", "two")):
            if natted[i]:
                net.nat("nat" + name, FAR % (11 + i) + "/24", "192.168.%d.1/24" % (11 + i))
                ns = net.behind("nat" + name, name, "192.168.%d.2/24" % (11 + i),
                                "192.168.%d.1" % (11 + i))
            else:
                ns = net.host(name, FAR % (11 + i) + "/24")
            lab.sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=1", ns=name)
            # With one port the routers' mappings can be named.
            config = {"settings": {"allowSecondaryPort": False}} if any(natted) else None
            self.members.append(net.node(ns, reference=reference, config=config))
        if apart:
            for ns, other in (("one", 12), ("two", 11)):
                lab.sh("nft 'add table ip apart; add chain ip apart in { type filter hook input "
                       "priority 0; }; add rule ip apart in ip saddr %s drop'" % (FAR % other),
                       ns=ns)
        net.make_planet([(root, FAR % (1 + i) + "/9993") for i, root in enumerate(self.roots)])
        for node in self.roots + self.members:
            node.start(wait=False)
        for node in self.roots + self.members:
            node.wait_api()
            node.wait_online()
        self.ctl = self.roots[0]
        self.nwid = self.ctl.create_network()
        for node in self.members:
            self.ctl.authorize(self.nwid, node)
            node.join(self.nwid)
        for node in self.members:
            node.wait_network(self.nwid, timeout=60)
        self.one, self.two = self.members
        self.target = self.two.ip(self.nwid)
        lab.wait_ping("one", self.target, 60)
        if not apart:
            self.one.wait_direct(self.two, 60)
            self.two.wait_direct(self.one, 60)
        self.echo = Echo("one", "two", self.target)
        self.echo.steady()
        # The reference settles: its first full round of keepalives is over.
        time.sleep(6 if reference else 0.5)
        self.echo.steady()

    def measure(self, event, limit):
        """Let it happen; seconds until traffic flows, None if it does not, and datagrams lost."""
        begin = event(self) or time.monotonic()
        took = self.echo.wait(begin, limit)
        time.sleep(0.3)
        return took, self.echo.lost(begin, time.monotonic() - 0.3)

    def close(self):
        if self.echo:
            self.echo.close()
        self.net.close()


# ---- events: each does something and may return when it counts from ----

def move(place, ns="one", old=11, new=21):
    lab.sh("ip addr add %s/24 dev eth0 && ip addr del %s/24 dev eth0" % (FAR % new, FAR % old),
           ns=ns)


def reply_gap(place, ns="one", old=11, new=21):
    """As a DHCP client does it: the old address goes first."""
    lab.sh("ip addr del %s/24 dev eth0 && sleep 0.2 && ip addr add %s/24 dev eth0" % (
        FAR % old, FAR % new), ns=ns)
    return time.monotonic()


def forget_mappings(ns):
    """Flush the connection tracking of a namespace: one netlink message."""
    def flush():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
            # nlmsghdr: delete of conntrack, request with acknowledgement; nfgenmsg: IPv4
            netfilter.send(struct.pack("=IHHII", 20, 1 << 8 | 2, 1 | 4, 1, 0) +
                           struct.pack("=BBH", socket.AF_INET, 0, 0))
            netfilter.settimeout(5)
            answer = netfilter.recv(4096)
            if struct.unpack_from("=i", answer, 16)[0] != 0:
                raise lab.Failed("the router does not forget its mappings")
    lab.in_ns(ns, flush)


def rebind(place):
    """The router forgets its mappings; what leaves again gets another port, the old one is deaf."""
    lab.sh("nft -f - <<'END'\nflush chain ip nat post\n"
           "add rule ip nat post oifname eth0 udp sport 9993 masquerade to :31993\n"
           "add rule ip nat post oifname eth0 masquerade\nEND", ns="natone")
    forget_mappings("natone")


def block_path(place):
    """The way between the two dies, the way to the root stays."""
    lab.sh("nft 'add table ip cut; add chain ip cut in { type filter hook input priority 0; }; "
           "add rule ip cut in ip saddr %s drop'" % (FAR % 12), ns="one")
    lab.sh("nft 'add table ip cut; add chain ip cut in { type filter hook input priority 0; }; "
           "add rule ip cut in ip saddr %s drop'" % (FAR % 11), ns="two")


def received(node, device):
    for line in lab.sh("cat /proc/net/dev", ns=node.ns).splitlines():
        if line.strip().startswith(device + ":"):
            return int(line.split(":")[1].split()[1])
    return 0


def busiest(candidates):
    """Which of (node, device) receives most while traffic flows."""
    before = [received(*candidate) for candidate in candidates]
    time.sleep(0.5)
    counts = [received(*candidate) - count for candidate, count in zip(candidates, before)]
    return counts.index(max(counts))


def block_link(place):
    """Of the two links between the members the one in use dies, for them."""
    device = "eth%d" % busiest([(place.two, "eth0"), (place.two, "eth1")])
    for ns, other in (("one", 12), ("two", 11)):
        lab.sh("nft 'add table ip cut; add chain ip cut in { type filter hook input priority 0; }; "
               "add rule ip cut in iif %s ip saddr { 10.9.0.%d, 10.8.0.%d } drop'" % (
                   device, other, other), ns=ns)


def second_link(place):
    """Another network between the two, used by both before it counts."""
    net = place.net
    lab.sh("ip link add br1 type bridge && ip link set br1 up", ns=net.switch)
    for i, ns in enumerate(("one", "two")):
        net.plug(ns, "10.8.0.%d/24" % (11 + i), bridge="br1", device="eth1")

    def both():
        return all(any(p["address"].startswith("10.8.0.") and p["active"]
                       for peer in node.get("/peer") if peer["address"] == other.address
                       for p in peer["paths"])
                   for node, other in ((place.one, place.two), (place.two, place.one)))
    lab.wait_for("paths over the second link", both, 200, every=0.2)


def kill_root(place):
    """The root that relays most of the traffic is killed."""
    place.roots[busiest([(root, "eth0") for root in place.roots])].kill()


def freeze(place, seconds=22):
    """The daemon sleeps; its address is another one when it wakes."""
    process = place.one.process.pid
    children = lab.sh("cat /proc/%d/task/%d/children" % (process, process)).split()
    pids = [process] + [int(child) for child in children]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    move(place)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    return time.monotonic()


def link_flap(place):
    """The link is down for 5 s, and back with another address."""
    lab.sh("ip link set eth0 down", ns="one")
    time.sleep(5)
    lab.sh("ip addr del %s/24 dev eth0; ip addr add %s/24 dev eth0; ip link set eth0 up" % (
        FAR % 11, FAR % 21), ns="one")
    return time.monotonic()


def restart(place):
    """The peer is killed and started again at once."""
    place.two.kill()
    place.two.start(wait=False)


def restart_root(place):
    place.roots[0].kill()
    place.roots[0].start(wait=False)


def rejoin(place):
    place.one.delete("/network/" + place.nwid)
    lab.wait_for("end of the network", lambda: not place.one.network(place.nwid), 10)
    place.one.join(place.nwid)
    return time.monotonic()


NAT = {"natted": (True, True)}
RELAYED = {"apart": True, "roots": 2}
# name: (what, place, before, event, seconds waited for the reference)
EVENTS = {
    "move": ("address changes", {}, None, move, 60),
    "dhcp": ("address changes, none for 0.2 s", {}, None, reply_gap, 60),
    "rebind": ("NAT takes new ports, other side public", {"natted": (True, False)}, None, rebind,
               60),
    "rebind2": ("NAT takes new ports, both behind NAT", NAT, None, rebind, 60),
    "blackhole": ("only direct path dies", {}, None, block_path, 30),
    "second": ("direct path dies, another alive", {}, second_link, block_link, 60),
    "root": ("best of two roots dies, relayed", RELAYED, None, kill_root, 160),
    "sleep": ("22 s asleep, address changed", {}, None, freeze, 60),
    "flap": ("link down for 5 s, address changed", {}, None, link_flap, 60),
    "restart": ("peer killed and started", {}, None, restart, 60),
    "rootrestart": ("root restarts, pair is direct", {}, None, restart_root, 10),
    "rejoin": ("left and joined again", {}, None, rejoin, 30),
}


def one_event(name, reference):
    """(seconds or None, limit, lost) of one run."""
    _, settings, before, event, limit = EVENTS[name]
    limit = limit if reference else OURS_LIMIT
    place = Place(reference, **settings)
    try:
        if before:
            before(place)
            place.echo.steady()
        return place.measure(event, limit) + (limit,)
    finally:
        place.close()


def late_network(reference):
    """A node starts without an address; seconds from its first address until it is online."""
    net = lab.Net()
    try:
        root = net.node(net.host("root", FAR % 1 + "/24"), reference=reference)
        one = net.node(net.namespace("one"), reference=reference)
        net.plug("one")
        net.make_planet([(root, FAR % 1 + "/9993")])
        root.start()
        one.start()
        time.sleep(5)
        lab.sh("ip addr add %s/24 dev eth0" % (FAR % 11), ns="one")
        begin = time.monotonic()
        limit = 60 if reference else OURS_LIMIT
        try:
            lab.wait_for("online", lambda: one.get("/status")["online"], limit, every=0.005)
        except lab.Failed:
            return None, 0, limit
        return time.monotonic() - begin, 0, limit
    finally:
        net.close()


def figure(runs):
    """Text and number of the median."""
    if not runs:
        return "-", None
    times = sorted(limit if took is None else took for took, _, limit in runs)
    median = statistics.median(times)
    if any(took is None for took, _, _ in runs) and median >= runs[0][2]:
        return ">%d" % runs[0][2], median
    return "%.2f" % median, median


def measure(name, reference, count):
    runs = []
    for _ in range(count):
        try:
            runs.append(late_network(reference) if name == "late" else one_event(name, reference))
        except lab.Failed as reason:
            print("%s: a run failed: %s" % (name, reason), file=sys.stderr, flush=True)
    return runs


def main():
    wanted = [arg for arg in sys.argv[1:] if not arg.startswith("-") and not arg.isdigit()]
    count = next((int(arg) for arg in sys.argv[1:] if arg.isdigit()), 3)
    runner.isolate(__file__)
    runner.settle()
    if runner.missing() or not lab.PANLAN:
        print("skipped: " + (runner.missing() or "PANLAN must name the program to measure"))
        return
    names = [name for name in list(EVENTS) + ["late"] if not wanted or name in wanted]
    with_reference = bool(lab.ZEROTIER_ONE) and "--ours" not in sys.argv
    print("%-40s %8s %17s %6s %10s %7s" % (
        "seconds until traffic flows", "ours", "lowest-highest", "lost", "reference", "ratio"),
          flush=True)
    for name in names:
        what = EVENTS[name][0] if name in EVENTS else "online after the first address"
        ours = measure(name, False, count)
        theirs = measure(name, True, 1) if with_reference else []
        text, median = figure(ours)
        their_text, their_median = figure(theirs)
        spread = "%.2f-%.2f" % (min(t or l for t, _, l in ours),
                                max(t or l for t, _, l in ours)) if ours else "-"
        lost = "%d" % statistics.median(n for _, n, _ in ours) if ours else "-"
        ratio = "%.1f" % (their_median / median) if median and their_median else "-"
        print("%-40s %8s %17s %6s %10s %7s" % (what, text, spread, lost, their_text, ratio),
              flush=True)


if __name__ == "__main__":
    main()
