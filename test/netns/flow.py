"""Traffic whose content is checked: TCP streams, UDP datagrams of every size, runs cut by the kernel."""
import errno
import random
import re
import socket
import struct
import threading
import time

from net import Failed, in_ns, sh

UDP_SEGMENT = 103
BUFFER = 4 << 20
POOL = random.Random(9).randbytes(1 << 20)


def family_of(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def background(function):
    """Start a function in a thread; a call that waits for it and gives its value or its error."""
    box = {}

    def run():
        try:
            box["value"] = function()
        except BaseException as error:  # handed to the waiting thread
            box["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait(timeout=60):
        thread.join(timeout)
        if thread.is_alive():
            raise Failed("no end after %d s" % timeout)
        if "error" in box:
            raise box["error"]
        return box["value"]
    return wait


def compare(what, got, want):
    """Complain about the first byte that is not what was sent."""
    if got == want:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    raise Failed("%s: %d of %d bytes, first difference at %d" % (what, len(got), len(want), at))


# ---- TCP ----

def tcp_pair(one, two, ip, mss=0, timeout=20, port=5001):
    """A connection from a namespace to an address in another; both ends."""
    def listen():
        server = socket.socket(family_of(ip), socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ip, port))
        server.listen(1)
        server.settimeout(timeout)
        return server

    server = in_ns(two, listen)
    client = in_ns(one, lambda: socket.socket(family_of(ip), socket.SOCK_STREAM))
    try:
        client.settimeout(timeout)
        if mss:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        client.connect((ip, port))
        far, _ = server.accept()
        far.settimeout(timeout)
    finally:
        server.close()
    return client, far


def receive_exactly(sock, size):
    got = bytearray()
    while len(got) < size:
        data = sock.recv(min(262144, size - len(got)))
        if not data:
            break
        got += data
    return bytes(got)


def stream(sender, receiver, data, what):
    """Send data over a connection and compare what arrives; seconds."""
    begin = time.monotonic()
    end = background(lambda: receive_exactly(receiver, len(data)))
    sender.sendall(data)
    compare(what, end(), data)
    return time.monotonic() - begin


def tcp_check(one, two, ip, size=4000000, mss=0, timeout=20, what="TCP", port=5001):
    """A connection with bytes there, then back, then both ways at once, all compared."""
    there = random.Random(size).randbytes(size)
    back = there[::-1]
    client, far = tcp_pair(one, two, ip, mss, timeout, port)
    try:
        stream(client, far, there, "%s from %s to %s" % (what, one, two))
        stream(far, client, back, "%s from %s to %s" % (what, two, one))
        half = size // 4
        other = background(lambda: stream(far, client, back[:half], what + " back, both ways"))
        stream(client, far, there[:half], what + " there, both ways")
        other()
    finally:
        client.close()
        far.close()


class Load:
    """TCP from one namespace to another until stopped; everything that arrived was checked."""

    def __init__(self, one, two, ip):
        self.client, self.far = tcp_pair(one, two, ip)
        self.sent = self.stopped = 0
        self.sending = background(self.send)
        self.receiving = background(self.receive)

    def send(self):
        while not self.stopped:
            self.client.sendall(POOL)
            self.sent += len(POOL)
        self.client.shutdown(socket.SHUT_WR)

    def receive(self):
        done = 0
        while True:
            data = receive_exactly(self.far, len(POOL))
            compare("load after %d bytes" % done, data, POOL[:len(data)])
            done += len(data)
            if len(data) < len(POOL):
                return done

    def stop(self):
        """End it; bytes that arrived, all that were sent."""
        self.stopped = 1
        self.sending()
        got = self.receiving()
        self.client.close()
        self.far.close()
        if got != self.sent:
            raise Failed("load: %d of %d bytes arrived" % (got, self.sent))
        return got


# ---- UDP ----

def udp_socket(ns, ip=None, port=0, timeout=5.0, family=None):
    def make():
        sock = socket.socket(family or family_of(ip), socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        if ip:
            sock.bind((ip, port))
        sock.settimeout(timeout)
        return sock
    return in_ns(ns, make)


def datagram(size, salt=0):
    at = (size * 7919 + salt * 104729) % (len(POOL) - size)
    return POOL[at:at + size]


def udp_sizes(one, two, ip, sizes, window=16, port=7009):
    """A datagram of each size there and back, a few on their way at a time, none lost or doubled."""
    server = udp_socket(two, ip, port)
    client = udp_socket(one, family=family_of(ip))
    server.settimeout(None)

    def echo():
        while True:
            data, peer = server.recvfrom(70000)
            if not data:
                return
            server.sendto(data, peer)

    end = background(echo)
    waiting = set()
    todo = iter(sizes)
    left = True
    try:
        client.connect((ip, port))
        while left or waiting:
            while left and len(waiting) < window:
                size = next(todo, None)
                left = size is not None
                if left:
                    waiting.add(size)
                    client.send(datagram(size))
            if not waiting:
                break
            try:
                data = client.recv(70000)
            except socket.timeout:
                raise Failed("no echo of datagrams of %s bytes" % sorted(waiting)[:20]) from None
            if len(data) not in waiting:
                raise Failed("unexpected datagram of %d bytes" % len(data))
            compare("datagram of %d bytes" % len(data), data, datagram(len(data)))
            waiting.discard(len(data))
    finally:
        server.sendto(b"", (ip, port))
        end()
        client.close()
        server.close()


def udp_run(one, two, ip, segment, count, last=0, port=7010):
    """One send that the kernel, or we, cut into datagrams: all arrive once and in order."""
    server = udp_socket(two, ip, port)
    client = udp_socket(one, family=family_of(ip))
    total = segment * count + last
    data = datagram(total, segment)
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
    try:
        client.connect((ip, port))
        client.sendmsg([data], control)
        got = []
        for i in range(count + (1 if last else 0)):
            try:
                got.append(server.recv(70000))
            except socket.timeout:
                raise Failed("%d of %d datagrams of %d bytes" % (i, count, segment)) from None
        for i, part in enumerate(got):
            compare("datagram %d of %d bytes of a run" % (i, segment), part,
                    data[i * segment:(i + 1) * segment])
    finally:
        client.close()
        server.close()


def udp_runs(one, two, ip, mtu):
    """Runs of several shapes for a device of this MTU."""
    most = mtu - (48 if ":" in ip else 28)
    for segment in (1, 100, 1000, most // 2, most - 1, most):
        count = min(60, 60000 // segment)
        udp_run(one, two, ip, segment, count, last=(segment + 1) // 2)
        udp_run(one, two, ip, segment, 2)


# ---- devices and pings ----

def device_mtu(node, nwid):
    out = sh("ip -o link show dev " + node.device(nwid), ns=node.ns)
    return int(re.search(r" mtu (\d+) ", out).group(1))


def ping_largest(ns, ip, mtu):
    """The largest echo that fits the device is answered, a datagram of one byte more is refused."""
    headers = 48 if ":" in ip else 28
    out = sh("ping -n -q -M do -c 3 -i 0.02 -w 5 -s %d %s" % (mtu - headers, ip), ns=ns, check=False)
    if " 3 received" not in out:
        raise Failed("ping of %d bytes unfragmented: %s" % (mtu - headers, out.strip()))
    sock = udp_socket(ns, family=family_of(ip))
    level, option = (socket.IPPROTO_IPV6, 23) if ":" in ip else (socket.IPPROTO_IP, 10)
    try:
        sock.setsockopt(level, option, 2)  # MTU_DISCOVER: DO
        sock.sendto(bytes(mtu - headers + 1), (ip, 9))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
    else:
        raise Failed("%s sent a datagram of %d bytes unfragmented" % (ns, mtu - headers + 1))
    finally:
        sock.close()
