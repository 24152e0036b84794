"""Consoles that people run, unchanged, with our controller and with the reference's: what they ask of the two and what
they get must be the same, but for what DECIDED in interop_controller.py lists. Skipped unless ZTNCUI names the src
directory of an installed ztncui, ZERO_UI the backend directory of an installed zero-ui (both with their node_modules).

With PANLAN_RECORD=1 the sessions are written to test/data/client_*.json, in the form of interop_controller.py; the unit
test test_exchanges replays them without the consoles.
"""
import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.parse

from interop_api import pair
from interop_controller import exchange, settle, Side
from net import Failed, in_ns, Skipped, wait_for

PROXY_PORT, UI_PORT = 9990, 3000
MEMBER = "0123456789"


class Recorder:
    """A proxy in front of a node's API that notes what passes."""

    def __init__(self, node):
        self.node = node
        self.calls = []
        lock = threading.Lock()
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                sock = in_ns(node.ns, lambda: socket.create_connection(("127.0.0.1", node.port), 10))
                conn = http.client.HTTPConnection("127.0.0.1", node.port)
                conn.sock = sock
                head = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "accept-encoding")}
                conn.request(self.command, self.path, body, head)
                reply = conn.getresponse()
                data = reply.read()
                conn.close()
                with lock:
                    recorder.calls.append((self.command, self.path, body, reply.status, data.decode()))
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.headers.get("Content-Type") or "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = in_ns(node.ns, lambda: http.server.ThreadingHTTPServer(("127.0.0.1", PROXY_PORT), Handler))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def take(self, address):
        """Calls of the controller since the last time, bursts of reading in a fixed order; SELF for the address."""
        calls, run, out = self.calls, [], []
        self.calls = []
        for call in calls + [("END", "", None, 0, "")]:
            if call[0] == "GET":
                run.append(call)
                continue
            out += sorted(run, key=lambda c: c[1])
            run = []
            if call[0] != "END":
                out.append(call)
        return [(m, p.replace(address, "SELF"), b, s, t) for m, p, b, s, t in out if "/controller" in p]


class Console:
    """A console of a node, spoken to like by a browser."""

    def __init__(self, node, argv, cwd, env):
        self.node = node
        self.cookie = None
        out = open(node.log + ".console", "w")
        self.process = subprocess.Popen(["ip", "netns", "exec", node.ns] + argv, cwd=cwd, stdout=out, stderr=out,
                                        env=dict(os.environ, **env), stdin=subprocess.DEVNULL)
        out.close()
        wait_for("console", self.answers, 20)

    def answers(self):
        if self.process.poll() is not None:
            with open(self.node.log + ".console") as log:
                raise Failed("the console ended: " + log.read()[-2000:])
        try:
            return self.ask("GET", "/login")
        except OSError:
            return None

    def tell(self, path, form, recorder):
        """Post a form that is never answered, and wait for what it makes the console ask."""
        before = len(recorder.calls)
        try:
            self.ask("POST", path, form, timeout=0.2)
        except TimeoutError:
            pass
        wait_for("a call", lambda: len(recorder.calls) > before, 10)

    def ask(self, method, path, form=None, body=None, timeout=10):
        """Status, location and text of an answer."""
        sock = in_ns(self.node.ns, lambda: socket.create_connection(("127.0.0.1", UI_PORT), timeout))
        conn = http.client.HTTPConnection("127.0.0.1", UI_PORT)
        conn.sock = sock
        head = {"Cookie": self.cookie} if self.cookie else {}
        if form is not None:
            head["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(form)
        elif body is not None:
            head["Content-Type"] = "application/json"
            body = json.dumps(body)
        conn.request(method, path, body, head)
        reply = conn.getresponse()
        text = reply.read().decode()
        if reply.headers.get("Set-Cookie"):
            self.cookie = reply.headers["Set-Cookie"].split(";")[0]
        conn.close()
        return reply.status, reply.headers.get("Location"), text

    def close(self):
        self.process.kill()
        self.process.wait()


def ztncui(node, home):
    source = os.environ.get("ZTNCUI")
    if not source:
        raise Skipped("ZTNCUI names no installed ztncui")
    work = os.path.join(home, "ztncui-" + node.ns)
    shutil.copytree(source, work, ignore=shutil.ignore_patterns("node_modules"))
    os.symlink(os.path.join(source, "node_modules"), os.path.join(work, "node_modules"))
    with open(os.path.join(work, "etc", "default.passwd")) as known:
        users = json.load(known)
    users["admin"]["pass_set"] = True
    with open(os.path.join(work, "etc", "passwd"), "w") as out:
        json.dump(users, out)
    return Console(node, ["node", "bin/www"], work,
                   {"ZT_TOKEN": node.token(), "ZT_ADDR": "127.0.0.1:%d" % PROXY_PORT, "NODE_ENV": "production"})


def use_ztncui(ui, recorder):
    """CTL-35: create, easy setup, routes, pools, DNS, modes, authorize, addresses, bridge, delete."""
    def page(method, path, form=None, shows=None):
        status, location, text = ui.ask(method, path, form)
        if status >= 400 or (shows and shows not in text) or "Error" in text.split("<body")[-1]:
            raise Failed("%s %s: %d %s" % (method, path, status, text[-1500:]))
        return location, text

    page("POST", "/login", {"username": "admin", "password": "password"})
    page("GET", "/controller", shows=ui.node.address)
    location, _ = page("POST", "/controller/network/create", {"name": "office"})
    here = location
    page("GET", "/controller/networks", shows="office")
    page("GET", here, shows="office")
    page("POST", here + "/easy", {"networkCIDR": "10.33.0.0/24", "poolStart": "10.33.0.1", "poolEnd": "10.33.0.254"},
         "succeeded")
    page("POST", here + "/name", {"name": "office two"})
    for value in ("false", "true"):
        page("POST", here + "/private", {"private": value})
    page("POST", here + "/v4AssignMode", {"zt": "true"})
    page("POST", here + "/v6AssignMode", {"6plane": "true", "rfc4193": "false", "zt": "false"})
    page("POST", here + "/dns", {"domain": "lan.example", "servers": "10.33.0.1\nfd00::1\nnonsense"}, "lan.example")
    page("POST", here + "/routes", {"target": "10.34.0.0/16", "via": "10.33.0.7"}, "10.34.0.0/16")
    page("GET", here + "/routes/10.34.0.0/16/delete")
    page("POST", here + "/ipAssignmentPools", {"ipRangeStart": "10.33.0.5", "ipRangeEnd": "10.33.0.9"}, "10.33.0.9")
    page("GET", here + "/ipAssignmentPools/10.33.0.5/10.33.0.9/delete")
    ui.tell(here + "/members", {"id": MEMBER, "auth": "true"}, recorder)
    page("GET", here, shows=MEMBER)
    ui.tell(here + "/members", {"id": MEMBER, "activeBridge": "true"}, recorder)
    page("POST", here + "/member/%s/ipAssignments" % MEMBER, {"ipAddress": "10.33.0.77"}, "10.33.0.77")
    page("GET", here + "/member/" + MEMBER, shows=MEMBER)
    page("GET", here + "/member/%s/ipAssignments/0/delete" % MEMBER)
    ui.tell(here + "/members", {"id": MEMBER, "auth": "false"}, recorder)
    page("GET", here + "/member/%s/delete" % MEMBER)
    page("POST", here + "/member/%s/delete" % MEMBER)
    page("GET", here, shows="office two")
    page("POST", here + "/delete")
    page("GET", "/controller/networks")


def zero_ui(node, home):
    source = os.environ.get("ZERO_UI")
    if not source:
        raise Skipped("ZERO_UI names no installed backend of zero-ui")
    return Console(node, ["node", "bin/www.js"], source,
                   {"ZU_CONTROLLER_TOKEN": node.token(), "ZU_CONTROLLER_ENDPOINT": "http://127.0.0.1:%d/" % PROXY_PORT,
                    "ZU_DEFAULT_USERNAME": "admin", "ZU_DEFAULT_PASSWORD": "x", "ZU_DISABLE_AUTH": "true",
                    "ZU_LAST_SEEN_FETCH": "false", "PORT": str(UI_PORT), "LISTEN_ADDRESS": "127.0.0.1",
                    "ZU_DATAPATH": os.path.join(home, node.ns + "-zero-ui.json")})


def use_zero_ui(ui, _):
    """The same through the API it serves to its pages."""
    def ask(method, path, body=None):
        status, _, text = ui.ask(method, path, body=body)
        if status != 200:
            raise Failed("%s %s: %d %s" % (method, path, status, text))
        return json.loads(text) if text else None

    if ask("GET", "/controller/status")["address"] != ui.node.address:
        raise Failed("another address")
    one = ask("POST", "/api/network", {"config": {"name": "home", "private": True, "mtu": 1400}})
    here = "/api/network/" + one["id"]
    if ask("GET", "/api/network")[0]["config"]["name"] != "home":
        raise Failed("not listed")
    for config in ({"name": "home two"}, {"private": False}, {"private": True}, {"v4AssignMode": {"zt": True}},
                   {"v6AssignMode": {"zt": False, "6plane": True, "rfc4193": False}}, {"multicastLimit": 16},
                   {"enableBroadcast": False}, {"dns": {"domain": "lan", "servers": ["10.1.0.1"]}},
                   {"routes": [{"target": "10.1.0.0/24", "via": None}],
                    "ipAssignmentPools": [{"ipRangeStart": "10.1.0.1", "ipRangeEnd": "10.1.0.254"}]},
                   {"rules": [{"type": "ACTION_ACCEPT"}], "capabilities": [], "tags": []}):
        ask("POST", here, {"config": config})
    ask("POST", here, {"description": "ours"})
    for config in ({"authorized": True}, {"activeBridge": True}, {"noAutoAssignIps": True},
                   {"ipAssignments": ["10.1.0.9"]}, {"tags": [[1, 2]], "capabilities": [3]}, {"authorized": False}):
        ask("POST", here + "/member/" + MEMBER, {"config": config})
    ask("POST", here + "/member/" + MEMBER, {"name": "printer"})
    if ask("GET", here + "/member")[0]["name"] != "printer":
        raise Failed("member not listed")
    ask("GET", here + "/member/" + MEMBER)
    ask("DELETE", here)


def ztnet_requests():
    """CTL-36: what ztnet asks a controller of its own, by its published source; ztnet itself is not run, it needs
    PostgreSQL."""
    here, member = "/controller/network/LAST", "/controller/network/LAST/member/" + MEMBER
    accept = {"type": "ACTION_ACCEPT", "not": False, "or": False}
    yield "GET", "/controller", None
    yield "GET", "/controller/network", None
    yield "POST", "/controller/network/SELF______", {
        "name": "amber_lynx", "private": True, "ipAssignmentPools": [{"ipRangeStart": "10.121.15.1", "ipRangeEnd": "10.121.15.254"}],
        "routes": [{"target": "10.121.15.0/24", "via": None}], "v4AssignMode": {"zt": True}}
    yield "GET", here, None
    yield "GET", here + "/member", None
    for body in ({"v6AssignMode": {"zt": False, "6plane": True, "rfc4193": True}}, {"v4AssignMode": {"zt": True}},
                 {"routes": [{"target": "10.121.15.0/24", "via": None}, {"target": "10.5.0.0/16", "via": "10.121.15.9"}]},
                 {"ipAssignmentPools": [{"ipRangeStart": "10.121.15.1", "ipRangeEnd": "10.121.15.99"}]},
                 {"private": False}, {"private": True}, {"name": "amber"},
                 {"dns": {"domain": "amber.lan", "servers": ["10.121.15.1"]}}, {"dns": {"domain": "", "servers": []}},
                 {"mtu": "1500"}, {"multicastLimit": 16}, {"enableBroadcast": False}, {"multicastLimit": 32, "enableBroadcast": True},
                 {"rules": [{"type": "MATCH_ETHERTYPE", "not": True, "or": False, "etherType": 2048}, {"type": "ACTION_DROP"}, accept],
                  "capabilities": [{"id": 1000, "default": False, "rules": [accept]}], "tags": [{"id": 7, "default": 3}]}):
        yield "POST", here, body
    for body in ({}, {"authorized": True}, {"ipAssignments": ["10.121.15.7"]}, {"noAutoAssignIps": True}, {"activeBridge": True},
                 {"tags": [[7, 4]]}, {"capabilities": [1000]}, {"name": "printer"}, {"authorized": False}):
        yield "POST", member, body
    for _ in range(5):
        yield "GET", member, None
    yield "GET", here + "/member", None
    yield "DELETE", member, None
    yield "GET", here + "/member", None
    yield "DELETE", here, None


def test_interop_clients_requests_of_ztnet(net):
    """CTL-36."""
    _, ours, theirs = pair(net)
    sides = Side(ours, True), Side(theirs, False)
    faults, entries = [], []
    for method, path, body in ztnet_requests():
        mine, other = (side.ask(method, path, body) for side in sides)
        entries.append(exchange(method, path, body, other, mine, faults, set()))
    for node in (ours, theirs):
        if "controller_network_count" not in node.request("GET", "/metrics", raw=True)[1] and node is ours:
            raise Failed("no metrics")
    settle("client_ztnet.json", entries, faults)


def run(net, start, use, name):
    _, ours, theirs = pair(net)
    sides = Side(ours, True), Side(theirs, False)
    sessions = []
    for node in (ours, theirs):
        recorder = Recorder(node)
        console = None
        try:
            console = start(node, net.home)
            use(console, recorder)
        finally:
            if console:
                console.close()
            recorder.close()
        sessions.append(recorder.take(node.address))
    faults, entries = [], []
    if len(sessions[0]) != len(sessions[1]):
        raise Failed("%d calls instead of %d" % tuple(len(s) for s in sessions))
    for calls in zip(*sessions):
        said = []
        for side, (method, path, body, status, text) in zip(sides, calls):
            if len(side.last) == 16:
                path = path.replace("SELF" + side.last[10:], "LAST")
            said.append((method, path, body, side.digest(method, path, status, text)))
        (method, path, body, mine), (other_method, other_path, other_body, other) = said
        if (method, path, body) != (other_method, other_path, other_body):
            raise Failed("asks %s instead of %s" % (said[0][:3], said[1][:3]))
        sent = json.loads(body) if body else {}
        entries.append(exchange(method, path, sent, other, mine, faults, set()))
    settle(name, entries, faults)


def test_interop_clients_ztncui(net):
    """CTL-35."""
    run(net, ztncui, use_ztncui, "client_ztncui.json")


def test_interop_clients_zero_ui(net):
    run(net, zero_ui, use_zero_ui, "client_zero_ui.json")
