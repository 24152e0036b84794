"""The HTTP API of our service beside the reference's: every key that it has, with the same type of value,
and the same answers of both controllers to the same changes. We may have more keys, never fewer.

What may differ is listed with the reason, by path: "*" stands for one key or for any list element.
"""
import json
import os
import re

from interop import KIND
from net import Failed, Skipped, wait_for, wait_ping, ZEROTIER_ONE
from scripts import idtool

# Reference value that ours is not held to, and why.
ALLOWED = {
    "network.authTokens": "an array with one null where an object or null is meant (spec 04 2.4)",
    "network.dns": "an empty array where an object is meant (spec 04 2.4)",
}

NETWORK = {"name": "parity", "private": True, "enableBroadcast": True, "multicastLimit": 16,
           "mtu": 1400, "v4AssignMode": {"zt": True},
           "v6AssignMode": {"rfc4193": True, "zt": False, "6plane": True},
           "routes": [{"target": "10.121.0.0/16", "via": None},
                      {"target": "10.122.0.0/16", "via": "10.121.0.1"}],
           "ipAssignmentPools": [{"ipRangeStart": "10.121.0.1", "ipRangeEnd": "10.121.255.254"}],
           "tags": [{"id": 5, "default": 7}, {"id": 6, "default": None}],
           "capabilities": [{"id": 3, "default": False, "rules": [{"type": "ACTION_ACCEPT"}]}],
           "rules": [{"type": "MATCH_ETHERTYPE", "not": True, "or": False, "etherType": 2048},
                     {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}],
           "dns": {"domain": "lab.example", "servers": ["10.121.0.53"]},
           "authTokens": {"sesame": 0}}
MEMBER = {"name": "printer", "authorized": True, "activeBridge": False, "noAutoAssignIps": True,
          "ipAssignments": ["10.121.7.7"], "tags": [[5, 9]], "capabilities": [3]}


def kind(value):
    return {type(None): "null", bool: "bool", int: "int", float: "float", str: "string",
            list: "list", dict: "object"}[type(value)]


def allowed(path):
    return any(path == known or path.startswith(known + ".") for known in ALLOWED)


def compare(path, ours, theirs, faults, values=False):
    """Gather what theirs has and ours has not, or has otherwise."""
    if allowed(path):
        return
    if kind(ours) != kind(theirs):
        faults.append("%s: %s %r instead of %s %r" % (path, kind(ours), ours, kind(theirs), theirs))
    elif isinstance(theirs, dict):
        for key, value in theirs.items():
            if key not in ours:
                faults.append("%s: no %s, theirs %r" % (path, key, value))
            else:
                compare(path + "." + key, ours[key], value, faults, values)
    elif isinstance(theirs, list):
        if values and len(ours) != len(theirs):
            faults.append("%s: %r instead of %r" % (path, ours, theirs))
        for mine, other in zip(ours, theirs):
            compare(path + ".*", mine, other, faults, values)
    elif values and ours != theirs:
        faults.append("%s: %r instead of %r" % (path, ours, theirs))


def must_match(path, ours, theirs, values=False):
    faults = []
    compare(path, ours, theirs, faults, values)
    if faults:
        raise Failed("\n".join(faults))


def pair(net, extra=None):
    """A root of ours, a service of ours, one of the reference, both online."""
    if not ZEROTIER_ONE:
        raise Skipped("ZEROTIER_ONE names no installed zerotier-one")
    nodes = [net.node(net.host(name, "10.9.%d.1/16" % index), reference=KIND[kind_], config=extra)
             for index, (name, kind_) in enumerate((("root", "p"), ("ours", "p"), ("theirs", "r")))]
    net.make_planet([(nodes[0], "10.9.0.1/9993")])
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_api()
    return nodes


def answers(nodes, method, path, body=None, headers=None):
    """Status and body of a request to both; "SELF" in the path is the service's own address."""
    said = []
    for node in nodes:
        status, text = node.request(method, path.replace("SELF", node.address), body, headers, raw=True)
        said.append((status, text))
    return said


def equal_status(nodes, method, path, body=None, headers=None):
    """The same status of both, and whether there is a body."""
    ours, theirs = answers(nodes, method, path, body, headers)
    if ours[0] != theirs[0] or (theirs[0] != 500 and bool(ours[1]) != bool(theirs[1])):
        raise Failed("%s %s %r: %d %r instead of %d %r" % (method, path, body, *ours, *theirs))
    return ours, theirs


def test_interop_api_of_the_node(net):
    extra = {"settings": {"softwareUpdateChannel": "release", "mine": [1, "x"]},
             "physical": {"10.66.0.0/16": {"blacklist": True}}, "virtual": {}}
    root, ours, theirs = pair(net, extra)
    nwid = root.create_network(private=False, v6AssignMode={"rfc4193": True},
                               dns={"domain": "lab.example", "servers": ["10.121.0.53"]},
                               routes=[{"target": "10.121.0.0/16", "via": None},
                                       {"target": "10.122.0.0/16", "via": "10.121.0.1"}])
    nodes = [ours, theirs]
    for node in nodes:
        node.wait_online()
        node.join(nwid)
    for node in nodes:
        node.wait_network(nwid)
        node.ip(nwid, 6)
    wait_ping("ours", theirs.ip(nwid), 30)
    ours.wait_direct(theirs)
    theirs.wait_direct(ours)
    for name, path in (("status", "/status"), ("config", "/config"), ("network", "/network"),
                       ("network", "/network/" + nwid), ("peer", "/peer"),
                       ("peer", "/peer/" + root.address), ("health", "/health"),
                       ("moons", "/moon")):
        mine, other = (json.loads(text) for _, text in equal_status(nodes, "GET", path))
        must_match(name + "-" + path.split("/")[1], mine, other)
        if isinstance(other, list) and not other and name != "moons":
            raise Failed("nothing to compare in " + path)
    must_match("config", ours.get("/config"), theirs.get("/config"), values=True)
    for method, path, body in (("GET", "/peer/0123456789", None), ("GET", "/network/" + "1" * 16, None),
                               ("DELETE", "/network/" + "1" * 16, None), ("GET", "/moon/0123456789", None),
                               ("POST", "/moon/0123456789", "{}"), ("DELETE", "/moon/0123456789", None),
                               ("GET", "/bond/show/0123456789", None),
                               ("POST", "/bond/rotate/0123456789", "{}"),
                               ("POST", "/config/settings", "[]"), ("POST", "/config/settings", "{"),
                               ("GET", "/nope", None), ("GET", "/network/12", None), ("GET", "/status/", None),
                               ("DELETE", "/status", None), ("POST", "/status", "{}"),
                               ("PATCH", "/status", None), ("OPTIONS", "/status", None),
                               ("HEAD", "/status", None), ("GET", "/", None), ("PUT", "/peer", "{}")):
        mine, other = equal_status(nodes, method, path, body)
        if other[1] and other[0] == 200:
            must_match(path, json.loads(mine[1]), json.loads(other[1]), values=True)
    mine, other = equal_status(nodes, "POST", "/moon/0123456789", '{"seed":"0123456789"}')
    must_match("moon", json.loads(mine[1]), json.loads(other[1]), values=True)
    equal_status(nodes, "DELETE", "/moon/0123456789")
    for headers in ({}, {"X-ZT1-Auth": "wrong"}, {"Authorization": "bearer wrong"}):
        for path in ("/status", "/nope", "/health", "/app", "/metrics", "/controller"):
            equal_status(nodes, "GET", path, headers=headers)
    for node in nodes:
        for headers, query in (({"Authorization": "bearer " + node.token()}, ""),
                               ({"x-zt1-AUTH": node.token()}, ""), ({}, "?auth=" + node.token())):
            if node.request("GET", "/status" + query, headers=headers, raw=True)[0] != 200:
                raise Failed("%s: %r %s" % (node.ns, headers, query))
        jsonp = node.request("GET", "/health?jsonp=f", raw=True)[1]
        if not jsonp.startswith("f({") or not jsonp.endswith("});"):
            raise Failed(jsonp)


def families(text):
    """Series of a metrics text: {name: type}, and {(name, labels with values out of a fixed set)}."""
    types, series = {}, set()
    fixed = ("packet_type", "protocol", "direction", "accepted", "error_type", "le", "status")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            types[line.split()[2]] = line.split()[3]
            continue
        if line.startswith("# HELP "):
            continue
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (-?[0-9.e+]+|NaN|[+-]Inf)", line)
        if not match:
            raise Failed("not a line of metrics: %r" % line)
        labels = re.findall(r'(\w+)="([^"]*)"', match.group(2) or "")
        series.add((match.group(1), tuple((k, v if k in fixed else "*") for k, v in sorted(labels))))
    return types, series


def test_interop_api_metrics(net):
    """SV-114."""
    root, ours, theirs = pair(net)
    nwid = root.create_network(private=False)
    for node in (ours, theirs):
        node.join(nwid)
    for node in (ours, theirs):
        node.wait_network(nwid)
    wait_ping("ours", theirs.ip(nwid), 30)

    def shown(node):
        return families(node.request("GET", "/metrics", raw=True)[1])

    # The reference writes its text each 5 s.
    wait_for("peers in the text", lambda: ("zt_peer_packets", (("direction", "rx"), ("node_id", "*")))
             in shown(theirs)[1], 10)
    (types, series), (their_types, their_series) = shown(ours), shown(theirs)
    missing = sorted(map(str, their_series - series))
    wrong = [name for name, kind_ in their_types.items() if types.get(name) != kind_]
    if missing or wrong:
        raise Failed("missing %s, of another type %s" % (missing, wrong))
    text = ours.request("GET", "/metrics", raw=True)[1]
    for direction in ("rx", "tx"):
        line = 'zt_network_packets{accepted="yes",direction="%s",network_id="%s"} ' % (direction, nwid)
        if int(text.split(line)[1].split()[0]) == 0:
            raise Failed("no frames counted: " + line)


def test_interop_api_of_moons(net):
    root, ours, theirs = pair(net)
    work = os.path.join(net.home, "moon")
    os.makedirs(work)
    world = json.loads(idtool("initmoon", root.public_identity()).must(0).out)
    world["roots"][0]["stableEndpoints"] = ["10.9.0.1/9993", "192.0.2.1/443"]
    with open(os.path.join(work, "m.json"), "w") as out:
        json.dump(world, out)
    idtool("genmoon", "m.json", cwd=work).must(0)
    name = "000000%s.moon" % root.address
    with open(os.path.join(work, name), "rb") as moon:
        data = moon.read()
    nodes = [ours, theirs]
    for node in nodes:
        node.kill()
        node.write("moons.d/" + name, data)
        node.start()
    mine, other = (node.get("/moon/" + root.address) for node in nodes)
    must_match("moon", mine, other, values=True)
    must_match("moons", *(node.get("/moon") for node in nodes), values=True)
    mine, other = equal_status(nodes, "POST", "/moon/" + root.address, '{"seed":"%s"}' % root.address)
    must_match("moon", json.loads(mine[1]), json.loads(other[1]), values=True)
    wait_for("MOON", lambda: all(any(p["role"] == "MOON" or p["role"] == "PLANET" for p in n.get("/peer"))
                                 for n in nodes))


def without(value, *names):
    return {key: inner for key, inner in value.items() if key not in names}


def test_interop_api_of_the_controller(net):
    root, ours, theirs = pair(net)
    nodes = [ours, theirs]
    blank = [node.post("/controller/network", {}) for node in nodes]
    volatile = ("id", "nwid", "creationTime")
    must_match("network", *(without(network, *volatile) for network in blank), values=True)
    for node, network in zip(nodes, blank):
        node.delete("/controller/network/" + network["id"])
    must_match("controller", *(json.loads(t) for _, t in equal_status(nodes, "GET", "/controller")))
    made = []
    for node in nodes:
        made.append(node.post("/controller/network/%s______" % node.address, NETWORK))
    ids = [network["id"] for network in made]
    for network, node, nwid in zip(made, nodes, ids):
        if not nwid.startswith(node.address) or network != node.get("/controller/network/" + nwid):
            raise Failed(str(network))
    must_match("network", *(without(network, *volatile) for network in made), values=True)
    for name, path in (("network", "/controller/network/NWID"), ("list", "/controller/network"),
                       ("all", "/unstable/controller/network")):
        must_match(name, *(n.get(path.replace("NWID", i)) for n, i in zip(nodes, ids)))
    stranger = "0123456789"
    for address in (stranger, root.address):
        changed = [n.post("/controller/network/%s/member/%s" % (i, address),
                          MEMBER if address == stranger else {"authorized": True})
                   for n, i in zip(nodes, ids)]
        must_match("member", *(without(m, "nwid", "creationTime", "lastAuthorizedTime") for m in changed),
                   values=True)
    for nwid in ids:
        root.join(nwid)
    for nwid in ids:
        root.wait_network(nwid)
    for address in (stranger, root.address):
        must_match("member", *(n.get("/controller/network/%s/member/%s" % (i, address))
                               for n, i in zip(nodes, ids)))
    for path in ("/controller/network/%s/member", "/unstable/controller/network/%s/member"):
        mine, other = (n.get(path % i) for n, i in zip(nodes, ids))
        if path.startswith("/unstable"):  # the reference lists members in any order
            for said in (mine, other):
                said["data"].sort(key=lambda m: m["id"])
        must_match("members" if path[1] == "c" else "all", mine, other)
    for node, nwid in zip(nodes, ids):  # deletion answers the object as it was
        before = node.get("/controller/network/%s/member/%s" % (nwid, stranger))
        if node.delete("/controller/network/%s/member/%s" % (nwid, stranger)) != before:
            raise Failed("deleted member of " + node.ns)
        before = node.get("/controller/network/" + nwid)
        if node.delete("/controller/network/" + nwid) != before:
            raise Failed("deleted network of " + node.ns)
