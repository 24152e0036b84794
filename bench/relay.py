#!/usr/bin/env python3
"""What a root forwards between two peers that cannot reach each other.

  PANLAN=build/src/panlan [ZEROTIER_ONE=...] bench/relay.py [SECONDS] [RUNS]

Our root and the reference's take turns. Two nodes of ours make the root know both addresses; a
packet filter keeps them apart. A generator beside the first node then sends packets with the header
of one between them (a root opens nothing), and the packet filter beside the second hands these to a
sink and everything else to the node, so that the root's path stays proven. Packets are counted
where they arrive. doc/performance.md says what the columns mean. Exit status 0 whatever the figures
are.
"""

import benchlib as bench
from benchlib import NAN, lab

ROOT, ONE, TWO = "10.9.0.1", "10.9.1.1", "10.9.2.1"
SINK_PORT = 9994
SIZES = (128, 1400)
RUN = 32        # datagrams that leave the generator in one piece, for the columns "in runs"
MODERATE = 50000  # packets a second that every root should manage: what one costs then
COLUMNS = ("tcp1", "idle") + tuple(
    "%d %s" % (size, what) for size in SIZES
    for what in ("Mpps", "cpu", "cpu50k", "lost50k", "runs Mpps", "runs cpu"))


def keep_apart():
    """Neither node hears the other but through the root."""
    for ns, other in (("one", TWO), ("two", ONE)):
        lab.sh("nft -f - <<'END'\ntable inet apart {\n chain in {\n"
               "type filter hook input priority 0;\n"
               "iif eth0 ip saddr %s drop\n }\n }\nEND" % other, ns=ns)


def divert(source):
    """From now on two's packets of this node address go to the sink (header bytes 13 to 17). Those
    of the reference have no UDP checksum, and shall not get half a one by the change."""
    match = "iif eth0 meta l4proto udp @th,168,40 0x%s" % source
    lab.sh("nft -f - <<'END'\ntable inet divert {\n chain in {\n"
           "type filter hook prerouting priority raw;\n"
           "%s udp checksum 0 udp dport set %d udp checksum set 0 accept\n"
           "%s udp dport set %d\n }\n }\nEND" % (match, SINK_PORT, match, SINK_PORT), ns="two")


def forward(root, header, seconds, size, rate, run=1):
    """One flood through the root: (packets a second on arrival, CPU s per million, lost %)."""
    before = bench.cpu_seconds([root.process.pid])
    got = bench.flood("one", "two", ROOT, seconds, size, "--packet", header, run=run,
                      rate=rate, port=root.port, sink_address=TWO, sink_port=SINK_PORT)
    used = bench.cpu_seconds([root.process.pid]) - before
    lost = 100 * (1 - got["count"] / got["generated"]) if got["generated"] else NAN
    return got["received"], used / got["count"] * 1e6 if got["count"] else NAN, lost


def measure(reference, seconds, quiet):
    """One turn of one kind of root: {column: figure}."""
    net = lab.Net()
    try:
        settings = {"settings": {"allowSecondaryPort": False, "relayRate": 0}}
        root = net.node(net.host("root", ROOT + "/16"), reference=reference, config=settings)
        one = net.node(net.host("one", ONE + "/16"), config=settings)
        two = net.node(net.host("two", TWO + "/16"), config=settings)
        keep_apart()
        net.make_planet([(root, "%s/%d" % (ROOT, root.port))])
        for node in (root, one, two):
            node.start(wait=False)
        for node in (root, one, two):
            node.wait_api()
        nwid = root.create_network()
        for node in (one, two):
            root.authorize(nwid, node)
            node.join(nwid)
        for node in (one, two):
            node.wait_network(nwid, timeout=60)
        target = two.ip(nwid)
        lab.wait_ping("one", target, 60)
        row = {"quiet": bench.wait_quiet(quiet)}
        row["idle"] = bench.ping("one", target, 2, 0.01)["mean"]
        row["tcp1"] = bench.tcp("one", "two", target, seconds)["gbit"]
        if one.is_direct(two) or two.is_direct(one):
            raise lab.Failed("the two nodes reached each other")
        divert(one.address)
        header = "%s:%s" % (two.address, one.address)
        for size in SIZES:
            _, cost, lost = forward(root, header, seconds, size, MODERATE)
            row["%d cpu50k" % size], row["%d lost50k" % size] = cost, lost
            for kind, run in (("", 1), ("runs ", RUN)):
                flood, cost, _ = forward(root, header, seconds, size, 0, run)
                again, less, _ = forward(root, header, seconds, size, 1.5 * flood, run)
                flood, cost = max((flood, cost), (again, less))
                row["%d %sMpps" % (size, kind)], row["%d %scpu" % (size, kind)] = flood / 1e6, cost
        return row
    except (lab.Failed, OSError, ValueError, lab.http.client.HTTPException) as error:
        raise lab.Failed("%s\n%s" % (error, net.logs())) from error
    finally:
        net.close()


def main():
    options = bench.turns(__file__, __doc__, "flood", "root", "iperf3", "ping", "nft")
    table = bench.Table(COLUMNS)
    for _ in range(options.runs):
        for label, reference in (("our root", False), ("the reference's root", True)):
            table.turn(label, lambda: measure(reference, options.seconds, options.quiet))
    table.show("the reference's root")


if __name__ == "__main__":
    main()
