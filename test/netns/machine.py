"""A machine that somebody runs `panlan` on: commands first, a service in the background behind them."""
import os
import signal
import subprocess
import time

import net as netns
from net import Failed, wait_for


def is_alive(pid):
    """False for zombies too: run.py inherits the services and waits for none of them."""
    try:
        with open("/proc/%d/stat" % pid) as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Machine(netns.Node):
    """A namespace with an empty home; the service is whatever `panlan` starts there."""

    def __init__(self, net, ns, *addresses):
        net.host(ns, *addresses)
        self.net = net
        self.ns = ns
        self.reference = False
        self.binary = netns.PANLAN
        self.home = os.path.join(net.home, ns)
        self.log = os.path.join(self.home, "panlan.log")
        self.process = None
        self.started = 0.0
        net.nodes.append(self)

    def panlan(self, *args, timeout=40):
        """Run a command; (exit status, stdout, stderr)."""
        argv = ["ip", "netns", "exec", self.ns, self.binary, "--home", self.home] + list(args)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *args, timeout=40):
        """Run a command that has to succeed without complaint; its output."""
        code, out, err = self.panlan(*args, timeout=timeout)
        if code != 0 or err != "":
            raise Failed("%s: panlan %s: exit %d\n%s%s" % (self.ns, " ".join(args), code, out, err))
        if args[0] == "down":
            self.check_log()
        return out

    def refuses(self, *args, code=1, says=""):
        """Run a command that has to fail with one line on stderr and nothing else; the line."""
        status, out, err = self.panlan(*args)
        if status != code or out != "" or err.count("\n") != 1 or says not in err:
            raise Failed("%s: panlan %s: exit %d instead of %d, stdout %r, stderr %r, wanted %r" % (
                self.ns, " ".join(args), status, code, out, err, says))
        return err

    def check_log(self):
        """No report of a sanitizer: nobody sees the exit status of a service in the background."""
        if not os.path.exists(self.log):
            return
        with open(self.log, errors="replace") as handle:
            text = handle.read()
        for word in ("Sanitizer", "runtime error:"):
            if word in text:
                raise Failed("%s: %s" % (self.ns, text[text.index(word):][:4000]))

    def pid(self):
        """Process number of the service, 0 without one."""
        try:
            with open(self.path("zerotier-one.pid")) as handle:
                return int(handle.read())
        except (OSError, ValueError):
            return 0

    def is_running(self):
        return is_alive(self.pid())

    def kill(self):
        pid = self.pid()
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            wait_for("end of %d" % pid, lambda: not is_alive(pid), 5)

    def stop(self, timeout=5.0):
        """End the service by SIGTERM; how long it took."""
        pid = self.pid()
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_for("end of %d" % pid, lambda: not is_alive(pid), timeout)
        took = time.monotonic() - begin
        self.check_log()
        return took

    def state(self):
        """Content and time of change of the files that a repeated command must not touch."""
        files = {}
        for folder, _, names in os.walk(self.home):
            for name in names:
                if name.endswith((".log", ".pid", ".prom", "-wal", "-shm", ".peer")):
                    continue
                path = os.path.join(folder, name)
                with open(path, "rb") as handle:
                    files[path] = (handle.read(), os.stat(path).st_mtime_ns)
        return files
