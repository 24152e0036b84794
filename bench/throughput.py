#!/usr/bin/env python3
"""TCP and UDP throughput and ping between two members, ours and the reference's, in one run.

  PANLAN=build/src/panlan [ZEROTIER_ONE=/usr/sbin/zerotier-one] bench/throughput.py [SECONDS] [RUNS]
"""
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "netns"))
import net as lab  # noqa: E402
import run as runner  # noqa: E402

KIND = {"p": False, "r": True}


def cpu(node):
    with open("/proc/%d/stat" % node.process.pid) as handle:
        fields = handle.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def iperf(one, two, target, seconds, *args):
    server = subprocess.Popen(["ip", "netns", "exec", two.ns, "iperf3", "-s", "-1", "-B", target],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lab.wait_for("iperf3", lambda: ":5201" in lab.sh("ss -ltn", ns=two.ns), 5)
    before = cpu(one) + cpu(two)
    out = lab.sh("iperf3 -J -c %s -t %d %s" % (target, seconds, " ".join(args)), ns=one.ns,
                 check=False, timeout=seconds + 20)
    server.wait(10)
    used = cpu(one) + cpu(two) - before
    end = json.loads(out)["end"]
    total = end.get("sum_received") or end["sum"]
    return total["bits_per_second"] / 1e9, used, end


def measure(kinds, seconds):
    net = lab.Net()
    try:
        root = net.node(net.host("root", "10.9.0.1/16"), reference=False)
        one = net.node(net.host("one", "10.9.1.1/16"), reference=KIND[kinds[0]])
        two = net.node(net.host("two", "10.9.2.1/16"), reference=KIND[kinds[1]])
        net.make_planet([(root, "10.9.0.1/9993")])
        for node in (root, one, two):
            node.start(wait=False)
        for node in (root, one, two):
            node.wait_api()
        nwid = root.create_network()
        for node in (one, two):
            root.authorize(nwid, node)
            node.join(nwid)
        for node in (one, two):
            node.wait_network(nwid, timeout=60)
        target = two.ip(nwid)
        lab.wait_ping("one", target, 60)
        one.wait_direct(two, 60)
        two.wait_direct(one, 60)
        row = {}
        row["tcp1"], used, _ = iperf(one, two, target, seconds)
        row["cpu/Gbit"] = used / (row["tcp1"] * seconds)
        row["tcp4"], _, _ = iperf(one, two, target, seconds, "-P", "4")
        row["reverse"], _, _ = iperf(one, two, target, seconds, "-R")
        for size in (64, 1400):
            _, _, end = iperf(one, two, target, seconds, "-u", "-b", "0", "-l", str(size))
            total = end.get("sum_received") or end["sum"]
            row["udp%d kpps" % size] = total["bytes"] / size / total["seconds"] / 1000
        out = lab.sh("ping -n -q -c 200 -i 0.005 " + target, ns="one", timeout=30)
        row["rtt ms"] = float(re.search(r"= [\d.]+/([\d.]+)/", out).group(1))
        return row
    finally:
        net.close()


def main():
    runner.isolate(__file__)
    runner.settle()
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    table = {}
    pairs = ["pp"] + (["rr", "pr", "rp"] if lab.ZEROTIER_ONE else [])
    for _ in range(runs):
        for kinds in pairs:
            table.setdefault(kinds, []).append(measure(kinds, seconds))
    keys = list(table["pp"][0])
    print("%-22s" % "" + "".join("%14s" % key for key in keys))
    for kinds in pairs:
        label = "%s to %s" % tuple("ours" if k == "p" else "reference" for k in kinds)
        print("%-22s" % label + "".join(
            "%14.3f" % statistics.median(r[key] for r in table[kinds]) for key in keys))


if __name__ == "__main__":
    main()
