#!/usr/bin/env python3
"""Memory of two nodes under full load for a long time.

  PANLAN=build/src/panlan bench/soak.py MINUTES [--every SECONDS]

TCP both ways and UDP both ways (64 and 1400 bytes) take turns at full rate. Resident and anonymous
memory of both nodes are sampled; printed are a summary of the curves and the slope after the first
minute (after half the time in a run below two minutes). Exit status 1 if the highest sample of the
last half minute is more than 5 % above the highest of the half minute that ends the first one (in
which all buffers are in use already), or if a node died or moved nothing.
"""
import argparse
import sys
import threading
import time

import benchlib as bench
import tunnels
from benchlib import lab

GROWTH_MAX = 5.0  # percent
TURN = 5  # seconds of each kind of traffic: the first minute sees all of them
WHAT = ("resident", "anonymous")


class Sampler(threading.Thread):
    """Notes (seconds since the start, resident kB, anonymous kB) of processes."""

    def __init__(self, pids, every):
        super().__init__(daemon=True)
        self.pids = pids
        self.every = every
        self.begin = time.monotonic()
        self.samples = {pid: [] for pid in pids}
        self.ended = threading.Event()

    def run(self):
        while True:
            at = time.monotonic() - self.begin
            for pid in self.pids:
                try:
                    self.samples[pid].append((at,) + bench.memory(pid))
                except (OSError, KeyError):  # it died: the traffic notices
                    pass
            if self.ended.wait(self.every):
                return

    def finish(self):
        self.ended.set()
        self.join()


def turn(pair, back, kind, seconds):
    """One kind of traffic in both directions: Gbit/s of payload each way."""
    if kind == "tcp":
        both = (bench.Iperf("one", "two", pair.target, seconds),
                bench.Iperf("two", "one", back, seconds, port=5202))
        return [one.result()["gbit"] for one in both]
    both = (bench.Flood("one", "two", pair.target, seconds, kind),
            bench.Flood("two", "one", back, seconds, kind))
    return [one.result()["received"] * kind * 8 / 1e9 for one in both]


def slope(points):
    """Least squares of (seconds, kB): kB an hour."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    below = sum((x - mean_x) ** 2 for x, _ in points)
    if below == 0:
        return 0.0
    return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / below


def judge(name, samples, window):
    """Print the curves of one node; whether its memory stays."""
    if not samples or samples[-1][0] < window:
        print("%s: too few samples" % name)
        return False
    good = True
    for column, what in enumerate(WHAT, 1):
        points = [(sample[0], sample[column]) for sample in samples]
        first = max([y for x, y in points if window / 2 <= x <= window] or [points[0][1]])
        last = max(y for x, y in points if x >= points[-1][0] - window / 2)
        growth = 100.0 * (last - first) / first
        steps = [points[i * (len(points) - 1) // 7][1] for i in range(8)]
        verdict = "stays" if growth <= GROWTH_MAX else "GROWS"
        good = good and growth <= GROWTH_MAX
        print("%-4s %-10s %s kB; highest %d at first, %d at last: %+.1f %%, %+.0f kB/h: %s" % (
            name, what, " ".join("%d" % y for y in steps), first, last, growth,
            slope([(x, y) for x, y in points if x >= window] or points), verdict))
    return good


def soak(seconds, every):
    pair = tunnels.Pair()
    try:
        tunnels.zerotier("p", "p")(pair)
        one, two = pair.nodes[1:]
        back = one.ip(one.get("/network")[0]["id"])
        sampler = Sampler(pair.pids, every)
        sampler.start()
        carried = {"tcp": [], 64: [], 1400: []}
        while time.monotonic() - sampler.begin < seconds:
            for kind, rates in carried.items():
                rates.append(turn(pair, back, kind, TURN))
                if not one.is_running() or not two.is_running():
                    raise lab.Failed("a node died")
        sampler.finish()
        moved = True
        for kind, rates in carried.items():
            there, again = (bench.median([rate[i] for rate in rates]) for i in (0, 1))
            moved = moved and there > 0 and again > 0
            print("%-5s %3d turns, Gbit/s one way %s, the other %s" % (
                kind, len(rates), bench.number(there), bench.number(again)))
        window = min(60.0, seconds / 2)
        good = [judge(ns, sampler.samples[pid], window)
                for ns, pid in zip(tunnels.ENDS, pair.pids)]
        return all(good) and moved
    except Exception:
        print(pair.reports(), file=sys.stderr)
        raise
    finally:
        pair.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--every", type=float, default=10, help="seconds between two samples")
    options = parser.parse_args()
    bench.begin(__file__, "iperf3")
    print("%s; TCP %s; %g minutes, a sample each %g s" % (
        bench.where(), bench.congestion_control(), options.minutes, options.every), flush=True)
    return 0 if soak(60 * options.minutes, options.every) else 1


if __name__ == "__main__":
    sys.exit(main())
