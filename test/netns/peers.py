"""panlan peers for people: the live table on a terminal and off it, reasons for relaying; the extra
keys of the local API that it is made of (spec 05 sections 3.5, 3.7 and 12)."""
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import fcntl
import time

from basic import trio
from net import PANLAN, Failed, sh, wait_for, wait_ping

APART = ("nft -f - <<'END'\ntable inet apart {\n chain in {\n type filter hook input priority 0;\n"
         "iif eth0 ip saddr 10.9.0.3 drop\n }\n }\nEND")


def must(condition, *facts):
    if not condition:
        raise Failed(" | ".join(str(fact) for fact in facts))


def argv(node, *args):
    return ["ip", "netns", "exec", node.ns, PANLAN, "--home", node.home] + list(args)


def run(node, *args):
    done = subprocess.run(argv(node, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, columns, lines):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                more = os.read(self.fd, 65536)
            except OSError:
                break
            if not more:
                break
            self.text += more
        return self.text.decode()

    def ended(self):
        self.read()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        os.close(self.fd)
        return (os.waitstatus_to_exitcode(status),)


def screens(text):
    """What stands on the screen after each redraw, as lines."""
    out = []
    for part in text.split("\033[H")[1:]:
        part = part.split("\033[J")[0].replace("\033[K", "").replace("\r", "")
        out.append(part.splitlines())
    return out


def apart(net):
    """A root, two members that reach each other only through it, traffic between them."""
    root, a, b, nwid = trio(net)
    sh(APART, ns="a")
    wait_ping("a", b.ip(nwid))
    return root, a, b, nwid


def test_api_tells_more_about_peers_and_node(net):
    root, a, b, nwid = apart(net)
    peers = {peer["address"]: peer for peer in a.get("/peer")}
    up, relayed = peers[root.address], peers[b.address]
    must(up["paths"][0]["learnedBy"] == "world" and up["paths"][0]["mtu"] > 1000 and
         up["paths"][0]["learnedAt"] > 0 and up["paths"][0]["transport"] == "udp" and
         up["relay"] is None and up["relayReason"] is None, up)
    must(relayed["relay"] == root.address and relayed["relayReason"], relayed)
    counters = relayed["counters"]
    must(counters["receivedRelayed"] > 0 and counters["sentRelayed"] > 0 and
         counters["receivedRelayed"] <= counters["received"] and
         counters["sentRelayed"] <= counters["sent"], counters)
    must(up["counters"]["sentRelayed"] == 0, up)
    must(a.get("/peer/" + b.address)["relay"] == root.address)
    status = a.get("/status")
    entry = status["roots"][0]
    must(entry["address"] == root.address and entry["role"] == "PLANET" and entry["online"] and entry["relay"] and
         entry["endpoints"][0]["address"] == "10.9.0.1/9993" and entry["latency"] >= 0 and
         entry["endpoints"][0]["lastReceive"] > 0, status)
    must(status["nat"].keys() == {"ipv4", "ipv6"} and status["uptime"] >= 0 and
         status["pid"] > 0 and "state" in status["tcpRelay"] and
         not status["portMapping"]["enabled"], status)
    sh("nft delete table inet apart", ns="a")
    a.wait_direct(b)
    found = {peer["address"]: peer for peer in a.get("/peer")}[b.address]["paths"][0]
    must(found["learnedBy"] in ("rendezvous", "push", "contact"), found)


def test_workers_count_what_is_relayed(net):
    """The counts of many packets, that the data path carries, agree with those of the API."""
    root, a, b, nwid = apart(net)
    before = a.get("/peer/" + b.address)["counters"]
    sh("ping -q -c 200 -i 0.005 %s" % b.ip(nwid), ns="a")
    after = a.get("/peer/" + b.address)["counters"]
    for key in ("sentRelayed", "receivedRelayed"):
        must(after[key] - before[key] >= 200, key, before, after)
    must(after["sent"] - before["sent"] - (after["sentRelayed"] - before["sentRelayed"]) < 30,
         before, after)


def test_why(net):
    """Once, with reasons explained; the layout without options stays what scripts know."""
    root, a, b, nwid = apart(net)
    for option in ("-v", "--why"):
        code, out, err = run(a, "peers", option)
        lines = out.splitlines()
        must(code == 0 and err == "", code, out, err)
        must(re.match(r"%s \S+ ONLINE  1 roots, 0 direct, 1 relayed  NAT IPv4 " % a.address,
                      lines[0]), out)
        must(lines[1].startswith("address "), out)
        must(lines[2].startswith(root.address) and " 10.9.0.1/9993 " in lines[2] and
             lines[2].endswith("by world"), out)
        must(lines[3].startswith(b.address) and " RELAY " + root.address in lines[3], out)
        reason = a.get("/peer/" + b.address)["relayReason"]
        must(lines[3].endswith(reason) and lines[4].startswith(reason + ": "), out, reason)
    code, out, err = run(a, "peers")
    must(code == 0 and out.startswith("200 peers\n<ztaddr>"), out)
    code, out, err = run(a, "-j", "peers", "--why")
    must(code == 0 and "relayReason" in out, out)
    for wrong in (["--watch", "0"], ["--watch", "x"], ["--what"], ["--watch", "nan"]):
        code, out, err = run(a, "peers", *wrong)
        must(code == 2 and out == "" and "--watch" in err, wrong, code, out, err)
    code, out, err = run(a, "-v")
    must(code == 0 and re.match(r"\d+\.\d+\.\d+\n$", out), out)


def test_watch_off_a_terminal(net):
    """Blocks one after the other, with rates from the second one on; ends with who reads it."""
    root, a, b, nwid = apart(net)
    pinger = subprocess.Popen(["ip", "netns", "exec", "a", "ping", "-q", "-i", "0.01",
                               b.ip(nwid)], stdout=subprocess.DEVNULL)
    watch = subprocess.Popen(argv(a, "peers", "--watch", "0.3"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    text = ""
    while text.count("\n\n") < 3:
        text += watch.stdout.readline()
    must("\033" not in text, text)
    last = text.split("\n\n")[2].splitlines()
    must("p/s in" in last[1] and "p/s out" in last[1], text)
    rates = re.search(r"RELAY %s.*?\s(\d+)\s+(\d+)\s+\d+%%" % root.address, last[3])
    must(rates and int(rates[1]) > 10 and int(rates[2]) > 10, text)
    watch.stdout.close()
    wait_for("end of the watch", lambda: watch.poll() is not None)
    must(watch.returncode != 0, watch.returncode)
    pinger.kill()
    pinger.wait()


def test_watch_on_a_terminal(net):
    """Redrawn in place at the width and height of the terminal, also when it changes; q ends, and
    so does Ctrl-C, with the terminal as it was."""
    root, a, b, nwid = apart(net)
    t = Terminal(argv(a, "peers", "--watch", "0.2"), 132, 24)
    wait_for("two redraws", lambda: len(screens(t.read())) > 2)
    must(t.text.startswith(b"\033[?25l"), t.text)
    must(len(screens(t.read())[1]) == 4, t.text)
    before = len(screens(t.read()))
    t.resize(40, 24)
    wait_for("redraws of the narrow screen", lambda: len(screens(t.read())) > before + 2)
    narrow = screens(t.read())[-2]
    must(max(len(line) for line in narrow) <= 40, narrow)
    must(any(line.startswith(b.address) and "RELAY" in line for line in narrow), narrow)
    before = len(screens(t.read()))
    t.resize(132, 5)
    wait_for("redraws of the low screen", lambda: len(screens(t.read())) > before + 2)
    must(len(screens(t.read())[-2]) < 5, t.text[-500:])
    os.write(t.fd, b"q")
    done = wait_for("end by q", t.ended)
    must(done == (0,) and "\033[?25h" in t.text.decode(), done, t.text[-100:])
    t = Terminal(argv(a, "peers", "--watch", "30"), 100, 24)
    wait_for("the first look", lambda: screens(t.read()))
    begin = time.monotonic()
    os.write(t.fd, b"\x03")
    done = wait_for("end by Ctrl-C", t.ended)
    must(done == (0,) and time.monotonic() - begin < 15 and "\033[?25h" in t.text.decode(), done)
    t = Terminal(argv(a, "peers", "--watch"), 100, 24)
    wait_for("the first look", lambda: screens(t.read()))
    os.kill(t.pid, signal.SIGTERM)
    must(wait_for("end by SIGTERM", t.ended) == (0,))


def test_watch_of_a_service_that_stops(net):
    root, a, b, nwid = trio(net)
    t = Terminal(argv(a, "peers", "--watch", "0.2"), 100, 24)
    wait_for("the first look", lambda: screens(t.read()))
    a.stop()
    must(wait_for("end of the watch", t.ended) == (1,))
    must("no service answers" in t.text.decode() and "\033[?25h" in t.text.decode(), t.text[-200:])
