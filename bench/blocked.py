#!/usr/bin/env python3
"""What a network that blocks UDP costs: two nodes by UDP directly, by UDP through the root, and by
the root's TCP relay, plain and in TLS.

  PANLAN=build/src/panlan bench/blocked.py [SECONDS] [RUNS]

doc/performance.md says what the columns mean. Exit status 0 whatever the figures are.
"""

import benchlib as bench
from benchlib import lab
import tcprelay as place

COLUMNS = ("tcp", "reverse", "cpu/Gbit", "idle", "load", "load-p99")
CASES = (  # name, who has no UDP, TLS, kept apart
    ("UDP, direct", (), True, False),
    ("UDP, by the root", (), True, True),
    ("TLS, one side", ("one",), True, False),
    ("plain, one side", ("one",), False, False),
    ("TLS, both sides", ("one", "two"), True, False),
    ("plain, both sides", ("one", "two"), False, False),
)


def keep_apart():
    for ns, other in (("one", place.TWO), ("two", place.ONE)):
        place.block(ns, "ip saddr %s" % other)


def measure(blocked, tls, apart, seconds, quiet):
    net = lab.Net()
    try:
        # A relay named by its address is tried without TLS first.
        config = place.settings() if tls else place.settings(tcpFallbackRelay=place.ROOT + "/443")
        root, one, two, nwid = place.lab(net, blocked, config, place.settings(tcpRelayRate=0))
        if apart:
            keep_apart()
        for node in (one, two):
            if node.ns in blocked:
                place.wait_using(node)
        target, back = two.ip(nwid), one.ip(nwid)
        lab.wait_ping("one", target, 60)
        row = {"quiet": bench.wait_quiet(quiet)}
        if not apart:
            one.wait_direct(two)
        pids = [node.process.pid for node in (root, one, two)]
        row["idle"] = bench.ping("one", target, 2, 0.01)["mean"]
        before = bench.cpu_seconds(pids)
        row["tcp"] = bench.tcp("one", "two", target, seconds)["gbit"]
        row["cpu/Gbit"] = (bench.cpu_seconds(pids) - before) / (row["tcp"] * seconds)
        row["reverse"] = bench.tcp("two", "one", back, seconds)["gbit"]
        flow = bench.Iperf("one", "two", target, seconds)
        load = bench.ping("one", target, seconds - 1, 0.01)
        row["load"], row["load-p99"] = load["mean"], load["p99"]
        flow.result()
        return row
    except (lab.Failed, OSError, ValueError, lab.http.client.HTTPException) as error:
        raise lab.Failed("%s\n%s" % (error, net.logs())) from error
    finally:
        net.close()


def main():
    options = bench.turns(__file__, __doc__, "transfer", "case", "iperf3", "ping", "nft")
    table = bench.Table(COLUMNS)
    for _ in range(options.runs):
        for name, *case in CASES:
            table.turn(name, lambda: measure(*case, options.seconds, options.quiet))
    table.show(CASES[0][0])


if __name__ == "__main__":
    main()
