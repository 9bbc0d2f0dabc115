# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A service manager that does what a test wants, systemd's interfaces and no
more: it hands over descriptors, listens to sd_notify(3) and keeps memory. For
what systemd itself would never do; what it does, tests/systemd.bats runs it for.

The daemon, with its arguments, is in $DAEMON; its log is $log. Everything that
is waited for ends after VUCTL_TIMEOUT seconds.
"""
import array
import atexit
import fcntl
import mmap
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

TIMEOUT = float(os.environ.get("VUCTL_TIMEOUT", "30"))
SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def listen(path):
    """A listening UNIX stream socket."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(path)
    s.listen()
    return s


def memory(size, seals=SIZE_SEALS):
    """A memfd like those of regions."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def vuctl(path, *steps):
    """A front-end connects there; its exit status."""
    return subprocess.run([os.environ["top_srcdir"] + "/tests/vuctl", "--socket", path, *steps],
                          timeout=4 * TIMEOUT).returncode


class Manager:
    def __init__(self):
        self.path = os.path.abspath("notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.store = []  # (name, fd)
        self.said = []  # (assignments of one message, in their order)
        self.process = None
        # Whatever becomes of the test.
        atexit.register(lambda: self.process and self.process.poll() is None and self.process.kill())

    def start(self, handed=(), pid=None, names=True, arguments=(), **environment):
        """Start the daemon with these (name, descriptor) and all of the store."""
        self.handed = handed  # or they would be closed
        handed = [(n, f if isinstance(f, int) else f.fileno())
                  for n, f in list(handed) + self.store]
        env = {k: v for k, v in os.environ.items() if not k.startswith("LISTEN_")}
        env.update(NOTIFY_SOCKET=self.path, LISTEN_FDS=str(len(handed)))
        if names:
            env["LISTEN_FDNAMES"] = ":".join(n for n, _ in handed)
        env.update(environment)
        argv = shlex.split(os.environ["DAEMON"]) + list(arguments)

        # The shell has the number that the daemon will have.
        script = ("import fcntl, os, sys\n"
                  "fds = [fcntl.fcntl(int(f), fcntl.F_DUPFD, 100) for f in sys.argv[1].split()]\n"
                  "for i, f in enumerate(fds): os.dup2(f, 3 + i)\n"
                  "os.closerange(3 + len(fds), 1024)\n"
                  "os.environ['LISTEN_PID'] = sys.argv[2] or str(os.getpid())\n"
                  "if 'WATCHDOG_PID' not in os.environ: os.environ['WATCHDOG_PID'] = str(os.getpid())\n"
                  "os.execv(sys.argv[3], sys.argv[3:])\n")
        with open(os.environ["log"], "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script, " ".join(str(f) for _, f in handed), pid or "", *argv],
                env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                pass_fds=[f for _, f in handed])
        self.said = []
        return self

    def hear(self, timeout=TIMEOUT):
        """Take one message; None if there is none."""
        self.sock.settimeout(timeout)
        try:
            data, control, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(8))
        except (TimeoutError, BlockingIOError):
            return None
        fds = array.array("i")
        for _, _, payload in control:
            fds.frombytes(payload)
        said = dict(line.split("=", 1) for line in data.decode().split("\n"))
        self.said.append(said)
        if "FDSTORE" in said:
            assert len(fds) == 1, said
            self.store.append((said["FDNAME"], fds[0]))
        else:
            assert not fds, said
        if "FDSTOREREMOVE" in said:
            self.store = [(n, f) for n, f in self.store if n != said["FDNAME"]]
        return said

    def hear_until(self, key, value=None):
        """Take messages until one has this; return it."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            said = self.hear(end - time.monotonic())
            if said and key in said and (value is None or said[key] == value):
                return said
        raise AssertionError(f"no {key} {value or ''} within {TIMEOUT} s, only {self.said}")

    def until_stopped(self):
        """Until SIGSTOP has stopped it: it says nothing more."""
        end = time.monotonic() + TIMEOUT
        while True:
            with open(f"/proc/{self.process.pid}/stat") as f:
                if f.read().rpartition(") ")[2][0] == "T":
                    return
            assert time.monotonic() < end, "it does not stop"
            time.sleep(0.01)

    def quiet(self, key, seconds):
        """Nothing with this key comes for so long; what came before is heard."""
        while self.hear(0):
            pass
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            said = self.hear(left)
            assert not (said and key in said), said

    def names(self):
        return sorted(n.split(".")[1] for n, _ in self.store)

    def kept(self, region):
        """Name and memory of the one that is kept of a region."""
        found = [(n, f) for n, f in self.store if n.split(".")[1] == region]
        assert len(found) == 1, (region, self.store)
        return found[0]

    def write(self, region, data):
        with mmap.mmap(self.kept(region)[1], 4096) as m:
            m[: len(data)] = data

    def read(self, region, n):
        with mmap.mmap(self.kept(region)[1], 4096, prot=mmap.PROT_READ) as m:
            return m[:n]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        self.hear_until("RELOADING", "1")
        return self.hear_until("READY", "1")

    def kill(self):
        self.process.kill()
        self.process.wait()
        while self.hear(0):
            pass

    def stop(self, status=0):
        """End it, or wait for its end."""
        if status == 0:
            self.process.terminate()
        assert self.process.wait(TIMEOUT * 2) == status, self.process.returncode
        while self.hear(0):
            pass
