"""Our nodes and the reference's in every seat: root, controller, members.

RT-1 and RT-2 (reference nodes with only our root come online and go direct): root_ours_*;
RT-5 (our nodes with only reference roots) and CB-4: root_ref_*; WD-9: moon_by_seed.

ZEROTIER_ONE names an installed zerotier-one; without it everything here is skipped. Each host sits
in a /24 of its own, since the reference's root admits one new identity per /24 and 2 s.
"""
import os
import socket
import threading

from net import Failed, Skipped, in_ns, ping, sh, tcp_transfer, wait_for, wait_ping, ZEROTIER_ONE

KIND = {"p": False, "r": True}


def seats(net, root, controller, one, two, config=None, bridges=None):
    """Start four nodes of the kinds given (p: ours, r: reference) and join both members. bridges: of the
    switch, where they are not plugged into the first."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    made = []
    for index, (name, kind) in enumerate((("root", root), ("ctl", controller), ("one", one),
                                          ("two", two))):
        ns = net.host(name, "10.9.%d.1/16" % index, bridge=(bridges or {}).get(name, "br0"))
        settings = (config or {}).get(name)
        made.append(net.node(ns, reference=KIND[kind], config=settings))
    net.make_planet([(made[0], "10.9.0.1/9993")])
    for node in made:
        node.start(wait=False)
    for node in made:
        node.wait_api()
    made[0].wait_online()
    for node in made[1:]:
        node.wait_online()
    nwid = made[1].create_network()
    for node in made[2:]:
        made[1].authorize(nwid, node)
        node.join(nwid)
    for node in made[2:]:
        node.wait_network(nwid, timeout=40)
    return made + [nwid]


def exchange(one, two, nwid):
    """Pings without loss, TCP and a direct path, both ways."""
    there, back = two.ip(nwid), one.ip(nwid)
    wait_ping(one.ns, there, 30)
    wait_ping(two.ns, back, 30)
    one.wait_direct(two, 40)
    two.wait_direct(one, 40)
    for ns, target in ((one.ns, there), (two.ns, back)):
        if ping(ns, target, 20):
            raise Failed("pings lost from %s" % ns)
        if ping(ns, target, 5, size=2700):
            raise Failed("large pings lost from %s" % ns)
    tcp_transfer(one.ns, two.ns, there)
    tcp_transfer(two.ns, one.ns, back)


def mix(net, kinds):
    _, _, one, two, nwid = seats(net, *kinds)
    exchange(one, two, nwid)


def test_root_ref_ctl_ref_ours_ours(net):
    mix(net, "rrpp")


def test_root_ref_ctl_ref_ours_ref(net):
    mix(net, "rrpr")


def test_root_ref_ctl_ours_ours_ours(net):
    mix(net, "rppp")


def test_root_ref_ctl_ours_ours_ref(net):
    mix(net, "rppr")


def test_root_ref_ctl_ours_ref_ref(net):
    mix(net, "rprr")


def test_root_ours_ctl_ref_ours_ours(net):
    mix(net, "prpp")


def test_root_ours_ctl_ref_ours_ref(net):
    mix(net, "prpr")


def test_root_ours_ctl_ref_ref_ref(net):
    mix(net, "prrr")


def test_root_ours_ctl_ours_ours_ref(net):
    mix(net, "pppr")


def test_root_ours_ctl_ours_ref_ref(net):
    mix(net, "pprr")


def suites_seen(ns, action):
    """Cipher suites of whole packets by (source, destination) while action runs."""
    tap = in_ns(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)))
    tap.bind(("eth0", 0))
    tap.settimeout(0.2)
    done = threading.Event()
    seen = {}

    def listen():
        while not done.is_set():
            try:
                frame = tap.recv(4096)
            except socket.timeout:
                continue
            data = frame[42:]  # Ethernet, IPv4 without options, UDP
            if frame[12:14] == b"\x08\x00" and frame[23] == 17 and len(data) >= 28 and \
                    data[13] != 0xff:
                key = (data[13:18].hex(), data[8:13].hex())
                seen.setdefault(key, set()).add((data[18] >> 3) & 7)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        action()
    finally:
        done.set()
        thread.join()
        tap.close()
    return seen


def test_new_cipher_between_ours_and_reference(net):
    _, _, one, two, nwid = seats(net, "p", "p", "p", "r")
    wait_ping("one", two.ip(nwid), 30)
    one.wait_direct(two, 40)
    seen = suites_seen("one", lambda: exchange(one, two, nwid))
    for pair in ((one.address, two.address), (two.address, one.address)):
        if 3 not in seen.get(pair, set()):
            raise Failed("suites from %s to %s: %r" % (*pair, seen.get(pair)))


def test_old_cipher_salsa(net):
    """Announcing protocol 11 makes the reference use suite 1 towards us (spec 01 section 8.7)."""
    old = {"settings": {"announceProtocol": 11}}
    _, _, one, two, nwid = seats(net, "p", "p", "p", "r", {"one": old})
    seen = suites_seen("one", lambda: exchange(one, two, nwid))
    for pair in ((one.address, two.address), (two.address, one.address)):
        if 1 not in seen.get(pair, set()) or 3 in seen[pair]:
            raise Failed("suites from %s to %s: %r" % (*pair, seen.get(pair)))


def test_broadcast_to_and_from_reference(net):
    _, _, one, two, nwid = seats(net, "p", "p", "p", "r")
    wait_ping("one", two.ip(nwid), 30)
    for here, there in ((one, two), (two, one)):
        sh("sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0", ns=there.ns)

        def answered(here=here, there=there):
            out = sh("ping -n -b -c 3 -i 0.2 -W 1 -I %s 10.121.255.255 2>&1 || true" %
                     here.device(nwid), ns=here.ns)
            return "bytes from %s" % there.ip(nwid) in out
        wait_for("broadcast from %s" % here.ns, answered, 15)


def test_home_of_the_reference_works_as_it_is(net):
    """A node of the reference is stopped and ours started on its home directory."""
    root, _, one, two, nwid = seats(net, "p", "p", "r", "r")
    address, ip = one.address, one.ip(nwid)
    wait_ping("two", ip, 30)
    one.process.terminate()
    one.process.wait(20)
    ours = net.node("one", reference=False, home=one.home)
    ours.start()
    ours.wait_network(nwid)
    # The reference keeps to the dead secondary port of its peer until that is silent for 19 s.
    if ours.get("/status")["address"] != address or ours.ip(nwid) != ip:
        raise Failed("identity or address changed")
    wait_ping("two", ip, 45)


def test_reference_restarts_and_returns(net):
    _, _, one, two, nwid = seats(net, "p", "p", "p", "r")
    wait_ping("one", two.ip(nwid), 30)
    two.kill()
    two.start()
    two.wait_network(nwid)
    wait_ping("one", two.ip(nwid), 30)


def test_moon_by_seed_from_reference(net):
    """Our node orbits a moon whose root is a reference node, and the other way round."""
    import json
    import subprocess
    from net import PANLAN
    root, ctl, one, two, nwid = seats(net, "p", "p", "p", "r")
    for seed, follower in ((two, one), (one, two)):
        work = os.path.join(net.home, "moon-" + seed.ns)
        os.makedirs(work, exist_ok=True)
        world = json.loads(subprocess.run([PANLAN, "identity", "initmoon", seed.public_identity()],
                                          cwd=work, check=True, stdout=subprocess.PIPE,
                                          text=True).stdout)
        index = "2" if seed.ns == "one" else "3"
        world["roots"][0]["stableEndpoints"] = ["10.9.%s.1/9993" % index]
        with open(os.path.join(work, "m.json"), "w") as out:
            json.dump(world, out)
        subprocess.run([PANLAN, "identity", "genmoon", "m.json"], cwd=work, check=True,
                       stdout=subprocess.DEVNULL)
        name = "000000%s.moon" % seed.address
        os.makedirs(seed.path("moons.d"), exist_ok=True)
        with open(os.path.join(work, name), "rb") as moon:
            seed.write(os.path.join("moons.d", name), moon.read())
        seed.kill()
        seed.start()
        seed.wait_online()
        follower.post("/moon/" + seed.address, {"seed": seed.address})
        wait_for("moon at " + follower.ns, lambda: any(
            m["id"] == "000000" + seed.address and not m["waiting"]
            for m in follower.get("/moon")), 40)
