"""What the end-to-end benchmarks share: a quiet machine, CPU time, traffic, statistics.

Everything runs in the namespaces of test/netns/net.py, which end with the process that made them.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "test", "netns"))
import net as lab  # noqa: E402
import run as runner  # noqa: E402

CORES = os.cpu_count()
FLOOD_PORT = 7010
NAN = float("nan")


def skip(reason):
    print("skipped: " + reason)
    sys.exit(0)


def flood_program():
    """The generator beside the program under test, or the one that BENCH_FLOOD names."""
    named = os.environ.get("BENCH_FLOOD")
    if named:
        return named
    return os.path.join(os.path.dirname(os.path.abspath(lab.PANLAN)), "..", "bench", "bench-flood")


def turns(script, doc, what, who, *programs):
    """Read "[seconds] [runs] [--quiet N]", move into own namespaces and say where this is measured.
    doc: of the benchmark; what: the seconds are of; who: takes turns."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("seconds", type=int, nargs="?", default=5, help="of each " + what)
    parser.add_argument("runs", type=int, nargs="?", default=3, help="turns of each " + who)
    parser.add_argument("--quiet", type=int, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    begin(script, *programs)
    print("%s; TCP %s; %d s, %d runs" % (
        where(), congestion_control(), options.seconds, options.runs), flush=True)
    return options


def begin(script, *programs):
    """Move into own namespaces; end with a message where a benchmark cannot run."""
    if not lab.PANLAN:
        skip("PANLAN must name the program to measure")
    runner.isolate(script)
    # Homes of nodes, and what other programs leave in /run, go with the namespace too.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    tempfile.tempdir = "/run"
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    runner.settle()
    if runner.missing():
        skip(runner.missing())
    for program in programs:
        if not shutil.which(program):
            skip(program + " is not installed")
    if not os.access(flood_program(), os.X_OK):
        skip("no generator: meson compile -C BUILD bench-flood, or name one by BENCH_FLOOD")


def congestion_control():
    """The congestion control of all transfers: cubic where the kernel lets us choose it by socket
    (a namespace's default can be out of reach), else what the kernel does by itself."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        except OSError:
            pass
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.split(b"\0")[0].decode()


def where():
    """One line about the machine."""
    model = "unknown CPU"
    with open("/proc/cpuinfo") as handle:
        for line in handle:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%d x %s, Linux %s, %s" % (CORES, model, os.uname().release, time.strftime("%Y-%m-%d"))


# ---- load of the machine ----

def machine_ticks():
    """(busy, all) ticks of all cores since boot."""
    with open("/proc/stat") as handle:
        fields = [int(x) for x in handle.readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def machine_load(before):
    """Busy share since before, in percent of one core (200: two cores busy)."""
    busy, total = (a - b for a, b in zip(machine_ticks(), before))
    return 100.0 * CORES * busy / total if total else NAN


def wait_quiet(limit, below=15.0):
    """Wait until a second passes with less than below percent of a core busy, at most limit
    seconds; whether it came."""
    end = time.monotonic() + limit
    while True:
        before = machine_ticks()
        time.sleep(1)
        if machine_load(before) < below:
            return True
        if time.monotonic() >= end:
            return False


def cpu_seconds(pids):
    """CPU time of processes with all their threads, also those that ended, in seconds."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def memory(pid):
    """(resident, anonymous) kB of a process."""
    with open("/proc/%d/smaps_rollup" % pid) as handle:
        rows = {line.split(":")[0]: int(line.split()[1]) for line in handle if "kB" in line}
    return rows["Rss"], rows["Anonymous"]


# ---- processes in namespaces ----

def spawn(ns, argv, **kwargs):
    """Start a program in a namespace; its process is the program itself."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(["ip", "netns", "exec", ns] + [str(a) for a in argv], **kwargs)


def end(process, timeout=5):
    """Stop a process that may be gone already."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---- traffic ----

class Iperf:
    """A TCP transfer by iperf3 from one namespace to an address in another."""

    def __init__(self, source, sink, target, seconds, *args, port=5201):
        self.seconds = seconds
        self.server = spawn(sink, ["iperf3", "-s", "-1", "-B", target, "-p", port],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = None
        try:
            lab.wait_for("iperf3", lambda: ":%d" % port in lab.sh("ss -ltn", ns=sink), 5)
            self.client = spawn(source, ["iperf3", "-J", "-c", target, "-p", port, "-t", seconds,
                                         "-C", congestion_control(), *args],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except lab.Failed:
            end(self.server)
            raise

    def result(self):
        """Wait for the end; {"gbit": received Gbit/s, "retransmits": n}, NaN if it failed."""
        try:
            text, _ = self.client.communicate(timeout=self.seconds + 20)
            done = json.loads(text)["end"]
            received = done["sum_received"]["bits_per_second"]
            if "sum_received_bidir_reverse" in done:
                received += done["sum_received_bidir_reverse"]["bits_per_second"]
            return {"gbit": received / 1e9, "retransmits": done["sum_sent"].get("retransmits", NAN)}
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return {"gbit": NAN, "retransmits": NAN}
        finally:
            end(self.client)
            end(self.server)


def tcp(source, sink, target, seconds, *args):
    return Iperf(source, sink, target, seconds, *args).result()


class Flood:
    """Datagrams from one namespace to an address in another, counted on arrival."""

    def __init__(self, source, sink, target, seconds, size, *args, rate=0, port=FLOOD_PORT,
                 sink_address=None, sink_port=None, run=1):
        program = flood_program()
        self.seconds = seconds
        self.sink = spawn(sink, [program, "sink", sink_address or target, sink_port or port,
                                 "--size", size, "--seconds", seconds + 30, "--run", run],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.sink.stderr.readline().strip() != "ready":
            raise lab.Failed("bench-flood sink: " + self.sink.stderr.read())
        self.generator = spawn(source, [program, "send", target, port, "--seconds", seconds,
                                        "--size", size, "--rate", rate, "--run", run, *args],
                               stdout=subprocess.PIPE, text=True)

    def result(self):
        """Wait for the end; "sent", "received": a second, "generated", "count": all of them."""
        try:
            text, _ = self.generator.communicate(timeout=self.seconds + 20)
            sent = json.loads(text)
            time.sleep(0.3)  # what is queued arrives
            self.sink.terminate()
            text, _ = self.sink.communicate(timeout=5)
            got = json.loads(text)
            return {"sent": sent["per_second"], "received": got["per_second"],
                    "generated": sent["sent"], "count": got["received"]}
        finally:
            end(self.generator)
            end(self.sink)


def flood(source, sink, target, seconds, size, *args, **kwargs):
    return Flood(source, sink, target, seconds, size, *args, **kwargs).result()


def best_flood(source, sink, target, seconds, size):
    """Datagrams a second delivered at most: a generator without bounds takes a core away from what
    it measures, so the better of that and of offering half more than arrived then."""
    first = flood(source, sink, target, seconds, size)["received"]
    if not first > 0:
        return NAN
    return max(first, flood(source, sink, target, seconds, size, rate=1.5 * first)["received"])


class Ping:
    """Pings at a fixed interval."""

    def __init__(self, source, target, seconds, interval=0.005):
        self.count = int(seconds / interval)
        self.seconds = seconds
        self.process = spawn(source, ["ping", "-n", "-i", "%.3f" % interval, "-c", self.count,
                                      "-W", "1", "-w", int(seconds + 2.5), target],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self):
        """Wait for the end; milliseconds {"mean", "median", "p99", "max"} and "lost" in percent."""
        try:
            text, _ = self.process.communicate(timeout=self.seconds + 20)
        finally:
            end(self.process)
        times = sorted(float(x) for x in re.findall(r"time=([\d.]+) ms", text))
        sent = re.search(r"(\d+) packets transmitted", text)
        if not times or not sent:
            return {"mean": NAN, "median": NAN, "p99": NAN, "max": NAN, "lost": 100.0}
        return {"mean": statistics.mean(times), "median": statistics.median(times),
                "p99": times[min(len(times) - 1, int(len(times) * 0.99))], "max": times[-1],
                "lost": 100.0 * (1 - len(times) / int(sent.group(1)))}


def ping(source, target, seconds, interval=0.005):
    return Ping(source, target, seconds, interval).result()


# ---- numbers ----

def known(values):
    return [v for v in values if v == v]


def median(values):
    values = known(values)
    return statistics.median(values) if values else NAN


def number(value):
    """Three decimals below 1, three digits above, "-" for nothing."""
    if value != value:
        return "-"
    size = abs(value)
    return "%.*f" % (3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0, value)


def spread(values):
    """Lowest and highest, as in 1.2-3.4."""
    values = known(values)
    return number(min(values)) + "-" + number(max(values)) if values else "-"


def print_table(head, rows, first=28, width=13):
    """Rows of a label and cells."""
    print("%-*s" % (first, head[0]) + "".join("%*s" % (width, cell) for cell in head[1:]))
    for row in rows:
        print("%-*s" % (first, row[0]) + "".join("%*s" % (width, cell) for cell in row[1:]),
              flush=True)


class Table:
    """Figures of candidates that take turns: medians, ranges, ratios."""

    def __init__(self, columns):
        self.columns = columns
        self.rows = {}
        self.reasons = {}
        self.turns = 0
        self.noisy = 0

    def turn(self, label, measure):
        """Let a candidate measure once: a dict of columns, and "quiet" whether the machine was.
        Nothing that goes wrong with it stops the others."""
        if label in self.reasons:
            return
        try:
            row = measure()
        except lab.Skipped as reason:
            self.reasons[label] = str(reason)
        except lab.Failed as reason:
            print("%s: a turn failed: %s" % (label, reason), file=sys.stderr, flush=True)
        else:
            self.turns += 1
            self.noisy += not row["quiet"]
            self.rows.setdefault(label, []).append(row)

    def values(self, label, column):
        return [row.get(column, NAN) for row in self.rows.get(label, [])]

    def median(self, label, column):
        return median(self.values(label, column))

    def ratio(self, label, other, column):
        below = self.median(other, column)
        return self.median(label, column) / below if below else NAN

    def show(self, base):
        """Medians, ranges, and the ratios to one candidate."""
        print_table(("median",) + self.columns, [
            [label] + [number(self.median(label, c)) for c in self.columns]
            for label in self.rows])
        print()
        print_table(("range",) + self.columns, [
            [label] + [spread(self.values(label, c)) for c in self.columns]
            for label in self.rows])
        if base in self.rows:
            print()
            print_table(("times " + base,) + self.columns, [
                [label] + [number(self.ratio(label, base, c)) for c in self.columns]
                for label in self.rows if label != base])
        for label, reason in self.reasons.items():
            print("%-24s skipped: %s" % (label, reason))
        if self.noisy:
            print("%d of %d turns began on a machine that was not quiet" % (self.noisy, self.turns))
