#!/usr/bin/env python3
"""Throughput, latency and cost of a tunnel between two namespaces, compared with others.

  PANLAN=build/src/panlan [ZEROTIER_ONE=...] [WIREGUARD_GO=...] bench/throughput.py [SECONDS] [RUNS]

One table: our nodes, the reference, both mixed, plain veth, our fall-back without offloads, and
each other VPN that is installed; then the ratios to the reference and the targets of spec 09
section 8. Candidates take turns, each turn waits for a quiet machine. doc/performance.md says
what the columns mean. Exit status 0 whatever the figures are.
"""
import argparse
import time

import benchlib as bench
import tunnels
from benchlib import NAN, lab

COLUMNS = ("tcp1", "tcp4", "reverse", "cpu/Gbit", "machine", "udp64", "udp1400", "idle", "load",
           "load-p99", "retrans", "mtu")


def measure(start, options):
    """One turn of one candidate: {column: figure}."""
    seconds = options.seconds
    pair = tunnels.Pair(options.link)
    try:
        start(pair)
        lab.wait_ping("one", pair.target, 30)
        quiet = bench.wait_quiet(options.quiet)
        ends = tunnels.ENDS + (pair.target,)
        row = {"mtu": pair.mtu(), "quiet": quiet}
        row["idle"] = bench.ping("one", pair.target, 2, 0.01)["mean"]
        cpu, ticks = bench.cpu_seconds(pair.pids), bench.machine_ticks()
        one = bench.tcp(*ends, seconds)
        row["machine"] = bench.machine_load(ticks)
        row["tcp1"], row["retrans"] = one["gbit"], one["retransmits"]
        if pair.pids:
            row["cpu/Gbit"] = (bench.cpu_seconds(pair.pids) - cpu) / (one["gbit"] * seconds)
        row["tcp4"] = bench.tcp(*ends, seconds, "-P", "4")["gbit"]
        row["reverse"] = bench.tcp(*ends, seconds, "-R")["gbit"]
        load = bench.Iperf(*ends, seconds)
        loaded = bench.ping("one", pair.target, max(1, seconds - 1), 0.01)
        load.result()
        row["load"], row["load-p99"] = loaded["mean"], loaded["p99"]
        for size in (64, 1400):
            row["udp%d" % size] = bench.best_flood(*ends, seconds, size) / 1000
        return row
    except lab.Skipped:
        raise
    except Exception as error:  # whatever it was, the other candidates go on
        raise lab.Failed("%s: %s\n%s" % (type(error).__name__, error, pair.reports())) from error
    finally:
        pair.close()


def measure_idle(settle, seconds):
    """CPU share of a joined node that nobody talks to, in percent of a core."""
    pair = tunnels.Pair()
    try:
        tunnels.zerotier("p", "p")(pair)
        time.sleep(settle)
        before = bench.cpu_seconds(pair.pids[:1])
        time.sleep(seconds)
        return 100 * (bench.cpu_seconds(pair.pids[:1]) - before) / seconds
    finally:
        pair.close()


def targets(table, idle):
    """[(id, what, figure, bound, whether lower is better)] of spec 09 section 8."""
    ours, veth, plain = "ours to ours", "plain veth", "ours, --no-offload"
    offloads = [label for label in table.rows if label.startswith("wireguard-go ")
                and label.split()[1].isdigit() and int(label.split()[1]) >= 20231211]
    rival = offloads[0] if offloads else ""
    return [
        ("T-1", "one TCP flow, Gbit/s", table.median(ours, "tcp1"), 6.5, False),
        ("T-2", "one TCP flow over plain veth", table.ratio(ours, veth, "tcp1"), 0.18, False),
        ("T-3", "one TCP flow over wireguard-go with offloads", table.ratio(ours, rival, "tcp1"),
         2.2, False),
        ("T-4", "one TCP flow over --no-offload", table.ratio(ours, plain, "tcp1"), 5, False),
        ("T-5", "idle ping added to plain veth, ms",
         table.median(ours, "idle") - table.median(veth, "idle"), 0.12, True),
        ("T-6", "ping under one TCP flow, mean ms", table.median(ours, "load"), 4, True),
        ("T-7", "UDP of 64 bytes, kpps", table.median(ours, "udp64"), 150, False),
        ("T-8", "one TCP flow in suite 1, over suite 3",
         table.ratio("ours, protocol 11", ours, "tcp1"), 0.65, False),
        ("T-11", "CPU of a joined quiet node, %", idle, 0.1, True)]


def show_targets(rows):
    print()
    for name, what, figure, bound, lower in rows:
        if figure != figure:
            verdict = "not measured"
        else:
            verdict = "reached" if (figure <= bound if lower else figure >= bound) else "MISSED"
        print("%-5s %-46s %8s  %s %-6s %s" % (
            name, what, bench.number(figure), "<=" if lower else ">=", bound, verdict))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seconds", type=int, nargs="?", default=5, help="of each transfer")
    parser.add_argument("runs", type=int, nargs="?", default=3, help="turns of each candidate")
    parser.add_argument("--only", default="", help="labels that contain one of these, by commas")
    parser.add_argument("--link", choices=("pass", "segmented", "merged"), default="pass",
                        help="super-datagrams pass the wire, are cut before it, are cut and merged")
    parser.add_argument("--quiet", type=int, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--idle", type=int, default=30, help="seconds for T-11, 0: not measured")
    return parser.parse_args()


def main():
    options = arguments()
    bench.begin(__file__, "iperf3", "ping")
    table = bench.Table(COLUMNS)
    names = [name for name in options.only.split(",") if name]
    wanted = [(label, start) for label, start in tunnels.candidates()
              if not names or any(name in label for name in names)]
    print("%s; TCP %s; %d s, %d runs; link: %s" % (
        bench.where(), bench.congestion_control(), options.seconds, options.runs,
        options.link), flush=True)
    for _ in range(options.runs):
        for label, start in wanted:
            table.turn(label, lambda: measure(start, options))
    table.show("reference to reference")
    idle = measure_idle(40, options.idle) if options.idle else NAN
    show_targets(targets(table, idle))


if __name__ == "__main__":
    main()
