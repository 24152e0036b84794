"""A network with members that watch the others by rules: an intrusion detection system gets the beginning of
every frame that opens or ends a TCP connection, incoming ones one member and outgoing ones another; all
frames; those of one service are redirected. What a watcher gets is caught on its device and compared byte for
byte. Copies of super-frames, and of every length, are tested in offload_rules.py.
Checklist: RUL-3, RUL-8; spec 03 sections 16.2 to 16.5, spec 06."""
from flow import POOL, tcp_check
from frames import ACK, FIN, PSH, Flow, Tap, mac_of, quiet
from net import Failed, wait_for, wait_ping
from offload_rules import (ACCEPT, INBOUND, OUTBOUND, begin, characteristics, compare_flows,
                           compare_frames, copied, expect_tally, forward, lan, length, network, ready,
                           tcp_flags, without_id)

SYN, RST = 0x02, 0x04
FIRST = 128


def joined(rule, word):
    return dict(rule, **{"or": word == "or"})


def script(inbound, outbound):
    """tee 128 INBOUND chr tcp_syn or chr tcp_rst or chr tcp_fin and chr inbound;
    tee 128 OUTBOUND chr tcp_syn or chr tcp_rst or chr tcp_fin and not chr inbound; accept;"""
    edges = [characteristics(SYN), joined(characteristics(RST), "or"), joined(characteristics(FIN), "or")]
    return edges + [INBOUND, forward("TEE", inbound, FIRST)] + \
        edges + [OUTBOUND, forward("TEE", outbound, FIRST), ACCEPT]


def connection(dest, source):
    """Messages for the device and their frames: TCP connections as they come and go, UDP between them."""
    out = []
    for v6 in (False, True):
        tcp, udp = (Flow(dest, source, v6=v6, udp=is_udp, ports=(40000 + v6, 443)) for is_udp in (False, True))
        for flow, data, flags in (
                (tcp, b"", SYN), (tcp, POOL[:500], SYN), (tcp, b"", SYN | ACK), (tcp, b"", ACK),
                (tcp, POOL[:1000], ACK | PSH), (udp, POOL[:900], 0), (tcp, POOL[:66], FIN | ACK),
                (tcp, POOL[:1300], FIN | ACK | PSH), (tcp, b"", RST), (tcp, b"", RST | ACK), (udp, b"x", 0)):
            out.append((flow.single(data, 3, 0x500, flags), [flow.frame(data, 3, 0x500, flags)]))
        data = POOL[:7 * 1000 + 10]  # FIN is in the last segment only
        out.append((tcp.super_frame(data, 1000, 9, 0x9000, ACK | PSH | FIN),
                    tcp.segments(data, 1000, 9, 0x9000, ACK | PSH | FIN)))
    return out


def is_edge(frame):
    return tcp_flags(frame) & (SYN | RST | FIN)


def members(net, names, kinds="p", controller="p"):
    """A root with the controller, and members; no device sends anything by itself."""
    root = net.node(net.host("root", "10.9.0.1/16"), reference=controller == "r")
    made = [net.node(net.host(name, "10.9.%d.2/16" % (1 + i)), reference=(kinds * len(names))[i] == "r")
            for i, name in enumerate(names)]
    net.make_planet([(root, "10.9.0.1/9993")])
    quiet(net, *names)
    root.start()
    for node in made:
        node.start(wait=False)
    for node in made:
        node.wait_api()
    return [root] + made


def warm(root, nodes):
    """Direct paths between all, made in a network of its own: what follows is not delayed."""
    nwid = network(root, nodes, [ACCEPT])
    ready(nodes, [nwid])
    for one in nodes:
        for two in nodes:
            if one is not two:
                wait_ping(one.ns, two.ip(nwid), 30)
    for one in nodes:
        for two in nodes:
            if one is not two:
                one.wait_direct(two, 40)


def taps(nwid, *nodes):
    return [Tap(node.ns, node.device(nwid)) for node in nodes]


def nothing_more(what, *devices):
    for tap in devices:
        if tap.catch(0.1):
            raise Failed("%s: a frame more" % what)
        tap.close()


def start(sender, receiver, nwid, into, out):
    """Begin the conversation; three UDP frames."""
    if sender.reference:
        flow = Flow(mac_of(receiver, nwid), mac_of(sender, nwid), udp=True, ports=(7, 7))

        def came():
            into.put(flow.single(POOL[:50]))
            return out.catch(0.5)
        wait_for("the first frame", came)
        return
    first = begin(sender, nwid, into, mac_of(receiver, nwid), mac_of(sender, nwid))
    compare_flows("first frames", out.catch_all(len(first)), first)


def watch_connections(root, sender, receiver, inside, outside):
    """Who watches what goes out gets frames that come in to it, and by the first half of the script sends
    copies of them on: who watches what comes in gets each twice."""
    nwid = network(root, (sender, receiver, inside, outside), script(inside, outside), **lan(0))
    ready((sender, receiver, inside, outside), [nwid])
    into, out, first, second = taps(nwid, sender, receiver, inside, outside)
    start(sender, receiver, nwid, into, out)
    for message, frames in connection(mac_of(receiver, nwid), mac_of(sender, nwid)):
        edges = copied([f for f in frames if is_edge(f)], FIRST)
        into.put(message)
        compare_flows("the receiver", out.catch_all(len(frames)), frames)
        compare_frames("who watches what comes in", sorted(first.catch_all(2 * len(edges))),
                       sorted(2 * edges))
        compare_flows("who watches what goes out", second.catch_all(len(edges)), edges)
        if any(length(f) > FIRST for f in edges):
            raise Failed("a copy is too long")
    nothing_more("connections", out, first, second)
    into.close()
    return nwid


def test_watching_connections(net):
    """The script of the rules manual, on frames made by hand, then on a real connection."""
    root, a, b, inside, outside = members(net, ["a", "b", "inside", "outside"])
    warm(root, (a, b, inside, outside))
    nwid = watch_connections(root, a, b, inside, outside)
    into, first, second = taps(nwid, a, inside, outside)
    tcp_check("a", "b", b.ip(nwid), 200000)
    for tap, what in ((first, "in"), (second, "out")):
        seen = set()

        def all_seen(tap=tap, seen=seen):
            for frame in tap.catch(0.2):
                if tcp_flags(frame):
                    seen.add((frame[6:12], tcp_flags(frame) & (SYN | FIN)))
                    if length(frame) > FIRST:
                        raise Failed("a copy of %d bytes" % length(frame))
            return {(mac_of(a, nwid), SYN), (mac_of(b, nwid), SYN), (mac_of(a, nwid), FIN)} <= seen
        wait_for("SYN of both and FIN, going " + what, all_seen)
        tap.close()
    into.close()


def test_watching_everything(net):
    """All frames to one member, once, when they leave: unicast, and multicast of which each member gets one.
    Frames to and from the watcher itself are no copies."""
    root, a, b, c, watcher = members(net, ["a", "b", "c", "watcher"])
    nodes = (a, b, c, watcher)
    warm(root, nodes)
    nwid = network(root, nodes, [OUTBOUND, forward("TEE", watcher, -1), ACCEPT])
    ready(nodes, [nwid])
    into, out, other, third = taps(nwid, a, b, c, watcher)
    first = begin(a, nwid, into, mac_of(b, nwid), mac_of(a, nwid))
    compare_flows("first", out.catch_all(len(first)), first)
    compare_flows("first copies", third.catch_all(len(first)), first)
    for message, frames in connection(mac_of(b, nwid), mac_of(a, nwid)):
        into.put(message)
        compare_flows("the receiver", out.catch_all(len(frames)), frames)
        compare_flows("the watcher", third.catch_all(len(frames)), frames)
    to_watcher = Flow(mac_of(watcher, nwid), mac_of(a, nwid), udp=True)
    into.put(to_watcher.single(POOL[:300]))
    compare_flows("to the watcher", third.catch_all(1), [to_watcher.frame(POOL[:300])])
    cast = Flow(b"\xff" * 6, mac_of(a, nwid), udp=True)

    def all_hear():
        into.put(cast.single(POOL[:10]))
        return all(tap.catch(0.3) for tap in (out, other, third))
    wait_for("broadcasts at all members", all_hear)
    for tap in (out, other, third):
        while tap.catch(0.3):
            pass
    into.put(cast.single(POOL[:700]))
    compare_flows("a member", out.catch_all(1), [cast.frame(POOL[:700])])
    compare_flows("another", other.catch_all(1), [cast.frame(POOL[:700])])
    compare_frames("the watcher's own and its copy", list(map(without_id, third.catch_all(2))),
                   2 * [without_id(cast.frame(POOL[:700]))])
    nothing_more("everything", out, other, third)
    into.close()


def service(kind, node):
    """One service goes to a member that it is not addressed to, all else where it wants to."""
    port = [{"type": "MATCH_IP_PROTOCOL", "ipProtocol": 6},
            {"type": "MATCH_IP_DEST_PORT_RANGE", "start": 443, "end": 443}]
    return port + [forward(kind, node, *([] if kind == "REDIRECT" else [0])), ACCEPT]


def test_service_of_another(net):
    """REDIRECT takes the frames of a service away from whom they are addressed to; WATCH does not. The member
    that they go to sends on as it likes: what it sends is not redirected to itself."""
    service_of_another(net, *members(net, "abc"))


def service_of_another(net, root, a, b, c):
    warm(root, (a, b, c))
    made = {kind: network(root, (a, b, c), service(kind, c)) for kind in ("REDIRECT", "WATCH")}
    ready((a, b, c), list(made.values()))
    for kind, nwid in made.items():
        into, out, third = taps(nwid, a, b, c)
        start(a, b, nwid, into, out)
        total, taken = 3, 0
        for message, frames in connection(mac_of(b, nwid), mac_of(a, nwid)):
            ours = [f for f in frames if tcp_flags(f)]
            rest = [f for f in frames if not tcp_flags(f)] if kind == "REDIRECT" else frames
            into.put(message)
            total += len(frames)
            taken += len(ours)
            compare_flows(kind + ", the addressed", out.catch_all(len(rest)), rest)
            # a watched frame is copied by the sender and by the receiver
            times = 1 if kind == "REDIRECT" else 2
            got = sorted(third.catch_all(len(ours) * times))
            compare_flows(kind + ", the other", got, sorted(ours * times))
        if kind == "REDIRECT":
            back = Flow(mac_of(b, nwid), mac_of(c, nwid), ports=(40000, 443))
            third.put(back.single(b"", 3, 0x500, SYN))
            compare_flows("sent on", out.catch_all(1), [back.frame(b"", 3, 0x500, SYN)])
            if not a.reference:
                expect_tally(a, nwid, kind, tx_yes=total - taken, tx_no=taken)
        nothing_more(kind, out, third)
        into.close()
