"""A client with thousands of connections at once, each of which carries one request at a time.

For what wrk cannot do: all connections new and at the same moment, or thousands that stay open and idle.
"""

import errno
import re
import select
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


@dataclass
class Tally:
    """How one round of requests went."""
    seconds: float = 0.0                           # from the first connect or send to the last answer
    latencies: list = field(default_factory=list)  # seconds, of the good answers
    errors: Counter = field(default_factory=Counter)  # reason and how often

    @property
    def answered(self):
        """Requests that got a 200, whole."""
        return len(self.latencies)

    def latency(self, share):
        """The latency that `share` of the good answers did not exceed, in seconds; None without any."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Caller:
    """One connection."""

    def __init__(self):
        self.socket = None
        self.connected = False
        self.broken = False
        self.answer = bytearray()
        self.began = 0.0


class Crowd:
    """`size` connections to one port of 127.0.0.1. Close it when done."""

    def __init__(self, port, size):
        self.port = port
        self.request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self.callers = [Caller() for _ in range(size)]
        self.epoll = select.epoll()

    def close(self):
        """Closes all connections."""
        for caller in self.callers:
            if caller.socket is not None:
                caller.socket.close()
        self.epoll.close()

    def ask(self, width, seconds):
        """One request on each connection, connecting first where that is needed, `width` of them at the same time.

        What has no answer after `seconds` is an error. A connection with an error is closed and not used again.
        """
        tally = Tally()
        waiting = [caller for caller in reversed(self.callers) if not caller.broken]
        under_way = {}
        start = time.monotonic()
        while waiting or under_way:
            while waiting and len(under_way) < width:
                self._begin(waiting.pop(), under_way, tally)
            left = start + seconds - time.monotonic()
            if left <= 0:
                break
            for number, events in self.epoll.poll(min(left, 1.0), 4096):
                if number in under_way:
                    self._advance(under_way[number], under_way, tally)
        tally.seconds = time.monotonic() - start
        for caller in list(under_way.values()):
            self._end(caller, under_way, tally, "no answer in time")
        tally.errors.update({"not asked in time": len(waiting)} if waiting else {})
        return tally

    def _begin(self, caller, under_way, tally):
        caller.answer.clear()
        caller.began = time.monotonic()
        if caller.socket is not None:
            under_way[caller.socket.fileno()] = caller
            self.epoll.register(caller.socket, select.EPOLLIN)
            self._send(caller, under_way, tally)
            return
        try:
            caller.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            caller.broken = True
            tally.errors[_reason(error.errno)] += 1
            return
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        under_way[caller.socket.fileno()] = caller
        self.epoll.register(caller.socket, select.EPOLLOUT)
        code = caller.socket.connect_ex(("127.0.0.1", self.port))
        if code not in (0, errno.EINPROGRESS):
            self._end(caller, under_way, tally, _reason(code))

    def _advance(self, caller, under_way, tally):
        if not caller.connected:
            code = caller.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._end(caller, under_way, tally, _reason(code))
                return
            caller.connected = True
            self.epoll.modify(caller.socket, select.EPOLLIN)
            self._send(caller, under_way, tally)
        else:
            self._receive(caller, under_way, tally)

    def _send(self, caller, under_way, tally):
        try:
            # So few bytes always fit into the buffer of a fresh or idle connection.
            caller.socket.send(self.request)
        except OSError as error:
            self._end(caller, under_way, tally, _reason(error.errno))

    def _receive(self, caller, under_way, tally):
        try:
            part = caller.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(caller, under_way, tally, _reason(error.errno))
            return
        caller.answer += part
        if not part:
            self._end(caller, under_way, tally, "closed without a whole answer")
        elif whole(caller.answer):
            good = bytes(caller.answer[9:12]) == b"200"
            self._end(caller, under_way, tally, None if good else f"status {caller.answer[9:12].decode('latin-1')}")

    def _end(self, caller, under_way, tally, fault):
        under_way.pop(caller.socket.fileno(), None)
        # An idle connection is not watched: when the proxy closes it, the next request finds that out.
        self.epoll.unregister(caller.socket)
        if fault is None:
            tally.latencies.append(time.monotonic() - caller.began)
            return
        tally.errors[fault] += 1
        caller.broken = True
        caller.socket.close()
        caller.socket = None


def whole(answer):
    """Whether these bytes are a complete answer to a GET."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = LENGTH.search(answer, 0, end)
    if length:
        return len(answer) >= end + 4 + int(length[1])
    if CHUNKED.search(answer, 0, end):
        return answer.endswith(b"0\r\n\r\n")
    return False


def _reason(code):
    return errno.errorcode.get(code, f"error {code}")
