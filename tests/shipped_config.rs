//! Every configuration file in the repository: the shipped ones load, the broken ones say exactly what is wrong.
//!
//! With `TOLLGATE_WRITE_EXPECTED=1` the expected outputs are written instead of compared; read the difference then.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate::config::model::{Address, Config};
use tollgate::config::{Loaded, Problems, Request, load};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder with one of these endings, sorted.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| endings.contains(&ending))
        })
        .collect();
    found.sort();
    found
}

/// Loads a file by its bare name, so that problems show no directory.
fn load_file(path: &Path, environment: BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let name = PathBuf::from(path.file_name().unwrap());
    let is_env = path.extension().is_some_and(|ending| ending == "env");
    let (config, env_file) = if is_env {
        (None, Some(name))
    } else {
        (Some(name), None)
    };
    load(&Request {
        config,
        env_file,
        environment,
        working_dir: path.parent().unwrap().to_owned(),
        ..Request::default()
    })
}

fn assert_loads(path: &Path) -> Config {
    assert_loads_with(path, BTreeMap::new())
}

fn assert_loads_with(path: &Path, environment: BTreeMap<String, String>) -> Config {
    match load_file(path, environment) {
        Ok(loaded) => {
            let name = path.display();
            assert!(loaded.warnings.is_empty(), "{name}: {:#?}", loaded.warnings);
            loaded.config
        }
        Err(problems) => panic!("{}:\n{problems}", path.display()),
    }
}

#[test]
fn shipped_files_load() {
    let shipped = files("config", &["toml"]);
    let examples = files("config/examples", &["toml", "json", "env"]);
    assert!(!shipped.is_empty() && examples.len() >= 8);
    let all = fs::read_dir(root().join("config/examples"))
        .unwrap()
        .count();
    assert_eq!(
        all,
        examples.len(),
        "a file in config/examples has an unknown ending"
    );
    for path in shipped.iter().chain(&examples) {
        // No example has a token in it that people could keep.
        let token = ("TOLLGATE_TOKEN".to_owned(), "f00dfeedf00dfeed".to_owned());
        let config = assert_loads_with(path, BTreeMap::from([token]));
        // Nobody who tries an example becomes reachable by it.
        let mut addresses = config.server.listen.iter().map(|listen| &listen.address);
        let is_local = |address: &Address| address.ip().is_none_or(|ip| ip.ip().is_loopback());
        assert!(addresses.all(is_local), "{}", path.display());
    }
}

#[test]
fn valid_fixtures_load() {
    let valid = files("tests/fixtures/config/valid", &["toml"]);
    assert!(valid.len() >= 8);
    for path in &valid {
        assert_loads(path);
    }
}

#[test]
fn broken_fixtures_say_exactly_what_is_wrong() {
    let folder = "tests/fixtures/config/invalid";
    let broken = files(folder, &["toml", "json", "env"]);
    assert!(broken.len() >= 25);
    let write = std::env::var_os("TOLLGATE_WRITE_EXPECTED").is_some();
    for path in &broken {
        let name = path.display();
        let Err(problems) = load_file(path, BTreeMap::new()) else {
            panic!("{name} loads, but should not");
        };
        let printed = format!("{problems}\n");
        let expected = path.with_extension("expected");
        if write {
            fs::write(&expected, &printed).unwrap();
        }
        let expected = fs::read_to_string(&expected)
            .unwrap_or_else(|_| panic!("{name} has no .expected file"));
        assert_eq!(printed, expected, "{name}");
    }
    // No expectation is left over from a file that has gone.
    assert_eq!(broken.len(), files(folder, &["expected"]).len());
}

#[test]
fn the_units_fit_the_shipped_configuration() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (socket, service) = (
        read("config/deploy/tollgate.socket"),
        read("config/deploy/tollgate.service"),
    );
    let wanted = read("config/tollgate.toml");
    let sockets = socket
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream="));
    let sockets: Vec<&str> = sockets.collect();
    assert_eq!(sockets.len(), 2);
    for address in sockets {
        assert!(
            wanted.contains(&format!("\nlisten = \"{address}\"")),
            "{address}"
        );
    }
    let stop = service
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let server = assert_loads(&root().join("config/tollgate.toml")).server;
    let drain = server.drain_delay + server.drain_timeout;
    assert!(stop.unwrap().parse::<u64>().unwrap() > drain.as_secs());
}
