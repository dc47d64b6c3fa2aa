//! The shape of the house: who may import whom, how long a file may be, and how it opens. Reads the source as text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::path::{Path, PathBuf};

/// One source file, with comments, text literals and test modules blanked out in `code`.
struct Source {
    path: PathBuf,
    module: String,
    text: String,
    code: String,
}

/// Module and the modules it may import; `config::model` allows only that part of `config`.
#[rustfmt::skip]
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["app", "cli", "config"]),
    ("cli", &["app", "config", "tls"]),
    ("app", &[
        "serve", "accept", "health", "discovery", "admin", "demo", "admit", "route", "balance", "forward", "respond",
        "tunnel", "upstream", "config", "logging", "tls", "exchange", "message", "jose", "socket", "plain_file", "error", "drain", "clock",
    ]),
    ("serve", &[
        "admit", "route", "balance", "forward", "respond", "tunnel", "upstream", "config", "logging", "tls", "exchange",
        "message", "jose", "socket", "plain_file", "error", "drain", "clock",
    ]),
    ("accept", BELOW_ROOMS),
    ("health", BELOW_ROOMS),
    ("discovery", BELOW_ROOMS),
    ("admin", BELOW_ROOMS),
    ("demo", BELOW_ROOMS),
    ("admit", ROOM),
    ("route", ROOM),
    ("balance", ROOM),
    ("forward", ROOM),
    ("respond", ROOM),
    ("tunnel", ROOM),
    ("upstream", &["config", "logging", "tls", "exchange", "message", "socket", "plain_file", "error", "drain", "clock"]),
    ("config", GROUND),
    ("tls", &["config::model", "exchange", "message", "socket", "plain_file", "error", "drain", "clock"]),
    ("logging", GROUND),
    ("exchange", &["message", "drain", "error", "socket"]),
    ("socket", &[]),
    ("plain_file", &[]),
    ("drain", &["clock"]),
    ("message", &[]),
    ("jose", &[]),
    ("error", &[]),
    ("clock", &[]),
];
const GROUND: &[&str] = &[
    "exchange",
    "message",
    "jose",
    "socket",
    "plain_file",
    "error",
    "drain",
    "clock",
];
const BELOW_ROOMS: &[&str] = &[
    "upstream", "config", "logging", "tls", "exchange", "message", "socket", "error", "drain",
    "clock",
];
const ROOM: &[&str] = &[
    "upstream",
    "tls",
    "config::model",
    "exchange",
    "message",
    "jose",
    "socket",
    "error",
    "drain",
    "clock",
];
/// Lines of a file without its test modules.
const LONGEST: usize = 350;
const VAGUE_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "types", "manager",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`; never an empty list.
fn sources(folder: &str) -> Vec<Source> {
    let base = root().join(folder);
    let mut folders = vec![base.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&base).unwrap();
                let first = relative.components().next().unwrap().as_os_str();
                let module = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = without_tests(&blanked(&text));
                sources.push(Source {
                    path,
                    module,
                    text,
                    code,
                });
            }
        }
    }
    assert!(!sources.is_empty(), "no source in {}", base.display());
    sources
}

/// The same text with comments and text literals turned into blanks, line by line the same.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, out.chars().next_back()) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if rest.starts_with('"') {
            string_end(rest)
        } else if rest.starts_with("'\\") {
            2 + rest[3..].find('\'').map_or(0, |end| end + 2)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else {
            let next = rest.chars().next().unwrap();
            out.push(next);
            at += next.len_utf8();
            continue;
        };
        out.extend(
            rest[..end]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        at += end;
    }
    out
}

/// The number of `#` when a raw text literal starts here.
fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    let inner = rest.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let starts_word = !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_');
    (starts_word && inner[hashes..].starts_with('"')).then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Cuts every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let item = &out[start..];
        let open = item.find('{').unwrap_or(item.len());
        let end = match item.find(';') {
            Some(semicolon) if semicolon < open => semicolon + 1,
            _ => open + block_length(&item[open..]),
        };
        out.replace_range(start..start + end, "");
    }
    out
}

fn block_length(block: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in block.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    block.len()
}

/// Every path that starts with `name::`, its first two parts, groups taken apart: `a::{b, c::d}` gives `b` and `c::d`.
fn paths_from(code: &str, name: &str) -> Vec<String> {
    let start = format!("{name}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            expand("", &code[at + start.len()..], &mut found);
        }
    }
    found
}

fn expand(before: &str, path: &str, found: &mut Vec<String>) {
    let path = path.trim_start();
    if path.starts_with('{') {
        let mut depth = 0_usize;
        let parts = path[1..block_length(path) - 1].split(|c: char| {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            c == ',' && depth == 0
        });
        for part in parts.filter(|part| !part.trim().is_empty()) {
            expand(before, part, found);
        }
        return;
    }
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (word, rest) = path.split_at(end.unwrap_or(path.len()));
    let so_far = format!("{before}{word}");
    match rest.strip_prefix("::") {
        Some(rest) if before.is_empty() => expand(&format!("{so_far}::"), rest, found),
        _ => found.push(so_far),
    }
}

fn may_import(allowed: &[&str], import: &str) -> bool {
    let top = import.split("::").next().unwrap();
    allowed.iter().any(|one| *one == top || *one == import)
}

#[test]
fn the_layers_are_obeyed() {
    let mut imports = 0;
    let mut wrong = Vec::new();
    for source in sources("src") {
        if source.module == "lib" || source.path.ends_with("tests.rs") {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(module, _)| *module == source.module) else {
            panic!("{} has no place in the layer table", source.path.display())
        };
        let mut found = paths_from(&source.code, "crate");
        found.extend(paths_from(&source.code, "tollgate"));
        for import in found {
            let top = import.split("::").next().unwrap();
            let known = LAYERS.iter().any(|(module, _)| *module == top);
            imports += 1;
            if known && top != source.module && !may_import(allowed, &import) {
                wrong.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(imports > 0, "no import found: the test is blind");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let name = source.path.display();
        let is_tests = source.path.ends_with("tests.rs");
        let lines = source.code.lines().count();
        if lines > LONGEST && !is_tests {
            wrong.push(format!("{name} has {lines} lines"));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{name} does not open with //!"));
        }
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        if VAGUE_NAMES.contains(&stem) {
            wrong.push(format!("{name} has a name that says nothing"));
        }
        if source.code.contains("use super::*") && !is_tests {
            wrong.push(format!("{name} hides its imports behind `use super::*`"));
        }
        if source.code.contains(concat!("#[", "ignore]")) {
            wrong.push(format!("{name} ignores a test without a reason"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn ignored_tests_give_a_reason() {
    // In test modules too, which the other checks do not look at.
    let bare = sources("src")
        .into_iter()
        .filter(|source| blanked(&source.text).contains("#[ignore]"));
    let bare: Vec<_> = bare.map(|source| source.path).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn this_reader_reads() {
    let code = "use crate::{a::b, c::{d, e::f}}; // crate::d\nlet x = \"crate::e\"; let y = r#\"crate::\"f\"#; let z = '\"';\n\
                crate::g::h::i(); #[cfg(test)] mod tests { use crate::j; fn k() { '{'; } } use crate::l;";
    let found = paths_from(&without_tests(&blanked(code)), "crate");
    assert_eq!(found, ["a::b", "c::d", "c::e", "g::h", "l"]);
    assert!(may_import(ROOM, "config::model") && !may_import(ROOM, "config::file"));
    assert!(may_import(GROUND, "message::head") && !may_import(GROUND, "upstream"));
}
