"""Moving a controller of the reference to ours and back, with files made here in every odd shape: what comes over, what
is reported, what is refused. With a real reference: interop_migrate.py. CTL-38 to CTL-45."""
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile

import net as netns
from net import Failed, sh, wait_for
from postgres import Postgres

BIG = 2 ** 64 - 1
EARTH = "0000000008eac90a"  # ID of the public planet


def panlan(home, *args, code=0, ns=None):
    """Run panlan on a home; what it printed."""
    argv = (["ip", "netns", "exec", ns] if ns else []) + [netns.PANLAN, "--home", home] + list(args)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    if done.returncode != code:
        raise Failed("%s: exit %d: %s" % (" ".join(args), done.returncode, done.stdout))
    return done.stdout


def report(home, *args):
    return json.loads(panlan(home, "--json", "controller", "import", *args))


def put(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(value if isinstance(value, bytes) else json.dumps(value).encode())


def documents(directory):
    """Everything below controller.d by path, parsed."""
    found = {}
    for at, _, names in os.walk(os.path.join(directory, "controller.d", "network")):
        for name in names:
            with open(os.path.join(at, name)) as handle:
                found[os.path.relpath(os.path.join(at, name), directory)] = json.load(handle)
    return found


def fingerprint(directory):
    """Names, contents, modes and times of everything in a directory."""
    seen = {}
    for at, below, names in os.walk(directory):
        for name in below + names:
            path = os.path.join(at, name)
            stat = os.lstat(path)
            data = b""
            if os.path.isfile(path):
                with open(path, "rb") as handle:
                    data = hashlib.sha256(handle.read()).digest()
            seen[path] = (stat.st_mode, stat.st_mtime_ns, data)
    return seen


class Source:
    """A working directory with good and odd files. good: documents that have to come over, by path; left_out: files
    that must be named."""

    def __init__(self, directory):
        self.dir = directory
        self.good = {}
        self.left_out = set()
        os.makedirs(directory)
        self.secret = sh(netns.PANLAN + " identity generate").strip()
        self.address = self.secret[:10]
        self.nwid = self.address + "00000a"
        self.file("identity.secret", self.secret.encode())
        self.file("authtoken.secret", b"tokenofthereference123\n")
        self.file("local.conf", {"settings": {"portMappingEnabled": False}})
        self.networks()
        self.members()
        self.strange()

    def file(self, name, value):
        put(os.path.join(self.dir, name), value)

    def network(self, nwid, document, name=None):
        path = "controller.d/network/%s.json" % (name or nwid)
        self.file(path, document)
        self.good[path.lower()] = document

    def member(self, nwid, address, **document):
        path = "controller.d/network/%s/member/%s.json" % (nwid, address)
        document = dict({"id": address, "address": address, "nwid": nwid, "objtype": "member"}, **document)
        self.file(path, document)
        self.good[path] = document

    def networks(self):
        base = {"objtype": "network", "creationTime": 1500000000000, "revision": 77, "private": True, "name": "good",
                "rules": [{"type": "ACTION_ACCEPT", "not": False, "or": False}], "mtu": 2800, "enableBroadcast": True,
                "v4AssignMode": {"zt": True}, "routes": [{"target": "10.9.8.0/24", "via": None}],
                "ipAssignmentPools": [{"ipRangeStart": "10.9.8.1", "ipRangeEnd": "10.9.8.254"}],
                "dns": [], "authTokens": [None], "tags": [], "capabilities": [], "multicastLimit": 32}
        odd = dict(base, name="odd " + "x" * 200, dns=None, authTokens=None, multicastLimit=BIG, v6AssignMode={"zt": True},
                   tags=[{"id": 2 ** 32 + 5, "default": BIG}], capabilities=[{"id": BIG, "default": True, "rules": []}],
                   routes=[{"target": "10.1.2.3/16", "via": None}, {"target": "0.0.0.0/0", "via": None}],
                   ipAssignmentPools=[{"ipRangeStart": "10.1.9.9", "ipRangeEnd": "10.1.1.1"}],
                   clock=1, lastModified=2, somethingUnknown={"deep": [1.5, None, BIG, "x"]})
        self.network(self.nwid, dict(base, id=self.nwid, nwid=self.nwid))
        other = self.address + "00000b"
        self.network(other, dict(odd, id=other, nwid=other))
        upper = (self.address + "00000c").upper()
        self.network(upper, dict(base, id=upper, nwid=upper), upper)
        bare = self.address + "00000d"
        self.network(bare, {"id": bare, "nwid": bare})

    def members(self):
        net = self.nwid
        self.member(net, "aaaaaaaa01", authorized=True, ipAssignments=["10.9.8.1"], revision=9, name="one",
                    creationTime=1500000000001, lastAuthorizedTime=1500000000002, tags=[[1, 2]], capabilities=[1],
                    vMajor=1, vMinor=8, vRev=10, vProto=12, identity="aaaaaaaa01:0:" + "ab" * 64,
                    lastAuthorizedCredentialType="api", lastAuthorizedCredential=None, unknown=[BIG])
        self.member(net, "aaaaaaaa02", authorized=True, ipAssignments=["10.9.8.1", "fd00::2"], activeBridge=True)
        self.member(net, "aaaaaaaa03", authorized=False, ipAssignments=["10.9.8.3/24", "nonsense"], tags=[[1, BIG]],
                    recentLog=[{"ts": 1}], physicalAddr="1.2.3.4/5")
        self.member(self.address + "00000b", "aaaaaaaa01", authorized=True, ipAssignments=["10.9.8.1"])
        upper = "controller.d/network/%s/member/AAAAAAAA05.json" % net
        self.file(upper, {"id": "AAAAAAAA05", "authorized": True})
        self.good[upper.replace("AAAAAAAA05", "aaaaaaaa05")] = {"authorized": True}

    def strange(self):
        place = "controller.d/network/%s" % self.nwid
        for name, data in ((place + "/member/aaaaaaaa06.json", b""), (place + "/member/aaaaaaaa07.json", b'{"id":"aaaa'),
                           (place + "/member/aaaaaaaa08.json", b"[1]"), (place + "/member/aaaaaaaa09.json.tmp", b"{}"),
                           ("controller.d/network/%s00000e.json" % self.address, b"\x00\xff"),
                           ("controller.d/network/%s00000e/member/aaaaaaaa01.json" % self.address, b"{}"),
                           ("controller.d/network/8056c2e21c000001.json", b'{"id":"8056c2e21c000001"}'),
                           ("controller.d/notes.txt", b"hello")):
            self.file(name, data)
            self.left_out.add(name)
        fifo = place + "/member/aaaaaaaa0a.json"
        os.mkfifo(os.path.join(self.dir, fifo))
        self.left_out.add(fifo)

    def check_export(self, directory):
        """All good documents are there, key by key, and nothing else."""
        exported = documents(directory)
        if set(exported) != set(self.good):
            raise Failed("exported %r" % sorted(set(exported) ^ set(self.good)))
        for path, wanted in self.good.items():
            for key, value in wanted.items():
                if key not in ("id", "nwid", "address") and exported[path].get(key) != value:
                    raise Failed("%s: %s is %r, was %r" % (path, key, exported[path].get(key), value))
                if key in ("id", "nwid", "address") and exported[path][key] != value.lower():
                    raise Failed("%s: %s is %r" % (path, key, exported[path][key]))


def must_say(text, *parts):
    for part in parts:
        if part not in text:
            raise Failed("not said: %r in %s" % (part, text))


def test_import_and_export(net):
    """CTL-38 to CTL-43."""
    source = Source(os.path.join(net.home, "source"))
    home = os.path.join(net.home, "home")
    before = fingerprint(source.dir)
    looked = report(home, source.dir, "--dry-run")
    if os.path.exists(home):
        raise Failed("a dry run wrote something")
    said = report(home, source.dir)
    for key in ("networks", "members", "leftOut", "warnings", "address", "identity"):
        if looked[key] != said[key]:
            raise Failed("the dry run said %s: %r, the import %r" % (key, looked[key], said[key]))
    if fingerprint(source.dir) != before:
        raise Failed("the source was written")
    if said["networks"] != {"imported": 4, "updated": 0, "present": 0, "foreign": 1} or \
            said["members"]["imported"] != 5:
        raise Failed(str(said))
    if {entry["where"] for entry in said["leftOut"]} != source.left_out:
        raise Failed("left out: %r" % said["leftOut"])
    must_say(json.dumps(said["warnings"]), "multicastLimit", "host bits", "default route", "127", "ends before", "32 bits",
             "members aaaaaaaa01 and aaaaaaaa02 have the same address 10.9.8.1")
    for name, mode in (("identity.secret", 0o600), ("authtoken.secret", 0o600), ("controller.d", 0o700),
                       ("controller.d/controller.sqlite", 0o600)):
        if os.stat(os.path.join(home, name)).st_mode & 0o777 != mode:
            raise Failed("mode of " + name)
    with open(os.path.join(home, "identity.secret")) as handle:
        if handle.read().strip() != source.secret:
            raise Failed("another identity")
    out = os.path.join(net.home, "out")
    panlan(home, "controller", "export", out)
    source.check_export(out)
    for at, below, names in os.walk(out):
        for name in below + names:
            if os.stat(os.path.join(at, name)).st_mode & 0o077:
                raise Failed("others can read %s" % name)
    again = report(home, source.dir)
    if again["members"] != {"imported": 0, "updated": 0, "present": 5, "foreign": 0}:
        raise Failed(str(again))
    panlan(home, "controller", "export", out + "2")
    if documents(out) != documents(out + "2"):
        raise Failed("a second import changed something")
    panlan(home, "controller", "export", out, code=1)  # not over what is there
    panlan(home, "controller", "export", out + "3", "--network", source.nwid)
    if len(documents(out + "3")) != 5:
        raise Failed("not the one network")
    panlan(home, "controller", "export", out + "4", "--network", "1" * 16, code=1)
    if os.path.exists(out + "4") or os.path.exists(out + "4.part"):
        raise Failed("a failed export left something")


def test_service_on_an_imported_home(net):
    """The same networks and addresses by the API, both members of a conflict; what the service changes is exported,
    all else as it came. An import into a running home is refused (CTL-38, CTL-40, CTL-43)."""
    source = Source(os.path.join(net.home, "source"))
    net.host("ctl", "10.9.1.1/16")
    home = os.path.join(net.home, "home")
    report(home, source.dir)
    node = net.node("ctl", home=home)
    net.make_planet([(node, "10.9.1.1/9993")])
    node.start()
    if node.token() != "tokenofthereference123" or node.get("/status")["address"] != source.address:
        raise Failed("another token or address")
    listed = {data["id"]: data for data in node.get("/unstable/controller/network/%s/member" % source.nwid)["data"]}
    for address in ("aaaaaaaa01", "aaaaaaaa02"):
        if "10.9.8.1" not in listed[address]["ipAssignments"] or not listed[address]["authorized"]:
            raise Failed(str(listed[address]))
    if listed["aaaaaaaa01"]["revision"] != 9 or listed["aaaaaaaa01"]["creationTime"] != 1500000000001:
        raise Failed(str(listed["aaaaaaaa01"]))
    log = node.get("/controller/log?type=controller")["data"]
    if len(log) != 1 or log[0]["actor"]["kind"] != "cli" or not log[0]["new"]["networks"]["imported"]:
        raise Failed(str(log))
    must_say(panlan(home, "controller", "import", source.dir, code=1), "stop it first")
    node.post("/controller/network/%s/member/aaaaaaaa03" % source.nwid, {"name": "three"})
    node.post("/controller/network/%s00000b" % source.address, {"multicastLimit": 64})
    out = os.path.join(net.home, "out")
    panlan(home, "controller", "export", out)  # while it runs
    member = source.good["controller.d/network/%s/member/aaaaaaaa03.json" % source.nwid]
    member["name"] = "three"
    for key in ("recentLog", "physicalAddr"):  # never stored, by the reference neither
        del member[key]
    network = source.good["controller.d/network/%s00000b.json" % source.address]
    network.update(multicastLimit=64, revision=78)
    for key in ("clock", "lastModified"):
        del network[key]
    exported = documents(out)
    dns = exported["controller.d/network/%s00000b.json" % source.address]["dns"]
    network["dns"] = dns if not dns or dns == {"domain": "", "servers": []} else network["dns"]
    source.check_export(out)


def test_up_on_an_imported_home(net):
    """./start.sh after an import: what was moved runs, no network, planet or member is made. The planet is one of the
    test's own, also where it has the ID of the public one."""
    source = Source(os.path.join(net.home, "source"))
    source.file("local.conf", {"settings": {"portMappingEnabled": False, "noDefaultPlanet": True}})
    node = net.node(net.host("ctl", "10.9.1.1/16"), home=source.dir)
    for ident in ("00000000feedc0de", EARTH):
        net.make_planet([(node, "10.9.1.1/9993")], ident)
        with open(net.planet, "rb") as handle:
            planet = handle.read()
        source.file("planet", planet)
        home = os.path.join(net.home, ident)
        report(home, source.dir)
        for _ in range(2):
            said = panlan(home, "up", ns="ctl")
            must_say(said, source.address, "networks   4", "the public one" if ident == EARTH else ident)
        panlan(home, "down", ns="ctl")
        panlan(home, "controller", "export", home + ".out")
        source.check_export(home + ".out")
        with open(os.path.join(home, "planet"), "rb") as handle:
            if handle.read() != planet:
                raise Failed("another planet")
    os.remove(os.path.join(source.dir, "planet"))
    home = os.path.join(net.home, "none")
    report(home, source.dir)  # a node without the file lives on the public planet
    with open(os.path.join(home, "planet"), "rb") as handle:
        if handle.read()[1:9].hex() != EARTH:
            raise Failed("not the public planet")


def tar(path, entries, links=()):
    with tarfile.open(path, "w:gz") as out:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            out.addfile(info)


def test_import_into_a_shared_database(net):
    """A home whose controllerDbPath names PostgreSQL, and an export from there; not while another instance runs."""
    source = Source(os.path.join(net.home, "source"))
    Postgres(net, "db", "10.9.0.9").start()
    net.host("ctl", "10.9.0.2/24")
    conf = {"settings": {"controllerDbPath": "postgres:host=10.9.0.9 user=panlan dbname=postgres"}}
    home, other, out = (os.path.join(net.home, name) for name in ("home", "other", "out"))
    for place in (home, other):
        put(os.path.join(place, "local.conf"), conf)
    panlan(home, "controller", "import", source.dir, "--dry-run", ns="ctl")
    for key in ("imported", "present"):
        said = json.loads(panlan(home, "--json", "controller", "import", source.dir, ns="ctl"))
        if said["members"][key] != 5:
            raise Failed(str(said))
    panlan(home, "controller", "export", out, ns="ctl")
    source.check_export(out)
    node = net.node("ctl", home=home)
    net.make_planet([(node, "10.9.0.2/9993")])
    node.start()
    wait_for("the controller", lambda: len(node.get("/controller/network")) == 4)
    panlan(other, "controller", "import", source.dir, ns="ctl", code=1)


DUMP = """COPY public.network_members (nwid, id, name) FROM stdin;
%s\taaaaaaaa02\tfrom ztnet
\\.
"""


def test_import_of_archives(net):
    """Backups of ztnet with a dump of its database, zip files, and archives that want to lead astray."""
    source = Source(os.path.join(net.home, "source"))
    files = {}
    for at, _, names in os.walk(source.dir):
        for name in names:
            path = os.path.join(at, name)
            if os.path.isfile(path):
                with open(path, "rb") as handle:
                    files[os.path.relpath(path, source.dir)] = handle.read()
    backup = os.path.join(net.home, "backup.tar.gz")
    files["moons.d/deep/er.moon"] = b"nobody reads this"
    evil = {"zerotier/../../panlan-evil/identity.secret": b"x", "/etc/panlan-evil/controller.d/network/x.json": b"{}"}
    entries = {"./zerotier/" + name: data for name, data in files.items()}
    entries.update(evil)
    entries["database.sql"] = (DUMP % source.nwid).encode()
    tar(backup, entries, [("zerotier/controller.d/network/%s/member/aaaaaaaa0b.json" % source.nwid, "/etc/passwd")])
    home = os.path.join(net.home, "home")
    said = report(home, backup)
    left = {entry["where"]: entry["text"] for entry in said["leftOut"]}
    must_say(left["controller.d/network/%s/member/aaaaaaaa0b.json" % source.nwid], "link")
    for name in evil:
        must_say(left[name], "leads out")
    if said["members"]["imported"] != 5 or said["names"]["set"] != 1:
        raise Failed(str(said))
    out = os.path.join(net.home, "out")
    panlan(home, "controller", "export", out)
    source.good["controller.d/network/%s/member/aaaaaaaa02.json" % source.nwid]["name"] = "from ztnet"
    source.check_export(out)
    packed = os.path.join(net.home, "backup.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr("deep/er/" + name, data)
    if report(home + "2", packed)["members"]["imported"] != 5:
        raise Failed("zip")
    cut = os.path.join(net.home, "cut.tar.gz")
    with open(backup, "rb") as handle, open(cut, "wb") as short:
        short.write(handle.read()[:1500])
    panlan(home + "3", "controller", "import", cut, code=1)
    put(os.path.join(net.home, "nothing.tar"), b"no archive")
    panlan(home + "3", "controller", "import", os.path.join(net.home, "nothing.tar"), code=1)
    if os.path.exists(os.path.join(home + "3", "controller.d", "controller.sqlite")):
        raise Failed("a failed import left a database")


def test_identity_of_an_import(net):
    """Another identity is never overwritten silently, one without secret is of no use, old databases are named."""
    source = Source(os.path.join(net.home, "source"))
    home = os.path.join(net.home, "home")
    own = sh(netns.PANLAN + " identity generate").strip()
    put(os.path.join(home, "identity.secret"), own.encode())
    must_say(panlan(home, "controller", "import", source.dir, code=1), own[:10], source.address, "--replace-identity")
    if os.path.exists(os.path.join(home, "controller.d", "controller.sqlite")):
        raise Failed("a refused import wrote")
    if report(home, source.dir, "--replace-identity")["identity"] != "imported":
        raise Failed("not replaced")
    with open(os.path.join(home, "identity.secret." + own[:10])) as handle:
        if handle.read().strip() != own:
            raise Failed("the old identity is lost")
    secret = os.path.join(net.home, "kept.secret")
    os.rename(os.path.join(source.dir, "identity.secret"), secret)
    must_say(panlan(home + "2", "controller", "import", source.dir, code=1), "secret", "--identity")
    must_say(panlan(home + "2", "controller", "import", source.dir, "--dry-run"), "secret")
    if report(home + "2", source.dir, "--identity", secret)["members"]["imported"] != 5:
        raise Failed("not with --identity")
    put(secret, own[:200].encode())
    panlan(home + "3", "controller", "import", source.dir, "--identity", secret, code=1)
    old = os.path.join(net.home, "old")
    put(os.path.join(old, "controller.db"), b"SQLite format 3")
    put(os.path.join(old, "identity.secret"), source.secret.encode())
    must_say(panlan(home + "4", "controller", "import", old), "controller.db", "before version 1.2")
    alone = os.path.join(net.home, "source", "controller.d")
    if report(home + "2", alone)["members"]["present"] != 5:
        raise Failed("a controller.d alone, into a home that has the identity")


def test_names_of_consoles(net):
    """CTL-44: ztncui's storage, zero-ui's file."""
    source = Source(os.path.join(net.home, "source"))
    home = os.path.join(net.home, "home")
    storage = os.path.join(net.home, "ztncui", "etc", "storage")
    for address, name in (("aaaaaaaa01", "not this"), ("aaaaaaaa02", "from ztncui")):
        put(os.path.join(storage, hashlib.md5(address.encode()).hexdigest()), {"key": address, "value": name})
    report(home, source.dir)
    said = report(home, source.dir, "--names", os.path.join(net.home, "ztncui"))
    if said["names"]["set"] != 2 or said["members"]["imported"]:
        raise Failed(str(said))
    zero = os.path.join(net.home, "zero.json")
    put(zero, {"networks": [{"id": source.nwid, "additionalConfig": {"description": "of zero-ui", "rulesSource": "accept;"},
                             "members": [{"id": "aaaaaaaa03", "additionalConfig": {"name": "from zero-ui"}},
                                         {"id": "bbbbbbbb01", "additionalConfig": {"name": "gone"}}]}]})
    said = report(home, source.dir, "--names", zero)
    if said["names"] != {"set": 2, "unknown": 1}:
        raise Failed(str(said))
    panlan(home, "controller", "export", os.path.join(net.home, "out"))
    exported = documents(os.path.join(net.home, "out"))
    place = "controller.d/network/" + source.nwid
    for path, key, value in (("/member/aaaaaaaa01.json", "name", "one"), ("/member/aaaaaaaa02.json", "name", "from ztncui"),
                             ("/member/aaaaaaaa03.json", "name", "from zero-ui"), (".json", "rulesSource", "accept;"),
                             (".json", "description", "of zero-ui"), (".json", "name", "good")):
        if exported[place + path].get(key) != value:
            raise Failed("%s: %s is %r" % (path, key, exported[place + path].get(key)))
    panlan(home, "controller", "import", source.dir, "--names", os.path.join(source.dir, "local.conf"), code=1)


def test_import_from_a_running_controller(net):
    """CTL-45, from one of ours: the API is that of the reference."""
    source = Source(os.path.join(net.home, "source"))
    net.host("ctl", "10.9.1.1/16")
    home = os.path.join(net.home, "home")
    report(home, source.dir)
    node = net.node("ctl", home=home)
    net.make_planet([(node, "10.9.1.1/9993")])
    node.start()
    url = "http://127.0.0.1:9993"
    secret = os.path.join(home, "identity.secret")

    def live(*args, code=0, to="copy", token=None):
        return panlan(os.path.join(net.home, to), "--token", token or node.token(), "--json", "controller", "import", *args,
                      code=code, ns="ctl")
    must_say(live(url, code=1), "no API tells", "--identity")
    must_say(live(url, "--dry-run"), "no API tells")
    must_say(live(url, code=1, token="wrong"), "token")
    must_say(live("http://127.0.0.1:1", code=1), "connection failed")
    must_say(live("https://127.0.0.1", code=1), "http://HOST")
    said = json.loads(live(url, "--identity", secret))
    if said["members"]["imported"] != 5 or said["networks"]["imported"] != 4:
        raise Failed(str(said))
    for name in ("home", "copy"):
        panlan(os.path.join(net.home, name), "controller", "export", os.path.join(net.home, "out-" + name))
    was, now = (documents(os.path.join(net.home, "out-" + name)) for name in ("home", "copy"))
    for path, document in was.items():
        for key, value in document.items():
            if key not in ("recentLog", "physicalAddr", "clock", "lastModified") and key != "dns" and \
                    now[path].get(key) != value:
                raise Failed("%s: %s is %r, was %r" % (path, key, now[path].get(key), value))
