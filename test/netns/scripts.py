"""Calling the command line the way scripts do: by the names of the reference, with exit status and both
outputs apart."""
import re
import subprocess

import net as netns
from net import Failed


class Done:
    """How a command ended."""

    def __init__(self, args, done):
        self.args = args
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def __str__(self):
        return "%s: exit %d\nstdout %r\nstderr %r" % (" ".join(self.args), self.code, self.out,
                                                     self.err)

    def must(self, code, out=None, err=None):
        """The exit status, and patterns for the whole of both outputs."""
        for want, got in ((out, self.out), (err, self.err)):
            if want is not None and not re.fullmatch(want, got, re.S):
                raise Failed("%s\nwanted %r" % (self, want))
        if self.code != code:
            raise Failed("%s\nwanted exit %d" % (self, code))
        return self


def call(binary, name, args, ns=None, cwd=None, env=None):
    """Run a program under a name."""
    argv = ["bash", "-c", 'exec -a "$0" "$@"', name, binary] + list(args)
    if ns:
        argv = ["ip", "netns", "exec", ns] + argv
    return Done([name] + list(args), subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        timeout=30, cwd=cwd or "/tmp", env=env))


def cli(node, *args, binary=None, cwd=None, env=None, home=True):
    """zerotier-cli towards a node's service."""
    where = ["-D" + node.home] if home else []
    return call(binary or netns.PANLAN, "zerotier-cli", where + list(args), node.ns, cwd, env)


def idtool(*args, binary=None, cwd=None):
    return call(binary or netns.PANLAN, "zerotier-idtool", args, cwd=cwd)
