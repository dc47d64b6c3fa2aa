"""Runs what makes load, wrk and `openssl s_time`, and reads what they print."""

import re
import subprocess
import time

from program import Failed

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}
SIZES = {"B": 1 / 1024**2, "KB": 1 / 1024, "MB": 1.0, "GB": 1024.0}
# What wrk counts as a timeout: well above what any proxy here needs when it is not broken.
TIMEOUT = 10
# As many as the proxies get.
THREADS = 2


def wrk(path, port, target, connections, seconds, scheme="http", fields=()):
    """Load on one port of 127.0.0.1 for `seconds`, with these header fields; what wrk measured, as `read` gives it."""
    more = [word for field in fields for word in ("-H", field)]
    argv = [path, *more, f"-t{min(THREADS, connections)}", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT}s", "--latency",
            f"{scheme}://127.0.0.1:{port}{target}"]
    try:
        told = subprocess.run(argv, capture_output=True, text=True, check=False, start_new_session=True,
                              timeout=seconds + 2 * TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"wrk does not end (asked to run {seconds} s)") from error
    if told.returncode != 0:
        raise Failed(f"wrk failed with code {told.returncode}: {(told.stdout + told.stderr).strip()}")
    return read(told.stdout)


def handshakes(path, port, target, clients, seconds):
    """`clients` times `openssl s_time`: a new connection with a whole handshake for each GET. requests, rate, errors.

    wrk does not do for this: on a new connection it resumes the session of the last one.
    """
    argv = [path, "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-www", target, "-time", str(seconds)]
    start = time.monotonic()
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
               for _ in range(clients)]
    told = []
    try:
        for process in running:
            told.append(process.communicate(timeout=seconds + 2 * TIMEOUT)[0])
    except subprocess.TimeoutExpired as error:
        raise Failed(f"openssl s_time does not end (asked to run {seconds} s)") from error
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    took = time.monotonic() - start
    failed = sum(process.returncode != 0 for process in running)
    counts = [re.search(r"(\d+) connections in \d+ real seconds, (\d+) bytes read per connection", text) for text in told]
    requests = sum(int(found[1]) for found in counts if found)
    # It does not look at the answer; this much it has to be, or it was none.
    empty = sum(int(found[2]) < 23 for found in counts if found)
    errors = {"openssl s_time failed": failed, "no whole answers": empty}
    return {"requests": requests, "rate": requests / took, "p50_ms": None, "p99_ms": None,
            "errors": {reason: count for reason, count in errors.items() if count}}


def read(text):
    """requests, rate (per second), mib_s, p50_ms, p99_ms and errors (reason and how often) from wrk's output."""
    errors = {}
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if sockets:
        errors = {name: int(count) for name, count in
                  zip(("connect", "read", "write", "timeout"), sockets.groups()) if int(count)}
    status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if status:
        errors["status not 2xx"] = int(status[1])
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", text)
    return {
        "requests": int(_must(r"(\d+) requests in", text)[1]),
        "rate": float(_must(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "mib_s": float(transfer[1]) * SIZES[transfer[2]] if transfer else 0.0,
        "p50_ms": _latency("50", text),
        "p99_ms": _latency("99", text),
        "errors": errors,
    }


def _latency(percent, text):
    found = _must(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m|h)\b", text)
    return float(found[1]) * UNITS[found[2]]


def _must(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Failed(f"wrk printed something that this script cannot read:\n{text}")
    return found
