"""The API of the hosted service against a running service: requests in the order and form in which known
clients send them, with their tokens, and the command line that makes these. Checklist: CTL-94, CTL-95,
CTL-96, CTL-99, CTL-100, CTL-101, CTL-103."""
import http.client
import json
import re
import socket

from basic import trio
from machine import Machine
from net import Failed, Skipped, in_ns, wait_for

MEMBER = "aabbccddee"
SECRET = "0123456789abcdefghijklmnopqrstuv"


def single(net, **kwargs):
    node = net.node(net.host("root", "10.9.0.1/24"), **kwargs)
    net.make_planet([(node, "10.9.0.1/9993")])
    return node.start()


class Client:
    """Talks as the Go library does: everything but 200 is a failure, what is not set is null."""

    def __init__(self, node, token, base="/api/v1", scheme="bearer"):
        self.node = node
        self.base = base
        self.head = {"Authorization": "%s %s" % (scheme, token), "User-Agent": "go-ztcentral/1",
                     "Content-Type": "application/json; charset=utf-8",
                     "Accept": "application/json; charset=utf-8"}

    def call(self, method, path, body=None):
        return self.node.request(method, self.base + path, body, self.head, raw=True)

    def good(self, method, path, body=None):
        status, text = self.call(method, path, body)
        if status != 200:
            raise Failed("%s %s: %d %s" % (method, path, status, text))
        return json.loads(text) if text else None

    def refused(self, want, method, path, body=None):
        status, text = self.call(method, path, body)
        error = json.loads(text)
        if status != want or set(error) < {"type", "message"}:
            raise Failed("%s %s: %d %s, not %d" % (method, path, status, text, want))
        return error


def make_token(node, name="test", user="0000000000000001", **fields):
    """A token of the API, made with the control token; its text."""
    body = dict(fields, tokenName=name)
    return node.post("/api/v1/user/%s/token" % user, body)["token"]


def same(what, got, want):
    if got != want:
        raise Failed("%s: %r, not %r" % (what, got, want))


def network_body(network_id, rules="accept;", **config):
    """What a provider for terraform posts of a network: all of its model, null where nothing is set."""
    whole = {"name": "tf", "private": True, "enableBroadcast": True, "multicastLimit": 32,
             "ipAssignmentPools": [], "routes": [], "v4AssignMode": {"zt": True},
             "v6AssignMode": {"zt": False, "6plane": False, "rfc4193": False},
             "dns": {"servers": None}, "capabilities": None, "creationTime": None, "id": None,
             "lastModified": None, "mtu": None, "rules": None, "tags": None}
    whole.update(config)
    return {"authorizedMemberCount": None, "capabilitiesByName": None, "clock": None, "config": whole,
            "description": "Managed by Terraform", "id": network_id, "onlineMemberCount": None,
            "ownerId": None, "rulesSource": rules, "tagsByName": None, "totalMemberCount": None}


def source_body(network_id, rules):
    """The same with a script only."""
    body = {key: None for key in network_body("")}
    body.pop("config")
    return dict(body, id=network_id, rulesSource=rules)


def member_body(network_id, **fields):
    config = {"activeBridge": False, "authorized": True, "capabilities": [], "creationTime": None,
              "id": None, "identity": None, "ipAssignments": [], "lastAuthorizedTime": None,
              "lastDeauthorizedTime": None, "noAutoAssignIps": False, "revision": None,
              "ssoExempt": False, "tags": [], "vMajor": None, "vMinor": None, "vProto": None,
              "vRev": None}
    body = {"clientVersion": None, "clock": None, "controllerId": None,
            "description": "Managed by Terraform", "hidden": False, "id": None, "lastOnline": None,
            "lastSeen": None, "name": "one", "networkId": network_id, "nodeId": MEMBER,
            "physicalAddress": None, "protocolVersion": None, "supportsRulesEngine": None,
            "config": config}
    for key, value in fields.items():
        (config if key in config else body)[key] = value
    return body


def plan(network, want):
    """What a provider compares with its state: empty when nothing is to be done."""
    config, wanted = network["config"], want["config"]
    differ = [key for key in ("description", "rulesSource") if network[key] != want[key]]
    for key in ("name", "private", "enableBroadcast", "multicastLimit", "ipAssignmentPools",
                "v4AssignMode", "v6AssignMode"):
        if config[key] != wanted[key]:
            differ.append(key)
    routes = [{"target": r["target"], "via": r["via"] or ""} for r in config["routes"]]
    if routes != wanted["routes"]:
        differ.append("routes")
    if wanted["dns"].get("servers") is not None and config["dns"] != wanted["dns"]:
        differ.append("dns")
    return differ


def test_terraform_session(net):
    """CTL-99: apply, plan without difference, change, destroy."""
    node = single(net)
    client = Client(node, make_token(node), base="/api")
    rules = ("# servers\ntag role\n  id 100\n  default 0\n  enum 1 server\n;\n\ncap admin\n  id 7\n"
             "  accept;\n;\n\ndrop\n  not ethertype ipv4\n  and not ethertype arp\n  and not ethertype ipv6\n"
             ";\n\naccept;\n")
    body = network_body("", rules, routes=[{"target": "10.42.0.0/16", "via": ""},
                                           {"target": "10.7.0.0/24", "via": "10.42.0.9"}],
                        ipAssignmentPools=[{"ipRangeStart": "10.42.9.1", "ipRangeEnd": "10.42.9.254"},
                                           {"ipRangeStart": "10.42.1.1", "ipRangeEnd": "10.42.1.254"}],
                        dns={"domain": "lan.test", "servers": ["10.42.0.2", "10.42.0.1"]})
    made = client.good("POST", "/network", body)
    nwid = made["id"]
    if not re.fullmatch(node.address + "[0-9a-f]{6}", nwid):
        raise Failed(nwid)
    changed = client.good("POST", "/network/" + nwid, source_body(nwid, rules))
    same("script", changed["rulesSource"], rules)
    same("tags", changed["tagsByName"]["role"]["id"], 100)
    same("plan", plan(client.good("GET", "/network/" + nwid), body), [])
    member = "/network/%s/member/%s" % (nwid, MEMBER)
    client.good("POST", member, {"networkId": nwid, "nodeId": MEMBER, "name": "one",
                                 "config": {"authorized": True}})
    want = member_body(nwid, ipAssignments=["10.42.0.77"], tags=[[100, 1]], capabilities=[7],
                       hidden=True, activeBridge=True)
    client.good("POST", member, want)
    got = client.good("GET", member)
    for key in ("name", "description", "hidden", "networkId", "nodeId"):
        same(key, got[key], want[key])
    for key in ("activeBridge", "authorized", "capabilities", "ipAssignments", "noAutoAssignIps",
                "ssoExempt", "tags"):
        same(key, got["config"][key], want["config"][key])
    body = network_body(nwid, "accept;", name="renamed", routes=body["config"]["routes"][:1],
                        ipAssignmentPools=body["config"]["ipAssignmentPools"][1:],
                        dns={"domain": "x.test", "servers": []})
    client.good("POST", "/network/" + nwid, body)
    client.good("POST", "/network/" + nwid, source_body(nwid, "accept;"))
    after = client.good("GET", "/network/" + nwid)
    same("plan after a change", plan(after, body), [])
    same("tags", (after["config"]["tags"], after["tagsByName"]), ([], {}))
    revision = node.get("/controller/network/" + nwid)["revision"]
    client.good("POST", "/network/" + nwid, body)
    same("revision", node.get("/controller/network/" + nwid)["revision"], revision)
    client.good("DELETE", member)
    client.refused(404, "GET", member)
    client.good("DELETE", "/network/" + nwid)
    client.refused(404, "GET", "/network/" + nwid)
    same("networks", client.good("GET", "/network"), [])


def test_terraform_token(net):
    """A token that is made with a text of the server's choice, used, and gone."""
    node = single(net)
    client = Client(node, make_token(node))
    user = client.good("GET", "/status")["user"]["id"]
    secret = client.good("GET", "/randomToken")["token"]
    client.good("POST", "/user/%s/token" % user, {"token": secret, "tokenName": "by terraform"})
    other = Client(node, secret)
    if "by terraform" not in other.good("GET", "/status")["user"]["tokens"]:
        raise Failed("the name of the token is not shown")
    client.good("DELETE", "/user/%s/token/by%%20terraform" % user)
    other.refused(401, "GET", "/status")


def test_name_server_reads_names_and_writes_dns(net):
    """CTL-100: the requests of zeronsd, and what members get of it."""
    root, a, b, nwid = trio(net)
    client = Client(root, make_token(root))
    client.good("POST", "/network/%s/member/%s" % (nwid, a.address), {"name": "alpha"})
    network = client.good("GET", "/network/" + nwid)
    network["config"]["dns"] = {"domain": "home.test", "servers": [a.ip(nwid)]}
    network = client.good("POST", "/network/" + nwid, network)
    same("dns", network["config"]["dns"], {"domain": "home.test", "servers": [a.ip(nwid)]})
    same("6plane", network["config"]["v6AssignMode"]["6plane"], False)
    names = {}
    for member in client.good("GET", "/network/%s/member" % nwid):
        if member["config"]["authorized"]:
            names[member["name"] or member["nodeId"]] = member["config"]["ipAssignments"]
            same("online", member["online"], True)
            if not re.fullmatch(r"10\.9\.0\.\d", member["physicalAddress"] or "") or \
                    not re.fullmatch(r"\d+\.\d+\.\d+", member["clientVersion"]):
                raise Failed(str(member))
    same("names", names, {"alpha": [a.ip(nwid)], b.address: [b.ip(nwid)]})
    wait_for("dns at the member",
             lambda: b.network(nwid)["dns"] == {"domain": "home.test", "servers": [a.ip(nwid)]})


def raw_status(node, path, head, method="GET"):
    """Status and headers of one request."""
    sock = in_ns(node.ns, lambda: socket.create_connection(("127.0.0.1", node.port), 10))
    conn = http.client.HTTPConnection("127.0.0.1", node.port)
    conn.sock = sock
    try:
        conn.request(method, path, None, head)
        reply = conn.getresponse()
        reply.read()
        return reply.status, dict(reply.getheaders())
    finally:
        conn.close()


def test_schemes_and_errors(net):
    """CTL-94, CTL-95: with every way to say the token; without one no answer but 401."""
    node = single(net)
    token = make_token(node)
    for base in ("/api", "/api/v1"):
        for scheme in ("token", "bearer", "Bearer", "TOKEN", "bEaReR"):
            same(scheme, Client(node, token, base, scheme).good("GET", "/status")["id"],
                 "central_status")
            Client(node, node.token(), base, scheme).good("GET", "/status")
    for scheme, text in (("bearer", token + "x"), ("bearer", ""), ("basic", token), ("bearer", token[:-1])):
        for path in ("/status", "/network", "/nothing", ""):
            error = Client(node, text, scheme=scheme).refused(401, "GET", path)
            same("type", error["type"], "unauthorized")
    Client(node, token).refused(404, "GET", "/nothing")
    Client(node, token).refused(400, "POST", "/network", "{")
    Client(node, token).refused(404, "PATCH", "/network", "{}")
    status, head = raw_status(node, "/api/v1/network", {"Authorization": "token " + token})
    same("status", status, 200)
    if int(head["X-Ratelimit-Limit"]) <= int(head["X-Ratelimit-Remaining"]) or \
            not re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head["X-Ratelimit-Reset"]):
        raise Failed(str(head))
    # the token of a person is none for the node, nor for the other carriers that only that one has
    for path in ("/status", "/network", "/peer", "/metrics"):
        same(path, raw_status(node, path, {"Authorization": "bearer " + token})[0], 401)
    same("query", raw_status(node, "/api/v1/status?auth=" + token, {})[0], 401)
    same("header", raw_status(node, "/controller", {"X-ZT1-Auth": token})[0], 200)
    same("page", raw_status(node, "/api/v1/status", {"Authorization": "bearer " + token,
                                                     "Origin": "http://elsewhere.test"})[0], 401)


def test_scopes_hold_for_both_apis_and_over_restarts(net):
    """CTL-101, CTL-103."""
    node = single(net)
    nwid = node.create_network()
    other = node.create_network(name="other")
    client = Client(node, make_token(node, scope=["read", "authorize"], networks=[nwid]))
    member = "/network/%s/member/%s" % (nwid, MEMBER)
    for _ in range(2):
        same("networks", [n["id"] for n in client.good("GET", "/network")], [nwid])
        client.good("POST", member, {"config": {"authorized": True}, "name": "ci"})
        client.good("DELETE", member)
        client.refused(403, "POST", "/network/" + nwid, {"config": {"name": "mine"}})
        client.refused(404, "GET", "/network/" + other)
        client.refused(403, "POST", "/network", {})
        status, text = node.request("GET", "/controller/network", None, client.head, raw=True)
        same("controller", (status, json.loads(text)), (200, [nwid]))
        for path, body, want in (("/controller/network/" + other, {"name": "x"}, 404),
                                 ("/controller/network/" + nwid, {"name": "x"}, 403),
                                 ("/controller/network/%s/member/%s" % (nwid, MEMBER),
                                  {"authorized": True}, 200)):
            same(path, node.request("POST", path, body, client.head, raw=True)[0], want)
        client.good("DELETE", member)
        node.stop()
        node.start()
    secret = client.head["Authorization"].split()[1]
    with open(node.path("controller.d", "controller.sqlite"), "rb") as handle:
        if secret.encode() in handle.read():
            raise Failed("the text of a token is in the database")
    listed = node.get("/api/v1/user/0000000000000001/token")[0]
    if listed["lastUsed"] < 1600000000000 or "hash" in listed or "token" in listed:
        raise Failed(str(listed))


def test_too_many_requests(net):
    """429 with a time to wait, and service again after it."""
    node = single(net)
    token = make_token(node)
    sock = in_ns(node.ns, lambda: socket.create_connection(("127.0.0.1", node.port), 10))
    request = ("GET /api/v1/randomToken HTTP/1.1\r\nHost: localhost\r\nAuthorization: bearer %s\r\n\r\n"
               % token).encode()
    sock.settimeout(10)
    seen = b""
    for _ in range(40):
        sock.sendall(request * 50)
        answers = 0
        while answers < 50:
            seen += sock.recv(65536)
            answers = len(re.findall(rb"HTTP/1\.1 \d+ ", seen))
        if b"HTTP/1.1 429 " in seen:
            break
        seen = b""
    sock.close()
    if b"HTTP/1.1 429 " not in seen or b"Retry-After: 1" not in seen:
        raise Skipped("this machine answers fewer requests in a second than are allowed")
    wait_for("service again", lambda: Client(node, token).call("GET", "/status")[0] == 200)


def test_command_line(net):
    """Tokens and people by the command line."""
    m = Machine(net, "m", "10.9.0.2/24")
    m.ok("up", "--root", "10.9.0.2/9993", "--name", "lan")
    nwid = m.get("/controller/network")[0]
    token = m.ok("controller", "token", "create", "ci job", "--scope", "read,authorize", "--network",
                 nwid, "--expires", "1h").strip()
    if not re.fullmatch(r"[A-Za-z0-9]{32}", token):
        raise Failed(token)
    client = Client(m, token)
    client.good("POST", "/network/%s/member/%s" % (nwid, MEMBER), {"config": {"authorized": True}})
    client.refused(403, "DELETE", "/network/" + nwid)
    if not re.fullmatch(r"<name> .*\nci job read,authorize %s 20\S+Z 20\S+Z\n" % nwid,
                        m.ok("controller", "token", "list")):
        raise Failed(m.ok("controller", "token", "list"))
    m.refuses("controller", "token", "create", "ci job", says="already")
    m.refuses("controller", "token", "create", "x", "--scope", "all", says="scope")
    same("revoked", m.ok("controller", "token", "revoke", "ci job"), "revoked ci job\n")
    client.refused(401, "GET", "/status")
    m.refuses("controller", "token", "revoke", "ci job", says="no such token")
    user = m.ok("controller", "user", "add", "Ann", "--email", "ann@x.test").strip()
    ann = Client(m, m.ok("controller", "token", "create", "t", "--user", user).strip())
    same("networks", ann.good("GET", "/network"), [])
    m.ok("controller", "user", "grant", user, nwid, "read,modify")
    ann.good("POST", "/network/" + nwid, {"description": "by Ann"})
    m.ok("controller", "user", "grant", user, nwid, "none")
    ann.refused(404, "GET", "/network/" + nwid)
    if user + " user ann@x.test Ann\n" not in m.ok("controller", "user", "list"):
        raise Failed(m.ok("controller", "user", "list"))
    m.ok("controller", "user", "delete", user)
    ann.refused(401, "GET", "/status")
    m.refuses("controller", "user", "delete", user, says="no such user")
