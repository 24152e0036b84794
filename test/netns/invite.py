"""`panlan up`, invitations, and the commands for networks and members, from empty homes."""
import base64
import hashlib
import json
import os
import re
import time

from machine import Machine
from net import Failed, ping, sh, tcp_transfer, wait_for, wait_ping

QUICK_S = 3.0  # a command that has nothing to do, under sanitizers and load


def first(net, *args, name="hub", address="10.9.0.1/24"):
    """A machine after `panlan up`; (machine, network ID, invitation)."""
    hub = Machine(net, name, address)
    out = hub.ok("up", *args)
    return hub, network_of(out), invitation_of(out)


def network_of(out):
    return re.search(r"^network +([0-9a-f]{16}) ", out, re.M).group(1)


def invitation_of(out):
    return re.search(r"^panlan join (panlan1:\S+)$", out, re.M).group(1)


def invite(hub, nwid, *args):
    """The text of a new invitation: exactly one line."""
    out = hub.ok("invite", nwid, *args)
    if not re.fullmatch(r"panlan1:[A-Za-z0-9_-]+\n", out):
        raise Failed("invitation: %r" % out)
    return out.strip()


def member(net, index):
    return Machine(net, "m%d" % index, "10.9.0.%d/24" % (10 + index))


def joined(machine, text, nwid):
    """Join by an invitation and check what is said; the managed address."""
    out = machine.ok("join", text)
    address = re.search(r"^address (\S+)/\d+$", out, re.M)
    if not out.startswith("joined %s " % nwid) or not address:
        raise Failed("join said %r" % out)
    if machine.network(nwid)["status"] != "OK":
        raise Failed("joined, but %r" % machine.network(nwid))
    return address.group(1)


def uses_left(hub, nwid, text):
    """Uses left of the token in an invitation; None when it is gone."""
    raw = base64.urlsafe_b64decode(text[8:] + "=" * (-(len(text) - 8) % 4))
    token = raw[11:11 + raw[10]].decode()
    for item in hub.get("/controller/network/%s/invite-token" % nwid)["data"]:
        if item["token"] == token:
            return item["uses"]
    return None


def reseal(raw):
    """The text of an invitation from its bytes without checksum."""
    data = raw + hashlib.blake2b(raw, digest_size=32).digest()[:8]
    return "panlan1:" + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def opened(text):
    """The bytes of an invitation without checksum."""
    return base64.urlsafe_b64decode(text[8:] + "=" * (-(len(text) - 8) % 4))[:-8]


# ---- up and down ----

def test_up_on_a_bare_machine_and_again(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    out = hub.ok("up")
    nwid = network_of(out)
    status = hub.get("/status")
    address = hub.network(nwid)["assignedAddresses"][0]
    for what in ("node       %s " % status["address"], "home       %s\n" % hub.home,
                 "planet     %016x, " % status["planetWorldId"], '"home" OK\n',
                 "address    %s\n" % address, "API        http://127.0.0.1:9993 "):
        if what not in out:
            raise Failed("%r is not in %s" % (what, out))
    if not nwid.startswith(status["address"]) or status["planetWorldId"] == 149604618:
        raise Failed("network %s, status %r" % (nwid, status))
    if address.split("/")[0] not in sh("ip -o addr show dev " + hub.device(nwid), ns="hub"):
        raise Failed("no address on the device")
    for name in ("identity.secret", "authtoken.secret", "planet.json"):
        if os.stat(hub.path(name)).st_mode & 0o777 != 0o600:
            raise Failed("mode of " + name)
    pid, before = hub.pid(), hub.state()
    begin = time.monotonic()
    again = hub.ok("up")
    took = time.monotonic() - begin
    if again != out or hub.pid() != pid or hub.state() != before or took > QUICK_S:
        raise Failed("second up in %.1f s: %s" % (took, again))
    if hub.get("/controller/network") != [nwid]:
        raise Failed("networks %r" % hub.get("/controller/network"))


def test_up_after_down_restores_everything(net):
    hub, nwid, text = first(net, "--name", "lab one", "--root", "10.9.0.1/9993")
    before = hub.get("/network/" + nwid)["assignedAddresses"]
    begin = time.monotonic()
    if hub.ok("down") != "stopped\n" or time.monotonic() - begin > 2:
        raise Failed("down took %.1f s" % (time.monotonic() - begin))
    if hub.is_running() or os.path.exists(hub.path("zerotier-one.pid")):
        raise Failed("still there")
    if "zt" in sh("ip -o link", ns="hub"):
        raise Failed("a device stayed")
    if "no service runs" not in hub.ok("down"):
        raise Failed("second down")
    out = hub.ok("up")
    if network_of(out) != nwid or invitation_of(out) != text or '"lab one" OK' not in out:
        raise Failed(out)
    if hub.get("/network/" + nwid)["assignedAddresses"] != before:
        raise Failed("another address")


def test_stop_of_every_service_in_two_seconds(net):
    """SV-110: with ten networks, their devices and peers."""
    hub, nwid, text = first(net)
    a = member(net, 1)
    wait_ping("hub", joined(a, text, nwid))
    for i in range(9):
        out = hub.ok("net", "create", "--name", "n%d" % i, "--subnet", "10.%d.0.0/16" % (50 + i))
        other = re.fullmatch(r"created ([0-9a-f]{16})\n", out).group(1)
        joined(a, invite(hub, other), other)
    if sh("ip -o link", ns="m1").count(": zt") != 10:
        raise Failed(sh("ip -o link", ns="m1"))
    for machine in (a, hub):
        took = machine.stop()
        if took > 2:
            raise Failed("%s stopped in %.1f s" % (machine.ns, took))


def test_up_says_what_is_wrong(net):
    hub = Machine(net, "hub", "10.9.0.1/24")
    hub.refuses("up", "--root", "nonsense", says="--root wants IP/PORT", code=2)
    hub.refuses("up", "--port", "99999", code=2)
    bare = Machine(net, "bare")
    bare.refuses("up", says="no usable address")
    hub.write("identity.secret", "this is no identity")
    hub.refuses("up", says="identity")
    if hub.read("identity.secret") != "this is no identity" or hub.is_running():
        raise Failed("the damaged identity was replaced")


def test_first_network_avoids_the_subnets_of_the_machine(net):
    hub = Machine(net, "hub", "10.9.0.1/16", "10.64.0.1/10", "172.16.0.1/12", "192.168.0.1/16")
    out = hub.ok("up")
    target = hub.network(network_of(out))["routes"][0]["target"]
    for taken in ("10.9.0.0/16", "10.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"):
        code = sh("python3 -c 'import ipaddress as i; print(i.ip_network(\"%s\").overlaps("
                  "i.ip_network(\"%s\")))'" % (target, taken)).strip()
        if code != "False":
            raise Failed("%s touches %s" % (target, taken))


# ---- joining ----

def test_join_by_invitation_and_ping(net):
    hub, nwid, text = first(net)
    a, b = member(net, 1), member(net, 2)
    ips = [joined(machine, text, nwid) for machine in (a, b)]
    if len(set(ips)) != 2:
        raise Failed("the same address twice: %r" % ips)
    wait_ping("m1", ips[1])
    wait_ping("m2", hub.ip(nwid))
    a.wait_direct(b)
    if ping("m1", ips[1], 20) or ping("m2", ips[0], 20):
        raise Failed("pings lost")
    tcp_transfer("m1", "m2", ips[1])
    if a.get("/status")["planetWorldId"] != hub.get("/status")["planetWorldId"]:
        raise Failed("another planet")


def test_join_again_changes_nothing(net):
    hub, nwid, text = first(net)
    a = member(net, 1)
    ip = joined(a, text, nwid)
    pid, before = a.pid(), a.state()
    begin = time.monotonic()
    if joined(a, text, nwid) != ip or time.monotonic() - begin > QUICK_S:
        raise Failed("second join took %.1f s" % (time.monotonic() - begin))
    if a.pid() != pid or a.state() != before:
        raise Failed("second join changed the home")


def test_folded_invitation_is_read(net):
    """Mail programs fold long lines and quote them with blanks."""
    hub, nwid, text = first(net)
    folded = "  " + "\n ".join(text[i:i + 60] for i in range(0, len(text), 60)) + "\r\n"
    joined(member(net, 1), folded, nwid)


def test_uses_are_counted_at_first_authorization(net):
    hub, nwid, _ = first(net)
    text = invite(hub, nwid, "--uses", "2")
    a, b, c = (member(net, i) for i in (1, 2, 3))
    joined(a, text, nwid)
    if uses_left(hub, nwid, text) != 1:
        raise Failed("after one: %r" % uses_left(hub, nwid, text))
    joined(a, text, nwid)
    a.ok("leave", nwid)
    joined(a, text, nwid)
    a.stop()
    joined(a, text, nwid)
    if uses_left(hub, nwid, text) != 1:
        raise Failed("joining again cost a use: %r" % uses_left(hub, nwid, text))
    joined(b, text, nwid)
    if uses_left(hub, nwid, text) is not None:
        raise Failed("after two: %r" % uses_left(hub, nwid, text))
    c.refuses("join", text, says="used up, expired or withdrawn")
    if c.network(nwid)["status"] != "ACCESS_DENIED":
        raise Failed(str(c.network(nwid)))
    joined(a, text, nwid)  # a member needs no use
    members = hub.get("/controller/network/%s/member" % nwid)
    if set(members) != {m.address for m in (hub, a, b, c)}:
        raise Failed("members %r" % members)


def test_uses_survive_a_kill_of_the_controller(net):
    hub, nwid, _ = first(net)
    text = invite(hub, nwid, "--uses", "1")
    a, b = member(net, 1), member(net, 2)
    joined(a, text, nwid)
    hub.kill()
    hub.ok("up")
    b.refuses("join", text, says="used up, expired or withdrawn")
    joined(a, text, nwid)


def test_expired_invitation(net):
    hub, nwid, _ = first(net)
    text = invite(hub, nwid, "--expires", "1s")
    wait_for("expiry", lambda: all(
        item["expires"] < time.time() * 1000 or item["expires"] > (time.time() + 60) * 1000
        for item in hub.get("/controller/network/%s/invite-token" % nwid)["data"]), 5)
    a = member(net, 1)
    a.refuses("join", text, says="used up, expired or withdrawn")
    # A good one helps at once, though the node was refused before.
    joined(a, invite(hub, nwid, "--expires", "1m", "--uses", "1"), nwid)


def test_withdrawn_invitation(net):
    hub, nwid, text = first(net)
    a, b = member(net, 1), member(net, 2)
    joined(a, text, nwid)
    token = hub.get("/controller/network/%s/invite-token" % nwid)["data"][0]["token"]
    hub.delete("/controller/network/%s/invite-token/%s" % (nwid, token))
    b.refuses("join", text, says="used up, expired or withdrawn")
    if a.network(nwid)["status"] != "OK":
        raise Failed("withdrawing removed a member")


def shut_out(hub, nwid, a):
    """Deauthorize a member and let it notice by leaving, not by its next request in a minute."""
    hub.ok("member", "deauthorize", nwid, a.address)
    wait_for("silence", lambda: ping("hub", a.ip(nwid), 1, deadline=1), 10)
    a.ok("leave", nwid)


def test_deauthorized_member_stays_out(net):
    """No token undoes what an administrator did, neither the one it came with nor a new one."""
    hub, nwid, text = first(net)
    a = member(net, 1)
    ip = joined(a, text, nwid)
    wait_ping("hub", ip)
    shut_out(hub, nwid, a)
    fresh = invite(hub, nwid, "--uses", "1")
    for again in (text, fresh):
        a.refuses("join", again, says="or this node was shut out")
    if uses_left(hub, nwid, fresh) != 1:
        raise Failed("a refusal cost a use")
    hub.ok("member", "authorize", nwid, a.address)
    a.wait_network(nwid)
    if joined(a, text, nwid) != ip:
        raise Failed("another address")


def test_damaged_invitations(net):
    hub, nwid, text = first(net)
    a = member(net, 1)
    swapped = text[:40] + ("A" if text[40] != "A" else "B") + text[41:]
    newer = reseal(b"\x02" + opened(text)[1:])
    unknown_flag = reseal(opened(text)[:1] + bytes([opened(text)[1] | 0x40]) + opened(text)[2:])
    no_planet = reseal(opened(text)[:1] + bytes([opened(text)[1] & ~1]) + opened(text)[2:])
    cases = [(text[:-1], "damaged or incomplete"), (text[:60], "damaged or incomplete"),
             (text[:20], "cut off"), (swapped, "damaged or incomplete"), (text + "A", "damaged"),
             (text[:50] + "!" + text[51:], "a character that belongs to none"),
             ("panlan1:", "cut off"), (newer, "made by a newer version"),
             (unknown_flag, "makes no sense"), (no_planet, "makes no sense")]
    for bad, why in cases:
        a.refuses("join", bad, code=2, says=why)
    for bad in ("panlan2:" + text[8:], "hello", nwid[:15], "", "http://example.org"):
        a.refuses("join", bad, code=2)
    if os.path.exists(a.home) or a.is_running():
        raise Failed("a damaged invitation left something behind")
    a.refuses("join", code=2)


def test_invitation_to_another_planet(net):
    one, nwid, text = first(net)
    two, other_nwid, other = first(net, name="hub2", address="10.9.0.2/24")
    a = member(net, 1)
    joined(a, text, nwid)
    planets = ["%016x" % hub.get("/status")["planetWorldId"] for hub in (one, two)]
    for running in (True, False):
        said = a.refuses("join", other, says="belongs to planet " + planets[0])
        if planets[1] not in said or a.home not in said or "--home" not in said:
            raise Failed(said)
        if running:
            a.ok("down")
    if a.is_running():
        raise Failed("the refused join started the service")
    joined(a, text, nwid)
    # A second node on the same machine is on the other planet.
    second = Machine(net, "m2", "10.9.0.12/24")
    joined(second, other, other_nwid)


def test_join_while_the_controller_is_away(net):
    hub, nwid, text = first(net)
    hub.ok("down")
    a = member(net, 1)
    a.refuses("join", text, says="did not answer yet")
    hub.ok("up")
    a.wait_network(nwid)  # it went on asking, with the token


def test_refused_arguments_of_invite(net):
    hub, nwid, _ = first(net)
    for args in ([nwid, "--uses", "0"], [nwid, "--uses", "x"], [nwid, "--uses", "-1"],
                 [nwid, "--expires", "soon"], [nwid, "--expires", "0"], [nwid, "--expires", "-1h"],
                 [nwid, "--expires"], [], [nwid, "more"], ["123"], ["x" * 16]):
        hub.refuses("invite", *args, code=2)
    hub.refuses("invite", hub.address + "ffffff", says="no network")
    before = hub.get("/controller/network/%s/invite-token" % nwid)["data"]
    if len(before) != 1:
        raise Failed("a refused invitation left a token: %r" % before)
    a = member(net, 1)
    a.refuses("invite", nwid, code=2, says=a.home)


def test_expiry_is_kept_by_the_controller(net):
    hub, nwid, _ = first(net)
    for text, seconds in (("90", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800),
                          ("2w", 1209600), ("never", None)):
        made = invite(hub, nwid, "--expires", text, "--uses", "3")
        raw = opened(made)
        token = raw[11:11 + raw[10]].decode()
        item = [x for x in hub.get("/controller/network/%s/invite-token" % nwid)["data"]
                if x["token"] == token][0]
        wanted = 0 if seconds is None else (time.time() + seconds) * 1000
        if abs(item["expires"] - wanted) > 30000 or item["uses"] != 3:
            raise Failed("%s: %r" % (text, item))


# ---- networks and members ----

def test_net_commands(net):
    hub, nwid, _ = first(net)
    out = hub.ok("net", "create", "--name", "office", "--subnet", "10.20.0.0/16")
    office = re.fullmatch(r"created ([0-9a-f]{16})\n", out).group(1)
    lines = hub.ok("net", "list").splitlines()
    if len(lines) != 3 or lines[0].split() != ["network", "access", "members", "authorized", "name"]:
        raise Failed("\n".join(lines))
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    if rows != {nwid: ["private", "1", "1", "home"], office: ["private", "0", "0", "office"]}:
        raise Failed(str(rows))
    ids = {item["id"] for item in json.loads(hub.ok("--json", "net", "list"))}
    if ids != {nwid, office}:
        raise Failed(str(ids))
    hub.ok("net", "set", office, "private=false", "mtu=1400", "name=upstairs",
           'routes=[{"target":"10.20.0.0/16","via":null},{"target":"10.30.0.0/16","via":"10.20.0.1"}]')
    shown = json.loads(hub.ok("net", "show", office))
    if (shown["private"], shown["mtu"], shown["name"], len(shown["routes"])) != (
            False, 1400, "upstairs", 2):
        raise Failed(str(shown))
    if shown["ipAssignmentPools"] != [{"ipRangeStart": "10.20.0.1", "ipRangeEnd": "10.20.255.254"}]:
        raise Failed(str(shown["ipAssignmentPools"]))
    a = member(net, 1)
    if not joined(a, invite(hub, office), office).startswith("10.20."):
        raise Failed("address outside the subnet")
    if hub.ok("net", "delete", office) != "deleted %s\n" % office:
        raise Failed("answer to delete")
    if len(hub.ok("net", "list").splitlines()) != 2:
        raise Failed("still listed")
    hub.refuses("net", "show", office, says="no network")
    hub.refuses("net", "delete", office, says="no network")
    hub.refuses("net", "show", "12", code=2, says="not a network ID")
    hub.refuses("net", "create", "--subnet", "10.20.0.0", code=2, says="--subnet")


def test_member_commands(net):
    hub, nwid, _ = first(net)
    a = member(net, 1)
    text = invite(hub, nwid, "--uses", "1")
    joined(a, text, nwid)
    shut_out(hub, nwid, a)
    a.join(nwid)
    a.wait_network(nwid, "ACCESS_DENIED")

    def row():
        for line in hub.ok("member", "list", nwid).splitlines():
            if line.startswith(a.address):
                return line.split()
        return None
    if row()[1] != "waiting":
        raise Failed(str(row()))
    hub.ok("member", "authorize", nwid, a.address)
    subnet = hub.network(nwid)["routes"][0]["target"].rsplit(".", 1)[0]
    hub.ok("member", "set", nwid, a.address, "ip=%s.77" % subnet, "name=printer")
    a.wait_network(nwid)
    wait_for("new address", lambda: a.ip(nwid) == subnet + ".77", 10)
    wait_ping("hub", subnet + ".77")
    if row() != [a.address, "authorized", subnet + ".77", "printer"]:
        raise Failed(str(row()))
    shown = json.loads(hub.ok("member", "show", nwid, a.address))
    if shown["name"] != "printer" or shown["ipAssignments"] != [subnet + ".77"]:
        raise Failed(str(shown))
    if {m["id"] for m in json.loads(hub.ok("-j", "member", "list", nwid))} != {a.address, hub.address}:
        raise Failed("list as JSON")
    hub.ok("member", "delete", nwid, a.address)
    if row() is not None and row()[1] != "waiting":
        raise Failed("deleted member: %r" % row())
    hub.refuses("member", "show", nwid, "0123456789", says="no member")
    hub.refuses("member", "show", nwid, "xyz", code=2, says="not a node address")
    hub.refuses("member", "list", "xyz", code=2, says="not a network ID")


def test_commands_without_a_service(net):
    a = member(net, 1)
    for words in (["status"], ["networks"], ["net", "list"], ["member", "list", "0" * 16],
                  ["invite", "1" * 16]):
        a.refuses(*words, code=2, says=a.home)
    if os.path.exists(a.home):
        raise Failed("a question made a home")
