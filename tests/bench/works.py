"""The works: what is measured, and how one measurement of one proxy goes.

A measurement is a dictionary of numbers (None: could not be told) and `errors`, reasons with counts.
"""

import time
from dataclasses import dataclass

from crowd import Crowd
from load import handshakes, wrk
from servers import GATE_FIELDS, Size, find, most_sessions, proxy

WARM_UP = 1
# How many connections are in use at the same time while the idle ones are opened and asked again.
WIDTH = 64
# After the warm-up a proxy may still have to do with the clients that left: it is given this long to come to rest, which is
# less than QUIET of one processor during a LOOK.
REST, LOOK, QUIET = 30.0, 0.2, 0.11
# Time for a proxy to put its memory in order after the last answer.
SETTLE = 1.0
PATIENCE = 60.0


@dataclass(frozen=True)
class Work:
    """One row of the list below."""
    name: str
    kind: str            # load, handshake, burst, idle, memory
    what: str
    connections: int
    workers: int         # of tollgate
    target: str = "/"
    slow: bool = False   # needs the origin that answers late
    tls: bool = False
    gated: bool = False  # tollgate only: every request shows a key and counts at a rate limit

    def proxies(self, names):
        """Those of `names` that it is meant for."""
        return [name for name in names if name == "tollgate" or not self.gated]


WORKS = (
    Work("get-small", "load", "GET of 23 bytes, 64 kept connections", 64, 256),
    Work("get-small-16", "load", "GET of 23 bytes, 16 kept connections", 16, 256),
    Work("get-small-512", "load", "GET of 23 bytes, 512 kept connections", 512, 256),
    Work("get-100k", "load", "GET of 100 KiB, 32 kept connections", 32, 256, "/100k"),
    Work("get-1m", "load", "GET of 1 MiB, 32 kept connections", 32, 256, "/1m"),
    Work("slow-origin", "load", "the origin answers after 200 ms, 1,000 kept connections", 1000, 1024, slow=True),
    Work("tls-get", "load", "GET of 23 bytes over TLS, 64 kept connections", 64, 256, tls=True),
    Work("tls-handshake", "handshake", "one GET of 23 bytes on each new TLS connection, 8 at a time, none resumed", 8, 256, tls=True),
    Work("gate", "load", "GET of 23 bytes, 64 kept connections, with an API key and a rate limit", 64, 256, gated=True),
    Work("burst", "burst", "one GET of 23 bytes on each of 5,000 new connections, all at once", 5000, 256),
    Work("idle", "idle", "8,000 connections that idle after one request, then one more request on each", 8000, 256),
    Work("memory", "memory", "a process that has answered one request and waits", 64, 256),
)


def measure(work, setup, name, origin_port, seconds, wrk_path):
    """One measurement of one freshly started proxy."""
    size = Size(work.connections, work.workers, work.tls, work.gated)
    with proxy(setup, name, origin_port, size) as (program, port):
        if work.kind == "load":
            scheme = "https" if work.tls else "http"

            def make(length):
                return wrk(wrk_path, port, work.target, work.connections, length, scheme, GATE_FIELDS if work.gated else ())
            found = _load(program, seconds, make)
        elif work.kind == "handshake":
            def make(length):
                return handshakes(find("openssl"), port, work.target, work.connections, length)
            found = _load(program, seconds, make)
        elif work.kind == "burst":
            found = _burst(work, program, port, wrk_path)
        elif work.kind == "idle":
            found = _idle(min(work.connections, most_sessions(setup.descriptors) - 100), program, port)
        else:
            found = _memory(program)
        program.must_be_alive("during the measurement")
    return found


def _load(program, seconds, make):
    make(WARM_UP)
    rest = _come_to_rest(program)
    before = _Use(program)
    found = make(seconds)
    found |= before.per_request(found["requests"])
    found["rest_s"] = rest
    if rest >= REST:
        found["errors"]["still busy with the warm-up"] = 1
    if not found["requests"]:
        found |= {"p50_ms": None, "p99_ms": None}
        found["errors"]["no answer at all"] = 1
    found["rss_mib"] = program.resident_kib() / 1024
    return found


def _burst(work, program, port, wrk_path):
    wrk(wrk_path, port, work.target, 16, WARM_UP)
    _come_to_rest(program)
    before = _Use(program)
    crowd = Crowd(port, work.connections)
    try:
        tally = crowd.ask(width=work.connections, seconds=PATIENCE)
        found = before.per_request(tally.answered)
        rss = program.resident_kib() / 1024
    finally:
        crowd.close()
    return found | {
        "answered": tally.answered,
        "all_ms": tally.seconds * 1000,
        "p50_ms": _in_ms(tally.latency(0.50)),
        "p99_ms": _in_ms(tally.latency(0.99)),
        "rss_mib": rss,
        "errors": dict(tally.errors),
    }


def _idle(connections, program, port):
    time.sleep(SETTLE)
    before = program.resident_kib()
    crowd = Crowd(port, connections)
    try:
        first = crowd.ask(WIDTH, PATIENCE)
        time.sleep(SETTLE)
        after, threads = program.resident_kib(), program.threads()
        second = crowd.ask(WIDTH, PATIENCE)
    finally:
        crowd.close()
    return {
        "connections": first.answered,
        "kib_each": (after - before) / first.answered if first.answered else None,
        "before_mib": before / 1024,
        "after_mib": after / 1024,
        "threads": threads,
        "again": second.answered,
        "errors": dict(first.errors + second.errors),
    }


def _memory(program):
    time.sleep(SETTLE)
    return {"rss_kib": program.resident_kib(), "threads": program.threads(), "errors": {}}


def _come_to_rest(program):
    """Waits until the proxy uses next to no CPU time; gives the seconds that it took, at most REST."""
    start = time.monotonic()
    used = program.cpu_seconds()
    while time.monotonic() - start < REST:
        time.sleep(LOOK)
        before, used = used, program.cpu_seconds()
        if used - before < QUIET * LOOK:
            break
    return time.monotonic() - start


class _Use:
    """What the proxy had used when this was made."""

    def __init__(self, program):
        self.program = program
        self.switches = program.switches()
        self.cpu = program.cpu_seconds()

    def per_request(self, requests):
        """CPU time and context switches since then, for each request; threads that have ended count for the first only."""
        cpu = self.program.cpu_seconds() - self.cpu
        now = self.program.switches()
        switches = sum(count - self.switches.get(thread, 0) for thread, count in now.items())
        if not requests:
            return {"cpu_us": None, "switches": None}
        return {"cpu_us": cpu * 1e6 / requests, "switches": switches / requests}


def _in_ms(seconds):
    return None if seconds is None else seconds * 1000
