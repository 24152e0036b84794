"""Single sign-on: members log in at a provider of the test's own, and are out when the login ends."""
import base64
import http.client
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse

from net import Failed, in_ns, ping, sh, wait_for, wait_ping


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An OpenID Connect provider at 127.0.0.1:8080 of a namespace, as far as controllers ask it."""

    def __init__(self, net, ns):
        self.issuer = "http://127.0.0.1:8080/realm"
        self.key = os.path.join(net.home, "provider.pem")
        self.asked = []
        sh("openssl genrsa -out %s 2048" % self.key)
        text = sh("openssl rsa -in %s -noout -modulus" % self.key)
        modulus = bytes.fromhex(text.strip().split("=")[1])
        keys = {"keys": [{"kty": "RSA", "use": "sig", "kid": "one", "n": b64(modulus), "e": "AQAB"}]}
        pages = {
            "/realm/.well-known/openid-configuration": {"issuer": self.issuer,
                                                        "jwks_uri": self.issuer + "/keys"},
            "/realm/keys": keys,
        }
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked.append(self.path)
                page = pages.get(self.path)
                self.send_response(200 if page else 404)
                self.end_headers()
                self.wfile.write(json.dumps(page or {}).encode())

            def log_message(self, *args):
                pass

        self.server = in_ns(ns, lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, nonce, seconds, **claims):
        now = int(time.time())
        claims = dict({"iss": self.issuer, "aud": "panlan", "sub": "ann", "nonce": nonce, "iat": now,
                       "exp": now + seconds}, **claims)
        text = "%s.%s" % (b64(b'{"alg":"RS256","kid":"one"}'), b64(json.dumps(claims).encode()))
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                   input=text.encode(), check=True, stdout=subprocess.PIPE).stdout
        return text + "." + b64(signature)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def place(net, reference=False):
    """A controller whose network wants logins, a member without need of one, one that needs one."""
    config = {"settings": {"ssoRedirectURL": "https://controller.example/sso"}}
    root = net.node(net.host("root", "10.9.0.1/24"), config=config)
    a = net.node(net.host("a", "10.9.0.2/24"))
    b = net.node(net.host("b", "10.9.0.3/24"), reference=reference)
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in (root, a, b):
        node.start()
    provider = Provider(net, "root")
    nwid = root.create_network(ssoEnabled=True, ssoConfig={
        "issuer": provider.issuer, "clientId": "panlan", "mode": "default",
        "authorizationEndpoint": provider.issuer + "/auth"})
    root.authorize(nwid, a, ssoExempt=True)
    root.authorize(nwid, b)
    for node in (a, b):
        node.join(nwid)
    a.wait_network(nwid)
    return root, a, b, nwid, provider


def login_of(node, nwid):
    """What the member is sent to: the query of the URL that it shows."""
    node.wait_network(nwid, "AUTHENTICATION_REQUIRED")
    url = urllib.parse.urlparse(node.network(nwid)["authenticationURL"])
    query = dict(urllib.parse.parse_qsl(url.query))
    if not url.path.endswith("/auth") or query["redirect_uri"] != "https://controller.example/sso":
        raise Failed(url.geturl())
    return query


def post(root, **form):
    """As the page of the provider makes a browser do: no token of ours, its own origin."""
    return root.request("POST", "/sso", urllib.parse.urlencode(form), raw=True, headers={
        "Content-Type": "application/x-www-form-urlencoded", "Origin": "https://login.example",
        "Host": "controller.example"})


def check_login(root, a, b, nwid, provider):
    query = login_of(b, nwid)
    token = provider.token(query["nonce"], 3600)
    bent = token[:-8] + ("A" if token[-8] != "A" else "B") + token[-7:]
    status, page = post(root, id_token=bent, state=query["state"])
    if status != 403 or "not signed" not in page:
        raise Failed("%d %s" % (status, page))
    status, page = post(root, id_token=provider.token("00" * 16, 3600), state=query["state"])
    if status != 400:
        raise Failed("%d %s" % (status, page))
    if b.network(nwid)["status"] == "OK":
        raise Failed("in without a login")
    status, page = post(root, id_token=token, state=query["state"])
    if status != 200:
        raise Failed("%d %s" % (status, page))
    b.wait_network(nwid)
    wait_ping("b", a.ip(nwid))
    if len(provider.asked) != 2:  # place and keys, asked for once for all tokens
        raise Failed(str(provider.asked))


def test_login_and_its_end(net):
    root, a, b, nwid, provider = place(net)
    try:
        check_login(root, a, b, nwid, provider)
        member = "/controller/network/%s/member/%s" % (nwid, b.address)
        root.post(member, {"authenticationExpiryTime": int(time.time() * 1000) + 1500})
        wait_for("the end of the login", lambda: ping("b", a.ip(nwid), 3, deadline=1) == 3, 30)
        if not root.get(member)["authorized"]:
            raise Failed("the end of a login has taken the authorization")
        query = login_of(b, nwid)
        status, page = post(root, id_token=provider.token(query["nonce"], 3600), state=query["state"])
        if status != 200:
            raise Failed("%d %s" % (status, page))
        wait_ping("b", a.ip(nwid), 30)
    finally:
        provider.close()


def test_logins_end_with_the_daemon(net):
    """A login that waits for a provider that does not answer neither holds up others nor the stop."""
    root, a, b, nwid, provider = place(net)
    provider.close()
    query = login_of(b, nwid)
    silent = in_ns("root", lambda: socket.create_server(("127.0.0.1", 8080)))
    done = []

    def log_in():
        try:
            done.append(post(root, id_token=provider.token(query["nonce"], 3600),
                             state=query["state"])[0])
        except (OSError, http.client.HTTPException):
            done.append(0)  # the end came before the answer was out

    thread = threading.Thread(target=log_in)
    thread.start()
    silent.accept()
    if not root.get("/status")["address"]:
        raise Failed("API is held up")
    took = root.stop()
    thread.join(5)
    silent.close()
    if took > 3 or done not in ([0], [502]):
        raise Failed("stop took %.1f s, answer %r" % (took, done))
