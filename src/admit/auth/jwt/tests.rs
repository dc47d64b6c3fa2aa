//! Which tokens let in, and what is known of their bearers then. (Signatures have their own tests in [`crate::jose`].)

use std::time::Duration;

use super::super::LONGEST_NAME;
use super::*;
use crate::config::model::{ClaimHeader, ClaimValue, Expiry, JwtKeys, KeyFormat, RequiredClaim};
use crate::jose::json::{self, Json};
use crate::jose::signer::Signer;
use crate::message::forwarded::Client;
use crate::message::head::RequestHead;

const NOW: u64 = 1_700_000_000;

fn settings(signer: &Signer) -> Jwt {
    Jwt {
        keys: JwtKeys::new(
            Vec::new(),
            KeyFormat::Secret,
            &Algorithm::ALL,
            signer.key().into(),
            0,
        ),
        issuers: vec!["https://id.example".into()],
        audiences: Some(vec!["api".into(), "web".into()]),
        leeway: Duration::from_secs(60),
        expiry: Expiry::Required,
        require: Vec::new(),
        headers: Vec::new(),
        header: "Authorization".into(),
        cookie: None,
    }
}

fn header(signer: &Signer) -> String {
    format!(r#"{{"alg":"{}"}}"#, signer.key().algorithm().name())
}

/// What becomes of a token with these claims and those that every good one has, at `NOW`.
fn judged(change: impl FnOnce(&mut Jwt), claims: &str) -> Result<Arc<Identity>, Fault> {
    let signer = Signer::new(Algorithm::Hs256);
    let mut settings = settings(&signer);
    change(&mut settings);
    let mut all =
        json::object(br#"{"iss":"https://id.example","aud":"api","exp":1700000100,"sub":"ann"}"#)
            .unwrap();
    all.extend(json::object(claims.as_bytes()).unwrap());
    all.retain(|_, value| *value != Json::Null);
    let tokens = Tokens::new(&settings, Beside::Nothing, "r");
    let token = signer.token(&header(&signer), &text(&Json::Object(all)));
    tokens.check(token.as_bytes(), Duration::from_secs(NOW))
}

fn text(value: &Json) -> String {
    match value {
        Json::Null => "null".into(),
        Json::Bool(value) => value.to_string(),
        Json::Number(value) => value.to_string(),
        Json::Text(value) => serde_json::to_string(value).unwrap(),
        Json::List(list) => {
            let list: Vec<String> = list.iter().map(text).collect();
            format!("[{}]", list.join(","))
        }
        Json::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| {
                format!("{}:{}", serde_json::to_string(name).unwrap(), text(value))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

fn fault(claims: &str) -> Option<Fault> {
    judged(|_| (), claims).err()
}

#[test]
fn times_hold_to_the_second_with_leeway() {
    for (claims, wanted) in [
        ("{}", None),
        (r#"{"exp":1700000000}"#, None),
        (r#"{"exp":1699999941}"#, None),
        (r#"{"exp":1699999940.5}"#, None),
        (r#"{"exp":1699999940}"#, Some(Fault::Expired)),
        (r#"{"exp":0}"#, Some(Fault::Expired)),
        (r#"{"nbf":1700000060}"#, None),
        (r#"{"nbf":1700000061}"#, Some(Fault::NotYet)),
        (r#"{"nbf":1700000060.5}"#, Some(Fault::NotYet)),
        (r#"{"iat":1700000060}"#, None),
        (r#"{"iat":1700000061}"#, Some(Fault::NotYet)),
        (r#"{"iat":1}"#, None),
    ] {
        assert_eq!(fault(claims), wanted, "{claims}");
    }
    let strict = |claims: &str| judged(|rules| rules.leeway = Duration::ZERO, claims).err();
    assert_eq!(strict(r#"{"exp":1700000001}"#), None);
    assert_eq!(strict(r#"{"exp":1700000000}"#), Some(Fault::Expired));
    assert_eq!(strict(r#"{"nbf":1700000000}"#), None);
    assert_eq!(strict(r#"{"nbf":1700000001}"#), Some(Fault::NotYet));
}

#[test]
fn times_are_numbers_that_can_be() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "\"1700000100\"",
            "true",
            "[]",
            "{}",
            "-1",
            "-0.5",
            "253402300800",
            "1e300",
            "18446744073709551615",
            "1700000000000",
        ] {
            let fault = fault(&format!(r#"{{"{name}":{value}}}"#));
            assert!(
                matches!(fault, Some(Fault::Absurd(_))),
                "{name} {value} {fault:?}"
            );
        }
    }
    assert!(matches!(fault(r#"{"exp":null}"#), Some(Fault::Missing(_))));
    let lenient = |claims: &str| judged(|rules| rules.expiry = Expiry::Optional, claims).err();
    assert_eq!(lenient(r#"{"exp":null}"#), None);
    assert_eq!(lenient(r#"{"exp":5}"#), Some(Fault::Expired));
}

#[test]
fn issuer_and_audience_are_compared_whole() {
    for (claims, wanted) in [
        (r#"{"iss":null}"#, Some(Fault::Issuer)),
        (r#"{"iss":"https://id.example/"}"#, Some(Fault::Issuer)),
        (r#"{"iss":["https://id.example"]}"#, Some(Fault::Issuer)),
        (r#"{"aud":"web"}"#, None),
        (r#"{"aud":["x","api"]}"#, None),
        (r#"{"aud":[]}"#, Some(Fault::Audience)),
        (r#"{"aud":["x"]}"#, Some(Fault::Audience)),
        (r#"{"aud":"API"}"#, Some(Fault::Audience)),
        (r#"{"aud":"api,web"}"#, Some(Fault::Audience)),
        (r#"{"aud":{"api":1}}"#, Some(Fault::Audience)),
        (r#"{"aud":null}"#, Some(Fault::Audience)),
    ] {
        assert_eq!(fault(claims), wanted, "{claims}");
    }
    // Where no audience is configured, a token that is for somebody is not for us.
    let none = |claims: &str| judged(|rules| rules.audiences = Some(Vec::new()), claims).err();
    assert_eq!(none("{}"), Some(Fault::Audience));
    assert_eq!(none(r#"{"aud":null}"#), None);
    let any = |claims: &str| judged(|rules| rules.audiences = None, claims).err();
    assert_eq!(any(r#"{"aud":"whoever"}"#), None);
    assert_eq!(any(r#"{"aud":null}"#), None);
    let anyone = judged(|rules| rules.issuers.clear(), r#"{"iss":"x"}"#);
    assert_eq!(&*anyone.unwrap().name, "ann");
}

#[test]
fn required_claims_have_their_values() {
    let with = |claim: &str, values: &[ClaimValue], claims: &str| {
        let required = RequiredClaim {
            claim: claim.into(),
            values: values.to_vec(),
        };
        judged(|rules| rules.require = vec![required], claims).err()
    };
    let text = |text: &str| ClaimValue::Text(text.into());
    let lacks = Some(Fault::Lacks);
    for (claims, wanted) in [
        (r#"{"role":"admin"}"#, None),
        (r#"{"role":["user","admin"]}"#, None),
        ("{}", lacks),
        (r#"{"role":"Admin"}"#, lacks),
        (r#"{"role":"admin user"}"#, lacks),
        (r#"{"role":{"admin":true}}"#, lacks),
        (r#"{"role":[["admin"]]}"#, lacks),
        (r#"{"role":true}"#, lacks),
    ] {
        assert_eq!(
            with("role", &[text("admin"), text("root")], claims),
            wanted,
            "{claims}"
        );
    }
    assert_eq!(
        with("scope", &[text("read")], r#"{"scope":"write read"}"#),
        None
    );
    assert_eq!(
        with("scope", &[text("read")], r#"{"scope":"readonly"}"#),
        lacks
    );
    assert_eq!(with("scp", &[text("read")], r#"{"scp":["read"]}"#), None);
    assert_eq!(
        with("level", &[ClaimValue::Integer(3)], r#"{"level":3}"#),
        None
    );
    assert_eq!(
        with("level", &[ClaimValue::Integer(3)], r#"{"level":"3"}"#),
        lacks
    );
    assert_eq!(
        with("ok", &[ClaimValue::Bool(true)], r#"{"ok":true}"#),
        None
    );
    assert_eq!(
        with("ok", &[ClaimValue::Bool(true)], r#"{"ok":"true"}"#),
        lacks
    );
    let nested = r#"{"realm_access":{"roles":["admin"],"a/b":{"c~d":"x"}}}"#;
    assert_eq!(with("/realm_access/roles", &[text("admin")], nested), None);
    assert_eq!(with("/realm_access/a~1b/c~0d", &[text("x")], nested), None);
    assert_eq!(with("realm_access.roles", &[text("admin")], nested), lacks);
    // What is wrong with the token goes before what it lacks.
    let expired = r#"{"role":"user","exp":1}"#;
    assert_eq!(
        with("role", &[text("admin")], expired),
        Some(Fault::Expired)
    );
}

#[test]
fn claims_become_values_that_end_no_field() {
    let told = |claims: &str| {
        let names = ["sub", "a", "/o/x"];
        let headers = names.map(|claim| ClaimHeader {
            name: format!("X-{claim}"),
            claim: claim.into(),
        });
        let identity = judged(|rules| rules.headers = headers.to_vec(), claims).ok()?;
        let found = identity.claims.iter().find(|(name, _)| &**name == "a");
        Some(found.map(|(_, value)| value.clone()).unwrap_or_default())
    };
    for (claim, wanted) in [
        (r#""plain text, with: signs""#, "plain text, with: signs"),
        (r#""x\r\nX-Role: admin""#, "x%0D%0AX-Role: admin"),
        (r#""tab\there""#, "tab%09here"),
        (r#""nul\u0000""#, "nul%00"),
        (r#""Zoë""#, "Zo%C3%AB"),
        (r#""100%""#, "100%25"),
        (r#"" x ""#, "%20x%20"),
        (r#""""#, ""),
        ("7", "7"),
        ("1.5", "1.5"),
        ("true", "true"),
        (r#"["a","b c",1]"#, "a,b c,1"),
        (r#"["a,admin","b"]"#, "a%2Cadmin,b"),
        ("[]", ""),
        (r#"[["a"]]"#, ""),
        (r#"{"x":1}"#, ""),
    ] {
        let value = told(&format!(r#"{{"a":{claim}}}"#));
        assert_eq!(value.as_deref(), Some(wanted), "{claim}");
    }
    let long = "x".repeat(4097);
    assert_eq!(told(&format!(r#"{{"a":"{long}"}}"#)), None);
    assert!(told(&format!(r#"{{"other":"{long}"}}"#)).is_some());
    let identity = judged(
        |rules| {
            rules.headers = vec![ClaimHeader {
                name: "X-X".into(),
                claim: "/o/x".into(),
            }];
        },
        r#"{"o":{"x":"deep"}}"#,
    );
    let claims = identity.unwrap().claims.clone();
    assert!(
        claims.contains(&("/o/x".into(), "deep".into())),
        "{claims:?}"
    );
}

#[test]
fn subjects_are_text_of_bounded_length() {
    assert!(matches!(fault(r#"{"sub":7}"#), Some(Fault::Absurd(_))));
    assert_eq!(&*judged(|_| (), r#"{"sub":null}"#).unwrap().name, "");
    let of = |length: usize| format!(r#"{{"sub":"{}"}}"#, "a".repeat(length));
    let name = judged(|_| (), &of(LONGEST_NAME)).unwrap();
    assert_eq!(name.name.len(), LONGEST_NAME);
    // Cut off it could be somebody else.
    assert_eq!(fault(&of(LONGEST_NAME + 1)), Some(Fault::Uncarriable));
}

#[test]
fn no_subject_is_taken_for_another_one() {
    for (subject, name) in [
        ("ann", "ann"),
        ("ann ", "ann%20"),
        (" ann", "%20ann"),
        ("ann\\u0000", "ann%00"),
        ("ann?", "ann?"),
        ("j\u{fc}rgen@x, y", "j%C3%BCrgen@x, y"),
        ("ann%20", "ann%2520"),
    ] {
        let claims = format!(r#"{{"sub":"{subject}"}}"#);
        let identity = judged(|_| (), &claims).unwrap();
        assert_eq!(&*identity.name, name, "{subject}");
    }
}

#[test]
fn a_good_token_is_known_until_it_expires() {
    let signer = Signer::new(Algorithm::Es256);
    let tokens = Tokens::new(&settings(&signer), Beside::Nothing, "r");
    let claims = r#"{"iss":"https://id.example","aud":"api","exp":1700000100,"sub":"ann"}"#;
    let token = signer.token(&header(&signer), claims);
    let at = |second: u64| tokens.check(token.as_bytes(), Duration::from_secs(second));
    let first = at(NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &at(1_700_000_159).unwrap()));
    assert_eq!(at(1_700_000_160).err(), Some(Fault::Expired));
    let other = token.replace("eyJ", "eyI");
    assert!(
        tokens
            .check(other.as_bytes(), Duration::from_secs(NOW))
            .is_err()
    );
}

/// A request with these fields.
fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::unknown();
    for (name, value) in fields {
        head.fields.append(name, value);
    }
    head
}

fn came(settings: &Jwt, beside: Beside, fields: &[(&str, &str)]) -> String {
    let tokens = Tokens::new(settings, beside, "r");
    let head = head(fields);
    let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
    let asking = Asking {
        head: &head,
        client: &client,
        request_id: "",
    };
    match tokens.find(asking) {
        Came::No => "no".into(),
        Came::Badly => "badly".into(),
        Came::As(token) => String::from_utf8(token.to_vec()).unwrap(),
    }
}

#[test]
fn tokens_come_once_and_where_they_may() {
    let mut settings = settings(&Signer::new(Algorithm::Hs256));
    let bearer = |value: &'static str| vec![("Authorization", value)];
    for (fields, alone, beside) in [
        (vec![], "no", "no"),
        (bearer("Bearer a.b.c"), "a.b.c", "a.b.c"),
        (bearer("bearer   a.b.c "), "a.b.c", "a.b.c"),
        (bearer("Basic a.b.c"), "no", "no"),
        (bearer("Bearera.b.c"), "no", "no"),
        (bearer("Bearer opaque"), "badly", "no"),
        (bearer("Bearer"), "badly", "no"),
        (bearer("Bearer a.b.c.d"), "badly", "no"),
        (
            vec![
                ("Authorization", "Bearer a.b.c"),
                ("Authorization", "Bearer a.b.c"),
            ],
            "badly",
            "no",
        ),
        (vec![("Cookie", "t=a.b.c")], "no", "no"),
    ] {
        assert_eq!(
            came(&settings, Beside::Nothing, &fields),
            alone,
            "{fields:?}"
        );
        assert_eq!(
            came(&settings, Beside::Bearer, &fields),
            beside,
            "{fields:?}"
        );
    }
    settings.header = "X-Token".into();
    settings.cookie = Some("t".into());
    for (fields, wanted) in [
        (vec![("X-Token", "a.b.c")], "a.b.c"),
        (vec![("X-Token", "Bearer a.b.c")], "a.b.c"),
        (vec![("X-Token", "a")], "badly"),
        (vec![("X-Token", "a.b.c"), ("X-Token", "a.b.c")], "badly"),
        (vec![("Cookie", "t=a.b.c")], "a.b.c"),
        (vec![("Cookie", "u=1; t=a.b.c")], "a.b.c"),
        (vec![("Cookie", "t=a.b.c; t=d.e.f")], "badly"),
        (vec![("Cookie", "t=a.b.c"), ("Cookie", "t=a.b.c")], "badly"),
        (vec![("Cookie", "t=x")], "badly"),
        (vec![("X-Token", "a.b.c"), ("Cookie", "t=a.b.c")], "badly"),
        (bearer("Bearer a.b.c"), "no"),
    ] {
        assert_eq!(
            came(&settings, Beside::Nothing, &fields),
            wanted,
            "{fields:?}"
        );
    }
}

#[test]
fn challenges_say_what_rfc_6750_wants() {
    use super::super::Fault as Told;
    let settings = settings(&Signer::new(Algorithm::Hs256));
    let tokens = Tokens::new(&settings, Beside::Nothing, "r");
    let of = |fault| tokens.challenge("r", fault).unwrap();
    assert_eq!(of(None), "Bearer realm=\"r\"");
    assert_eq!(of(Some(Told::Missing)), "Bearer realm=\"r\"");
    let invalid = "Bearer realm=\"r\", error=\"invalid_token\", error_description=";
    assert_eq!(of(Some(Told::Expired)), format!("{invalid}\"{UNTIMELY}\""));
    for fault in [Told::Wrong, Told::Malformed] {
        assert_eq!(
            of(Some(fault)),
            format!("{invalid}\"The token is not valid\"")
        );
    }
    assert_eq!(
        told(Fault::Flawed(jose::Flaw::UnknownKey)),
        told(Fault::Flawed(jose::Flaw::Signature))
    );
    let refusal = tokens.forbidden();
    assert_eq!(refusal.cause, Cause::Forbidden);
    assert!(refusal.fields[0].1.contains("error=\"insufficient_scope\""));
}
