#!/usr/bin/env python3
"""Our controller and the reference's beside each other, as daemons in namespaces: configurations
answered, processor time of each, start and memory with many members.

  PANLAN=build-rel/src/panlan [ZEROTIER_ONE=/usr/sbin/zerotier-one] bench/controllers.py [SECONDS] [RUNS]

The members that ask are those of bench-askers beside the program (meson compile -C BUILD
bench-askers): IDENTITIES real ones, all members of NETWORKS networks, on a machine of its own. Those
of the start are made up. Candidates take turns; medians. Identities are kept in the file that
BENCH_IDENTITIES names, else made anew (about 40 ms each).
"""
import json
import os
import random
import subprocess

import benchlib as bench

lab = bench.lab
IDENTITIES = 256
NETWORKS = 32
WINDOW = 64
CONTROLLER, ASKERS = "10.9.0.1", "10.9.0.2"
START_SIZES = (10000, 100000)
PER_NETWORK = 1000
START_LIMIT = 300
ASK_LIMIT = 300


def askers_program():
    return os.path.join(os.path.dirname(os.path.abspath(lab.PANLAN)), "..", "bench", "bench-askers")


def network_document(nwid):
    return {"id": nwid, "nwid": nwid, "objtype": "network", "private": True, "name": "bench",
            "creationTime": 1700000000000, "revision": 1, "mtu": 2800, "multicastLimit": 32,
            "enableBroadcast": True, "v4AssignMode": {"zt": True},
            "v6AssignMode": {"6plane": False, "rfc4193": False, "zt": False},
            "routes": [{"target": "10.128.0.0/9", "via": None}],
            "ipAssignmentPools": [{"ipRangeStart": "10.128.0.1", "ipRangeEnd": "10.255.255.254"}],
            "rules": [{"type": "ACTION_ACCEPT"}], "capabilities": [], "tags": [],
            "authTokens": [], "remoteTraceLevel": 0, "remoteTraceTarget": None}


def member_document(nwid, identity, number):
    return {"id": identity[:10], "address": identity[:10], "nwid": nwid, "objtype": "member",
            "identity": identity, "authorized": True, "activeBridge": False, "capabilities": [],
            "creationTime": 1700000000000, "ipAssignments": [
                "10.%d.%d.%d" % (128 + (number >> 16), number >> 8 & 255, number & 255)],
            "lastAuthorizedCredential": None, "lastAuthorizedCredentialType": "api",
            "lastAuthorizedTime": 1700000000000, "lastDeauthorizedTime": 0,
            "noAutoAssignIps": False, "remoteTraceLevel": 0, "remoteTraceTarget": None,
            "revision": 2, "tags": [], "vMajor": 1, "vMinor": 14, "vRev": 1, "vProto": 12}


def write_controller(home, address, networks, members_of):
    """A controller.d as the reference keeps it; IDs of the networks. Ours imports it."""
    made = []
    for index in range(networks):
        nwid = "%s%06x" % (address, index + 1)
        base = os.path.join(home, "controller.d", "network")
        os.makedirs(os.path.join(base, nwid, "member"))
        with open(os.path.join(base, nwid + ".json"), "w") as out:
            json.dump(network_document(nwid), out)
        for number, identity in enumerate(members_of(index)):
            path = os.path.join(base, nwid, "member", identity[:10] + ".json")
            with open(path, "w") as out:
                json.dump(member_document(nwid, identity, number + 1), out)
        made.append(nwid)
    return made


def make_net(reference):
    """A controller and a machine of members; nobody else."""
    net = lab.Net()
    ctl = net.node(net.host("ctl", CONTROLLER + "/16"), reference=reference)
    lab.sh("ip route add 10.64.0.0/10 via %s" % ASKERS, ns="ctl")
    net.host("askers", ASKERS + "/16")
    lab.sh("ip route add local 10.64.0.0/10 dev lo", ns="askers")
    away = net.node(net.host("away", "10.9.0.3/16"))  # a root that does not run
    net.make_planet([(away, "10.9.0.3/9993")])
    return net, ctl


def started(ctl, nwids, members):
    """Start it; seconds and processor seconds until all members are there."""
    ctl.start(wait=False)

    def ready():
        if not ctl.is_running():
            raise lab.Failed("it exited with %d" % ctl.process.returncode)
        try:
            return (len(ctl.get("/controller/network")) == len(nwids) and
                    len(ctl.get("/controller/network/%s/member" % nwids[-1])) == members)
        except (OSError, ValueError, KeyError, lab.http.client.HTTPException):
            return False
    lab.wait_for("all members", ready, START_LIMIT, 0.02)
    return lab.time.monotonic() - ctl.started, bench.cpu_seconds([ctl.process.pid])


def serve(reference, identities, seconds):
    """Figures of one candidate that is asked."""
    quiet = bench.wait_quiet(5)
    net, ctl = make_net(reference)
    try:
        with open(identities) as handle:
            public = [":".join(line.strip().split(":")[:3]) for line in handle][:IDENTITIES]
        nwids = write_controller(ctl.home, ctl.address, NETWORKS, lambda index: public)
        started(ctl, nwids, IDENTITIES)
        pid = ctl.process.pid
        row = {"quiet": quiet}
        asking = bench.spawn("askers", [
            askers_program(), "ask", identities, IDENTITIES, CONTROLLER, 9993,
            ctl.public_identity(), nwids[0], NETWORKS, seconds, WINDOW],
            stdout=subprocess.PIPE, text=True)
        try:
            lab.wait_for("members known", lambda: members_known(ctl), ASK_LIMIT, 0.1)
            before = bench.cpu_seconds([pid])
            for name in ("first", "again"):
                result = answered(asking)
                spent = bench.cpu_seconds([pid]) - before
                before += spent
                answers = max(1, result["answers"])
                row.update({name + "/s": answers / result["seconds"],
                            name + " us": 1e6 * spent / answers,
                            name + " p99": result.get("p99", bench.NAN),
                            name + " lost%": 100.0 * (result["lost"] + result["errors"]) /
                            (answers + result["lost"] + result["errors"])})
            for name in ("calm", "event"):
                if name == "event":  # in a network of which all are online
                    ctl.post("/controller/network/%s/member/%s" % (nwids[-1], public[0][:10]),
                             {"authorized": False})
                result = answered(asking)
                row.update({name + " " + what: result.get(what, bench.NAN)
                            for what in ("median", "p99", "max")})
        finally:
            bench.end(asking)
        row["MB"] = bench.memory(pid)[0] / 1000
        return row
    finally:
        net.close()


def answered(asking):
    """The next line of bench-askers."""
    line = asking.stdout.readline()
    if not line:
        raise lab.Failed("bench-askers ended")
    return json.loads(line)


def members_known(ctl):
    return sum(bool(peer["paths"]) for peer in ctl.get("/peer")) >= IDENTITIES


def made_up(dice):
    address = "%010x" % dice.randrange(1 << 36, 0xfe << 32)
    return "%s:0:%s" % (address, dice.randbytes(64).hex())


def start(reference, members):
    """Start and memory with so many members."""
    net, ctl = make_net(reference)
    try:
        dice = random.Random(members)
        nwids = write_controller(ctl.home, ctl.address, members // PER_NETWORK,
                                 lambda index: [made_up(dice) for _ in range(PER_NETWORK)])
        row = {"quiet": bench.wait_quiet(5)}
        seconds, cpu = started(ctl, nwids, PER_NETWORK)
        if not reference:
            row.update({"import s": seconds, "import cpu": cpu})
            ctl.stop(60)
            seconds, cpu = started(ctl, nwids, PER_NETWORK)
        row.update({"start s": seconds, "start cpu": cpu})
        row["MB"] = bench.memory(ctl.process.pid)[0] / 1000
        return row
    finally:
        net.close()


def identities_file():
    path = os.environ.get("BENCH_IDENTITIES") or "/run/identities"
    subprocess.run([askers_program(), "make", path, str(IDENTITIES)], check=True)
    return path


def main():
    options = bench.turns(__file__, __doc__, "phase of questions", "controller")
    if not os.access(askers_program(), os.X_OK):
        bench.skip("no members: meson compile -C BUILD bench-askers")
    identities = identities_file()
    kinds = [("ours", False)] + ([("reference", True)] if lab.ZEROTIER_ONE else [])
    asked = bench.Table(tuple("%s %s" % (phase, what) if what != "/s" else phase + what
                              for phase in ("first", "again")
                              for what in ("/s", "us", "p99", "lost%")) + ("MB",))
    calm = bench.Table(tuple(phase + " " + what for phase in ("calm", "event")
                             for what in ("median", "p99", "max")))
    for _ in range(options.runs):
        for label, reference in kinds:
            asked.turn(label, lambda: serve(reference, identities, options.seconds))
    print("\n%d members of each of %d networks, %d requests wait at most; us: processor time of the "
          "daemon for each answer" % (IDENTITIES, NETWORKS, WINDOW))
    asked.show("reference")
    calm.rows = asked.rows
    print("\none request after another, ms, before and from when one of %d members of a network is "
          "de-authorized" % IDENTITIES)
    calm.show("reference")
    for members in START_SIZES:
        table = bench.Table(("import s", "import cpu", "start s", "start cpu", "MB"))
        for _ in range(options.runs if members < 100000 else 1):
            for label, reference in kinds:
                table.turn(label, lambda: start(reference, members))
        print("\nstart with %d members of networks of %d; ours from its own database, which the "
              "import made of the reference's files" % (members, PER_NETWORK))
        table.show("reference")


if __name__ == "__main__":
    main()
