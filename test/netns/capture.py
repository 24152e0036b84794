"""panlan capture: frames of a network with verdicts, as lines and as a file for Wireshark."""
import os
import signal
import struct
import subprocess

from basic import trio
from net import Failed, PANLAN, ping, sh, wait_for, wait_ping


def begun(node):
    """Captures begun so far."""
    with open(node.log) as log:
        return log.read().count("capture: begun")


class Capture:
    """A running "panlan capture" on a node."""

    def __init__(self, node, nwid, *args):
        before = begun(node)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node.ns, PANLAN, "--home", node.home, "capture", nwid] + list(args),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for("capture begun", lambda: begun(node) > before, 5)

    def lines(self, timeout=20):
        out, err = self.process.communicate(timeout=timeout)
        if self.process.returncode != 0:
            raise Failed("capture: %d: %s" % (self.process.returncode, err))
        return out.splitlines()


def blocks(data):
    """(type, body) of every block of a pcapng file."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if size % 4 or data[at + size - 4:at + size] != data[at + 4:at + 8]:
            raise Failed("block of %d bytes at %d is wrong" % (size, at))
        yield kind, data[at + 8:at + size - 4]
        at += size


def packets(data):
    """(frame, comment) of every frame of a pcapng file."""
    for kind, body in blocks(data):
        if kind != 6:
            continue
        cut = struct.unpack_from("<I", body, 12)[0]
        options = body[20 + (cut + 3) // 4 * 4:]
        code, size = struct.unpack_from("<HH", options)
        if code != 1:
            raise Failed("the first option is not a comment: %d" % code)
        yield body[20:20 + cut], options[4:4 + size].decode()


def test_lines_of_pings(net):
    _, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    capture = Capture(a, nwid, "-c", "6", "icmp")
    if ping("a", b.ip(nwid), 3):
        raise Failed("pings lost while captured")
    lines = capture.lines()
    for direction, count in ((" out ", 3), (" in  ", 3)):
        if sum(direction + b.address + " accept" in line and "icmp" in line for line in lines) != count:
            raise Failed("not %d lines with %r: %r" % (count, direction, lines))


def test_file_with_verdicts(net):
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    rules = [{"type": "MATCH_IP_PROTOCOL", "ipProtocol": 17},
             {"type": "MATCH_IP_DEST_PORT_RANGE", "start": 7, "end": 7}, {"type": "ACTION_DROP"},
             {"type": "ACTION_ACCEPT"}]
    root.post("/controller/network/" + nwid, {"rules": rules})
    wait_for("rules", lambda: "drop" in send(a, b, nwid), 10)
    path = os.path.join(net.home, "frames.pcapng")
    capture = Capture(a, nwid, "-w", path, "-c", "2", "-s", "40", "udp", "and", "port", "7")
    send_datagrams(a, b.ip(nwid), 2)
    capture.lines()
    with open(path, "rb") as handle:
        found = list(packets(handle.read()))
    for frame, comment in found:
        if comment != "drop vl2_rules_out to " + b.address or len(frame) != 40:
            raise Failed("frame of %d bytes: %r" % (len(frame), comment))
    if len(found) != 2:
        raise Failed("%d frames" % len(found))


def send_datagrams(node, ip, count):
    sh("bash -c 'for i in $(seq %d); do echo x >/dev/udp/%s/7; done'" % (count, ip), ns=node.ns)


def send(a, b, nwid):
    """What is said of a datagram to port 7 now."""
    capture = Capture(a, nwid, "-c", "1", "udp", "and", "port", "7")
    send_datagrams(a, b.ip(nwid), 1)
    return capture.lines()[0]


def test_ends_with_its_listener(net):
    _, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    capture = Capture(a, nwid)
    ping("a", b.ip(nwid), 2)
    capture.process.send_signal(signal.SIGKILL)
    capture.process.communicate()
    wait_for("capture ended", lambda: ping("a", b.ip(nwid), 1) == 0 and
             "capture: ended" in open(a.log).read(), 5)

    def workers_handle():
        before = a.get("/datapath")["handled"]
        ping("a", b.ip(nwid), 5)
        return a.get("/datapath")["handled"] >= before + 5
    wait_for("workers to handle frames again", workers_handle, 5)


def test_what_is_refused(net):
    _, a, _, nwid = trio(net)
    for body, status in (({"socket": "../x"}, 500), ({"socket": "nobody.sock"}, 500), ({}, 500),
                         ([1], 500), ({"socket": "x", "snaplen": -1}, 500)):
        got, text = a.request("POST", "/network/%s/capture" % nwid, body, raw=True)
        if got != status:
            raise Failed("%r: %d %s" % (body, got, text))
    for args in (("capture", "12"), ("capture", nwid, "-c", "x"), ("capture", nwid, "no", "such", "filter"),
                 ("capture", "0123456789abcdef")):
        done = subprocess.run(["ip", "netns", "exec", "a", PANLAN, "--home", a.home] + list(args),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
        if done.returncode == 0 or not done.stderr.strip():
            raise Failed("%r: %d %r" % (args, done.returncode, done.stderr))
    if [name for name in os.listdir(a.home) if name.startswith("capture.")]:
        raise Failed("a socket stayed behind")
