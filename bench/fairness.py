#!/usr/bin/env python3
"""What bulk traffic with one member does to small flows with others.

  PANLAN=build/src/panlan [ZEROTIER_ONE=...] bench/fairness.py [SECONDS]

Node A is in a network with B and C and in another one with D. Outwards: A floods B while pings go
from A to C and D every 5 ms. Inwards: B floods A while C and D ping A. Each kind of flood is
measured without and with one TCP flow between A and C in the same direction. All nodes are ours,
then all the reference's. doc/performance.md says what the columns mean. The goal is that no flood
adds more than 5 ms to the p99 of a ping; what got lost is a line of its own. Exit status 0 whatever
the figures are.
"""
import argparse
import sys

import benchlib as bench
from benchlib import NAN, lab

GOAL_MS = 5.0
PORTS = {"flow": 5202}  # of the flow between A and C; the flood has iperf's own
HEAD = ("A to others",) + tuple(
    "%s %s" % (who, what) for who in ("C", "D") for what in ("median", "p99", "max", "lost%")) + (
        "flood", "flow C", "share C%")


class Place:
    """A root that is the controller of both networks, and the four nodes."""

    def __init__(self, reference):
        self.net = lab.Net()
        try:
            self.start(reference)
        except BaseException:
            self.net.close()
            raise

    def start(self, reference):
        net = self.net
        root = net.node(net.host("root", "10.9.0.1/16"))
        nodes = {}
        for i, name in enumerate("abcd", 1):
            nodes[name] = net.node(net.host(name, "10.9.%d.1/16" % i), reference=reference)
        net.make_planet([(root, "10.9.0.1/9993")])
        for node in [root, *nodes.values()]:
            node.start(wait=False)
        for node in [root, *nodes.values()]:
            node.wait_api()
        self.ips = {}
        for subnet, names in (("10.121", "abc"), ("10.122", "ad")):
            nwid = root.create_network(
                routes=[{"target": subnet + ".0.0/16"}],
                ipAssignmentPools=[{"ipRangeStart": subnet + ".0.1",
                                    "ipRangeEnd": subnet + ".255.254"}])
            for name in names:
                root.authorize(nwid, nodes[name])
                nodes[name].join(nwid)
            for name in names:
                nodes[name].wait_network(nwid, timeout=60)
                self.ips[name, names] = nodes[name].ip(nwid)
        for name in "bcd":
            for one, two in (("a", name), (name, "a")):
                lab.wait_ping(one, self.ip(two, one), 60)
                nodes[one].wait_direct(nodes[two], 60)

    def ip(self, name, seen_from):
        """Address of a node in the network that it shares with another."""
        return self.ips[name, "ad" if "d" in (name, seen_from) else "abc"]


def start_flood(place, kind, source, sink, seconds):
    """Start bulk traffic; None or something with a result()."""
    target = place.ip(sink, source)
    if kind == "none":
        return None
    if kind.startswith("tcp"):
        return bench.Iperf(source, sink, target, seconds, "-P", kind[3:])
    return bench.Flood(source, sink, target, seconds, int(kind[3:]))


def flood_gbit(kind, result):
    """What a flood carried, in Gbit/s of payload."""
    if result is None:
        return NAN
    if kind.startswith("tcp"):
        return result["gbit"]
    return result["received"] * int(kind[3:]) * 8 / 1e9


def measure(place, kind, inwards, with_flow, seconds):
    """One line: pings to C and D, what the flood and the flow carried."""
    bulk = start_flood(place, kind, *(("b", "a") if inwards else ("a", "b")), seconds + 2)
    pair = ("c", "a") if inwards else ("a", "c")
    flow = None
    if with_flow:
        flow = bench.Iperf(*pair, place.ip(pair[1], pair[0]), seconds + 1, port=PORTS["flow"])
    pings = {}
    for name in "cd":
        ends = (name, "a") if inwards else ("a", name)
        pings[name] = bench.Ping(ends[0], place.ip(ends[1], ends[0]), seconds)
    pings = {name: ping.result() for name, ping in pings.items()}
    row = {"flow": flow.result()["gbit"] if flow else NAN}
    row["flood"] = flood_gbit(kind, bulk.result() if bulk else None)
    for name in "cd":
        for what, value in pings[name].items():
            row[name + what] = value
    return row


def report(title, kinds, rows):
    """The table of one direction, and the worst that a flood added to answered pings and losses."""
    lines = []
    for (kind, with_flow), row in rows.items():
        total = row["flow"] + row["flood"]
        lines.append(["%s%s" % (kind, " + flow C" if with_flow else "")] + [
            bench.number(row[name + what]) for name in "cd"
            for what in ("median", "p99", "max", "lost")] + [
                bench.number(row["flood"]), bench.number(row["flow"]),
                bench.number(100 * row["flow"] / total)])
    bench.print_table((title,) + HEAD[1:], lines, width=10)
    for what, unit, goal in (("p99", "ms", GOAL_MS), ("lost", "%", None)):
        added, by = max((rows[kind, False][name + what] - rows["none", False][name + what],
                         "%s, %s" % (kind, name.upper())) for kind in kinds[1:] for name in "cd")
        verdict = "" if goal is None else "  <= %.0f %s %s" % (
            goal, unit, "reached" if added <= goal else "MISSED")
        print("worst %s added by a flood: %s %s (%s)%s" % (
            what, bench.number(added), unit, by, verdict))
    print(flush=True)


def run(reference, kinds, options):
    place = Place(reference)
    try:
        for inwards in (False, True):
            rows = {}
            for with_flow in (False, True):
                for kind in kinds:
                    bench.wait_quiet(options.quiet)
                    rows[kind, with_flow] = measure(place, kind, inwards, with_flow,
                                                    options.seconds)
            report("%s, %s" % ("reference" if reference else "ours",
                               "inwards" if inwards else "outwards"), kinds, rows)
    except Exception:
        print(place.net.logs(), file=sys.stderr)
        raise
    finally:
        place.net.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seconds", type=float, nargs="?", default=5, help="of each line")
    parser.add_argument("--kinds", default="udp64,udp1400,tcp8", help="floods to measure")
    parser.add_argument("--quiet", type=int, default=20, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    bench.begin(__file__, "iperf3", "ping")
    print("%s; TCP %s; %g s a line" % (bench.where(), bench.congestion_control(), options.seconds))
    kinds = ["none"] + options.kinds.split(",")
    run(False, kinds, options)
    if lab.ZEROTIER_ONE:
        run(True, kinds, options)
    else:
        print("reference: skipped: ZEROTIER_ONE names no program")


if __name__ == "__main__":
    main()
