"""How to start the origins and each proxy: command, configuration, version.

Measures nothing. The configurations themselves are in templates/.
"""

import hashlib
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

from program import Failed, Program, free_port

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
PROXIES = ("tollgate", "nginx", "haproxy", "caddy")
# What a client has to send to get through the gate, and what the gate knows of it: only a hash.
GATE_HOST, GATE_KEY = "gate.test", "bench-0123456789abcdef0123456789abcdef"
GATE_FIELDS = (f"Host: {GATE_HOST}", f"X-API-Key: {GATE_KEY}")
# Debian keeps servers here, and the search path of an ordinary user does not have it.
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Setup:
    """What stays the same for the whole run."""
    folder: str          # temporary, for configurations and what the programs write
    tollgate: str        # path of the binary
    engine: str          # of tollgate
    listener_threads: int | None  # of tollgate; None: its default
    descriptors: int     # open files that each process may have


@dataclass(frozen=True)
class Size:
    """What one work needs of a proxy."""
    connections: int     # clients at the same time
    workers: int         # of tollgate
    tls: bool = False    # from clients; to the origin there is none
    gated: bool = False  # of tollgate: there is a route that asks for a key and limits the rate


def find(name):
    """Path of an installed program, or None."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS)


def version(name, path):
    """One line that says which version was measured."""
    argv = {"nginx": ["-v"], "haproxy": ["-v"], "caddy": ["version"]}.get(name, ["--version"])
    try:
        told = subprocess.run([path, *argv], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "version unknown"
    lines = (told.stdout + told.stderr).strip().splitlines()
    return lines[0].removesuffix(" - https://haproxy.org/") if lines else "version unknown"


def most_sessions(descriptors):
    """Clients that haproxy agrees to: it wants two descriptors for each and some for itself."""
    return descriptors // 2 - 150


@contextmanager
def origin(setup):
    """The fast origin; gives its port."""
    files = os.path.join(setup.folder, "files")
    os.makedirs(files, exist_ok=True)
    for name, size in (("100k", 100 * 1024), ("1m", 1024 * 1024)):
        with open(os.path.join(files, name), "wb") as file:
            file.write(b"0123456789abcdef" * (size // 16))
    values = {"FILES": files, "DESCRIPTORS": setup.descriptors}
    with _running(setup, "origin", _nginx, "origin.nginx.conf", values) as (_, port):
        yield port


@contextmanager
def slow_origin(setup):
    """The origin that answers after 200 ms; gives its port."""
    values = {"SESSIONS": most_sessions(setup.descriptors)}
    with _running(setup, "slow-origin", _haproxy, "slow.haproxy.cfg", values) as (_, port):
        yield port


@contextmanager
def proxy(setup, name, origin_port, size):
    """One proxy over the origin; gives (program, port) once it answers, and stops it at the end."""
    values = {"ORIGIN": origin_port, "DESCRIPTORS": setup.descriptors}
    values |= _tls_values(setup, name, size.tls)
    if name == "nginx":
        values["WORKER_CONNECTIONS"] = 2 * size.connections + 512
        start, template = _nginx, "proxy.nginx.conf"
    elif name == "haproxy":
        values["SESSIONS"] = most_sessions(setup.descriptors)
        start, template = _haproxy, "proxy.haproxy.cfg"
    elif name == "caddy":
        start, template = _caddy, "Caddyfile"
    else:
        values |= _tollgate_values(setup, size)
        start, template = _tollgate, "tollgate.toml"
    with _running(setup, name, start, template, values, size.tls) as running:
        yield running


def _tls_values(setup, name, is_tls):
    if not is_tls:
        return {"SCHEME": "http", "TLS": "", "SSL": "", "IS_TLS": "false"}
    cert, key = _certificate(setup)
    lines = {
        "nginx": f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;",
        "haproxy": f" ssl crt {cert}",
        "caddy": f"tls {cert} {key}",
        "tollgate": f'tls = {{ cert = "{cert}", key = "{key}" }}',
    }
    return {"SCHEME": "https", "TLS": lines[name], "SSL": " ssl", "IS_TLS": "true"}


def _certificate(setup):
    """Paths of a certificate (ECDSA, P-256) and its key, the same for all proxies; made when they are first asked for."""
    cert, key = os.path.join(setup.folder, "cert.pem"), os.path.join(setup.folder, "cert.pem.key")
    if not os.path.exists(key):
        made = subprocess.run(
            [find("openssl") or "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise Failed(f"openssl makes no certificate: {made.stderr.strip()}")
    return cert, key


def _tollgate_values(setup, size):
    reactor = []
    if setup.listener_threads is not None:
        reactor.append(f"listener_threads = {setup.listener_threads}")
    # The tiny_http engine has no such limits, and an unknown or useless key is an error.
    if setup.engine == "reactor":
        reactor += ["[server.limits]", f"connections = {size.connections + 500}",
                    f"connections_per_client = {size.connections + 500}", "requests_per_connection = 0"]
    gate = _gate() if size.gated else ""
    return {"ENGINE": setup.engine, "WORKERS": size.workers, "REACTOR": "\n".join(reactor), "GATE": gate}


def _gate():
    """Routes: one that asks and never refuses for being too often, and the one that all others take."""
    key = hashlib.sha256(GATE_KEY.encode()).hexdigest()
    return "\n".join([
        "[[route]]", 'name = "gate"', f'match = {{ host = "{GATE_HOST}" }}', 'upstream = "origin"',
        "[route.auth.api_keys]", f'keys = {{ bench = "sha256:{key}" }}',
        "[route.rate_limit]", 'by = "client_ip"', 'rate = "1000000/s"', "[[route]]", 'upstream = "origin"'])


@contextmanager
def _running(setup, name, start, template, values, is_tls=False):
    program, port = _start(setup, name, start, template, values, is_tls)
    try:
        yield program, port
    finally:
        program.stop()


def _start(setup, name, start, template, values, is_tls):
    """Starts on a port that the system calls free, and tries another one when it was taken in the meantime."""
    folder = os.path.join(setup.folder, name)
    os.makedirs(folder, exist_ok=True)
    for attempts_left in (2, 1, 0):
        port = free_port()
        config = os.path.join(folder, template)
        _fill(template, config, {**values, "PORT": port, "FOLDER": folder})
        argv, env = start(setup, config, folder)
        program = Program(name, argv, folder, env)
        try:
            program.wait_until_it_answers(port, is_tls)
            return program, port
        except BaseException as error:
            program.stop()
            taken = isinstance(error, Failed) and "in use" in program.said().lower()
            if not taken or attempts_left == 0:
                raise
    raise AssertionError("the last attempt returns or raises")


def _fill(template, target, values):
    with open(os.path.join(TEMPLATES, template), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"@([A-Z_]+)@", lambda found: str(values[found[1]]), text)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text)


def _nginx(_setup, config, folder):
    return [find("nginx"), "-e", "stderr", "-p", folder, "-c", config], {}


def _haproxy(_setup, config, _folder):
    return [find("haproxy"), "-db", "-f", config], {}


def _caddy(_setup, config, folder):
    env = {"GOMAXPROCS": "2", "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}
    return [find("caddy"), "run", "--adapter", "caddyfile", "--config", config], env


def _tollgate(setup, config, _folder):
    return [setup.tollgate, "run", "--config", config], {}
