"""`panlan root`: planets that grow and change while nodes run, keys that change, moons, the nearest root."""
import os
import re
import subprocess
import sys

from invite import first, invitation_of, invite, joined, member, network_of
from machine import Machine
from net import Failed, Skipped, ZEROTIER_ONE, sh, wait_for, wait_ping


def at(machine):
    """Address of a machine on the switch."""
    return sh("ip -o -4 addr show dev eth0", ns=machine.ns).split()[3].split("/")[0]


def version(node):
    """Version of the planet a node lives on, as a number."""
    if node.reference:
        return int(node.get("/status")["planetWorldTimestamp"])
    return node.get("/world")[0]["timestamp"]


def roots_of(node):
    """Addresses of the planet's roots as a node of ours sees them."""
    return sorted(root["identity"][:10] for root in node.get("/world")[0]["roots"])


def make_root(hub, machine, *endpoints):
    """Machine becomes a root by the command that it suggests itself."""
    line = re.search(r"^panlan (root add \S+ .*)$", machine.ok("root", "id"), re.M).group(1)
    words = line.split()
    if at(machine) + "/9993" not in words:
        raise Failed("root id suggests %r" % line)
    out = hub.ok(*(words[:3] + list(endpoints) if endpoints else words))
    if "%s is a root now" % machine.address not in out:
        raise Failed(out)
    return out


def wait_roots(nodes, addresses, timeout=10):
    for node in nodes:
        wait_for("%d roots at %s" % (len(addresses), node.ns),
                 lambda node=node: roots_of(node) == sorted(addresses), timeout)


# ---- the planet ----

def test_planet_grows_and_its_first_root_retires(net):
    """WD-11, section 10: one root becomes three and then two without the first, while nodes run."""
    hub, nwid, _ = first(net)
    one, two, leaf, late = (member(net, i) for i in range(1, 5))
    for machine in (one, two, leaf):
        joined(machine, invite(hub, nwid), nwid)
    pids = [machine.pid() for machine in (one, two, leaf)]
    if "only root" not in hub.refuses("root", "retire", hub.address):
        raise Failed("the only root was retired")
    make_root(hub, one)
    if "the other roots have it" not in make_root(hub, two):
        raise Failed("the roots do not follow")
    everybody = (hub, one, two, leaf)
    wait_roots(everybody, [m.address for m in (hub, one, two)])
    if "this node" not in one.ok("root", "show") or "planet.json" not in hub.ok("root", "show"):
        raise Failed(one.ok("root", "show") + hub.ok("root", "show"))
    # A network that does not depend on the first machine.
    out = one.ok("net", "create", "--name", "second", "--subnet", "10.77.0.0/24")
    other = re.search(r"[0-9a-f]{16}", out).group(0)
    ip = joined(two, invite(one, other), other)
    joined(leaf, invite(one, other), other)
    wait_ping("m3", ip)
    before = version(hub)
    if "the other roots have it" not in hub.ok("root", "retire", hub.address):
        raise Failed("retired, but the others do not know")
    wait_roots(everybody, [one.address, two.address])
    if "this node is not one of its roots" not in hub.ok("up"):
        raise Failed("up says that it is a root")
    if version(leaf) <= before:
        raise Failed("version %d after %d" % (version(leaf), before))
    hub.refuses("root", "show", "--moon", "xyz", code=2, says="not the ID")
    hub.ok("down")
    wait_ping("m3", ip)
    joined(late, invite(one, other), other)
    wait_ping("m4", ip)
    if roots_of(late) != roots_of(leaf):
        raise Failed("the invitation has an old planet")
    if [machine.pid() for machine in (one, two, leaf)] != pids:
        raise Failed("something was started again")


def test_key_of_the_planet_changes_while_a_machine_is_off(net):
    """9.3: two changes of the key and another change are followed by a machine that missed all."""
    hub, nwid, _ = first(net)
    one, off = member(net, 1), member(net, 2)
    for machine in (one, off):
        joined(machine, invite(hub, nwid), nwid)
    make_root(hub, one)
    wait_roots((off,), [hub.address, one.address])
    off.ok("down")
    secret = hub.read("planet.json")
    for _ in range(2):
        if hub.path("planet.json") not in hub.ok("root", "rotate-key"):
            raise Failed("where is the new key?")
    if hub.read("planet.json") == secret or os.stat(hub.path("planet.json")).st_mode & 0o777 != 0o600:
        raise Failed("key file")
    with open(hub.path("old.json"), "w") as out:
        out.write(secret)
    hub.refuses("root", "endpoints", one.address, "10.9.0.11/9993", "--key", hub.path("old.json"),
                says="does not hold the key")
    hub.ok("root", "endpoints", one.address, "10.9.0.11/9993", "10.9.0.11/443")
    hub.ok("down")  # the other root has the whole chain too
    wait_for("chain at the other root", lambda: version(one) > 0, 5)
    off.ok("join", nwid)  # starts the service
    wait_for("newest planet", lambda: version(off) == version(one), 20)
    if off.get("/world")[0]["updatesMustBeSignedBy"] != one.get("/world")[0]["updatesMustBeSignedBy"]:
        raise Failed("another key")


def test_root_says_what_is_wrong(net):
    hub, nwid, _ = first(net)
    one = member(net, 1)
    joined(one, invite(hub, nwid), nwid)
    before = version(hub)
    for words, code, says in (
            (["root", "add", "0123456789", "10.9.0.9/9993"], 1, "has not met 0123456789"),
            (["root", "add", "nonsense", "10.9.0.9/9993"], 2, "cannot read nonsense"),
            (["root", "add", one.address, "somewhere"], 2, "IP/PORT"),
            (["root", "add", one.address, "127.0.0.1/9993"], 2, "nobody else can reach"),
            (["root", "add", one.address], 2, "Usage"),
            (["root", "add", hub.address, "10.9.0.1/9993"], 1, "is a root"),
            (["root", "retire", one.address], 1, "is not a root"),
            (["root", "endpoints", one.address, "10.9.0.9"], 1, "is not a root"),
            (["root", "endpoints", "xyz", "10.9.0.9"], 2, "not a node address"),
            (["root", "rotate-key", "--moon", "12"], 1, "no such moon"),
            (["root", "rotate-key", "--key", "/nowhere"], 1, "/nowhere"),
            (["root", "install", "/nowhere"], 1, "/nowhere"),
            (["root", "install", hub.path("identity.public")], 1, "neither planet nor moon")):
        hub.refuses(*words, code=code, says=says)
    line = one.refuses("root", "add", one.address, "10.9.0.11/9993", says="planet.json")
    if "does not exist" not in line:
        raise Failed(line)
    forged = one.read("identity.public")[:-4] + "0000"
    hub.refuses("root", "add", forged, "10.9.0.9", code=2, says="does not belong")
    wrong = hub.read("planet.json").replace('"signingKey": "', '"signingKey": "00')
    hub.write("wrong.json", wrong)
    hub.refuses("root", "rotate-key", "--key", hub.path("wrong.json"), says="damaged")
    if version(hub) != before:
        raise Failed("something changed")
    if "Usage: panlan root" not in hub.ok("root", "--help"):
        raise Failed("help")


def test_versions_by_file(net):
    """A version from a file is taken by the update rule only."""
    hub, nwid, _ = first(net)
    old, new = (os.path.join(net.home, name) for name in ("old.world", "new.world"))
    hub.ok("root", "export", old)
    hub.ok("root", "endpoints", hub.address, "10.9.0.1", "10.9.0.1/443")
    hub.ok("root", "export", new)
    hub.refuses("root", "install", old, says="not newer")
    other, _, _ = first(net, name="other", address="10.9.0.2/24")
    other.refuses("root", "install", new, says="another kind or ID")
    with open(new, "rb") as file:
        data = bytearray(file.read())
    data[16] ^= 1  # a bit of the timestamp
    data[10] += 1
    with open(new, "wb") as file:
        file.write(data)
    hub.refuses("root", "install", new, says="not signed by the key")


def test_four_roots_are_the_most(net):
    hub, nwid, _ = first(net)
    machines = [member(net, i) for i in range(1, 5)]
    for machine in machines:
        joined(machine, invite(hub, nwid), nwid)
    for machine in machines[:3]:
        make_root(hub, machine)
    hub.refuses("root", "add", machines[3].address, at(machines[3]), says="retire one first")
    code, out, err = hub.panlan("root", "endpoints", machines[0].address, "1.2.3.4")
    if code != 0 or "warning" in err:
        raise Failed(out + err)
    code, out, err = hub.panlan("root", "endpoints", machines[1].address, at(machines[1]))
    if code != 0 or "private addresses only" not in err:
        raise Failed(out + err)


SLOW_WIRE = """
import heapq, select, socket, sys, time
ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2)]
for end, device in zip(ends, ("eth0", "far")):
    end.bind((device, 0))
queue, count = [], 0
while True:
    wait = max(0, queue[0][0] - time.monotonic()) if queue else 1
    for end in select.select(ends, [], [], wait)[0]:
        frame, where = end.recvfrom(65535)
        if where[2] != socket.PACKET_OUTGOING:
            count += 1
            heapq.heappush(queue, (time.monotonic() + float(sys.argv[1]), count,
                                   ends[end is ends[0]], frame))
    while queue and queue[0][0] <= time.monotonic():
        _, _, end, frame = heapq.heappop(queue)
        end.send(frame)
"""


def far_away(net, machine, address, seconds):
    """Put a machine behind a wire that takes its time (not every kernel has netem)."""
    net.namespace("slow")
    net.plug("slow")
    sh("ip -n %s link del eth0" % machine.ns)
    sh("ip -n slow link add far type veth peer name eth0 netns %s && ip -n slow link set far up && "
       "ip -n %s addr add %s dev eth0 && ip -n %s link set eth0 up" % (
           machine.ns, machine.ns, address, machine.ns))
    return subprocess.Popen(["ip", "netns", "exec", "slow", sys.executable, "-c", SLOW_WIRE,
                             str(seconds)])


def test_nearest_root_is_used(net):
    """7.2: of two roots the nearer one, as measured, by a node that knew the far one first."""
    hub = Machine(net, "hub", "10.9.0.1/24")
    wire = far_away(net, hub, "10.9.0.1/24", 0.03)
    try:
        one, leaf = member(net, 1), member(net, 2)
        for machine in (hub, one, leaf):  # such a wire knows no unfinished checksums
            sh("ethtool -K eth0 tx off >/dev/null", ns=machine.ns)
        out = hub.ok("up")
        nwid = network_of(out)
        for machine in (one, leaf):
            joined(machine, invitation_of(out), nwid)

        def in_use():
            return [root["address"] for root in leaf.get("/status")["roots"] if root["relay"]]
        wait_for("the only root", lambda: in_use() == [hub.address], 10)
        make_root(hub, one)
        wait_for("the near root", lambda: in_use() == [one.address], 30)
        if not re.search(one.address + r" +\d+ ms, in use", leaf.ok("root", "show")):
            raise Failed(leaf.ok("root", "show"))
    finally:
        wire.kill()
        wire.wait()


# ---- moons ----

def test_moon_by_seed_and_by_file(net):
    """9.6: made by one command; joined by seed or file; grows; pending orbits outlive a restart."""
    hub, nwid, _ = first(net)
    one, two, three = (member(net, i) for i in range(1, 4))
    for machine in (one, two, three):
        joined(machine, invite(hub, nwid), nwid)
    out = one.ok("root", "moon", one.address, at(one))
    orbit = re.search(r"^on other nodes: panlan (orbit \S+ \S+)$", out, re.M).group(1).split()
    if orbit != ["orbit", one.address, one.address]:
        raise Failed(out)
    one.refuses("root", "moon", one.address, says="already")
    two.ok(*orbit)
    path = os.path.join(net.home, "moon")
    one.ok("root", "export", path, "--moon", one.address)
    three.ok("orbit", path)

    def moon_of(node):
        return next((w for w in node.get("/world") if w["type"] == "moon"), None)
    for node in (two, three):
        wait_for("moon at " + node.ns, lambda node=node: (moon_of(node) or {}).get("roots"), 10)
        if not moon_of(node)["verified"]:
            raise Failed("verified by its own key")
    # It grows: those who orbit it follow, and the new root knows that it is one.
    one.ok("root", "add", "--moon", one.address, two.address, at(two))
    for node in (two, three):
        wait_for("second root at " + node.ns, lambda node=node: len(moon_of(node)["roots"]) == 2, 10)
    if "this node" not in two.ok("root", "show"):
        raise Failed(two.ok("root", "show"))
    one.ok("root", "rotate-key", "--moon", one.address)
    wait_for("another key", lambda: moon_of(three)["updatesMustBeSignedBy"] ==
             moon_of(one)["updatesMustBeSignedBy"], 10)
    three.ok("deorbit", one.address)
    if moon_of(three) or os.listdir(three.path("moons.d")):
        raise Failed("left behind: %r" % os.listdir(three.path("moons.d")))
    # Nobody knows this seed: the orbit waits, also across a restart.
    three.ok("orbit", "7", "0123456789")
    three.stop()
    three.ok("join", nwid)
    if three.get("/moon/7")["id"] != "%016x" % 7 or moon_of(three)["seed"] != "0123456789" or "waiting for 0123456789" not in three.ok("root", "show"):
        raise Failed(str(moon_of(three)))
    three.ok("deorbit", "7")
    if moon_of(three):
        raise Failed(str(moon_of(three)))


# ---- with the reference ----

def reference(net, hub, name, address):
    """A node of the reference on the hub's planet."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    net.planet = os.path.join(net.home, "hub.planet")
    hub.ok("root", "export", net.planet)
    net.host(name, address)
    node = net.node(name, reference=True)
    node.start()
    node.wait_online()
    net.planet = None  # what it learns stays
    return node


def again(node):
    """Started again, a reference node says HELLO at once instead of minutes later."""
    node.kill()
    node.start()
    node.wait_online()


def test_reference_client_follows_changes_of_the_key(net):
    """WD-11: versions made by our tool, through our root; two changes of the key in one answer."""
    hub, nwid, _ = first(net)
    ref = reference(net, hub, "ref", "10.9.0.50/24")
    before = version(ref)
    ref.kill()
    hub.ok("root", "rotate-key")
    hub.ok("root", "rotate-key")
    hub.ok("root", "endpoints", hub.address, "10.9.0.1", "10.9.0.1/443")
    ref.start()
    wait_for("newest version at the reference", lambda: version(ref) == version(hub) > before, 20)


def test_update_through_a_root_of_the_reference(net):
    """WD-11: the reference is a root by our tool, and hands our version to our client, who cannot
    reach our root; and a moon's new version in the same way."""
    hub, nwid, _ = first(net)
    leaf = member(net, 1)
    joined(leaf, invite(hub, nwid), nwid)
    ref = reference(net, hub, "ref", "10.9.0.50/24")
    hub.ok("root", "add", ref.public_identity(), "10.9.0.50/9993")
    again(ref)
    wait_for("the reference as a root", lambda: version(ref) == version(hub), 20)
    hub.ok("root", "moon", hub.address, "10.9.0.1")
    hub.ok("root", "add", "--moon", hub.address, ref.address, "10.9.0.50")
    os.makedirs(ref.path("moons.d"), exist_ok=True)
    hub.ok("root", "export", ref.path("moons.d", "000000%s.moon" % hub.address), "--moon", hub.address)
    again(ref)
    leaf.ok("orbit", hub.address, hub.address)

    def moon(node):
        return next((m for m in node.get("/moon") if not m["waiting"]), {"timestamp": 0})
    for node in (ref, leaf):
        wait_for("moon at " + node.ns, lambda node=node: moon(node)["timestamp"], 30)
    sh("ip route add blackhole 10.9.0.1/32", ns="m1")
    sh("ip route add blackhole 10.9.0.11/32", ns=hub.ns)
    hub.ok("root", "endpoints", hub.address, "10.9.0.1", "10.9.0.1/443")
    hub.ok("root", "endpoints", "--moon", hub.address, hub.address, "10.9.0.1/443")
    again(ref)
    wait_for("new version at the reference", lambda: version(ref) == version(hub), 20)
    wait_for("new moon at the reference",
             lambda: moon(ref)["timestamp"] == moon(hub)["timestamp"], 20)
    wait_for("new version at our client", lambda: version(leaf) == version(hub), 70)
    wait_for("new moon at our client",
             lambda: moon(leaf)["timestamp"] == moon(hub)["timestamp"], 70)


def test_planet_made_by_the_reference(net):
    """A planet signed by its idtool is ours to change: the key file is that of initmoon."""
    import json
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    tool = os.path.join(os.path.dirname(ZEROTIER_ONE), "zerotier-idtool")
    if not os.path.exists(tool):
        raise Skipped("no zerotier-idtool beside it")
    hub = Machine(net, "hub", "10.9.0.1/24")
    os.makedirs(hub.home)
    for name in ("identity.secret", "identity.public"):
        hub.write(name, subprocess.run(
            [tool, "generate"] if "secret" in name else
            [tool, "getpublic", hub.path("identity.secret")], check=True, stdout=subprocess.PIPE,
            text=True).stdout)
    world = json.loads(subprocess.run([tool, "initmoon", hub.path("identity.public")], check=True,
                                      stdout=subprocess.PIPE, text=True).stdout)
    world.update(worldType="planet", id="000000000badcafe")
    world["roots"][0]["stableEndpoints"] = ["10.9.0.1/9993"]
    hub.write("planet.json", json.dumps(world))
    subprocess.run([tool, "genmoon", "planet.json"], cwd=hub.home, check=True,
                   stdout=subprocess.DEVNULL)
    os.rename(hub.path("000000000badcafe.moon"), hub.path("planet"))
    out = hub.ok("up")
    one = member(net, 1)
    joined(one, invitation_of(out), re.search(r"^network +(\S+)", out, re.M).group(1))
    make_root(hub, one)
    wait_roots((hub, one), [hub.address, one.address])
    if hub.get("/status")["planetWorldId"] != 0xbadcafe:
        raise Failed("another planet")
