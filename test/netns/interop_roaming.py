"""What changes below our node while it talks to a reference: traffic goes on as its clockwork allows. Checklist
PP-14, NT-8."""
from net import wait_ping
from roaming import forget_mappings, goes_on, move, pair

LATE_S = 60  # it looks at its paths every 5 s and gives one up after 19 s


def test_address_changes(net):
    _, _, two, nwid = pair(net, reference=True)
    move("one", 11, 21)
    goes_on(two, nwid, LATE_S)


def test_nat_takes_another_port(net):
    _, _, two, nwid = pair(net, natted=("one",), reference=True)
    forget_mappings("natone")
    goes_on(two, nwid, LATE_S)


def test_restart_of_the_reference(net):
    _, _, two, nwid = pair(net, reference=True)
    target = two.ip(nwid)
    two.kill()
    two.start()
    wait_ping("one", target, LATE_S)
