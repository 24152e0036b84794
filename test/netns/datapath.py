"""What the service shows of its data path: GET /datapath, `panlan datapath`, metrics, log.
Checklist: D-19, D-25."""
import json
import os
import re
import subprocess

import net as netns
from basic import trio
from net import Failed, sh, tcp_transfer, wait_for, wait_ping

BUFFER = 8 << 20


def must(condition, *facts):
    if not condition:
        raise Failed(" ".join(str(fact) for fact in facts))


def log(node):
    with open(node.log) as handle:
        return handle.read()


def metrics(node):
    """Name with labels -> value."""
    _, text = node.request("GET", "/metrics", raw=True)
    must(not [line for line in text.splitlines()
              if not re.fullmatch(r"#.*|[a-zA-Z_0-9]+(\{[^{}]*\})? [-+0-9.e]+", line)], text)
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")


def datapath(node):
    """The object, and as `panlan datapath` prints it."""
    argv = ["ip", "netns", "exec", node.ns, netns.PANLAN, "--home", node.home, "datapath"]
    shown = json.loads(subprocess.run(argv + ["-j"], check=True, capture_output=True).stdout)
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    must(set(shown) == set(node.get("/datapath")), shown)
    return shown, text


def test_all_of_it_is_shown(net):
    root, a, b, nwid = trio(net)
    target = b.ip(nwid)
    wait_ping("a", target)
    a.wait_direct(b)
    b.wait_direct(a)
    tcp_transfer("a", "b", target, size=30000000)
    for node in (a, b):
        shown, text = datapath(node)
        must(shown["workers"] >= 1 and 1 <= shown["workers"] * shown["lanes"] <= 16, shown)
        must(all(shown["kernels"][x] for x in ("aes", "salsa20", "poly1305", "checksum")), shown)
        socket = [x for x in shown["sockets"] if x["address"].endswith("/9993")][0]
        queues = shown["workers"] * shown["lanes"]
        must(socket["device"] == "eth0" and socket["sockets"] == queues, socket)
        must(socket["gso"] and socket["gro"] and socket["batch"], socket)
        must(socket["receiveBuffer"] == BUFFER and socket["sendBuffer"] == BUFFER, socket)
        (device,) = shown["devices"]
        must(device["nwid"] == nwid and device["device"] == node.device(nwid), device)
        must(device["vnet"] and device["csum"] and device["tso4"] and device["tso6"], device)
        must(device["mergesTcp"] and device["mergesUdp"] == device["uso"], device)
        must(device["queues"] == queues and device["mtu"] == node.network(nwid)["mtu"], device)
        must(shown["handled"] > 10000 and shown["slowShare"] < 0.05, shown)
        counts = shown["counts"]
        must(counts["rx_frames" if node is b else "tx_frames"] > 10000, counts)
        values = metrics(node)
        labels = 'address="%s",device="eth0"' % socket["address"]
        must(values["panlan_workers"] == str(shown["workers"]), values)
        must(values['panlan_udp_buffer_bytes{%s,direction="rx"}' % labels] == str(BUFFER), values)
        must(values['panlan_udp_offload{%s,offload="gso"}' % labels] == "1", values)
        labels = 'device="%s",network_id="%s"' % (device["device"], nwid)
        must(values['panlan_device_offload{%s,offload="tso4"}' % labels] == "1", values)
        must(int(values["panlan_datapath_handled"]) >= shown["handled"], values)
        must(set(shown["drops"]) == set(re.findall(r'panlan_drops\{reason="([^"]*)"', str(values))),
             values)
        for line in (r"workers   %d, lanes of each %d" % (shown["workers"], shown["lanes"]),
                     r"handled   \d+ by workers, \d+ given to the engine \(\d+\.\d\d %\)",
                     re.escape(socket["address"]) + r" +eth0 +%d +8192 +8192 gso,gro,batch .*" % queues,
                     nwid + r" +%s .*" % device["device"]):
            must(re.search("^" + line + "$", text, re.M), line, text)
        must("receive_buffer=%d send_buffer=%d gso=1 gro=1" % (BUFFER, BUFFER) in log(node),
             log(node))


def test_dump_has_it(net):
    """So has a report for support."""
    root = net.node(net.host("root", "10.9.0.1/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    subprocess.run(["ip", "netns", "exec", "root", netns.PANLAN, "--home", root.home, "dump"],
                   check=True, cwd=net.home, stdout=subprocess.DEVNULL)
    with open(os.path.join(net.home, "zerotier_dump.txt")) as handle:
        text = handle.read()
    shown = json.loads(text.split("\ndata path\n")[1].split("\n\n")[0])
    must(set(shown) == set(root.get("/datapath")), shown)


def test_drops_are_counted_by_reason(net):
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    before = datapath(a)[0]["drops"]["drop_runt"]
    sh("python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
       "[s.sendto(b'x' * 16, ('10.9.0.2', 9993)) for _ in range(20)]\"", ns="b")
    wait_for("drops", lambda: datapath(a)[0]["drops"]["drop_runt"] == before + 20)
    must('drop_runt=%d' % (before + 20) in datapath(a)[1], datapath(a)[1])
    must(metrics(a)['panlan_drops{reason="drop_runt"}'] == str(before + 20), metrics(a))


def test_what_was_switched_off_is_not_shown_as_there(net):
    root = net.node(net.host("root", "10.9.0.1/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start(extra=("--workers", "2", "--no-gso", "--no-uso"))
    nwid = root.create_network()
    root.authorize(nwid, root)
    root.join(nwid)
    root.wait_network(nwid)
    shown, text = datapath(root)
    must(shown["workers"] == 2 and shown["lanes"] == 8, shown)
    must(all(not x["gso"] and x["gro"] for x in shown["sockets"]), shown)
    (device,) = shown["devices"]
    must(device["tso4"] and not device["uso"] and not device["mergesUdp"], device)
    must(" gro,batch " in text and " tcp " in text, text)


def test_small_buffers(net):
    """A service without CAP_NET_ADMIN gets what the system's limits allow, and warns if that is
    much less."""
    try:
        limit = min([BUFFER] + [int(open("/proc/sys/net/core/" + name).read())
                                for name in ("rmem_max", "wmem_max")])
    except OSError:
        raise netns.Skipped("the limits of socket buffers are not told here")
    root = net.node(net.host("root", "10.9.0.1/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    root.binary = os.path.join(net.home, "unprivileged")
    with open(root.binary, "w") as script:
        script.write("#!/bin/sh\nexec setpriv --bounding-set=-net_admin '%s' \"$@\"\n" %
                     netns.PANLAN)
    os.chmod(root.binary, 0o755)
    root.start()
    sockets = datapath(root)[0]["sockets"]
    must(all(min(x["receiveBuffer"], x["sendBuffer"]) == limit for x in sockets), sockets)
    must("receive_buffer=" in log(root), log(root))
    must(log(root).count("net.core.rmem_max") == (1 if limit < BUFFER // 2 else 0), log(root))
