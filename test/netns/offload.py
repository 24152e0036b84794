"""Each step of the bulk path switched off in turn: traffic is the same, only slower."""
import socket
import threading

from net import Failed, in_ns, ping, tcp_transfer, wait_ping

SWITCHES = ("--no-offload", "--no-gso", "--no-gro", "--no-tso", "--no-uso", "--no-csum", "--no-vnet")


def udp_echo(one, two, ip, sizes):
    """Datagrams of many sizes there and back, contents compared."""
    server = in_ns(two, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind((ip, 7009))
    server.settimeout(5)

    def echo():
        for _ in sizes:
            data, peer = server.recvfrom(70000)
            server.sendto(data, peer)
    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    client = in_ns(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.settimeout(5)
    for size in sizes:
        data = bytes((size + i) & 0xff for i in range(size))
        client.sendto(data, (ip, 7009))
        if client.recv(70000) != data:
            raise Failed("datagram of %d bytes came back changed" % size)
    thread.join(5)
    client.close()
    server.close()


def traffic(net, first, second):
    """Two members with these switches: pings of all kinds, TCP both ways, UDP."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    a.start(extra=first)
    b.start(extra=second)
    nwid = root.create_network(v6AssignMode={"rfc4193": True})
    for node in (a, b):
        root.authorize(nwid, node)
        node.join(nwid)
        node.wait_network(nwid)
    target = b.ip(nwid)
    wait_ping("a", target)
    a.wait_direct(b)
    b.wait_direct(a)
    for size in (0, 1400, 2772, 2773, 9000):
        if ping("a", target, 5, size=size):
            raise Failed("pings of %d bytes lost" % size)
    tcp_transfer("a", "b", target, size=20000000)
    tcp_transfer("b", "a", a.ip(nwid), size=20000000)
    tcp_transfer("a", "b", b.ip(nwid, 6), size=5000000)
    udp_echo("a", "b", target, (0, 1, 2, 63, 64, 1399, 1400, 2771, 2772, 2773, 8000, 30000, 60000))


def make(switch, both):
    def test(net):
        traffic(net, (switch,), (switch,) if both else ())
    return test


for name in SWITCHES:
    globals()["test_" + name[2:].replace("-", "_")] = make(name, True)
globals()["test_no_offload_on_one_side"] = make("--no-offload", False)


def test_everything_on(net):
    traffic(net, (), ())
