"""A controller of the reference moves to ours and back, with its members: they notice nothing but that what is changed
at the new place reaches them. ZEROTIER_ONE names the reference. CTL-40, CTL-45, CTL-46."""
import json
import os

from interop import seats
from migrate import documents, panlan, must_say
from net import Failed, wait_for, wait_ping

LINK = {"target": "10.121.0.0/16", "via": None}


def settle(old, nwid, one, two):
    """Settings of every kind, so that there is something to lose."""
    old.post("/controller/network/" + nwid, {
        "name": "before", "multicastLimit": 40, "mtu": 1400, "v6AssignMode": {"rfc4193": True},
        "routes": [LINK, {"target": "10.7.7.7/24", "via": "10.121.0.9"}], "tags": [{"id": 7, "default": 1}],
        "capabilities": [{"id": 3, "default": False, "rules": [{"type": "ACTION_ACCEPT"}]}],
        "dns": {"domain": "a.example", "servers": ["10.121.0.9"]}, "authTokens": {"sesame": 0},
        "rules": [{"type": "MATCH_ETHERTYPE", "etherType": 0x86dd, "not": True}, {"type": "ACTION_ACCEPT"},
                  {"type": "ACTION_ACCEPT"}]})
    old.authorize(nwid, one, name="one", tags=[[7, 5]], capabilities=[3], activeBridge=True)
    old.post("/controller/network/%s/member/%s" % (nwid, "ABCDEF0123"), {"authorized": True})  # never came
    extra = old.create_network(name="", multicastLimit=-1, tags=[{"id": -1, "default": -1}])
    for node in (one, two):
        wait_for("settings at " + node.ns, lambda: node.network(nwid)["name"] == "before", 40)
    return extra


def stop(node):
    node.process.terminate()
    node.process.wait(20)
    node.process = None


def must_equal(what, was, now, leave=()):
    """Documents key by key; IDs in lower case."""
    if {path.lower() for path in was} != set(now):
        raise Failed("%s: %r" % (what, sorted({path.lower() for path in was} ^ set(now))))
    for path, document in was.items():
        for key, value in document.items():
            have = now[path.lower()].get(key)
            if key in ("id", "nwid", "address"):
                value = value.lower()
            if key not in leave and have != value:
                raise Failed("%s: %s: %s is %r, was %r" % (what, path, key, have, value))


def rename(net, controller, nwid, name, nodes):
    """Change something at a controller; everybody hears of it (those that restart at once, they ask then)."""
    controller.post("/controller/network/" + nwid, {"name": name})
    for node in nodes:
        stop(node)
        node.start()
        found = wait_for("%s: %s" % (node.ns, name), lambda: node.network(nwid).get("name") == name, 70)
    return found


def test_interop_controller_moves_and_returns(net):
    """CTL-46. Both members, a reference one and ours, keep addresses, tags and their way to each other."""
    root, old, one, two, nwid = seats(net, "p", "r", "r", "p")
    extra = settle(old, nwid, one, two)
    wait_ping("one", two.ip(nwid), 30)
    before = {node: sorted(node.network(nwid)["assignedAddresses"]) for node in (one, two)}
    home, copy = (os.path.join(net.home, name) for name in ("moved", "copy"))

    live = panlan(copy, "--token", old.token(), "--json", "controller", "import", "http://127.0.0.1:9993", "--identity",
                  old.path("identity.secret"), ns=old.ns)
    must_say(panlan(os.path.join(net.home, "none"), "--token", old.token(), "controller", "import", "http://127.0.0.1:9993",
                    code=1, ns=old.ns), "no API tells")
    stop(old)
    was = documents(old.home)
    said = json.loads(panlan(home, "--json", "controller", "import", old.home))
    if said["networks"]["imported"] != 2 or said["leftOut"] or said["members"] != json.loads(live)["members"]:
        raise Failed("%s, live %s" % (said, live))
    for name in (home, copy):
        panlan(name, "controller", "export", name + ".out")
        must_equal(name, was, documents(name + ".out"))

    ours = net.node(old.ns, home=home)
    ours.start()
    if ours.get("/status")["address"] != old.address or ours.token() != old.token():
        raise Failed("another address or token")
    wait_ping("one", two.ip(nwid), 30)
    rename(net, ours, nwid, "after", (one, two))
    for node, addresses in before.items():
        found = node.network(nwid)
        if sorted(found["assignedAddresses"]) != addresses or found["mtu"] != 1400 or found["status"] != "OK":
            raise Failed("%s: %r, had %r" % (node.ns, found, addresses))
    wait_ping("one", two.ip(nwid), 30)
    for node in (one, two):
        member = ours.get("/controller/network/%s/member/%s" % (nwid, node.address))
        if not member["authorized"] or member["vMajor"] < 0:
            raise Failed(str(member))

    back = os.path.join(net.home, "back")
    ours.stop()
    panlan(home, "controller", "export", back)
    given = documents(back)
    again = net.node(old.ns, reference=True, home=back)
    again.start()
    if sorted(again.get("/controller/network")) != sorted((nwid, extra)):
        raise Failed("the reference has other networks")
    served = again.get("/controller/network/%s/member/%s" % (nwid, one.address))
    path = "controller.d/network/%s/member/%s.json" % (nwid, one.address)
    for key, value in given[path].items():
        if served.get(key) != value and key not in ("revision", "vMajor", "vMinor", "vRev", "vProto"):
            raise Failed("the reference has %s %r, exported %r" % (key, served.get(key), value))
    rename(net, again, nwid, "back", (one, two))
    for node, addresses in before.items():
        if sorted(node.network(nwid)["assignedAddresses"]) != addresses:
            raise Failed(node.ns + ": other addresses")
    wait_ping("one", two.ip(nwid), 30)
