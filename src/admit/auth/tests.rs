//! What each scheme makes of good, missing, malformed and wrong credentials.

use super::*;
use crate::config::load_str;
use crate::message::target::Target;

const KEYS: &str = r#"
api_keys = { header = "X-Key", query = "key", keys = { alice = "0123456789abcdef-a", ci = "sha256:HASH" } }
bearer = { tokens = { bot = "0123456789abcdef-t" } }
realm = "in"
"#;

/// The guard of a route with this `[route.auth]`.
pub(super) fn guard(text: &str) -> Guard {
    let text = format!(
        "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n[[route]]\nupstream = \"web\"\n[route.auth]\n{text}"
    );
    let config = load_str("t.toml", &text).map_err(|problems| problems.to_string());
    Guard::new(config.unwrap().config.routes[0].auth.as_ref().unwrap())
}

fn keys() -> Guard {
    // SHA-256 of "0123456789abcdef-c".
    let digest = ring::digest::digest(&ring::digest::SHA256, b"0123456789abcdef-c");
    let digits: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    guard(&KEYS.replace("HASH", &digits))
}

/// A request for `target` with these fields.
pub(super) fn head(target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::unknown();
    head.target = Target::parse(target).unwrap();
    for (name, value) in fields {
        head.fields.append(name, value);
    }
    head
}

pub(super) fn client() -> Client {
    let fields = crate::message::fields::Fields::new();
    Client::identify("127.0.0.1".parse().unwrap(), &fields, &[])
}

fn look(guard: &Guard, target: &str, fields: &[(&str, &str)]) -> Found {
    let (head, client) = (head(target, fields), client());
    guard.look(Asking {
        head: &head,
        client: &client,
        request_id: "",
    })
}

/// Who is let in, or what is wrong.
fn told(found: Found) -> String {
    match found {
        Found::Known(identity) => format!("{} by {}", identity.name, identity.scheme),
        Found::Pending(pending) => format!("pending {}", pending.name),
        Found::Refused { scheme, fault, .. } => {
            format!("{} {fault:?}", scheme.unwrap_or("nobody"))
        }
    }
}

/// Target, fields, and what comes of it.
type Case = (&'static str, &'static [Field], &'static str);
type Field = (&'static str, &'static str);
const ALICE: Field = ("X-Key", "0123456789abcdef-a");
const TOKEN: Field = ("Authorization", "Bearer 0123456789abcdef-t");

const CASES: &[Case] = &[
    ("/", &[ALICE], "alice by api_keys"),
    ("/", &[("x-KEY", "0123456789abcdef-c")], "ci by api_keys"),
    ("/?key=0123456789abcdef-a", &[], "alice by api_keys"),
    ("/?a&%6Bey=0123456789abcde%66-a", &[], "alice by api_keys"),
    ("/", &[], "nobody Missing"),
    ("/?Key=0123456789abcdef-a", &[], "nobody Missing"),
    ("/", &[("X_Key", "0123456789abcdef-a")], "nobody Missing"),
    ("/", &[("X-Key", "")], "api_keys Malformed"),
    ("/?key", &[], "api_keys Malformed"),
    ("/", &[ALICE, ALICE], "api_keys Malformed"),
    ("/?key=x&key=y", &[], "api_keys Malformed"),
    ("/?key=0123456789abcdef-a", &[ALICE], "api_keys Malformed"),
    ("/", &[("X-Key", "0123456789abcdef-b")], "api_keys Wrong"),
    ("/", &[("X-Key", "0123456789ABCDEF-A")], "api_keys Wrong"),
    ("/", &[("X-Key", "alice")], "api_keys Wrong"),
    // A digest is not what it is the digest of; a token is no key.
    ("/", &[("X-Key", "0123456789abcdef-t")], "api_keys Wrong"),
    ("/", &[TOKEN], "bot by bearer"),
    (
        "/",
        &[("authorization", "bEARER \t 0123456789abcdef-t ")],
        "bot by bearer",
    ),
    (
        "/",
        &[("Authorization", "Bearer 0123456789abcdef-a")],
        "bearer Wrong",
    ),
    ("/", &[("Authorization", "Bearer")], "bearer Malformed"),
    ("/", &[("Authorization", "Bearer a b")], "bearer Malformed"),
    (
        "/",
        &[("Authorization", "Bearer \u{e9}")],
        "bearer Malformed",
    ),
    ("/", &[TOKEN, TOKEN], "bearer Malformed"),
    (
        "/",
        &[TOKEN, ("Authorization", "Basic eDp5")],
        "bearer Malformed",
    ),
    (
        "/",
        &[("Authorization", "Basic eDp5"), TOKEN],
        "bearer Malformed",
    ),
    (
        "/",
        &[("Authorization", "Bearer0123456789abcdef-t")],
        "nobody Missing",
    ),
    ("/", &[("Authorization", "Basic eDp5")], "nobody Missing"),
    ("/", &[("Authorization", "")], "nobody Missing"),
    // The first that finds something of its kind has the last word.
    (
        "/",
        &[ALICE, ("Authorization", "Bearer x")],
        "alice by api_keys",
    ),
    ("/", &[("X-Key", "x"), TOKEN], "api_keys Wrong"),
];

#[test]
fn keys_and_tokens() {
    let guard = keys();
    for (target, fields, expected) in CASES {
        assert_eq!(
            told(look(&guard, target, fields)),
            *expected,
            "{target} {fields:?}"
        );
    }
}

#[test]
fn refusals_challenge_and_tell_no_more() {
    let guard = keys();
    let challenges = |fields: &[(&str, &str)]| match look(&guard, "/", fields) {
        Found::Refused { refusal, .. } => {
            assert_eq!(
                (refusal.cause, &*refusal.message),
                (Cause::Unauthorized, "")
            );
            refusal.fields
        }
        other => panic!("{other:?}"),
    };
    let field = |value: &str| ("WWW-Authenticate".into(), value.to_owned());
    let missing = [field("ApiKey realm=\"in\""), field("Bearer realm=\"in\"")];
    assert_eq!(challenges(&[]), missing);
    assert_eq!(challenges(&[("X-Key", "wrong")]), missing);
    let invalid = [
        field("ApiKey realm=\"in\""),
        field("Bearer realm=\"in\", error=\"invalid_token\""),
    ];
    assert_eq!(challenges(&[("Authorization", "Bearer wrong")]), invalid);
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", keys());
    assert!(
        shown.contains("alice") && !shown.contains("0123456789"),
        "{shown}"
    );
}
