"""Frames and super-frames made by hand, put on devices and caught there, with virtio-net headers.

A super-frame is sent into a device as the kernel would; where the device takes none, the kernel cuts it.
What is caught is cut here, so that it can be compared byte for byte with what single frames would be.
"""
import array
import socket
import struct
import sys

from net import Failed, in_ns, sh

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_OUTGOING = 4
VNET = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
TCP4, UDP, TCP6, ECN = 1, 5, 4, 0x80
ETH_P_ALL = 3
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80


def inet_sum(data, start=0):
    """Folded sum of 16-bit words in network order, not complemented."""
    words = array.array("H", data + b"\0" * (len(data) & 1))
    if sys.byteorder == "little":
        words.byteswap()
    total = start + sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def mac_of(node, nwid):
    return bytes.fromhex(node.network(nwid)["mac"].replace(":", ""))


class Flow:
    """Headers of one TCP or UDP flow between two MACs; the addresses need not exist. tag: of a VLAN."""

    def __init__(self, dest_mac, source_mac, v6=False, udp=False, ports=(40000, 9), tos=0, tag=b""):
        self.macs = dest_mac + source_mac + tag
        self.v6, self.udp, self.ports, self.tos = v6, udp, ports, tos
        if v6:
            self.ips = bytes.fromhex("fd00" + "00" * 13 + "01" + "fd00" + "00" * 13 + "02")
        else:
            self.ips = bytes([10, 250, 0, 1, 10, 250, 0, 2])
        self.l4 = len(self.macs) + 2 + (40 if v6 else 20)
        self.header_len = self.l4 + (8 if udp else 20)

    def headers(self, data_len, ip_id, seq, flags, whole_sum):
        """All headers; the transport checksum is whole_sum(sum of the pseudo header, transport header)."""
        l4_len = self.header_len - self.l4 + data_len
        protocol = 17 if self.udp else 6
        if self.v6:
            ip = struct.pack(">IHBB", 0x60000000 | self.tos << 20, l4_len, protocol, 64) + self.ips
            kind = b"\x86\xdd"
        else:
            ip = struct.pack(">BBHHHBBH", 0x45, self.tos, 20 + l4_len, ip_id & 0xffff, 0x4000, 64,
                             protocol, 0) + self.ips
            ip = ip[:10] + struct.pack(">H", inet_sum(ip) ^ 0xffff) + ip[12:]
            kind = b"\x08\x00"
        if self.udp:
            l4 = struct.pack(">HHHH", *self.ports, l4_len, 0)
        else:
            l4 = struct.pack(">HHIIBBHHH", *self.ports, seq & 0xffffffff, 77, 0x50, flags, 1000, 0, 0)
        at = 6 if self.udp else 16
        value = whole_sum(inet_sum(self.ips, protocol + l4_len), l4)
        l4 = l4[:at] + struct.pack(">H", value) + l4[at + 2:]
        return self.macs + kind + ip + l4

    def frame(self, data, ip_id=1, seq=1000, flags=ACK):
        """One complete frame."""
        def checksum(pseudo, l4):
            value = inet_sum(l4 + data, pseudo) ^ 0xffff
            return value or 0xffff if self.udp else value
        return self.headers(len(data), ip_id, seq, flags, checksum) + data

    def super_frame(self, data, size, ip_id=1, seq=1000, flags=ACK):
        """Virtio-net header and frame that stand for segments of this size."""
        kind = UDP if self.udp else TCP6 if self.v6 else TCP4
        kind |= ECN if flags & CWR and not self.udp else 0
        vnet = VNET.pack(NEEDS_CSUM, kind, self.header_len, size, self.l4, 6 if self.udp else 16)
        return vnet + self.headers(len(data), ip_id, seq, flags, lambda pseudo, _: pseudo) + data

    def single(self, data, ip_id=1, seq=1000, flags=ACK):
        """Virtio-net header and frame whose checksum is still to be completed."""
        vnet = VNET.pack(NEEDS_CSUM, 0, 0, 0, self.l4, 6 if self.udp else 16)
        return vnet + self.headers(len(data), ip_id, seq, flags, lambda pseudo, _: pseudo) + data

    def segments(self, data, size, ip_id=1, seq=1000, flags=ACK):
        """The frames that a super-frame stands for."""
        out = []
        for i, at in enumerate(range(0, len(data), size)):
            own = flags
            if at + size < len(data):
                own &= ~(FIN | PSH)
            if i > 0:
                own &= ~CWR
            out.append(self.frame(data[at:at + size], ip_id + i, seq + at, own))
        return out


def cut(message):
    """The frames of a caught message: virtio-net header and frame."""
    flags, kind, _, size, start, _ = VNET.unpack(message[:VNET.size])
    frame = message[VNET.size:]
    if frame[12:14] == b"\x81\x00":
        raise Failed("a tag inside a frame: the system takes it out before anybody can see it")
    v6 = frame[12:14] == b"\x86\xdd"
    if kind == 0 and not flags & NEEDS_CSUM:
        return [frame]
    flow = Flow(frame[:6], frame[6:12], v6, frame[20 if v6 else 23] == 17)
    flow.ips = frame[22:54] if v6 else frame[26:34]
    flow.tos = (struct.unpack(">H", frame[14:16])[0] >> 4) & 0xff if v6 else frame[15]
    flow.ports = struct.unpack(">HH", frame[start:start + 4])
    ip_id = 0 if v6 else struct.unpack(">H", frame[18:20])[0]
    seq, tcp_flags = (0, 0) if flow.udp else (struct.unpack(">I", frame[start + 4:start + 8])[0],
                                             frame[start + 13])
    data = frame[flow.header_len:]
    return flow.segments(data, size if kind else max(1, len(data)), ip_id, seq, tcp_flags)


class Tap:
    """A packet socket on a device: puts frames into it and catches those that come out of it."""

    def __init__(self, ns, device):
        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((device, ETH_P_ALL))
            sock.settimeout(5)
            return sock
        self.sock = in_ns(ns, make)
        self.messages = 0

    def put(self, message):
        self.sock.send(message)

    def catch(self, timeout=5.0):
        """Frames of the next message that came from outside; none when the time is over."""
        self.sock.settimeout(timeout)
        while True:
            try:
                message, address = self.sock.recvfrom(70000)
            except (socket.timeout, BlockingIOError):
                return []
            if address[2] != PACKET_OUTGOING:
                self.messages += 1
                return cut(message)

    def catch_all(self, count, rest=0.0):
        """That many frames, or those that came; with rest, also those of so long after."""
        out = []
        while len(out) < count:
            more = self.catch()
            if not more:
                return out
            out += more
        while rest:
            more = self.catch(rest)
            if not more:
                break
            out += more
        return out

    def close(self):
        self.sock.close()


def quiet(net, *names):
    """Namespaces in which no device sends anything by itself."""
    for name in names:
        sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", ns=name)
    return net
