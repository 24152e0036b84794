#!/usr/bin/env python3
"""Cold start and idle cost, measured with real daemons in namespaces.

  PANLAN=build/src/panlan [ZEROTIER_ONE=/usr/sbin/zerotier-one] bench/coldstart.py [RUNS]

A member whose identity and network are on disk already is started beside a running root,
controller and second member. Times are from the start of its process: ONLINE in /status, network
OK, first echo of a datagram through the network, direct path at both ends. Prints medians, one line
for each choice of seats, and the memory and wakeups of an idle member (RUNS 0: these alone).
"""
import os
import socket
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "netns"))
import net as lab  # noqa: E402
import run as runner  # noqa: E402

KIND = {"p": ("ours", False), "r": ("reference", True)}


def echo_server(ns, ip):
    server = lab.in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind((ip, 7007))

    def run():
        while True:
            try:
                data, peer = server.recvfrom(2000)
                server.sendto(data, peer)
            except OSError:
                return
    threading.Thread(target=run, daemon=True).start()
    return server


def first_echo(ns, ip, begin, limit):
    """Seconds from begin until a datagram comes back; one is sent every 5 ms."""
    client = lab.in_ns(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.setblocking(False)
    while time.monotonic() - begin < limit:
        try:
            client.sendto(b"x", (ip, 7007))
        except OSError:
            pass
        time.sleep(0.005)
        try:
            client.recv(100)
            return time.monotonic() - begin
        except OSError:
            continue
    return float("nan")


def once(kinds):
    """One cold start; four times in seconds."""
    net = lab.Net()
    try:
        made = []
        for index, (name, kind) in enumerate(zip(("root", "ctl", "one", "two"), kinds)):
            made.append(net.node(net.host(name, "10.9.%d.1/16" % index), reference=KIND[kind][1]))
        root, ctl, one, two = made
        net.make_planet([(root, "10.9.0.1/9993")])
        for node in made:
            node.start(wait=False)
        for node in made:
            node.wait_api()
            node.wait_online()
        nwid = ctl.create_network()
        for node in (one, two):
            ctl.authorize(nwid, node)
            node.join(nwid)
        for node in (one, two):
            node.wait_network(nwid, timeout=40)
        target = two.ip(nwid)
        # The others are to be settled: a reference announces its subscriptions 5 s after joining,
        # and its controller is deaf to a member for 1 s after a request.
        time.sleep(8 if two.reference else 1.5)
        one.stop(20)
        for name in os.listdir(one.path("networks.d")):
            if name.endswith(".conf") and not name.endswith(".local.conf"):
                one.write("networks.d/" + name, "\n")  # joined, but without a configuration
        if os.path.isdir(one.path("peers.d")):
            for name in os.listdir(one.path("peers.d")):
                os.unlink(one.path("peers.d", name))
        server = echo_server("two", target)
        times = {}
        one.start(wait=False)
        begin = one.started

        def echo():
            times["ping"] = first_echo("one", target, begin, 40)

        thread = threading.Thread(target=echo)
        thread.start()
        checks = {"online": lambda: one.get("/status")["online"],
                  "network": lambda: one.network(nwid).get("status") == "OK",
                  "direct": lambda: "ping" in times and one.is_direct(two) and two.is_direct(one)}
        while len(times) < 4 and time.monotonic() - begin < 40:
            for name, check in checks.items():
                if name not in times:
                    try:
                        if check():
                            times[name] = time.monotonic() - begin
                    except (OSError, ValueError, lab.http.client.HTTPException):
                        pass
            time.sleep(0.002)
        thread.join()
        server.close()
        return times
    finally:
        net.close()


def idle(settle=40, seconds=30):
    """Memory and wakeups of a member that nobody talks to."""
    net = lab.Net()
    try:
        root = net.node(net.host("root", "10.9.0.1/24"))
        one = net.node(net.host("one", "10.9.0.2/24"))
        net.make_planet([(root, "10.9.0.1/9993")])
        root.start()
        nwid = root.create_network()
        root.authorize(nwid, one)
        one.write("networks.d/%s.conf" % nwid, "\n")
        one.start(wait=False)
        lab.wait_for("device", lambda: "10.121." in lab.sh("ip -o -4 addr", ns="one"), 10)
        time.sleep(settle)  # the system's own chatter on a new device is over

        def counters():
            with open("/proc/%d/status" % one.process.pid) as handle:
                text = handle.read()
            switches = sum(int(line.split()[1]) for line in text.splitlines()
                           if "ctxt_switches" in line)
            with open("/proc/%d/stat" % one.process.pid) as handle:
                ticks = sum(int(x) for x in handle.read().split()[13:15])
            return switches, ticks
        before = counters()
        time.sleep(seconds)
        after = counters()
        with open("/proc/%d/smaps_rollup" % one.process.pid) as handle:
            memory = {line.split(":")[0]: int(line.split()[1]) for line in handle if "kB" in line}
        threads = len(os.listdir("/proc/%d/task" % one.process.pid))
        print("idle member: %d kB resident, %d kB anonymous, %d threads, "
              "%.2f wakeups/s, %d ms CPU in %d s" % (
                  memory["Rss"], memory["Anonymous"], threads,
                  (after[0] - before[0]) / seconds,
                  (after[1] - before[1]) * 10, seconds))
    finally:
        net.close()


def main():
    runner.isolate(__file__)
    runner.settle()
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seats = ["pppp"] if runs else []
    if runs and lab.ZEROTIER_ONE:
        seats += ["rppp", "prpp", "pppr", "rrpp", "rrrr"]
    print("%-10s %-10s %-10s %-10s %8s %8s %8s %8s" % (
        "root", "controller", "member", "other", "online", "network", "ping", "direct"))
    for kinds in seats:
        count = runs if kinds == "pppp" else max(1, runs // 2)
        results = [once(kinds) for _ in range(count)]
        row = ["%.3f" % statistics.median(r.get(key, float("nan")) for r in results)
               for key in ("online", "network", "ping", "direct")]
        print("%-10s %-10s %-10s %-10s %8s %8s %8s %8s" % (
            *[KIND[k][0] for k in kinds], *row), flush=True)
    idle()


if __name__ == "__main__":
    main()
