"""Webhooks against a receiver as published libraries have it: signature, failures, a daemon that is
killed while it delivers, redirects, TLS that proves nothing; the log by command line.
CTL-104, CTL-105, CTL-106, CTL-119."""
import hashlib
import hmac
import http.server
import json
import re
import threading
import time

from machine import Machine
from net import Failed, in_ns, wait_for

SECRETS = ["%064x" % 0x1234, "ab" * 20]


class Receiver:
    """An HTTP server on 127.0.0.1 of a namespace; answers[i] is what request i gets: a status, or
    None to say nothing until close()."""

    def __init__(self, ns, answers=(), location=None):
        self.got = []
        self.answers = list(answers)
        self.gate = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                index = len(outer.got) - 1
                status = outer.answers[index] if index < len(outer.answers) else 200
                if status is None:
                    outer.gate.wait(30)
                    return
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                try:
                    self.wfile.write(b"x" * 1000)
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        self.server = in_ns(ns, lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/hook?k3y=1" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, timeout=20):
        wait_for("%d posts, have %d" % (count, len(self.got)),
                 lambda: len(self.got) >= count, timeout)
        return self.got[count - 1]

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


def verified(headers, body, secret):
    """As the published receivers do: every pair whose name contains a "v" may match."""
    pairs = [pair.split("=", 1) for pair in headers["X-ZTC-Signature"].split(",")]
    stamp = dict(pairs)["t"]
    if abs(time.time() - int(stamp)) > 300:
        raise Failed("old signature: %s" % stamp)
    want = hmac.new(bytes.fromhex(secret), ("%s," % stamp).encode() + body,
                    hashlib.sha256).hexdigest()
    return any("v" in name and hmac.compare_digest(value, want) for name, value in pairs)


def check(post, kind, secrets=SECRETS):
    path, headers, body = post
    if path != "/hook?k3y=1" or headers["Content-Type"] != "application/json":
        raise Failed("post: %r %r" % (path, headers))
    for secret in secrets:
        if not verified(headers, body, secret):
            raise Failed("bad signature: %r" % headers)
    if verified(headers, body, "00" * 32):
        raise Failed("any secret verifies")
    event = json.loads(body)
    if event["hook_type"] != kind:
        raise Failed("got %s, not %s" % (event["hook_type"], kind))
    return event


def make_hook(hub, url, **settings):
    return hub.post("/controller/hook", dict({"url": url, "secrets": SECRETS}, **settings))["id"]


def deliveries(hub, hook):
    return hub.get("/controller/hook/%s/delivery" % hook)["data"]


def state_of(hub, hook, index=0):
    return deliveries(hub, hook)[index]["state"]


def test_delivery_over_failures_and_a_kill(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.ok("up")
    receiver = Receiver(hub.ns, answers=[500, 500, None, 204])
    try:
        hook = make_hook(hub, receiver.url, types=["NETWORK_CREATED"])
        nwid = hub.post("/controller/network", {"name": "told"})["id"]
        event = check(receiver.wait(1), "NETWORK_CREATED")
        if event["network_id"] != nwid or event["network_config"]["name"] != "told":
            raise Failed("event: %r" % event)
        failed = wait_for("first failure", lambda: [
            d for d in deliveries(hub, hook) if d["attempt"] == 1 and d["status"] == 500])[0]
        if not 50000 < failed["next"] - failed["time"] <= 60000:
            raise Failed("pause: %r" % failed)
        again = "/controller/hook/%s/delivery/%s/retry" % (hook, failed["id"])
        hub.post(again, {})
        receiver.wait(2)
        wait_for("second failure", lambda: deliveries(hub, hook)[0]["attempt"] == 2)
        hub.post(again, {})
        receiver.wait(3)  # says nothing: the delivery is under way
        hub.kill()
        hub.ok("up")
        if check(receiver.wait(4), "NETWORK_CREATED") != event:
            raise Failed("another body after the restart")
        wait_for("delivered", lambda: state_of(hub, hook) == "delivered")
        if len(receiver.got) != 4 or len({h["X-Panlan-Delivery"] for _, h, _ in receiver.got}) != 1:
            raise Failed("%d posts" % len(receiver.got))
    finally:
        receiver.close()


def test_events_of_a_member(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.ok("up")
    member = Machine(net, "m1", "10.9.0.11/24")
    receiver = Receiver(hub.ns)
    try:
        make_hook(hub, receiver.url)
        out = hub.ok("invite", hub.get("/controller/network")[0])
        member.ok("join", out.strip())
        kinds = ["NETWORK_JOIN", "NETWORK_AUTH", "MEMBER_CONFIG_CHANGED"]
        for index, kind in enumerate(kinds):
            event = check(receiver.wait(index + 1), kind)
            if event["member_id"] != member.address:
                raise Failed("event: %r" % event)
        if not event["new_config"]["ipAssignments"] or event["old_config"]["ipAssignments"]:
            raise Failed("addresses: %r" % event)
        if any(b"token:" in body or b"authTokens\":{" in body for _, _, body in receiver.got):
            raise Failed("a token was told")
        nwid = event["network_id"]
        hub.ok("member", "deauthorize", nwid, member.address)
        check(receiver.wait(4), "NETWORK_DEAUTH")
        history = hub.ok("controller", "history", nwid, member.address)
        for what in ("member.request", "member.authorized", "member.address", "member.deauthorized"):
            if not re.search(r"^\S+ \S+ +%s " % re.escape(what), history, re.M):
                raise Failed("no %s in\n%s" % (what, history))
        if not re.search(r"member.deauthorized +cli ", history):
            raise Failed("who did it?\n" + history)
    finally:
        receiver.close()


def test_redirects_and_unknown_certificates_are_failures(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.ok("up")
    target = Receiver(hub.ns)
    receiver = Receiver(hub.ns, answers=[307], location=target.url)
    try:
        hook = make_hook(hub, receiver.url)
        hub.post("/controller/hook/%s/test" % hook, {})
        check(receiver.wait(1), "TEST")
        wait_for("failure", lambda: deliveries(hub, hook)[0].get("status") == 307)
        other = make_hook(hub, receiver.url.replace("http:", "https:"))
        hub.post("/controller/hook/%s/test" % other, {})
        wait_for("failure", lambda: deliveries(hub, other)[0].get("error"))
        if deliveries(hub, other)[0]["status"] != 0 or target.got:
            raise Failed("%r %r" % (deliveries(hub, other), target.got))
        hub.delete("/controller/hook/" + hook)
        # a stop does not wait for a receiver that says nothing
        silent = Receiver(hub.ns, answers=[None])
        hook = make_hook(hub, silent.url)
        hub.post("/controller/hook/%s/test" % hook, {})
        silent.wait(1)
        begin = time.monotonic()
        hub.ok("down")
        if time.monotonic() - begin > 8:
            raise Failed("down took %.1f s" % (time.monotonic() - begin))
        silent.close()
    finally:
        receiver.close()
        target.close()


def test_log_by_command_line(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.ok("up")
    nwid = hub.get("/controller/network")[0]
    hub.ok("net", "set", nwid, "name=renamed")
    hub.post("/controller/network/" + nwid, {"name": "again"})
    entries = json.loads(hub.ok("--json", "controller", "log", "--type", "network.changed"))
    found = [(e["actor"]["kind"], e["source"], e["old"].get("name"), e["new"].get("name"))
             for e in entries if "name" in e["new"]]
    if found[:2] != [("control token", "127.0.0.1", "renamed", "again"),
                     ("cli", "127.0.0.1", found[1][2], "renamed")]:
        raise Failed("log: %r" % found)
    text = hub.ok("controller", "log", "--network", nwid, "--limit", "1")
    if not re.search(r'network.changed +control token \(127.0.0.1\) .*name: "renamed" -> "again"',
                     text):
        raise Failed("log:\n" + text)
    for words in (("log", "--network", "zz"), ("log", "--since", "x"), ("history", nwid),
                  ("hook", "add"), ("hook", "test", "zz")):
        code, out, err = hub.panlan("controller", *words)
        if code != 2 or out or not err.startswith("Usage: panlan controller "):
            raise Failed("%s: %d %r %r" % (words, code, out, err))


def test_hooks_by_command_line(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.ok("up")
    receiver = Receiver(hub.ns)
    try:
        out = hub.ok("controller", "hook", "add", receiver.url, "--types", "NETWORK_DELETED",
                     "--description", "for us")
        made = re.fullmatch(r"created ([0-9a-f]{16})\nsecret ([0-9a-f]{64})\n", out)
        hub.ok("controller", "hook", "test", made.group(1))
        check(receiver.wait(1), "TEST", [made.group(2)])
        wait_for("delivered", lambda: state_of(hub, made.group(1)) == "delivered")
        line = hub.ok("controller", "hook", "deliveries", made.group(1))
        found = re.fullmatch(r"(\w{16})  \S+ \S+  TEST +delivered +attempts=1 status=200 \n", line)
        if not found:
            raise Failed(line)
        hub.ok("controller", "hook", "retry", made.group(1), found.group(1))
        receiver.wait(2)
        hub.ok("controller", "hook", "set", made.group(1), "--disable")
        line = hub.ok("controller", "hook", "list")
        if not re.fullmatch(r"\w{16}  disabled  http://\S+ +for us  NETWORK_DELETED\n", line):
            raise Failed(line)
        hub.refuses("controller", "hook", "test", made.group(1), says="not enabled")
        hub.refuses("controller", "hook", "add", "ftp://example.org", says="url must begin")
        hub.ok("controller", "hook", "delete", made.group(1))
        if hub.ok("controller", "hook", "list") != "":
            raise Failed("it is still there")
    finally:
        receiver.close()
