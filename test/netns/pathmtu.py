"""The size of datagrams on a path: links that carry less, that drop what IP cut, that tell nobody, that
change amid a transfer, that carry more. Checklist: D-5, D-32, SV-63."""
import os

from flow import background, receive_exactly, tcp_check, tcp_pair
from net import Failed, ZEROTIER_ONE, Skipped, ping, sh, wait_for, wait_ping

# Whatever IP cut is dropped, and nobody is told that something was too large.
SILENT = """nft -f - <<'END'
table inet hole {
 chain cut { type filter hook prerouting priority -450; policy accept;
  ip frag-off & 0x3fff != 0 drop
  exthdr frag exists drop
 }
 chain told { type filter hook output priority 0; policy accept;
  icmp type destination-unreachable drop
  icmpv6 type packet-too-big drop
 }
}
END"""


class Line:
    """A member on either side of two routers, the root on the first of them: the link between these is
    what the members do not see."""

    def __init__(self, net, mtu=1500, silent=True, ends=1500, second=False, config=None, v6=False):
        if second and not ZEROTIER_ONE:
            raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
        for name in ("a", "r1", "r2", "b"):
            net.namespace(name)
        self.wire("a", "eth0", "r1", "in", 1, ends)
        self.wire("r1", "mid", "r2", "mid", 2, ends)
        self.wire("b", "eth0", "r2", "in", 3, ends)
        sh("ip route add default via 10.1.0.2 && ip -6 route add default via fd09:1::2", ns="a")
        sh("ip route add default via 10.3.0.2 && ip -6 route add default via fd09:3::2", ns="b")
        sh("ip route add 10.3.0.0/24 via 10.2.0.2 && ip -6 route add fd09:3::/64 via fd09:2::2", ns="r1")
        sh("ip route add 10.1.0.0/24 via 10.2.0.1 && ip -6 route add fd09:1::/64 via fd09:2::1", ns="r2")
        for router in ("r1", "r2"):
            sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", ns=router)
            if silent:
                sh(SILENT, ns=router)
        self.set_mtu(mtu)
        self.root = net.node("r1", config={"settings": {"bind": ["10.1.0.2", "fd09:1::2"]}})
        self.a = net.node("a", config=config)
        self.b = net.node("b", reference=second)
        if v6:
            for one, two in ((self.a, self.b), (self.b, self.a)):
                one.config["virtual"] = {two.address: {"blacklist": ["10.0.0.0/8"]}}
        net.make_planet([(self.root, "10.1.0.2/9993")])
        for node in (self.root, self.a, self.b):
            node.start(wait=False)
        for node in (self.root, self.a, self.b):
            node.wait_api()
        self.nwid = self.root.create_network()
        for node in (self.a, self.b):
            self.root.authorize(self.nwid, node)
            node.join(self.nwid)
        for node in (self.a, self.b):
            node.wait_network(self.nwid, timeout=40)
        self.there, self.back = self.b.ip(self.nwid), self.a.ip(self.nwid)
        wait_ping("a", self.there, 30)
        self.a.wait_direct(self.b, 40)
        self.b.wait_direct(self.a, 40)

    @staticmethod
    def wire(one, one_dev, two, two_dev, number, mtu):
        sh("ip link add %s netns %s type veth peer name %s netns %s" % (one_dev, one, two_dev, two))
        for end, (ns, dev) in enumerate(((one, one_dev), (two, two_dev)), 1):
            sh("ip link set %s mtu %d up && ip addr add 10.%d.0.%d/24 dev %s && "
               "ip addr add fd09:%d::%d/64 dev %s nodad" % (dev, mtu, number, end, dev, number, end, dev),
               ns=ns)

    @staticmethod
    def set_mtu(mtu):
        """Of the link in the middle, both ways."""
        for router in ("r1", "r2"):
            sh("ip link set mid mtu %d" % mtu, ns=router)

    def size(self, node=None, other=None):
        """What a node sends to another at most, by the path in use."""
        node, other = node or self.a, other or self.b
        for peer in node.get("/peer"):
            if peer["address"] == other.address:
                for path in peer["paths"]:
                    if path["preferred"]:
                        return path["mtu"], ":" in path["address"]
        return 0, False

    def wait_size(self, link, node=None, other=None, timeout=40):
        """Until it is what a link of this MTU carries, while large pings go."""
        def right():
            ping((node or self.a).ns, self.there if (node or self.a) is self.a else self.back, 5,
                 size=2500, interval=0.02)
            size, is_v6 = self.size(node, other)
            return size == link - (48 if is_v6 else 28)
        try:
            wait_for("%d bytes pass" % link, right, timeout, every=0.2)
        except Failed as error:
            raise Failed("%s, but datagrams are of %s" % (error, self.size(node, other))) from error

    def exchange(self, what):
        tcp_check("a", "b", self.there, 2000000, timeout=40, what=what)
        if ping("a", self.there, 10, size=2500):
            raise Failed(what + ": large pings lost")


def narrow(net, mtu, **how):
    line = Line(net, mtu, **how)
    wait_for("a large ping", lambda: ping("a", line.there, 2, size=2500, deadline=2) == 0, 20)
    line.exchange("a link of %d bytes" % mtu)
    line.wait_size(mtu)
    if not line.b.reference:
        line.wait_size(mtu, line.b, line.a)
    line.exchange("a link of %d bytes, known" % mtu)
    return line


def test_link_of_1280(net):
    """D-32: what IP cut is dropped, nobody is told; and the node says so where it was found."""
    narrow(net, 1280)


def test_link_of_1400(net):
    narrow(net, 1400)


def test_link_of_1280_by_ipv6(net):
    line = narrow(net, 1280, v6=True)
    if line.size() != (1232, True):
        raise Failed("datagrams and IPv6: %s" % (line.size(),))


def test_link_of_1400_that_cuts(net):
    """Nothing is lost from the beginning, as IP cuts; then it has nothing to cut any more."""
    line = Line(net, 1400, silent=False)
    if ping("a", line.there, 10, size=2500):
        raise Failed("large pings lost though IP may cut")
    line.wait_size(1400)
    line.exchange("a link of 1400 bytes")


def test_usual_link(net):
    line = Line(net)
    line.exchange("a usual link")
    line.wait_size(1500)


def test_small_interface(net):
    """The own interface is small: known without a probe."""
    line = Line(net, 1300, ends=1300)
    size, is_v6 = line.size()
    if size != 1300 - (48 if is_v6 else 28):
        raise Failed("datagrams of %d bytes leave by an interface of 1300" % size)
    line.exchange("interfaces of 1300 bytes")
    sh("ip link set eth0 mtu 1280", ns="a")
    wait_for("the new MTU of the interface", lambda: line.size()[0] in (1252, 1232), 20)


def amid_transfer(line, mtu):
    sender, receiver = tcp_pair("a", "b", line.there, timeout=60)
    data = os.urandom(40000000)
    end = background(lambda: receive_exactly(receiver, len(data)))

    def send():
        half = len(data) // 2
        sender.sendall(data[:half])
        line.set_mtu(mtu)
        sender.sendall(data[half:])
    send_end = background(send)
    if end() != data:
        raise Failed("other bytes arrived")
    send_end()
    sender.close()
    receiver.close()
    if not line.b.reference:
        line.wait_size(mtu)


def test_link_that_shrinks(net):
    """Amid a transfer, which goes on."""
    line = Line(net)
    amid_transfer(line, 1280)
    line.set_mtu(1500)
    line.exchange("a link that grew again")


def test_jumbo_link(net):
    """D-5: larger datagrams, after proof; smaller ones when the link carries them no more."""
    line = Line(net, 9000, ends=9000)
    line.exchange("a link of 9000 bytes")
    line.wait_size(9000)
    line.exchange("a link of 9000 bytes, known")
    amid_transfer(line, 1500)


def test_jumbo_interfaces_only(net):
    """The ends carry 9000 bytes, the way between them does not."""
    line = Line(net, 1500, ends=9000)
    line.exchange("a usual link between large interfaces")
    if not 1200 <= line.size()[0] <= 1472:
        raise Failed("datagrams of %d bytes" % line.size()[0])


def test_configured_size(net):
    """SV-63: what is configured is used whatever passes, and is changed live."""
    line = Line(net, 1500, config={"physical": {"10.0.0.0/8": {"mtu": 1400}, "fd09::/16": {"mtu": 1400}}})
    line.exchange("a configured size")
    if line.size()[0] != 1400:
        raise Failed("datagrams of %d bytes, 1400 are configured" % line.size()[0])


def test_reference_behind_a_link_of_1280(net):
    """The reference answers as large as it was asked; it goes on to send what vanishes itself, so
    only our direction is looked at."""
    line = Line(net, 1280, second=True)
    wait_for("its size", lambda: sh("ping -n -q -c 3 -i 0.1 -W 1 -s 2500 " + line.there, ns="a",
                                    check=False) and line.size()[0] <= 1252, 20)
    size = line.size()[0]
    if size < 1200:
        raise Failed("datagrams of %d bytes" % size)
    sender, receiver = tcp_pair("a", "b", line.there, timeout=40)
    data = os.urandom(2000000)
    end = background(lambda: receive_exactly(receiver, len(data)))
    sender.sendall(data)
    if end() != data:
        raise Failed("other bytes arrived")
    sender.close()
    receiver.close()


def test_reference_on_a_link_that_shrinks(net):
    """Amid a transfer to it. Its answers are 9 bytes longer than what they answer."""
    line = Line(net, second=True)
    amid_transfer(line, 1280)
    wait_for("smaller datagrams", lambda: 1200 <= line.size()[0] <= 1252, 20)


def test_reference_on_a_jumbo_link(net):
    """D-5: it has buffers for 1500 bytes; larger probes stay without answer, and nothing is lost."""
    line = Line(net, 9000, ends=9000, second=True)
    line.exchange("a jumbo link to the reference")
    line.exchange("the same again")
    if line.size()[0] > 1500:
        raise Failed("datagrams of %d bytes to the reference" % line.size()[0])
