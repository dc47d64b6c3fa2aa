//! Python's `websockets` on both sides of the proxy: a client and a backend that check what the own ones do not.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::support::process::address_in;
use crate::support::program::Running;
use crate::support::{Engine, Proxy, eventually, on_reactor};

on_reactor!(python_talks_to_python);

/// The package is made for the interpreter of the system and for no other.
const PYTHON: &str = "/usr/bin/python3";

/// Echoes every message; refuses `/no`.
const BACKEND: &str = r#"
import asyncio, http, websockets

async def echo(socket, path=None):
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.exceptions.ConnectionClosedError as closed:
        print(closed)

async def refuse(path, headers):
    if path == "/no":
        return http.HTTPStatus.FORBIDDEN, [], b"forbidden\n"

async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, process_request=refuse, max_size=None) as server:
        print("listening on http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

/// Twenty clients at once, with pings, fragments, compression and closing codes; then one that is refused.
const CLIENT: &str = r#"
import asyncio, os, sys, websockets

async def talk(url, number):
    async with websockets.connect(url + "/chat/%d" % number, max_size=None) as socket:
        for message in ["text", "h\u00e9llo \u2192 \U0001f600", "", b"", b"\x00\xff\r\n", os.urandom(1 << 20), "a" * (1 << 20)]:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(["in ", "three ", "parts"])
        assert await socket.recv() == "in three parts"
        await asyncio.wait_for(await socket.ping(), 20)
        await socket.close(4000, "enough")
        assert socket.close_code == 4000, socket.close_code

async def main(url):
    await asyncio.gather(*[talk(url, number) for number in range(20)])
    try:
        async with websockets.connect(url + "/no"):
            raise AssertionError("it was let in")
    except websockets.exceptions.InvalidStatusCode as refused:
        assert refused.status_code == 403, refused
    print("all is well")

asyncio.run(main(sys.argv[1]))
"#;

/// Says on stderr when the package is missing, or panics where `CI` is `true`.
fn is_installed() -> bool {
    let mut command = Command::new(PYTHON);
    command.args(["-c", "import websockets"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = Path::new(PYTHON).is_file() && status.is_ok_and(|status| status.success());
    let is_required = env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        is_there || !is_required,
        "the Debian package python3-websockets is not installed"
    );
    if !is_there {
        // Not `eprintln!`: that is captured, and a skipped test passes.
        let _ = writeln!(io::stderr(), "skipped: python3-websockets is not installed");
    }
    is_there
}

/// Starts a script that runs in this directory.
fn python(directory: &Path, script: &str, arguments: &[&str]) -> Running {
    let file = directory.join("script.py");
    fs::write(&file, script).unwrap();
    let mut command = Command::new(PYTHON);
    command.arg("-u").arg(file).args(arguments);
    Running::start(&mut command, directory)
}

fn python_talks_to_python(engine: Engine) {
    if !is_installed() {
        return;
    }
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut backend = python(directories[0].path(), BACKEND, &[]);
    eventually("it listens", || {
        assert!(backend.is_alive(), "{}", backend.output());
        backend.output().contains('\n')
    });
    let address = address_in(&backend.output());
    let proxy = Proxy::to(engine, []).and(address).start();
    let url = format!("ws://{}", proxy.traffic());
    let mut client = python(directories[1].path(), CLIENT, &[&url]);
    eventually("the client is done", || !client.is_alive());
    let output = client.output();
    assert!(output.ends_with("all is well\n"), "{output}");
}
