"""Both zerotier-cli against both services, both idtools on each other's files.

Each command runs four times. On the same service both programs must say the same: byte for byte but
for times, or, where only the form is promised (spec 05 section 4.3), with the same exit status on the
same outputs. Exit codes that ours repairs on purpose (spec 05 section 13 item 12) are listed.
"""
import json
import os
import re

from interop import KIND
from interop_api import must_match
from net import Failed, Skipped, wait_for, wait_ping, ZEROTIER_ONE
from scripts import cli, idtool

PLANES = {"rfc4193": True, "6plane": True, "zt": False}
ABSENT = "1122334455667788"


def two_services(net):
    """A root of ours with controller, one service of ours, one of the reference, on one network."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    nodes = []
    for index, (name, kind) in enumerate((("root", "p"), ("ours", "p"), ("theirs", "r"))):
        nodes.append(net.node(net.host(name, "10.9.%d.1/16" % index), reference=KIND[kind]))
    net.make_planet([(nodes[0], "10.9.0.1/9993")])
    for node in nodes:
        node.start()
    nwid = nodes[0].create_network(name="lab one", private=False, v6AssignMode=PLANES)
    for node in nodes[1:]:
        node.join(nwid)
    for node in nodes[1:]:
        node.wait_network(nwid)
        node.ip(nwid, 6)
    return nodes + [nwid]


def plain(text):
    """Without what changes from one moment to the next."""
    text = re.sub(r"(/\d+);\d+;\d+ (-?\d+) ", r"\1;T;T L ", text)  # listpeers
    text = re.sub(r"(?m)^(\w{10} \S+ +\S+) +-?\d+ (DIRECT|RELAY)", r"\1 L \2", text)  # peers
    text = re.sub(r"(DIRECT  ) -?\d+ +-?\d+ +", r"\1 T T ", text)
    return re.sub(r'("(?:clock|lastSend|lastReceive|latency|uptime|received|sent|receivedRelayed|sentRelayed)": ?)-?\d+',
                  r"\1T", text)


def same(node, *args):
    """The same from both programs, byte for byte; what it was. Two tries: peers come and go."""
    for last in (False, True):
        theirs = cli(node, *args, binary=ZEROTIER_ONE)
        ours = cli(node, *args)
        if (ours.code, plain(ours.out), ours.err) == (theirs.code, plain(theirs.out), theirs.err):
            return ours
        if last:
            raise Failed("%s\nours: %s\ntheirs: %s" % (node.ns, ours, theirs))
    return None


def alike(node, *args, repaired=None):
    """The same exit status (or ours repaired), words on the same outputs."""
    theirs = cli(node, *args, binary=ZEROTIER_ONE)
    ours = cli(node, *args)
    wanted = theirs.code if repaired is None else repaired
    outputs = (bool(ours.out), bool(ours.err)) == (bool(theirs.out), bool(theirs.err))
    if ours.code != wanted or (repaired is not None and theirs.code != 0) or \
            (not outputs and repaired is None):
        raise Failed("%s\nours: %s\ntheirs: %s" % (node.ns, ours, theirs))


def columns(text):
    """The shape of an output: what kind of word stands where."""
    kinds = [(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", "MAC"), (r"[0-9a-f]{16}", "NETWORK"),
             (r"[0-9a-f]{10}", "NODE"), (r"zt\w{8}", "DEVICE"), (r"\d+\.\d+\.\d+", "VERSION"),
             (r"[0-9a-f.:]+/\d+;\d+;\d+", "PATH"), (r"[0-9.]+/\d+", "ENDPOINT"), (r"-?\d+", "NUMBER"),
             (r"[0-9a-f.:/,]{9,}", "ADDRESSES")]

    def kind(word):
        for pattern, name in kinds:
            if re.fullmatch(pattern, word):
                return name
        return word
    return [[kind(word) for word in line.split(" ") if word] for line in text.splitlines()]


def keys(value):
    """Names in a JSON value, with their types; lists by what is in them."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keys(inner) for inner in value[:1]]
    return type(value).__name__


def test_interop_cli_lists(net):
    root, ours, theirs, nwid = two_services(net)
    wait_ping("ours", theirs.ip(nwid), 30)
    ours.wait_direct(theirs)
    theirs.wait_direct(ours)
    for words in (["info"], ["status"], ["listnetworks"], ["peers"], ["listpeers"], ["listmoons"]):
        shown = [same(node, *words).must(0, None, "").out for node in (ours, theirs)]
        if sorted(columns(shown[0])) != sorted(columns(shown[1])):
            raise Failed("%s: ours %r, theirs %r" % (words, *shown))
    for words in (["info"], ["listnetworks"], ["listmoons"], ["peers"], ["listpeers"]):
        shown = [json.loads(same(node, "-j", *words).must(0, None, "").out)
                 for node in (ours, theirs)]
        if isinstance(shown[0], list) and len(shown[0]) != len(shown[1]):
            raise Failed("%s: ours %r, theirs %r" % (words, *shown))
        must_match(words[0], *shown)
    for node in (ours, theirs):
        same(node, "-q", "info")
        same(node, "listnetworks", "more", "words")


def test_interop_cli_get_and_set(net):
    root, ours, theirs, nwid = two_services(net)
    for node in (ours, theirs):
        shown = node.network(nwid)
        must_match("of a network", ours.network(nwid), shown)
        for key, value in shown.items():
            if not isinstance(value, (dict, list)):
                same(node, "get", nwid, key).must(0, ".*\n", "")
            else:
                alike(node, "get", nwid, key, repaired=1)
        for key in ("ip", "ip4", "ip6", "ip6plane", "ip6prefix"):
            same(node, "get", nwid, key).must(0, ".+\n", "")
        same(node, "-j", "get", nwid, "name").must(0, "lab one\n", "")
        for key in ("allowManaged", "allowGlobal", "allowDefault", "allowDNS"):
            before = shown[key]
            for value in ("0", "1", "true", "false", "x", "", str(int(before))):
                done = same(node, "set", nwid, "%s=%s" % (key, value)).must(0, r"\{[^\n]*\}", "")
                if json.loads(done.out)[key] != (value[:1] in ("1", "t")):
                    raise Failed(str(done))
            same(node, "-j", "set", nwid, "%s=%d" % (key, before))
        alike(node, "get", nwid, "nonsense", repaired=1)
        alike(node, "get", ABSENT, "name", repaired=1)
        alike(node, "set", nwid, "bogus=1", repaired=2)
        for args in (["get"], ["get", nwid], ["get", "12", "name"], ["set"], ["set", nwid],
                     ["set", "12", "allowDNS=1"], ["set", nwid, "allowDNS", "1"]):
            alike(node, *args)


def test_interop_cli_join_leave_orbit(net):
    root, ours, theirs, nwid = two_services(net)
    other = root.create_network(private=False)
    for node in (ours, theirs):
        same(node, "join", other).must(0, "200 join OK\n", "")
        node.wait_network(other)
        answer = same(node, "-j", "join", other).must(0, r"\{[^\n]*\}", "").out
        if keys(json.loads(answer)) != keys(node.network(other)):
            raise Failed(answer)
        cli(node, "leave", other).must(0, "200 leave OK\n", "")
        same(node, "leave", other).must(0, "200 leave OK\n", "")
        same(node, "-j", "leave", ABSENT).must(0, r"\{\}", "")
        for word in ("join", "leave"):
            for bad in ([], ["12"], ["0" * 17]):
                same(node, word, *bad).must(2, "invalid network id\n", "")
        same(node, "orbit", "0123456789", "1234567890").must(0, "200 orbit OK\n", "")
        same(node, "-j", "orbit", "0123456789", "1234567890").must(0, "200 orbit OK\n", "")
        same(node, "listmoons").must(0, r"\[\]\n", "")  # none that is still being fetched
        same(node, "deorbit", "0123456789").must(0, "200 deorbit OK\n", "")
        same(node, "-j", "deorbit", "0123456789").must(0, r'\{"result":true\}', "")
        for bad in ([], ["zz", "zz"], ["0123456789"], ["0123456789", "0"]):
            alike(node, "orbit", *bad, repaired=2)


def test_interop_cli_failures(net):
    root, ours, theirs, nwid = two_services(net)
    for node in (ours, theirs):
        same(node, "-Twrong", "info").must(1, r"401 info \{\}\n", "")
        same(node, "-Twrong", "join", ABSENT).must(1, r"401 join \{\}\n", "")
        same(node, "/nope").must(1, "404 /nope \n", "")
        same(node, "/health").must(0, r"\{.*\}", "")
        same(node, "/network/" + nwid).must(0, r"\{.*\}", "")
        same(node, "/network/" + ABSENT).must(1, r"404 /network/%s \{\}\n" % ABSENT, "")
        same(node, "-p9", "join", ABSENT).must(1, "0 join connection failed\n", "")
        same(node, "-p9", "leave", ABSENT).must(1, "0 leave connection failed\n", "")
        same(node, "-p9", "/status").must(1, "0 /status connection failed\n", "")
        alike(node, "-p9", "info")
        alike(node, "-p9", "listnetworks")
        for words in (["bond", "list"], ["listbonds"], ["-j", "bond", "list"],
                      ["bond", root.address, "show"], ["bond", root.address, "rotate"]):
            same(node, *words)
        for words in (["bond"], ["bond", "x"], ["-h"], ["-?"], ["-x"], ["-v"], ["-jj", "info"],
                      ["-p0", "info"], ["-p70000", "info"]):
            alike(node, *words)
        alike(node, "nonsense", repaired=2)
        alike(node, repaired=2)
        home = node.home
        node.home = "/nonexistent"
        same(node, "info").must(2, "", ".+\n")
        node.home = home


def test_interop_cli_dump(net):
    root, ours, theirs, nwid = two_services(net)
    for node in (ours, theirs):
        texts = []
        for binary in (ZEROTIER_ONE, None):
            work = os.path.join(net.home, "dump-%s-%d" % (node.ns, len(texts)))
            os.makedirs(work)
            cli(node, "dump", binary=binary, cwd=work).must(
                0, ".*%s/zerotier_dump.txt\n" % re.escape(work), "")
            with open(os.path.join(work, "zerotier_dump.txt")) as handle:
                texts.append(handle.read())
        for word in (nwid, root.address, node.address, "10.9.", "eth0"):
            if any(word not in text for text in texts):
                raise Failed("no %s in a dump of %s" % (word, node.ns))


# ---- identities and worlds ----

def both(net):
    """Work folder and the programs: {"ours": None, "theirs": path}."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    work = os.path.join(net.home, "tool")
    os.makedirs(work)
    with open(os.path.join(work, "f"), "wb") as out:
        out.write(bytes(range(256)) * 9)
    return work, (("ours", None), ("theirs", ZEROTIER_ONE))


def test_interop_idtool_identities_and_signatures(net):
    work, programs = both(net)
    for maker, make in programs:
        secret, public = maker + ".secret", maker + ".public"
        idtool("generate", secret, public, binary=make, cwd=work).must(
            0, "%s written\n%s written\n" % (secret, public), "")
        for _, tool in programs:
            for name in (secret, public):
                idtool("validate", name, binary=tool, cwd=work).must(
                    0, name + " is a valid identity\n", "")
            with open(os.path.join(work, public)) as handle:
                idtool("getpublic", secret, binary=tool, cwd=work).must(0, handle.read(), "")
            with open(os.path.join(work, secret)) as handle:
                literal = handle.read()
            idtool("getpublic", literal, binary=tool, cwd=work).must(0, literal.rsplit(":", 1)[0], "")
    for maker, make in programs:
        secret = maker + ".secret"
        sigs = [idtool("sign", secret, "f", binary=tool, cwd=work).must(0, "[0-9a-f]{192}", "").out
                for _, tool in programs]
        if sigs[0] != sigs[1]:
            raise Failed("signatures of the same file differ")
        wrong = sigs[0][:-2] + ("00" if sigs[0][-2:] != "00" else "01")
        wrong = ("0" if wrong[0] != "0" else "1") + wrong[1:]
        for _, tool in programs:
            idtool("verify", maker + ".public", "f", sigs[0], binary=tool, cwd=work).must(
                0, "f signature valid\n", "")
            idtool("verify", maker + ".public", "f", wrong, binary=tool, cwd=work).must(1, "", ".+\n")
            other = "theirs" if maker == "ours" else "ours"
            idtool("verify", other + ".public", "f", sigs[0], binary=tool, cwd=work).must(
                1, "", ".+\n")


def test_interop_idtool_failures(net):
    work, programs = both(net)
    secret = idtool("generate").must(0).out
    bad = ("0" if secret[0] != "0" else "1") + secret[1:]
    for args in (["validate", bad], ["validate", "missing"], ["getpublic", "missing"],
                 ["sign", "missing", "f"], ["sign", secret.rsplit(":", 1)[0], "f"],
                 ["sign", secret, "missing"], ["verify", secret, "missing", "00"],
                 ["verify", secret, "f", "00"], [], ["nonsense"], ["validate"], ["getpublic"],
                 ["sign", "x"], ["verify", "x", "y"], ["initmoon"], ["genmoon"],
                 ["initmoon", "missing"], ["genmoon", "missing"]):
        ours, theirs = (idtool(*args, binary=tool, cwd=work) for _, tool in programs)
        if (ours.code, bool(ours.out), bool(ours.err)) != (theirs.code, bool(theirs.out),
                                                           bool(theirs.err)):
            raise Failed("ours: %s\ntheirs: %s" % (ours, theirs))


def content(world):
    """What a serialized world says (spec 02 section 9.1), without time stamp and signature. Endpoints
    sorted, since the reference orders them by their bytes in memory."""
    said, at = [world[:9], world[17:81], world[177]], 178
    for _ in range(world[177]):
        identity, count = world[at:at + 71], world[at + 71]
        at += 72
        endpoints = []
        for _ in range(count):
            size = {4: 7, 6: 19}[world[at]]
            endpoints.append(world[at:at + size])
            at += size
        said.append((identity, sorted(endpoints)))
    return said + [world[at:]]


def test_interop_idtool_worlds(net):
    """Each tool signs the other's template; the files say the same."""
    work, programs = both(net)
    roots = [idtool("generate").must(0).out.rsplit(":", 1)[0] for _ in range(3)]
    for maker, make in programs:
        template = json.loads(idtool("initmoon", roots[0], binary=make).must(0, None, "").out)
        other = json.loads(idtool("initmoon", roots[0]).must(0).out)
        if keys(template) != keys(other) or template["id"] != other["id"]:
            raise Failed("%r is not %r" % (template, other))
        template["roots"] = [
            {"identity": root, "stableEndpoints": ["192.0.2.%d/9993" % (9 - i), "2001:db8::%d/443" % i,
                                                   "192.0.2.1/%d" % (9000 + i)]}
            for i, root in enumerate(roots)]
        for kind, name in (("moon", "000000%s.moon" % template["id"][-10:]),
                           ("planet", "00000000feedc0de.moon")):
            world = dict(template, worldType=kind)
            if kind == "planet":
                world["id"] = name[:16]
            files = []
            for signer, tool in programs:
                place = os.path.join(work, "-".join((maker, signer, kind)))
                os.makedirs(place)
                with open(os.path.join(place, "w.json"), "w") as out:
                    json.dump(world, out)
                idtool("genmoon", "w.json", binary=tool, cwd=place).must(
                    0, r"wrote %s \(signed world with timestamp \d+\)\n" % name, "")
                with open(os.path.join(place, name), "rb") as handle:
                    files.append(handle.read())
            if content(files[0]) != content(files[1]):
                raise Failed("%s of %s: %s\n%s" % (kind, maker, files[0].hex(), files[1].hex()))


def test_interop_idtool_worlds_are_accepted(net):
    """A planet signed by one tool carries nodes of both; a moon signed by it is taken by both."""
    work, programs = both(net)
    for number, (maker, tool) in enumerate(programs):
        nodes = [net.node(net.host("%s%d" % (name, number), "10.9.%d.1/16" % (10 * number + i)),
                          reference=name == "theirs")
                 for i, name in enumerate(("root", "ours", "theirs"))]
        world = json.loads(idtool("initmoon", nodes[0].public_identity(), binary=tool).must(0).out)
        world["roots"][0]["stableEndpoints"] = ["10.9.%d.1/9993" % (10 * number)]
        place = os.path.join(work, maker)
        os.makedirs(place)
        for kind, ident in (("moon", world["id"]), ("planet", "00000000feedc0d%d" % number)):
            with open(os.path.join(place, "w.json"), "w") as out:
                json.dump(dict(world, worldType=kind, id=ident), out)
            idtool("genmoon", "w.json", binary=tool, cwd=place).must(0)
        net.planet = os.path.join(place, "00000000feedc0d%d.moon" % number)
        name = "000000%s.moon" % nodes[0].address
        for node in nodes:
            with open(os.path.join(place, name), "rb") as moon:
                node.write("moons.d/" + name, moon.read())
            node.start(wait=False)
        for node in nodes:
            node.wait_api()
            node.wait_online()
            wait_for("the moon at " + node.ns, lambda node=node: [
                m["id"] for m in node.get("/moon")] == [name[:16]], 10)
            if node.get("/status")["planetWorldId"] != int("feedc0d%d" % number, 16):
                raise Failed("another planet at " + node.ns)
        for node in nodes:
            node.kill()
