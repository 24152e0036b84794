"""zerotier-cli and zerotier-idtool against our service: layouts, JSON, exit codes (spec 05 section 4)."""
import json
import os
import re

import net as netns
from basic import trio
from net import Failed, sh, wait_for, wait_ping
from scripts import call, cli, idtool

VERSION = r"\d+\.\d+\.\d+"
PLANES = {"rfc4193": True, "6plane": True, "zt": False}


def alone(net, **kwargs):
    node = net.node(net.host("root", "10.9.0.1/24"), **kwargs)
    net.make_planet([(node, "10.9.0.1/9993")])
    return node.start()


def test_info(net):
    """SV-43."""
    root, a, b, nwid = trio(net)
    a.wait_online()
    for word in ("info", "status"):
        cli(a, word).must(0, "200 info %s %s ONLINE\n" % (a.address, VERSION), "")
    status = json.loads(cli(a, "-j", "info").must(0, r"\{\n \"address\".*\}\n", "").out)
    if status["address"] != a.address or status["config"]["settings"]["homeDir"] != a.home:
        raise Failed(str(status))
    root.stop()
    b.stop()
    a.stop()
    a.start()
    cli(a, "info").must(0, "200 info %s %s OFFLINE\n" % (a.address, VERSION), "")


def test_listnetworks(net):
    """SV-44: rows byte-exact, no address gives "-", an empty name keeps two blanks."""
    root, a, b, nwid = trio(net, name="lab  one")
    header = "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n"
    other = root.create_network(name="", v4AssignMode={"zt": False})
    root.authorize(other, a)
    missing = root.address + "ffffff"
    for nw in (other, missing):
        cli(a, "join", nw).must(0, "200 join OK\n", "")
    a.wait_network(other)
    a.wait_network(missing, "NOT_FOUND")
    one, two, three = (a.network(nw) for nw in (nwid, other, missing))
    rows = {
        nwid: "200 listnetworks %s lab  one %s OK PRIVATE %s %s\n" % (
            nwid, one["mac"], one["portDeviceName"], ",".join(one["assignedAddresses"])),
        other: "200 listnetworks %s  %s OK PRIVATE %s -\n" % (other, two["mac"],
                                                              two["portDeviceName"]),
        missing: "200 listnetworks %s  %s NOT_FOUND PRIVATE %s -\n" % (missing, three["mac"],
                                                                       three["portDeviceName"])}
    wanted = header + "".join(rows[nw] for nw in sorted(rows))
    cli(a, "listnetworks").must(0, re.escape(wanted), "")
    listed = json.loads(cli(a, "-j", "listnetworks").must(0, r"\[\n \{\n.*\n \}\n\]\n", "").out)
    if [x["nwid"] for x in listed] != sorted(rows):
        raise Failed(str(listed))
    cli(b, "leave", nwid).must(0, "200 leave OK\n", "")
    cli(b, "listnetworks").must(0, re.escape(header), "")
    cli(b, "-j", "listnetworks").must(0, r"\[\]\n", "")


def test_peers_direct_and_relayed(net):
    """SV-45."""
    root, a, b, nwid = trio(net)
    sh("nft -f - <<'END'\ntable inet apart {\n chain in {\n type filter hook input priority 0;\n"
       "iif eth0 ip saddr 10.9.0.3 drop\n }\n }\nEND", ns="a")
    wait_ping("a", b.ip(nwid))
    out = cli(a, "peers").must(0, None, "").out
    lines = out.splitlines()
    if lines[:2] != ["200 peers", "<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>"] \
            or len(lines) != 4:
        raise Failed(out)
    shapes = {root.address: ("PLANET", r"DIRECT   \d+ +\d+ +10\.9\.0\.1/9993"),
              b.address: ("LEAF", "RELAY")}
    for line, address in zip(lines[2:], sorted(shapes)):
        _, version, role, latency, link = line.split(None, 4)
        exact = "%s %-6s %-6s %5d %s" % (address, version, role, int(latency), link)
        times = re.match(r"DIRECT   (\d+) +(\d+) +(.*)", link)
        if times:
            exact = exact[:exact.index("DIRECT")] + "DIRECT   %-8s %-8s %s" % times.groups()
        if line != exact or role != shapes[address][0] or not re.fullmatch(VERSION, version) or \
                not re.fullmatch(shapes[address][1], link):
            raise Failed("%r is not %r" % (line, exact))
    rows = {root.address: r"200 listpeers %s 10\.9\.0\.1/9993;\d+;\d+ \d+ %s PLANET\n",
            b.address: r"200 listpeers %s - -?\d+ %s LEAF\n"}
    wanted = "200 listpeers <ztaddr> <path> <latency> <version> <role>\n" + "".join(
        rows[x] % (x, VERSION) for x in sorted(rows))
    cli(a, "listpeers").must(0, wanted, "")
    for word in ("peers", "listpeers"):
        peers = json.loads(cli(a, "-j", word).must(0, r"\[\n \{\n.*\n \}\n\]\n", "").out)
        if [x["address"] for x in peers] != sorted(rows):
            raise Failed(str(peers))
    sh("nft delete table inet apart", ns="a")
    a.wait_direct(b)
    cli(a, "listpeers").must(0, r".*200 listpeers %s 10\.9\.0\.3/\d+;(?:-1|\d+);\d+ \d+ %s LEAF\n.*" % (
        b.address, VERSION), "")


def test_join_and_leave(net):
    """SV-46."""
    root, a, b, nwid = trio(net)
    other = root.create_network(private=False)
    cli(a, "join", other).must(0, "200 join OK\n", "")
    cli(a, "join", other.upper()).must(0, "200 join OK\n", "")
    answer = cli(a, "-j", "join", other).must(0, r"\{.*\}", "").out
    if "\n" in answer or json.loads(answer)["id"] != other:
        raise Failed(answer)
    a.wait_network(other)
    cli(a, "leave", other).must(0, "200 leave OK\n", "")
    cli(a, "leave", other).must(0, "200 leave OK\n", "")
    cli(a, "-j", "leave", nwid).must(0, r'\{"result":true\}', "")
    cli(a, "-j", "leave", nwid).must(0, r"\{\}", "")
    for word in ("join", "leave"):
        for bad in ([], ["12"], ["0" * 17]):
            cli(a, word, *bad).must(2, "invalid network id\n", "")
        if cli(a, word, "zzzzzzzzzzzzzzzz").code == 0:
            raise Failed(word)


def test_set(net):
    root, a, b, nwid = trio(net)
    for key in ("allowManaged", "allowGlobal", "allowDefault", "allowDNS", "clampMSS"):
        for value, wanted in (("0", False), ("1", True), ("false", False), ("true", True),
                              ("yes", False), ("t", True), ("", False)):
            done = cli(a, "set", nwid, "%s=%s" % (key, value)).must(0, r"\{[^\n]*\}", "")
            if json.loads(done.out)[key] is not wanted or a.network(nwid)[key] is not wanted:
                raise Failed("%s=%s" % (key, value))
            cli(a, "get", nwid, key).must(0, "%d\n" % wanted, "")
        cli(a, "set", nwid, key + "=" + str(int(key == "allowManaged"))).must(0)
    for value in ("1400", "0"):
        done = cli(a, "set", nwid, "mtu=" + value).must(0, r"\{[^\n]*\}", "")
        if json.loads(done.out)["mtuOverride"] != int(value):
            raise Failed(done.out)
    for value in ("1279", "10001", "", "x", "1400x"):
        cli(a, "set", nwid, "mtu=" + value).must(2, "", ".+")
    cli(a, "set", nwid, "allowGlobal", "1").must(2, "", ".+")  # the form in old documentation
    for bad in ([nwid], [nwid, "bogus=1"], ["12", "allowDNS=1"], []):
        cli(a, "set", *bad).must(2, "", ".+")
    if not a.read("networks.d/%s.local.conf" % nwid).startswith("allowManaged=1\n"):
        raise Failed(a.read("networks.d/%s.local.conf" % nwid))


def test_get_of_every_property(net):
    """SV-46, SV-47."""
    root, a, b, nwid = trio(net, name="lab one", v6AssignMode=PLANES)
    a.ip(nwid, 6)
    shown = a.network(nwid)
    scalars = {"id", "nwid", "mac", "name", "status", "type", "mtu", "dhcp", "bridge",
               "broadcastEnabled", "portError", "netconfRevision", "portDeviceName",
               "allowManaged", "allowGlobal", "allowDefault", "allowDNS"}
    if not scalars <= set(shown):
        raise Failed("no %s" % (scalars - set(shown)))
    for key, value in shown.items():
        if isinstance(value, (list, dict)):
            cli(a, "get", nwid, key).must(1, "unknown property\n", "")
        else:
            text = str(int(value)) if isinstance(value, (bool, int)) else value
            cli(a, "get", nwid, key).must(0, re.escape(text + "\n"), "")
    bare = [x.split("/")[0] for x in shown["assignedAddresses"]]
    plane = [x for x in bare if x.startswith("fc")]
    if len(bare) != 3 or len(plane) != 1:
        raise Failed(str(bare))
    for key, wanted in (("ip", bare), ("ip4", [x for x in bare if ":" not in x]),
                        ("ip6", [x for x in bare if ":" in x]), ("ip6plane", plane),
                        ("ip6prefix", [x[:24] for x in plane])):
        text = "".join(x + "\n" for x in wanted)
        cli(a, "get", nwid, key).must(0, re.escape(text), "")
        cli(a, "-j", "get", nwid, key).must(0, re.escape(text), "")
    cli(a, "get", nwid.upper(), "name").must(0, "lab one\n", "")
    cli(a, "get", nwid, "nonsense").must(1, "unknown property\n", "")
    cli(a, "get", "1122334455667788", "name").must(1, "", ".*unknown network.*\n")
    for bad in ([], ["12", "name"], [nwid]):
        cli(a, "get", *bad).must(2, "", ".+\n")


def test_moons(net):
    """SV-50, SV-12: orbit, wait, listmoons, deorbit; 10 and 16 digits."""
    root, a, b, nwid = trio(net)
    cli(a, "listmoons").must(0, r"\[\]\n", "")
    work = net.home
    world = json.loads(idtool("initmoon", b.public_identity(), cwd=work).must(0).out)
    world["roots"][0]["stableEndpoints"] = ["10.9.0.3/9993"]
    with open(os.path.join(work, "moon.json"), "w") as out:
        json.dump(world, out)
    name = "000000%s.moon" % b.address
    idtool("genmoon", "moon.json", cwd=work).must(
        0, r"wrote %s \(signed world with timestamp \d+\)\n" % name, "")
    b.stop()
    os.makedirs(b.path("moons.d"), exist_ok=True)
    with open(os.path.join(work, name), "rb") as moon:
        b.write("moons.d/" + name, moon.read())
    b.start()
    cli(a, "orbit", b.address, b.address).must(0, "200 orbit OK\n", "")
    wait_for("the moon", lambda: a.get("/moon"), 20)
    for flags in ([], ["-j"]):
        moons = json.loads(cli(a, *flags, "listmoons").must(0, r"\[\n \{\n.*\n\]\n", "").out)
        if [(m["id"], m["waiting"]) for m in moons] != [("000000" + b.address, False)]:
            raise Failed(str(moons))
    wait_for("MOON as role", lambda: " MOON " in cli(a, "peers").out, 10)
    if not os.path.exists(a.path("moons.d", name)):
        raise Failed("not stored")
    cli(a, "deorbit", "000000" + b.address).must(0, "200 deorbit OK\n", "")
    cli(a, "listmoons").must(0, r"\[\]\n", "")
    if os.path.exists(a.path("moons.d", name)):
        raise Failed("still stored")
    cli(a, "-j", "deorbit", b.address).must(0, r'\{"result":true\}', "")
    cli(a, "-j", "orbit", "000000" + b.address, b.address).must(0, "200 orbit OK\n", "")
    for bad in ([], ["zz", "zz"], [b.address], [b.address, "0"], ["0", b.address]):
        cli(a, "orbit", *bad).must(2, "", ".+\n")
    for bad in ([], ["zz"]):
        cli(a, "deorbit", *bad).must(2, "", ".+\n")


def test_bond_commands_without_bonds(net):
    root = alone(net)
    rows = "    <peer>                        <bondtype>     <links>\n" \
           "      NONE\t\t\t\tNONE\t    NONE       NONE\n"
    for words in (["bond", "list"], ["listbonds"]):
        cli(root, *words).must(0, re.escape(rows), "")
        cli(root, "-j", *words).must(0, r"\[\]\n", "")
    cli(root, "bond", "0123456789", "show").must(1, r"400 bond \{\}\n", "")
    cli(root, "bond", "0123456789", "rotate").must(1, r"400 bond \{\}\n", "")
    for flags in ([], ["-j"], ["-j", "-p9993"]):
        cli(root, *flags, "bond", "setmtu", "1400", "eth0", "10.9.0.9").must(1, "400 .*\n", "")
    for bad in (["bond"], ["bond", "x"], ["bond", "setmtu", "1400"]):
        cli(root, *bad).must(2, ".+\n", "")


def test_dump(net):
    """SV-52."""
    root, a, b, nwid = trio(net)
    work = os.path.join(net.home, "dump")
    os.makedirs(work)
    cli(a, "dump", cwd=work).must(0, ".*%s/zerotier_dump.txt\n" % re.escape(work), "")
    with open(os.path.join(work, "zerotier_dump.txt")) as handle:
        text = handle.read()
    for word in ("status", "networks", "peers", "local.conf", "interfaces", nwid, root.address,
                 "10.9.0.2", a.device(nwid), '"portMappingEnabled": false'):
        if word not in text:
            raise Failed("no %s in the dump" % word)
    secret = a.read("identity.secret").strip().split(":")[3]
    if secret in text or a.token() in text:
        raise Failed("a secret is in the dump")
    cli(a, "dump", cwd="/proc").must(1, "", ".+zerotier_dump.txt.+\n")


def test_raw_paths(net):
    root = alone(net)
    health = cli(root, "/health").must(0, r"\{[^\n]*\}", "").out
    if set(json.loads(health)) != {"online", "clock", "version", "versionMajor", "versionMinor",
                                   "versionRev", "versionBuild"}:
        raise Failed(health)
    cli(root, "/controller/network").must(0, r"\[\]", "")
    cli(root, "/nope").must(1, "404 /nope \n", "")
    cli(root, "/network/1122334455667788").must(1, r"404 /network/1122334455667788 \{\}\n", "")


def test_switches(net):
    """SV-40, SV-41."""
    root = alone(net)
    line = "200 info %s %s ONLINE\n" % (root.address, VERSION)
    for args in (["-q", "info"], ["info", "-p9993"], ["-p", "9993", "info"], ["-H127.0.0.1", "info"],
                 ["-T" + root.token(), "info"], ["-H::1", "info"]):
        cli(root, *args).must(0, line, "")
    for flag in ("-h", "-?", "-x", "--help"):
        cli(root, flag).must(0, ".*Usage: .*listnetworks.*", "")
    cli(root, "-v").must(0, VERSION + "\n", "")
    for flag in ("-jj", "-p0", "-p70000", "-px"):
        cli(root, flag, "info").must(1, ".*Usage: .*", "")
    for args in ([], ["nonsense"], ["nonsense", "x"]):
        cli(root, *args).must(2, "", ".*Usage: .*")
    for name, args in (("ZEROTIER-CLI", []), ("/x/zerotier-cli-1", []), ("zerotier-one", ["-q"])):
        call(netns.PANLAN, name, args + ["-D" + root.home, "info"], root.ns).must(0, line, "")
    call(netns.PANLAN, "zerotier-one", ["-v"]).must(0, VERSION + "\n", "")
    for flag in ("-h", "-?", "-x"):
        call(netns.PANLAN, "zerotier-one", [flag]).must(0, ".*Usage: .*", "")
    call(netns.PANLAN, "zerotier-one", ["/tmp/a", "/tmp/b"]).must(0, ".*Usage: .*", "")
    call(netns.PANLAN, "zerotier-one", ["-p70000"]).must(1, ".*Usage: .*", "")


def test_where_port_and_token_come_from(net):
    """SV-6, SV-42."""
    root = alone(net)
    line = "200 info %s %s ONLINE\n" % (root.address, VERSION)
    env = dict(os.environ, ZEROTIER_HOME=root.home, HOME="/nonexistent")
    cli(root, "info", home=False, env=env).must(0, line, "")
    token = root.token()
    root.write("authtoken.secret", "\n " + token + " \r\n")
    cli(root, "info").must(0, line, "")
    root.stop()
    root.start()  # the service trims too
    cli(root, "info").must(0, line, "")
    os.unlink(root.path("authtoken.secret"))
    cli(root, "info", env=env).must(2, "", r".*authtoken\.secret.*\n")
    home = os.path.join(net.home, "user")
    os.makedirs(home)
    with open(os.path.join(home, ".zeroTierOneAuthToken"), "w") as out:
        out.write(token + "\n")
    cli(root, "info", env=dict(env, HOME=home)).must(0, line, "")
    cli(root, "-T" + token, "info", env=env).must(0, line, "")
    os.unlink(root.path("zerotier-one.port"))
    cli(root, "-T" + token, "info", env=env).must(2, "", r".*zerotier-one\.port.*\n")
    cli(root, "-T" + token, "-p9993", "info", env=env).must(0, line, "")


def test_service_that_says_no_or_nothing(net):
    """SV-49, spec 05 section 4.3."""
    root = alone(net)
    nwid = "1122334455667788"
    cli(root, "-Twrong", "info").must(1, r"401 info \{\}\n", "")
    cli(root, "-Twrong", "join", nwid).must(1, r"401 join \{\}\n", "")
    cli(root, "-Twrong", "/status").must(1, r"401 /status \{\}\n", "")
    if root.get("/network") != []:
        raise Failed("joined without a token")
    root.stop()
    for words in (["info"], ["listnetworks"], ["peers"], ["listpeers"], ["listmoons"],
                  ["get", nwid, "name"], ["-j", "info"]):
        cli(root, *words).must(1, r"[^\n]*connection failed\n\n[^\n]*9993[^\n]*127\.0\.0\.1.*\n", "")
    for words in (["join", nwid], ["leave", nwid], ["set", nwid, "allowDNS=1"],
                  ["orbit", "0123456789", "0123456789"], ["deorbit", "0123456789"]):
        cli(root, *words).must(1, "0 %s connection failed\n" % words[0], "")


def test_idtool(net):
    """SV-53."""
    work = os.path.join(net.home, "id")
    os.makedirs(work)
    secret = idtool("generate").must(0, r"[0-9a-f]{10}:0:[0-9a-f]{128}:[0-9a-f]{128}", "").out
    idtool("generate", "s", "p", cwd=work).must(0, "s written\np written\n", "")
    if [os.stat(os.path.join(work, x)).st_mode & 0o777 for x in "sp"] != [0o600, 0o644]:
        raise Failed("modes")
    idtool("generate", "/nonexistent/s").must(1, "", ".+\n")
    vanity = idtool("generate", "v", "w", "a", cwd=work).must(0, "v written\nw written\n").err
    with open(os.path.join(work, "v")) as handle:
        if not handle.read().startswith("a"):
            raise Failed("vanity: " + vanity)
    public = secret.rsplit(":", 1)[0]
    idtool("getpublic", secret).must(0, public, "")
    idtool("getpublic", "s", cwd=work).must(0, r"[0-9a-f]{10}:0:[0-9a-f]{128}", "")
    for what in (secret, public):
        idtool("validate", what).must(0, what + " is a valid identity\n", "")
    for name in "sp":
        idtool("validate", name, cwd=work).must(0, name + " is a valid identity\n", "")
    wrong = ("0" if public[0] != "0" else "1") + public[1:]
    idtool("validate", wrong).must(1, "", ".+\n")
    idtool("validate", "missing", cwd=work).must(1, "", ".+\n")
    with open(os.path.join(work, "f"), "wb") as out:
        out.write(bytes(range(256)))
    sig = idtool("sign", secret, "f", cwd=work).must(0, "[0-9a-f]{192}", "").out
    idtool("sign", public, "f", cwd=work).must(1, "", ".+\n")
    idtool("sign", secret, "missing", cwd=work).must(1, "", ".+\n")
    idtool("verify", public, "f", sig, cwd=work).must(0, "f signature valid\n", "")
    with open(os.path.join(work, "sig"), "w") as out:
        out.write(sig + "\n")
    idtool("verify", secret, "f", "sig", cwd=work).must(0, "f signature valid\n", "")
    bad = ("0" if sig[0] != "0" else "1") + sig[1:]
    for other in (bad, sig[:-2], "missing", ""):
        idtool("verify", public, "f", other, cwd=work).must(1, "", ".+\n")
    idtool("verify", "p", "f", sig, cwd=work).must(1, "", ".+\n")
    for args in ([], ["nonsense"], ["validate"], ["getpublic"], ["sign", "s"], ["verify", "s", "f"]):
        idtool(*args).must(1, ".*initmoon.*", "")
    for args in (["initmoon"], ["genmoon"]):
        idtool(*args).must(0, ".*initmoon.*", "")
    call(netns.PANLAN, "zerotier-one", ["-i", "getpublic", secret]).must(0, public, "")
    call(netns.PANLAN, "panlan", ["identity", "getpublic", secret]).must(0, public, "")


def test_rules(net):
    """Exit statuses for a CI, the tour of doc/rules.md, and a script given to a network."""
    with open(os.path.join(os.path.dirname(__file__), "../../doc/rules.md")) as handle:
        tour = re.search(r"```\n(.*?)```", handle.read(), re.S).group(1)
    node = alone(net)
    wrong = tour + "# expect drop arp\n"
    for name, text in (("tour", tour), ("wrong", wrong), ("bad", "accept dprot 1;"),
                       ("own", "# none\nexpect accept arp\n")):
        with open(os.path.join(net.home, name), "w") as out:
            out.write(text)

    def rules(*args):
        return call(netns.PANLAN, "panlan", ["rules"] + list(args), cwd=net.home)
    rules("check", "tour").must(0, "tour: base rules [^\n]*\n", "")
    rules("test", "tour").must(0, "tour: 3 assertions, 0 failed\n", "")
    rules("test", "tour", "own").must(0, "own: 1 assertions, 0 failed\n", "")
    rules("test", "wrong").must(1, r"wrong:\d+:1: got accept, expected drop arp\n    sender: .*"
                                   "wrong: 4 assertions, 1 failed\n", "")
    rules("test", "own").must(1, "", ".*expect.*")
    rules("check", "bad").must(1, "", "bad:1:8: .*did you mean dport.*")
    rules("explain", "tour", "tcp", "port", "80").must(0, "drop\n.*", "")
    rules("explain", "tour", "tpc").must(2, "", ".*did you mean tcp.*")
    rules("explain", "tour").must(2, "", "Usage: .*")
    compiled = json.loads(rules("compile", "--map", "tour").must(0, None, "").out)
    if len(compiled["sourceMap"]["rules"]) != len(compiled["rules"]):
        raise Failed(str(compiled))
    posted = node.post("/controller/network/" + node.address + "______", {"rulesSource": tour})
    for key in ("rules", "tags", "capabilitiesByName", "tagsByName"):
        if posted[key] != compiled[key]:
            raise Failed("%s: %s" % (key, posted[key]))


def test_idtool_worlds(net):
    """SV-54."""
    work = os.path.join(net.home, "world")
    os.makedirs(work)
    secret = idtool("generate").must(0).out
    public = secret.rsplit(":", 1)[0]
    template = json.loads(idtool("initmoon", secret).must(0, r"\{\n \".*\}\n", "").out)
    if set(template) != {"id", "objtype", "worldType", "roots", "signingKey", "signingKey_SECRET",
                         "updatesMustBeSignedBy"} or \
            template["roots"] != [{"identity": public, "stableEndpoints": []}] or \
            template["id"] != public[:10] or template["worldType"] != "moon" or \
            template["signingKey"] != template["updatesMustBeSignedBy"]:
        raise Failed(str(template))
    template["roots"][0]["stableEndpoints"] = ["192.0.2.1/9993"]
    path = os.path.join(work, "moon.json")

    def generate(change):
        copy = json.loads(json.dumps(template))
        change(copy)
        with open(path, "w") as out:
            json.dump(copy, out)
        return idtool("genmoon", "moon.json", cwd=work)
    generate(lambda w: None).must(0)
    if os.path.getsize(os.path.join(work, "000000%s.moon" % public[:10])) != 259:
        raise Failed("size of a moon with one root and one IPv4 endpoint")
    generate(lambda w: w.update(worldType="planet", id="00000000feedc0de")).must(
        0, r"wrote 00000000feedc0de\.moon .*\n", "")
    for change in (lambda w: w.update(worldType="sun"), lambda w: w.update(id="xyz"),
                   lambda w: w.update(roots=[]), lambda w: w.pop("signingKey_SECRET"),
                   lambda w: w["roots"][0].update(identity="nobody"),
                   lambda w: w["roots"][0].update(stableEndpoints=["192.0.2.1"]),
                   lambda w: w.update(roots=w["roots"] * 5)):
        generate(change).must(1, "", r"moon\.json.*\n")
    with open(path, "w") as out:
        out.write("{ no JSON")
    idtool("genmoon", "moon.json", cwd=work).must(1, "", r"moon\.json line 1.*\n")
    idtool("genmoon", "missing.json", cwd=work).must(1, "", ".+\n")
    idtool("initmoon", "missing").must(1, "", ".+\n")
