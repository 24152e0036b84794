"""CTL-121: a backup taken while the controller works restores to a working one."""
import os
import stat
import tarfile
import threading

from net import Failed, sh, wait_for


def members(node, nwid):
    """What is stored of each member, without what moves on by itself."""
    found = {}
    for address in node.get("/controller/network/%s/member" % nwid):
        one = node.get("/controller/network/%s/member/%s" % (nwid, address))
        found[address] = {key: one.get(key) for key in ("name", "authorized", "ipAssignments", "id")}
    return found


def test_backup_while_running_and_restore(net):
    root = net.node(net.host("root", "10.9.0.1/24"))
    first = net.node(net.host("c1", "10.9.0.2/24"))
    member = net.node(net.host("m", "10.9.0.4/24"))
    net.make_planet([(root, "10.9.0.1/9993")])
    for node in (root, first, member):
        node.start()
    nwid = first.create_network(private=False)
    member.join(nwid)
    address = member.ip(nwid)
    path = "/controller/network/%s/member/%%010x" % nwid
    for i in range(20):
        first.post(path % (i + 1), {"name": "kept"})
    going, late = threading.Event(), []

    def write():
        while not going.is_set():
            late.append(first.post(path % (100 + len(late)), {"name": "late"})["address"])

    writer = threading.Thread(target=write)
    writer.start()
    archive = os.path.join(net.home, "backup.tar")
    try:
        wait_for("writes", lambda: len(late) > 3)
        sh("%s --home %s controller backup %s" % (first.binary, first.home, archive), ns=first.ns)
        wait_for("writes go on", lambda: len(late) > 6)
    finally:
        going.set()
        writer.join()
    if stat.S_IMODE(os.stat(archive).st_mode) != 0o600 or os.listdir(first.path("backups")):
        raise Failed("others can read the backup, or a copy was left")
    before = members(first, nwid)
    first.stop()
    home = os.path.join(net.home, "restored")
    os.makedirs(home)
    sh("tar -xpf %s -C %s" % (archive, home))
    second = net.node(net.host("c2", "10.9.0.3/24"), home=home)
    second.start()
    if second.address != first.address or second.token() != first.token():
        raise Failed("another identity: %s" % second.address)
    after = members(second, nwid)
    kept = [one for one in after.values() if one["name"] == "kept"]
    if len(kept) != 20 or len(after) < 24 or any(before[key] != one for key, one in after.items()):
        raise Failed("restored: %d members, %d of 20" % (len(after), len(kept)))
    second.post("/controller/network/" + nwid, {"name": "after"})
    member.stop()
    member.start()
    wait_for("config of the restored controller", lambda: member.network(nwid).get("name") == "after", 30)
    if member.ip(nwid) != address:
        raise Failed("another address than before: %s" % member.ip(nwid))
