#!/usr/bin/env python3
"""Run namespace tests: run.py [--list] [--keep] [--once] MODULE[:PATTERN] ...

MODULE is a file beside this one; each function named test_* takes a Net. Prints one line a test and
at the end "N passed, N failed, N skipped". These tests have many processes and a busy machine: one
that fails is run again in new namespaces, and fails if it fails twice; one that passes then is
named as unstable, with what went wrong. With --once the first failure counts. PANLAN names our program, ZEROTIER_ONE (optional) an
installed reference. Without root it tries a user namespace of its own.
"""
import importlib
import os
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def isolate(script):
    """Start a script again in namespaces that end with it; nothing happens in that second life."""
    if os.environ.get("PANLAN_TEST_ISOLATED") == "0":
        return
    base = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        base += ["--user", "--map-root-user"]
    probe = subprocess.run(base + ["true"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           text=True)
    if probe.returncode != 0:
        print("skipped: namespaces cannot be made here: " + probe.stderr.strip())
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    env = dict(os.environ, PANLAN_TEST_ISOLATED="0")
    os.execvpe(base[0], base + [sys.executable, os.path.abspath(script)] + sys.argv[1:], env)


def settle():
    """Inside: a private place for namespace names, loopback up."""
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def missing():
    """What these tests need and this place does not have, or None."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return "no TAP devices here: /dev/net/tun: %s" % error.strerror
    return None


def collect(wanted):
    tests = []
    for want in wanted:
        name, _, pattern = want.partition(":")
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            if key.startswith("test_") and callable(value) and pattern in key:
                tests.append((name, key, value))
    return tests


def run_one(name, key, function, keep):
    import net
    begin = time.monotonic()
    place = net.Net()
    try:
        function(place)
        result, text = "ok", ""
    except net.Skipped as reason:
        result, text = "skipped", str(reason)
    except Exception as error:  # any failure of the test body counts as a failure
        result = "FAILED"
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = "%s: %s (line %d)\n%s\n%s" % (type(error).__name__, error, where.lineno,
                                            "".join(traceback.format_exc(limit=-4)), place.logs())
    finally:
        place.close(keep)
    print("%-7s %s.%s %.1f s %s" % (result, name, key, time.monotonic() - begin, text), flush=True)
    return result


def main():
    args = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    if "--list" in sys.argv:
        for name, key, _ in collect(args):
            print("%s:%s" % (name, key))
        return 0
    isolate(__file__)
    settle()
    if not os.environ.get("PANLAN"):
        sys.exit("PANLAN must name the program to test")
    reason = missing()
    if reason:
        print("skipped: " + reason)
        print("0 passed, 0 failed, %d skipped" % len(collect(args)))
        return 0
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    for name, key, function in collect(args):
        result = run_one(name, key, function, "--keep" in sys.argv)
        if result == "FAILED" and "--once" not in sys.argv:
            result = run_one(name, key, function, "--keep" in sys.argv)
            if result == "ok":
                print("unstable: %s.%s failed, and passed when repeated" % (name, key), flush=True)
        counts[result] += 1
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAILED"], counts["skipped"]))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
