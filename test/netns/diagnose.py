"""panlan diagnose with real services: all is well, and one thing after the other is not (spec 05 sections 12
and 13.14)."""
import json
import os

from basic import trio
from net import Failed, sh, wait_for, wait_ping
from peers import must, run

NFT = "nft -f - <<'END'\ntable inet fw {\n%s\n}\nEND"


def diagnose(node, code, *args):
    """Findings as (check, result, found, advice); the text says the same as the JSON."""
    got, out, err = run(node, "-j", "diagnose", *args)
    must(got == code and err == "", node.ns, got, out, err)
    data = json.loads(out)
    must(data["failed"] == sum(f["result"] == "FAIL" for f in data["findings"]), out)
    must((data["failed"] > 0) == (code == 1), out)
    for line in data["findings"]:
        must(set(line) == {"check", "result", "found", "advice"} and line["found"], line)
        must(line["advice"] or line["result"] not in ("WARN", "FAIL") or line["check"] == "settings",
             line)
    secrets(node, out)
    return [(f["check"], f["result"], f["found"], f["advice"]) for f in data["findings"]]


def secrets(node, text):
    for name in ("authtoken.secret", "metricstoken.secret", "identity.secret"):
        if os.path.exists(node.path(name)):
            must(node.read(name).strip().split(":")[-1] not in text, name, text)


def has(found, check, result, *words):
    """There is a line of this kind with these words in it."""
    for line in found:
        if line[0] == check and line[1] == result and all(w in line[2] + line[3] for w in words):
            return
    raise Failed("no %s %s %r in\n%s" % (result, check, words, "\n".join(map(str, found))))


def test_all_is_well(net):
    root, a, b, nwid = trio(net)
    wait_ping("a", b.ip(nwid))
    a.wait_direct(b)
    found = diagnose(a, 0)
    must(not any(result == "FAIL" for _, result, _, _ in found), found)
    has(found, "service", "OK", a.address, a.home)
    has(found, "online", "OK")
    has(found, "port", "OK", "10.9.0.2/9993 on eth0")
    has(found, "root", "OK", root.address, "10.9.0.1/9993")
    has(found, "interface", "OK", "eth0", "10.9.0.2")
    has(found, "interface", "info", "not used", a.device(nwid))
    has(found, "device", "OK")
    has(found, "firewall", "OK", "incoming UDP to port 9993")
    has(found, "network", "OK", nwid, a.ip(nwid))
    has(found, "peers", "OK", "1 roots, 1 direct, 0 relayed")
    has(found, "mapping", "info", "off")
    has(diagnose(root, 0), "root", "info", "is this node")
    code, out, err = run(a, "diagnose")
    must(code == 0 and err == "" and "\nOK    root " in out and ", 0 warnings, " in out, out, err)
    secrets(a, out)
    code, out, err = run(a, "diagnose", "--wrong")
    must(code == 2 and out == "" and "--redact" in err, code, out, err)


def test_redaction(net):
    """Public addresses get names, in every line the same; private ones stay."""
    root = net.node(net.host("root", "11.9.0.1/24", "10.9.0.1/24"))
    a = net.node(net.host("a", "11.9.0.2/24", "10.9.0.2/24"))
    net.make_planet([(root, "11.9.0.1/9993")])
    root.start()
    a.start()
    a.wait_online()
    code, out, err = run(a, "diagnose")
    must(code == 0 and "answers at 11.9.0.1/9993" in out, out)
    code, out, err = run(a, "diagnose", "--redact")
    must(code == 0 and "11.9.0." not in out and "10.9.0.2" in out and "answers at public-ipv4-" in out,
         out)
    name = out.split("answers at ")[1].split("/")[0]
    must(out.count(name + "/") >= 1 and "public-ipv4-2" in out and "public-ipv4-3" not in out, out)


def test_udp_blocked_by_rules(net):
    """Incoming, outgoing; with conntrack the node stays online and is only warned."""
    root, a, b, nwid = trio(net)
    sh(NFT % "chain in {\n type filter hook input priority 0; policy drop;\n iif lo accept\n"
       "ct state established,related accept\n tcp dport 22 accept\n}", ns="a")
    found = diagnose(a, 0)
    has(found, "firewall", "WARN", "incoming UDP to port 9993 is dropped", "inet fw in", "accept")
    has(found, "firewall", "OK", "outgoing UDP")
    has(found, "online", "OK")
    sh("nft flush ruleset", ns="a")
    sh(NFT % "chain out {\n type filter hook output priority 0;\n meta l4proto udp drop\n}\n"
       "chain in {\n type filter hook input priority 0;\n meta l4proto udp drop\n}", ns="a")
    a.stop()
    a.start()
    found = diagnose(a, 1)
    has(found, "firewall", "FAIL", "outgoing UDP from port 9993 is dropped", "inet fw out")
    has(found, "firewall", "WARN", "incoming UDP")
    has(found, "online", "FAIL", "OFFLINE")
    has(found, "root", "FAIL", root.address, "does not answer at 10.9.0.1/9993", "firewall")


def test_no_root_and_no_interface(net):
    root, a, b, nwid = trio(net)
    root.stop()
    a.stop()
    a.start()
    fresh = root.address + "000001"
    a.join(fresh)
    found = diagnose(a, 1)
    has(found, "online", "FAIL", "OFFLINE")
    has(found, "root", "FAIL", root.address, "does not answer")
    has(found, "network", "OK", nwid)
    has(found, "network", "FAIL", fresh, "REQUESTING_CONFIGURATION", "controller")
    sh("ip link set eth0 down", ns="a")
    wait_for("sockets closed", lambda: not a.get("/datapath")["sockets"])
    found = diagnose(a, 1)
    has(found, "interface", "FAIL", "no interface has an address")
    has(found, "port", "FAIL", "no UDP socket")


def test_tun_missing(net):
    """Another file stands in its place, for the service and for the command."""
    root, a, b, nwid = trio(net)
    a.stop()
    sh("mount --bind /dev/null /dev/net/tun")
    try:
        a.start()
        a.wait_network(nwid, "PORT_ERROR")
        found = diagnose(a, 1)
    finally:
        sh("umount /dev/net/tun")
    has(found, "device", "FAIL", "/dev/net/tun")
    has(found, "network", "FAIL", nwid, "PORT_ERROR", "no virtual device: ")


def test_behind_a_symmetric_nat(net):
    root = net.node(net.host("root", "10.9.0.1/16"))
    b = net.node(net.host("b", "10.9.0.3/16"))
    net.nat("na", "10.9.1.1/16", "192.168.1.1/24", "symmetric", "192.168.1.2")
    net.behind("na", "a", "192.168.1.2/24", "192.168.1.1")
    a = net.node("a")
    net.make_planet([(root, "10.9.0.1/9993"), (b, "10.9.0.3/9993")])
    for node in (root, b, a):
        node.start()
    a.wait_online()
    wait_for("two reports", lambda: "symmetric" in a.get("/status")["nat"]["ipv4"])
    found = diagnose(a, 0)
    has(found, "nat", "WARN", "IPv4: symmetric", "router", "forward UDP port")
    has(found, "nat", "info", "others see us at 10.9.1.1/")


def test_networks_that_do_not_work(net):
    """Not authorized; unknown to the controller; addresses not wanted."""
    root, a, b, nwid = trio(net)
    other = root.create_network()
    missing = root.address + "ffffff"
    for network, status in ((other, "ACCESS_DENIED"), (missing, "NOT_FOUND")):
        a.join(network)
        a.wait_network(network, status)
    a.post("/network/" + nwid, {"allowManaged": False})
    found = diagnose(a, 1)
    has(found, "network", "FAIL", other, "ACCESS_DENIED", "member authorize")
    has(found, "network", "FAIL", missing, "NOT_FOUND")
    has(found, "network", "WARN", nwid, "allowManaged")


def test_service_not_running(net):
    """Stopped: its port is free or another's; never started; token not readable; broken settings."""
    root, a, b, nwid = trio(net)
    a.stop()
    found = diagnose(a, 1)
    has(found, "service", "FAIL", "no service answers", "start it")
    has(found, "port", "OK", "9993 is free")
    has(found, "interface", "OK", "eth0", "10.9.0.2")
    has(found, "device", "OK")
    must(not any(line[0] in ("root", "nat", "network", "peers") for line in found), found)
    a.write("local.conf", '{"settings": {"bind": 5, "primaryPort": }')
    has(diagnose(a, 1), "settings", "FAIL", "local.conf, line 1")
    b.write("zerotier-one.port", "1")
    b.home = b.path("empty")
    has(diagnose(b, 1), "service", "FAIL", "no service has run here")
    has(diagnose(b, 1), "port", "FAIL", "in use by another program")


def test_wrong_token(net):
    root, a, b, nwid = trio(net)
    code, out, err = run(a, "--token", "wrong", "diagnose")
    must(code == 1 and "FAIL  service" in out and "refuses the token" in out, out)
