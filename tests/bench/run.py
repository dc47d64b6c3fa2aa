#!/usr/bin/env python3
"""Compares tollgate with nginx, haproxy and caddy, side by side on this machine; README.md says how to read it.

Only the order of things is here: arguments, what is installed, who is measured when, what is printed. It installs nothing.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from load import wrk  # noqa: E402
from program import Failed  # noqa: E402
from servers import PROXIES, Setup, Size, find, most_sessions, origin, proxy, slow_origin, version  # noqa: E402
from table import summary, table  # noqa: E402
from works import WARM_UP, WORKS, measure  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# More than this is of no use here; what the system allows may be far more.
DESCRIPTORS = 65536


def arguments():
    """The command line."""
    names = [work.name for work in WORKS]
    parser = argparse.ArgumentParser(
        description="Compares tollgate with nginx, haproxy and caddy on this machine.",
        epilog="Works:\n" + "\n".join(f"  {work.name:14} {work.what}" for work in WORKS),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=_positive, default=3, help="measurements of each, medians are shown (3)")
    parser.add_argument("--seconds", type=_positive, default=5, help="length of one measurement under load (5)")
    parser.add_argument("--work", type=_list_of(names), default=names, help="which works, comma-separated (all)")
    parser.add_argument("--proxies", type=_list_of(PROXIES), default=list(PROXIES), help="which proxies (all)")
    parser.add_argument("--tollgate", default=os.path.join(ROOT, "target", "release", "tollgate"), metavar="PATH",
                        help="the binary (target/release/tollgate)")
    parser.add_argument("--engine", choices=("reactor", "tiny_http"), default="reactor", help="of tollgate (reactor)")
    parser.add_argument("--listener-threads", type=_positive, help="of tollgate (what it takes by itself)")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there too")
    return parser.parse_args()


def _positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _list_of(known):
    def read(text):
        chosen = [name for name in text.split(",") if name]
        wrong = [name for name in chosen if name not in known]
        if wrong or not chosen:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong) or 'nothing'} is not among {', '.join(known)}")
        return chosen
    return read


def installed(asked):
    """{proxy: path} of what can be measured; says what is missing. Fails when nothing can be measured at all."""
    for name, package in (("nginx", "nginx"), ("wrk", "wrk")):
        if not find(name):
            raise Failed(f"{name} is not installed, and nothing can be measured without it "
                         f"(nginx is the origin, wrk makes the load); on Debian: apt install {package}")
    paths = {}
    for name in asked.proxies:
        if name != "tollgate":
            path = find(name)
            if not path:
                print(f"{name} is not installed and left out; on Debian: apt install {name}")
                continue
        else:
            path = os.path.abspath(asked.tollgate)
            if not os.access(path, os.X_OK):
                raise Failed(f"there is no {path}; build it with: cargo build --release --locked")
        paths[name] = path
    if not paths:
        raise Failed("none of the chosen proxies is installed")
    return paths


def raise_descriptors():
    """Lets this process and all it starts have as many open files as are useful and allowed; gives the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def say_what_runs(asked, paths, descriptors):
    """The head of the report, without which no number means anything; as lines it is in the JSON too."""
    lines = [f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}, "
             f"{descriptors:,} open files for each process"]
    for name, path in paths.items():
        more = f", engine {asked.engine}" if name == "tollgate" else ""
        lines.append(f"{name:9} {version(name, path)}{more}")
    print("\n".join(lines))
    works = [work for work in WORKS if work.name in asked.work]
    # Under load: start, warm-up, measurement, stop. The others take a few seconds each.
    each = sum((asked.seconds + WARM_UP + 2 if work.kind in ("load", "handshake") else 6) * len(work.proxies(list(paths)))
               for work in works)
    print(f"about {each * asked.rounds / 60:.0f} min; quiet machine, please\n", flush=True)
    return lines


def check(setup, paths, origin_port, wrk_path):
    """Starts each proxy once and asks it a little: what cannot work shall fail now, not after ten minutes."""
    for name in paths:
        with proxy(setup, name, origin_port, Size(64, 16)) as (_, port):
            # That it answers GET / is known: otherwise it would not count as started.
            for target in ("/100k", "/1m"):
                errors = wrk(wrk_path, port, target, 1, 1)["errors"]
                if errors:
                    raise Failed(f"{name} does not pass on GET {target}: {errors}")


def measure_all(asked, setup, paths, results):
    """All works, one after the other, each printed as soon as it is complete. Fills `results`; gives the faults."""
    faults = []
    with ExitStack() as stack:
        fast = stack.enter_context(origin(setup))
        wrk_path = find("wrk")
        check(setup, paths, fast, wrk_path)
        for work in (work for work in WORKS if work.name in asked.work):
            if work.slow and not find("haproxy"):
                print(f"{work.name}: left out, haproxy is its origin; on Debian: apt install haproxy\n")
                continue
            if work.tls and not find("openssl"):
                print(f"{work.name}: left out, openssl makes the certificate; on Debian: apt install openssl\n")
                continue
            if work.tls and asked.engine != "reactor":
                print(f"{work.name}: left out, only the reactor engine speaks TLS\n")
                continue
            if not work.proxies(list(paths)):
                continue
            if work.connections > most_sessions(setup.descriptors) - 100:
                print(f"{work.name}: the system allows too few open files for {work.connections:,} connections")
            with slow_origin(setup) if work.slow else ExitStack() as late:
                port = late if work.slow else fast
                names = work.proxies(list(paths))
                faults += _rounds(work, asked, setup, names, port, wrk_path, results)
            print("\n".join(table(work, results[work.name])) + "\n", flush=True)
    return faults


def _rounds(work, asked, setup, names, origin_port, wrk_path, results):
    """Every proxy once in each round, in another order each time, so that no one is always the first."""
    faults = []
    measured = results.setdefault(work.name, {name: [] for name in names})
    for number in range(asked.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            _progress(f"{work.name}, round {number + 1} of {asked.rounds}: {name}")
            try:
                measured[name].append(measure(work, setup, name, origin_port, asked.seconds, wrk_path))
            except Failed as error:
                faults.append(f"{work.name}, round {number + 1}: {error}")
    _progress("")
    return faults


def _progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def write_json(path, asked, head, results, faults):
    """Every measurement of every round, and the medians."""
    works = {work: {name: {"median": summary(rounds), "rounds": rounds} for name, rounds in measured.items() if rounds}
             for work, measured in results.items()}
    whole = {"when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": head, "rounds": asked.rounds,
             "seconds": asked.seconds, "engine": asked.engine, "works": works, "failed": faults}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupted(_number, _frame):
    # The cleaning up takes some seconds: a second ctrl-c must not break it off and leave programs behind.
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    raise KeyboardInterrupt


def main():
    """Exit codes: 0 all measured, 1 something failed, 130 interrupted."""
    asked = arguments()
    for number in SIGNALS:
        signal.signal(number, _interrupted)
    results, faults, head, code = {}, [], [], 0
    folder = tempfile.mkdtemp(prefix="tollgate-bench-")
    # nginx started by root works as another user, who must get at the files of the origin.
    os.chmod(folder, 0o711)
    try:
        paths = installed(asked)
        descriptors = raise_descriptors()
        head = say_what_runs(asked, paths, descriptors)
        setup = Setup(folder, os.path.abspath(asked.tollgate), asked.engine, asked.listener_threads, descriptors)
        faults = measure_all(asked, setup, paths, results)
    except Failed as error:
        faults.append(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been stopped", file=sys.stderr)
        code = 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        write_json(asked.json, asked, head, results, faults)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return code or (1 if faults else 0)


if __name__ == "__main__":
    sys.exit(main())
