"""Rules that tell the segments of one super-frame apart: every segment is judged by itself, on both sides,
with offload and without, and counted. The frames are made by hand, so what must arrive is known byte for
byte. Checklist: D-12, D-13, D-15, D-16, D-23, D-24, RUL-7, RUL-8.
"""
import re

from flow import POOL, tcp_check
from frames import ACK, CWR, FIN, PSH, Flow, Tap, mac_of, quiet
from interop import seats
from net import Failed, wait_for, wait_ping

ACCEPT = {"type": "ACTION_ACCEPT"}
DROP = {"type": "ACTION_DROP"}
INBOUND = {"type": "MATCH_CHARACTERISTICS", "mask": "8000000000000000"}
ALWAYS = {"type": "MATCH_RANDOM", "probability": 0xffffffff}


def size_range(start, end):
    return {"type": "MATCH_FRAME_SIZE_RANGE", "start": start, "end": end}


def characteristics(mask):
    return {"type": "MATCH_CHARACTERISTICS", "mask": "%016x" % mask}


def length(frame):
    return len(frame) - 14


def tcp_flags(frame):
    """Flags of a TCP frame, 0 of others."""
    l4 = 54 if frame[12:14] == b"\x86\xdd" else 34
    return frame[l4 + 13] if frame[20 if l4 == 54 else 23] == 6 else 0


def sequence(frame):
    """The 4 bytes that INTEGER_RANGE of the test below looks at."""
    return int.from_bytes(frame[14 + 24:14 + 28], "big")


def dest_port(frame):
    l4 = 54 if frame[12:14] == b"\x86\xdd" else 34
    return int.from_bytes(frame[l4 + 2:l4 + 4], "big")


# What is dropped: the matches, and the same in Python.
DROPS = {
    "long": ([size_range(1001, 65535)], lambda f: length(f) > 1000),
    "short": ([size_range(1, 700)], lambda f: length(f) <= 700),
    "one_size": ([size_range(1040, 1040)], lambda f: length(f) == 1040),
    "fin": ([characteristics(FIN)], lambda f: tcp_flags(f) & FIN),
    "psh": ([characteristics(PSH)], lambda f: tcp_flags(f) & PSH),
    "cwr": ([characteristics(CWR)], lambda f: tcp_flags(f) & CWR),
    "bytes": ([{"type": "INTEGER_RANGE", "start": "0000000000002000", "end": "0000000000004000",
                "idx": 20, "bits": 32, "little": False}], lambda f: 0x2000 <= sequence(f) <= 0x4000),
    "always": ([ALWAYS], lambda f: True),
    "ports": ([{"type": "MATCH_IP_DEST_PORT_RANGE", "start": 5000, "end": 5999}],
              lambda f: 5000 <= dest_port(f) <= 5999),
}


def shapes(dest, source):
    """Super-frames and frames of every kind: what goes into the device, and the frames it stands for."""
    out = []
    everything = ACK | PSH | FIN | CWR
    for flow, size, count, tail in (
            (Flow(dest, source), 1000, 20, 500), (Flow(dest, source, v6=True), 1200, 15, 1199),
            (Flow(dest, source, udp=True), 800, 10, 333), (Flow(dest, source, ports=(9, 5000)), 2760, 9, 1),
            (Flow(dest, source, v6=True, udp=True), 700, 7, 700), (Flow(dest, source, tos=8), 100, 64, 0),
            (Flow(dest, source, ports=(9, 5999)), 600, 2, 0)):
        data = POOL[size:size + size * count + tail]
        out.append((flow.super_frame(data, size, 65530, 0x1000, everything),
                    flow.segments(data, size, 65530, 0x1000, everything)))
        for n in (1, 2, size - 1, size):
            data = POOL[:n]
            out.append((flow.single(data, 5, 0x3000), [flow.frame(data, 5, 0x3000)]))
    return out


def tally(node, nwid):
    """{(direction, accepted): frames} of the metrics."""
    text = node.request("GET", "/metrics", raw=True)[1]
    pattern = r'zt_network_packets\{accepted="(yes|no)",direction="(rx|tx)",network_id="%s"\} (\d+)' % nwid
    return {(d, a): int(n) for a, d, n in re.findall(pattern, text)}


def expect_tally(node, nwid, what, **wanted):
    """Wait until the counters are these, then see that they are not more."""
    keys = {"tx_yes": ("tx", "yes"), "tx_no": ("tx", "no"), "rx_yes": ("rx", "yes"), "rx_no": ("rx", "no")}

    def now():
        counts = tally(node, nwid)
        return {name: counts[keys[name]] for name in wanted}
    try:
        wait_for("frames", lambda: all(now()[k] >= wanted[k] for k in wanted), 5)
    except Failed:
        pass
    if now() != wanted:
        raise Failed("%s: %s counts %s instead of %s" % (what, node.ns, now(), wanted))


def trio(net, extra):
    """A root with the controller, three members; nothing but what a test sends is on the networks."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    members = [net.node(net.host(name, "10.9.0.%d/24" % (2 + i))) for i, name in enumerate("abc")]
    net.make_planet([(root, "10.9.0.1/9993")])
    quiet(net, "a", "b", "c")
    root.start()
    for node in members:
        node.start(extra=extra)
    return [root] + members


def network(controller, members, rules, **settings):
    nwid = controller.create_network(private=False, rules=rules, **settings)
    for node in members:
        node.join(nwid)
    return nwid


def ready(members, nwids):
    """All networks are up, and the members have direct paths: what follows takes the fast way."""
    for nwid in nwids:
        for node in members:
            node.wait_network(nwid)
            wait_for("device of " + nwid, lambda node=node, nwid=nwid: node.device(nwid))


def warm(controller, members):
    """Direct paths between all members, made in a network of its own."""
    nwid = network(controller, members, [ACCEPT])
    ready(members, [nwid])
    for one in members:
        for two in members:
            if one is not two:
                wait_ping(one.ns, two.ip(nwid))
    for one in members:
        for two in members:
            if one is not two:
                one.wait_direct(two)


def compare_frames(what, got, want):
    if got == want:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    raise Failed("%s: %d of %d frames, the first different one is %d:\n%s\n%s" % (
        what, len(got), len(want), at, got[at][:80].hex() if at < len(got) else "",
        want[at][:80].hex() if at < len(want) else ""))


def per_flow(frames):
    """Frames by flow: order is kept within one, not between them."""
    flows = {}
    for frame in frames:
        l4 = 54 if frame[12:14] == b"\x86\xdd" else 34
        flows.setdefault((frame[:14], frame[20 if l4 == 54 else 23], frame[l4:l4 + 4]), []).append(frame)
    return flows


def compare_flows(what, got, want):
    got, want = per_flow(got), per_flow(want)
    for key in sorted(set(got) | set(want), key=repr):
        compare_frames("%s, flow %s" % (what, key[2].hex()), got.get(key, []), want.get(key, []))


def begin(sender, nwid, into, dest, source):
    """Let the conversation start: while it does, frames may overtake each other for a moment. Returns the
    frames sent, which some may have to wait for."""
    flow = Flow(dest, source, udp=True, ports=(7, 7))
    out = []
    for number in range(3):
        data = POOL[:800 + number]
        before = sum(tally(sender, nwid)[key] for key in (("tx", "yes"), ("tx", "no")))
        into.put(flow.single(data))
        out.append(flow.frame(data))
        wait_for("a frame counted", lambda before=before: sum(
            tally(sender, nwid)[key] for key in (("tx", "yes"), ("tx", "no"))) > before, 5)
    return out


def judge(sender, receiver, nwid, what, drops, inbound):
    """Send every shape; what is not to be dropped arrives unchanged and in order, all is counted. How many
    frames came, and in how many messages."""
    dest, source = mac_of(receiver, nwid), mac_of(sender, nwid)
    into, out = Tap(sender.ns, sender.device(nwid)), Tap(receiver.ns, receiver.device(nwid))
    try:
        sent = begin(sender, nwid, into, dest, source)
        passed = [f for f in sent if not drops(f)]
        compare_flows(what, out.catch_all(len(passed)), passed)
        for message, frames in shapes(dest, source):
            good = [f for f in frames if not drops(f)]
            into.put(message)
            sent += frames
            passed += good
            got = out.catch_all(len(good))
            compare_flows(what, got, good)
    finally:
        into.close()
        out.close()
    lost = len(sent) - len(passed)
    if inbound:
        expect_tally(sender, nwid, what, tx_yes=len(sent), tx_no=0)
        expect_tally(receiver, nwid, what, rx_yes=len(passed), rx_no=lost)
    else:
        expect_tally(sender, nwid, what, tx_yes=len(passed), tx_no=lost)
        expect_tally(receiver, nwid, what, rx_yes=len(passed), rx_no=0)
    return len(passed), out.messages


def programs():
    """Rules by name: dropped by the sender, and by the receiver alone."""
    for name, (matches, drops) in DROPS.items():
        yield name + " outbound", matches + [DROP, ACCEPT], drops, False
        yield name + " inbound", [INBOUND] + matches + [DROP, ACCEPT], drops, True


def verdicts(net, extra, merged):
    root, a, b, c = trio(net, extra)
    warm(root, (a, b, c))
    made = [(network(root, (a, b), rules), name, drops, inbound)
            for name, rules, drops, inbound in programs()]
    ready((a, b), [nwid for nwid, _, _, _ in made])
    for nwid, name, drops, inbound in made:
        frames, messages = judge(a, b, nwid, name, drops, inbound)
        if merged and frames > 60 and messages * 2 > frames or not merged and messages != frames:
            raise Failed("%s: %d frames in %d messages" % (name, frames, messages))


def test_rules_judge_each_segment(net):
    verdicts(net, (), True)


def test_rules_judge_each_frame_without_offload(net):
    """D-23, D-24: the same frames pass and the same numbers are counted as with offload."""
    verdicts(net, ("--no-offload",), False)


# ---- copies ----

def forward(kind, node, size=None):
    rule = {"type": "ACTION_" + kind, "address": node.address, "flags": 0}
    if size is not None:
        rule["length"] = size
    return rule


OUTBOUND = dict(INBOUND, **{"not": True})


def copied(frames, size):
    return [f[:14 + size] if size else f for f in frames]


def without_id(frame):
    """Without IPv4's ID and checksum: copies of datagrams from two members may be merged in any order, and
    then are numbered anew, as is allowed where DF is set (spec 09 section 6.6)."""
    return frame if frame[12:14] != b"\x08\x00" else frame[:18] + frame[20:24] + frame[26:]


def copies(net, extra):
    """TEE, WATCH and REDIRECT to a third member, by the sender, by the receiver, by both."""
    root, a, b, c = trio(net, extra)
    warm(root, (a, b, c))
    cases = []
    for kind, size, side, times, passes in (
            ("TEE", 0, [], 2, True), ("TEE", 100, [OUTBOUND], 1, True), ("TEE", 9999, [INBOUND], 1, True),
            ("WATCH", 64, [INBOUND], 1, True), ("WATCH", 0, [OUTBOUND], 1, True),
            ("REDIRECT", None, [OUTBOUND], 1, False), ("REDIRECT", None, [INBOUND], 1, False)):
        rules = side + [forward(kind, c, size), ACCEPT]
        cases.append((network(root, (a, b, c), rules), kind, size, side, times, passes))
    ready((a, b, c), [case[0] for case in cases])
    for nwid, kind, size, side, times, passes in cases:
        what = "%s %s of %s" % (kind, {"": "by both", "n": "outbound", "i": "inbound"}[
            "" if not side else "n" if side[0] is OUTBOUND else "i"], size)
        into, out, third = (Tap(node.ns, node.device(nwid)) for node in (a, b, c))
        first = begin(a, nwid, into, mac_of(b, nwid), mac_of(a, nwid))
        total = len(first)
        compare_flows(what, out.catch_all(total if passes else 0), first if passes else [])
        want = sorted(map(without_id, copied(first, size) * times))
        compare_frames(what + ", first copies", sorted(map(without_id, third.catch_all(len(want)))), want)
        for message, frames in shapes(mac_of(b, nwid), mac_of(a, nwid)):
            into.put(message)
            total += len(frames)
            compare_flows(what, out.catch_all(len(frames)) if passes else [], frames if passes else [])
            want = copied(frames, size) * times
            got = third.catch_all(len(want))
            if times == 1:
                compare_flows(what + ", copies", got, want)
            else:
                compare_frames(what + ", copies", sorted(map(without_id, got)),
                               sorted(map(without_id, want)))
        for tap in (into, out, third):
            more = tap.catch(0.0) if tap is not into else []
            tap.close()
            if more:
                raise Failed("%s: %d frames more" % (what, len(more)))
        side_in = kind == "REDIRECT" and side[0] is INBOUND
        expect_tally(c, nwid, what, rx_yes=total * times, rx_no=0)
        expect_tally(b, nwid, what, rx_yes=total if passes else 0, rx_no=total if side_in else 0)
        expect_tally(a, nwid, what, tx_yes=total if passes or side_in else 0,
                     tx_no=0 if passes or side_in else total)


def test_copies_of_each_segment(net):
    """RUL-8."""
    copies(net, ())


def test_copies_of_each_frame_without_offload(net):
    copies(net, ("--no-offload",))


# ---- chance ----

def test_each_segment_has_its_own_chance(net):
    """Half of the frames are dropped, and of no super-frame all or none."""
    root, a, b, c = trio(net, ())
    warm(root, (a, b, c))
    half = {"type": "MATCH_RANDOM", "probability": 0x7fffffff}
    made = [network(root, (a, b), side + [half, DROP, ACCEPT]) for side in ([OUTBOUND], [INBOUND])]
    ready((a, b), made)
    for index, nwid in enumerate(made):
        flow = Flow(mac_of(b, nwid), mac_of(a, nwid))
        into, out = Tap("a", a.device(nwid)), Tap("b", b.device(nwid))
        begun = len(begin(a, nwid, into, mac_of(b, nwid), mac_of(a, nwid)))
        rounds, each = 40, 40
        for i in range(rounds):
            into.put(flow.super_frame(POOL[:each * 100], 100, 1, i * each * 100))
            wait_for("a super-frame counted", lambda i=i: sum(
                tally(a, nwid)[key] for key in (("tx", "yes"), ("tx", "no"))) >= begun + (i + 1) * each, 5)
        total = begun + rounds * each
        keys = [("tx", "yes"), ("tx", "no")] if index == 0 else [("rx", "yes"), ("rx", "no")]
        node = a if index == 0 else b
        wait_for("all frames counted", lambda: sum(tally(node, nwid)[k] for k in keys) >= total, 5)
        counts = [tally(node, nwid)[k] for k in keys]
        if sum(counts) != total or abs(counts[0] - total / 2) > 5 * (total / 4) ** 0.5:
            raise Failed("%d passed and %d did not of %d" % (*counts, total))
        got = out.catch_all(counts[0])
        passed = [0] * rounds
        for frame in got:
            if tcp_flags(frame):
                passed[int.from_bytes(frame[38:42], "big") // (each * 100)] += 1
        into.close()
        out.close()
        if len(got) != counts[0] or min(passed) < 4 or max(passed) > each - 4:
            raise Failed("%d frames came, of each super-frame: %r" % (len(got), passed))


# ---- streams ----

def lan(index):
    net = "10.%d.0" % (140 + index)
    return {"routes": [{"target": net + ".0/24"}],
            "ipAssignmentPools": [{"ipRangeStart": net + ".1", "ipRangeEnd": net + ".254"}]}


def stream_programs(c):
    return (
        [characteristics(FIN | PSH | CWR), ACCEPT, size_range(1, 1500), ACCEPT, size_range(1501, 9999),
         ACCEPT],
        [forward("TEE", c, 0), ACCEPT],
        [INBOUND, forward("WATCH", c, 64), ACCEPT],
        [{"type": "MATCH_RANDOM", "probability": 0xffffffff // 100}, DROP, ACCEPT],
    )


def test_streams_under_rules(net):
    """TCP arrives whole where every frame is looked at, copied, or dropped by a chance of 1 in 100."""
    root, a, b, c = trio(net, ())
    made = [network(root, (a, b, c), rules, **lan(i)) for i, rules in enumerate(stream_programs(c))]
    ready((a, b, c), made)
    for nwid in made:
        wait_ping("a", b.ip(nwid))
        wait_ping("b", c.ip(nwid))
        a.wait_direct(b)
        tcp_check("a", "b", b.ip(nwid), 3000000)


def test_rules_with_reference(net):
    """The same verdicts where the other side is the reference, in both directions."""
    _, ctl, one, two, _ = seats(net, "p", "p", "p", "r")
    quiet(net, "one", "two")
    made = [(network(ctl, (one, two), rules, **lan(i)), name, drops)
            for i, (name, rules, drops, _) in enumerate(list(programs())[1::3])]
    ready((one, two), [nwid for nwid, _, _ in made])
    wait_ping("one", two.ip(made[-1][0]), 30)
    one.wait_direct(two, 40)
    two.wait_direct(one, 40)
    for nwid, name, drops in made:
        for here, there in ((one, two), (two, one)):
            into, out = Tap(here.ns, here.device(nwid)), Tap(there.ns, there.device(nwid))
            dest, source = mac_of(there, nwid), mac_of(here, nwid)
            if here is one:
                first = [f for f in begin(here, nwid, into, dest, source) if not drops(f)]
                compare_flows(name, out.catch_all(len(first)), first)
            for message, frames in shapes(dest, source):
                good = [f for f in frames if not drops(f)]
                into.put(message)
                compare_flows("%s, to %s" % (name, there.ns), out.catch_all(len(good)), good)
            into.close()
            out.close()
