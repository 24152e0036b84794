"""Two controllers with one identity on one PostgreSQL: take-over, fencing, a database that goes away."""
import glob
import http.client
import json
import os
import signal
import subprocess
import time

from machine import is_alive
from net import Failed, Skipped, sh, wait_for

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Postgres:
    """A server of the newest version installed, in a namespace, as a user without rights."""

    reference = False

    def __init__(self, net, ns, address):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise Skipped("no PostgreSQL server is installed here")
        self.programs = os.path.dirname(found[-1])
        self.ns = net.host(ns, address + "/24")
        self.address = address
        self.home = os.path.join(net.home, ns)
        self.log = os.path.join(net.home, ns + ".log")
        self.process = None
        os.makedirs(self.home)
        os.chmod(net.home, 0o711)
        try:
            os.chown(self.home, 65534, 65534)
        except OSError as error:
            raise Skipped("a user of its own for the server: %s" % error.strerror)
        done = subprocess.run(NOBODY + [self.programs + "/initdb", "-D", self.path("data"), "-U", "panlan",
                                        "-A", "trust", "-N", "--locale=C", "--encoding=UTF8"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")
        if done.returncode != 0:
            raise Failed("initdb: " + done.stdout)
        with open(self.path("data", "pg_hba.conf"), "a") as out:
            out.write("host all all 10.9.0.0/24 trust\n")
        net.nodes.append(self)

    def path(self, *names):
        return os.path.join(self.home, *names)

    def start(self):
        with open(self.log, "a") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.ns] + NOBODY +
                [self.programs + "/postgres", "-D", self.path("data"), "-k", self.home, "-c",
                 "listen_addresses=*", "-c", "max_connections=20", "-c", "fsync=off"],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/")
        wait_for("PostgreSQL", self.answers, 30, every=0.05)
        return self

    def psql(self, sql):
        argv = ["%s/psql" % self.programs, "-h", self.home, "-U", "panlan", "-d", "postgres", "-qAt",
                "-v", "ON_ERROR_STOP=1", "-c", sql]
        return subprocess.run(NOBODY + argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd="/", stdin=subprocess.DEVNULL)

    def ask(self, sql):
        done = self.psql(sql)
        if done.returncode != 0:
            raise Failed("%s: %s" % (sql, done.stderr))
        return done.stdout.strip()

    def answers(self):
        if self.process.poll() is not None:
            raise Failed("PostgreSQL ended with %d" % self.process.returncode)
        return self.psql("SELECT 1").returncode == 0

    def kill(self):
        """Every process of it, as a crash does."""
        if self.process:
            pid = self.process.pid
            with open("/proc/%d/task/%d/children" % (pid, pid)) as handle:
                pids = [pid] + [int(child) for child in handle.read().split()]
            for one in pids:
                os.kill(one, signal.SIGKILL)
            self.process.wait()
            wait_for("end of PostgreSQL", lambda: not any(map(is_alive, pids)), 5)
        self.process = None


def state(node):
    """What a controller says of itself: (acts for its identity, reason)."""
    try:
        status, text = node.request("GET", "/controller", raw=True, timeout=5)
    except (OSError, http.client.HTTPException):
        return False, "no answer"
    return status == 200, json.loads(text).get("reason", "") if text else ""


def wait_holder(node, timeout=30):
    begin = time.monotonic()
    wait_for("%s holds the identity" % node.ns, lambda: state(node)[0], timeout)
    return time.monotonic() - begin


def site(net, members, **settings):
    """A root, a database, two controllers (the first holds the identity), members, a network."""
    database = Postgres(net, "db", "10.9.0.9").start()
    root = net.node(net.host("root", "10.9.0.1/24"))
    conf = {"settings": {"controllerDbPath": "postgres:host=10.9.0.9 user=panlan dbname=postgres"}}
    first = net.node(net.host("c1", "10.9.0.2/24"), config=conf)
    secret = first.read("identity.secret")
    second = net.node(net.host("c2", "10.9.0.3/24"), config=conf, identity=secret)
    people = [net.node(net.host("m%d" % i, "10.9.0.%d/24" % (20 + i))) for i in range(members)]
    net.make_planet([(root, "10.9.0.1/9993")])
    root.start()
    first.start()
    wait_holder(first)
    second.start()
    nwid = first.create_network(private=False, **settings)
    for node in people:
        node.start(wait=False)
    for node in people:
        node.wait_api()
    return database, first, second, people, nwid


def sockets(node):
    """UDP sockets of VL1 in the namespace of a node."""
    return [line for line in sh("ss -Huln", ns=node.ns).splitlines() if ":9993" in line]


def addresses(people, nwid):
    """Managed addresses, no two alike."""
    found = [node.ip(nwid) for node in people]
    if len(set(found)) != len(found):
        raise Failed("an address was given out twice: %r" % found)
    return found


def test_take_over_after_kill(net):
    """CTL-70, CTL-90: kill -9 while members join; measured: until the next one answers and serves."""
    _, first, second, people, nwid = site(net, 7)
    if state(second)[0] or sockets(second) or not sockets(first):
        raise Failed("who stands by is not silent: %r %r" % (state(second), sockets(second)))
    early, late = people[:4], people[4:]
    for node in early:
        node.join(nwid)
    early[0].wait_network(nwid)
    first.kill()
    begin = time.monotonic()
    for node in late:
        node.join(nwid)
    wait_holder(second)
    held = time.monotonic() - begin
    late[0].wait_network(nwid)
    print("  take-over: identity held after %.1f s, a new member has its address after %.1f s" % (
        held, time.monotonic() - begin))
    for node in people:
        node.wait_network(nwid)
    addresses(people, nwid)
    first.start()  # comes back and stands by
    wait_for("c1 stands by", lambda: "standing by" in state(first)[1], 15)
    if sockets(first) or not state(second)[0]:
        raise Failed("two of one identity: %r" % sockets(first))


def test_change_through_the_one_that_stands_by(net):
    """CTL-92: also while the connection that listens is down; and from a tool by SQL."""
    database, first, second, (member,), nwid = site(net, 1)
    member.join(nwid)
    member.wait_network(nwid)
    path = "/controller/network/" + nwid
    if second.post(path, {"name": "by c2"})["name"] != "by c2":
        raise Failed("no answer of the holder came back")
    wait_for("push of the change", lambda: member.network(nwid)["name"] == "by c2", 10)
    schema = "panlan_" + first.address
    database.ask("INSERT INTO %s.request(method, path, body) VALUES('POST', '%s', '{\"name\":\"by SQL\"}');"
                 "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name LIKE 'panlan-%%'" % (schema, path))
    wait_for("push of the second change", lambda: member.network(nwid)["name"] == "by SQL", 15)
    if database.ask("SELECT count(*) FROM %s.request WHERE status IS NULL" % schema) != "0":
        raise Failed("a request was not answered")
    status, text = second.request("POST", path + "/member/zz", {}, raw=True)
    if status != 404 or second.get(path)["name"] != "by SQL":
        raise Failed("through c2: %d %s" % (status, text))


def test_stopped_holder_can_write_nothing(net):
    """CTL-91: SIGSTOP, take-over, SIGCONT."""
    database, first, second, (member,), nwid = site(net, 1)
    member.join(nwid)
    member.wait_network(nwid)
    path = "/controller/network/%s" % nwid
    first.process.send_signal(signal.SIGSTOP)
    try:
        wait_holder(second)
        second.post(path, {"name": "new"})
    finally:
        first.process.send_signal(signal.SIGCONT)
    # Whatever it still had in mind, it is carried out by the holder or refused.
    first.request("POST", path, {"mtu": 1500}, raw=True)
    wait_for("c1 stands by", lambda: "standing by" in state(first)[1], 15)
    if not state(second)[0] or sockets(first):
        raise Failed("the stopped one acts again: %r" % (state(first),))
    if second.get(path)["name"] != "new" or first.get(path)["name"] != "new":
        raise Failed("a change was undone")
    epoch = database.ask("SELECT epoch FROM panlan_%s.lease" % first.address)
    if epoch != "2":
        raise Failed("epoch %s after one take-over" % epoch)


def test_database_killed_and_restarted(net):
    """CTL-93: what was acknowledged is there, writes resume, and nobody takes over needlessly."""
    database, first, second, (member,), nwid = site(net, 1)
    member.join(nwid)
    member.wait_network(nwid)
    path = "/controller/network/%s/member/" % nwid
    for i in range(20):
        first.post(path + "%010x" % (i + 1), {"name": "before %d" % i})
    database.kill()
    status, text = first.request("POST", path + "00000000aa", {"name": "meanwhile"}, raw=True, timeout=20)
    if status == 200:
        raise Failed("acknowledged without a database: " + text)
    database.start()
    begin = time.monotonic()

    def written():
        done, _ = first.request("POST", path + "00000000bb", {"name": "after"}, raw=True, timeout=20)
        return done == 200
    wait_for("writes resume", written, 30, every=0.1)
    print("  writes resumed %.1f s after the database" % (time.monotonic() - begin))
    stored = int(database.ask("SELECT count(*) FROM panlan_%s.member WHERE doc LIKE '%%before %%'" %
                              first.address))
    if stored != 20:
        raise Failed("%d of 20 acknowledged members are stored" % stored)
    if len(first.get("/controller/network/%s/member" % nwid)) < 22:
        raise Failed("members are missing")


def test_partition_between_holder_and_database(net):
    """CTL-90: the holder that is cut off falls silent before the other one acts."""
    _, first, second, (member,), nwid = site(net, 1)
    member.join(nwid)
    member.wait_network(nwid)
    sh("nft add table ip cut && "
       "nft 'add chain ip cut out { type filter hook output priority 0; }' && "
       "nft add rule ip cut out ip daddr 10.9.0.9 drop", ns=first.ns)
    begin = time.monotonic()
    silent = wait_for("c1 is silent", lambda: not sockets(first) and time.monotonic(), 30)
    acts = wait_for("c2 acts", lambda: sockets(second) and time.monotonic(), 30)
    print("  cut off: silent after %.1f s, the other one acts after %.1f s" % (silent - begin, acts - begin))
    if state(first)[0]:
        raise Failed("c1 still acts")
    wait_holder(second)
    second.post("/controller/network/" + nwid, {"name": "by c2"})
    wait_for("push by c2", lambda: member.network(nwid)["name"] == "by c2", 90)
    sh("nft delete table ip cut", ns=first.ns)
    wait_for("c1 stands by", lambda: "standing by" in state(first)[1], 30)
    if first.get("/controller/network/" + nwid)["name"] != "by c2":
        raise Failed("c1 does not ask the holder")
