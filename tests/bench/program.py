"""One started program: starting it, asking the kernel what it uses, and stopping it.

Knows nothing of HTTP beyond "does it answer GET / with 200", and nothing of proxies. Linux only: it reads /proc.
"""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time

START_LIMIT = 15.0
STOP_LIMIT = 4.0
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A sentence for the person who runs this; the run, or one measurement, cannot go on."""


def free_port():
    """A TCP port of 127.0.0.1 that the system says is free. Another program may still be faster to take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A program in a session of its own, so that ctrl-c reaches this script alone and it decides what to stop."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.log = os.path.join(folder, "stderr")
        with open(self.log, "wb") as log:
            try:
                self.process = subprocess.Popen(
                    argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, **(env or {})}, start_new_session=True)
            except OSError as error:
                raise Failed(f"{name} cannot be started: {error}") from error

    def said(self):
        """The end of what it wrote to standard output and error."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            lines = log.read()[-4000:].strip().splitlines()
        return "\n".join("    " + line for line in lines[-15:]) or "    (it wrote nothing)"

    def wait_until_it_answers(self, port, is_tls=False):
        """Returns when GET / on `port` gives 200; with TLS, whatever its certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        deadline = time.monotonic() + START_LIMIT
        last = "no connection"
        while time.monotonic() < deadline:
            self.must_be_alive("while it was starting")
            connection = (http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context) if is_tls
                          else http.client.HTTPConnection("127.0.0.1", port, timeout=5))
            try:
                connection.request("GET", "/")
                status = connection.getresponse().status
                if status == 200:
                    return
                last = f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                last = str(error) or type(error).__name__
            finally:
                connection.close()
            time.sleep(0.05)
        raise Failed(f"{self.name} does not answer after {START_LIMIT:.0f} s ({last}); it wrote:\n{self.said()}")

    def must_be_alive(self, when):
        """Fails when the program has ended."""
        code = self.process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended with code {code} {when}; it wrote:\n{self.said()}")

    def pids(self):
        """Its process and all that descend from it."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo.extend(_children(pid))
        return found

    def cpu_seconds(self):
        """User and system time of all its processes since they began, with threads that have ended."""
        total = 0
        for pid in self.pids():
            # The name in parentheses may hold spaces: count from behind it. utime and stime are fields 14 and 15.
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if len(fields) > 12:
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_kib(self):
        """Resident memory of all its processes, added up; pages that they share count for each."""
        return sum(_status_number(f"/proc/{pid}/status", "VmRSS:") for pid in self.pids())

    def threads(self):
        """Threads of all its processes."""
        return sum(_status_number(f"/proc/{pid}/status", "Threads:") for pid in self.pids())

    def switches(self):
        """Context switches so far, for each thread that lives: {(process, thread): count}."""
        counts = {}
        for pid in self.pids():
            for thread in _list(f"/proc/{pid}/task"):
                path = f"/proc/{pid}/task/{thread}/status"
                counts[pid, thread] = (_status_number(path, "voluntary_ctxt_switches:")
                                       + _status_number(path, "nonvoluntary_ctxt_switches:"))
        return counts

    def stop(self):
        """Asks it to end, then makes it; by process id, its descendants too."""
        pids = self.pids() if self.process.poll() is None else []
        _signal(pids[:1], signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            pass
        # Nothing that outlived the first process may stay behind; only what still belongs to its session is ours.
        _signal([pid for pid in pids if _session(pid) == self.process.pid], signal.SIGKILL)
        self.process.wait()


def _signal(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _session(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _children(pid):
    children = []
    for thread in _list(f"/proc/{pid}/task"):
        children.extend(int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def _status_number(path, key):
    for line in _read(path).splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def _read(path):
    """The file's text; empty when the process or thread has gone in the meantime."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _list(path):
    try:
        return os.listdir(path)
    except OSError:
        return []
