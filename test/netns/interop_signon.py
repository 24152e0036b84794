"""Single sign-on of a member of the reference at a controller of ours."""
from signon import check_login, place


def test_interop_signon_of_a_reference_member(net):
    root, a, b, nwid, provider = place(net, reference=True)
    try:
        check_login(root, a, b, nwid, provider)
    finally:
        provider.close()
