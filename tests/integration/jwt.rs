//! Signed tokens: those of the openssl program, those that are almost good, and what backends learn from them.

use std::fs;

use crate::support::program::skip_without;
use crate::support::tokens::{
    HEADER, Issuer, OPENSSL, SECRET, ask, bearer, claims, from_now, hs256, jwt, unsigned,
};
use crate::support::{Backend, Engine, Proxy, on_each_engine};

on_each_engine!(
    tokens_of_openssl_let_in,
    what_is_almost_a_good_token_does_not,
    the_text_of_a_public_key_is_no_secret,
    a_good_token_may_not_be_enough,
    backends_are_told_what_the_token_says_and_nothing_else,
    tokens_come_in_cookies_and_beside_opaque_ones,
);

fn with_secret(lines: &str) -> String {
    jwt(&format!(
        "secret = \"{SECRET}\"\naudience = \"api\"\n{lines}"
    ))
}

fn tokens_of_openssl_let_in(engine: Engine) {
    skip_without!(OPENSSL);
    let issuer = Issuer::new();
    let secret = issuer.write("HS256", SECRET);
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let keys = match algorithm {
            "HS256" => format!("secret_file = \"{secret}\""),
            _ => format!("key = \"{}\"", issuer.make(algorithm, algorithm)),
        };
        let lines = format!("{keys}\naudience = \"api\"\nheaders = {{ X-User-Id = \"sub\" }}");
        let backend = Backend::fixed("in");
        let proxy = Proxy::to(engine, [&backend]).more(&jwt(&lines)).start();
        let mut client = proxy.client();
        let token = issuer.sign(algorithm, algorithm, &claims(""));
        // The second time it is known already.
        for _ in 0..2 {
            assert_eq!(bearer(&mut client, &token).status, 200, "{algorithm}");
        }
        for seen in backend.seen() {
            assert_eq!(seen.get("x-user-id").as_deref(), Some("ann"));
            assert_eq!(seen.get("authorization"), None);
        }
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let turned: String = signature.chars().rev().collect();
        let other = issuer.sign(algorithm, algorithm, &claims(",\"x\":1"));
        let other = other.rsplit_once('.').unwrap().1;
        for bad in [
            format!("{signed}.{turned}"),
            format!("{signed}.{other}"),
            format!("{signed}."),
        ] {
            let refused = bearer(&mut client, &bad);
            assert_eq!(refused.status, 401, "{algorithm} {bad}");
            let challenge = refused.get("www-authenticate").unwrap();
            assert_eq!(
                challenge,
                "Bearer realm=\"tollgate\", error=\"invalid_token\", error_description=\"The token is not valid\""
            );
        }
        assert_eq!(backend.count(), 2);
    }
}

fn what_is_almost_a_good_token_does_not(engine: Engine) {
    let backend = Backend::fixed("in");
    let routes = with_secret("leeway = \"0s\"");
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let mut client = proxy.client();
    let of = |claims: &str| hs256(SECRET, HEADER, claims);
    let (past, future) = (from_now(-1), from_now(3600));
    assert_eq!(bearer(&mut client, &of(&claims(""))).status, 200);
    for (token, is_about_time) in [
        (of(&format!(r#"{{"aud":"api","exp":{past}}}"#)), true),
        (of(&claims(&format!(r#","nbf":{future}"#))), true),
        (of(&claims(&format!(r#","iat":{future}"#))), true),
        (of(r#"{"aud":"api"}"#), false),
        (of(&format!(r#"{{"exp":{future}}}"#)), false),
        (of(&format!(r#"{{"aud":"other","exp":{future}}}"#)), false),
        (of(&format!(r#"{{"aud":"api","exp":"{future}"}}"#)), false),
        (
            of(&format!(r#"{{"aud":"api","exp":{past},"exp":{future}}}"#)),
            false,
        ),
        (
            hs256("another-secret-0123456789abcdef0", HEADER, &claims("")),
            false,
        ),
        (
            hs256(SECRET, r#"{"alg":"HS256","alg":"HS256"}"#, &claims("")),
            false,
        ),
        (
            hs256(SECRET, r#"{"alg":"HS256","crit":["x"]}"#, &claims("")),
            false,
        ),
        (hs256(SECRET, r#"{"alg":"RS256"}"#, &claims("")), false),
        (hs256(SECRET, r#"{"alg":"none"}"#, &claims("")), false),
        (unsigned(r#"{"alg":"none"}"#, &claims("")) + ".", false),
        (unsigned(r#"{"alg":"nOnE"}"#, &claims("")) + ".", false),
        ("opaque".into(), false),
        ("..".into(), false),
        ("x".repeat(20_000), false),
        (
            of(&claims(&format!(r#","x":"{}""#, "x".repeat(9_000)))),
            false,
        ),
    ] {
        let refused = bearer(&mut client, &token);
        assert_eq!(refused.status, 401, "{token:.60}");
        assert_eq!(refused.text(), "{\"message\": \"Not authenticated\"}");
        let challenge = refused.get("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert_eq!(
            challenge.contains("expired"),
            is_about_time,
            "{token:.60} {challenge}"
        );
    }
    // Without a token there is no error to tell of.
    let challenge = ask(&mut client, "").get("www-authenticate");
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"tollgate\""));
    let good = of(&claims(""));
    let twice = format!("Authorization: Bearer {good}\r\n").repeat(2);
    assert_eq!(ask(&mut client, &twice).status, 401);
    assert_eq!(backend.count(), 1);
}

fn the_text_of_a_public_key_is_no_secret(engine: Engine) {
    let backend = Backend::fixed("in");
    let public = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwt/rsa.pem");
    let lines = format!("key = \"{public}\"\naudience = \"api\"");
    let proxy = Proxy::to(engine, [&backend]).more(&jwt(&lines)).start();
    let pem = fs::read_to_string(public).unwrap();
    for secret in [&*pem, pem.trim()] {
        let confused = hs256(secret, HEADER, &claims(""));
        assert_eq!(bearer(&mut proxy.client(), &confused).status, 401);
    }
    assert_eq!(backend.count(), 0);
}

fn a_good_token_may_not_be_enough(engine: Engine) {
    let backend = Backend::fixed("in");
    let lines = with_secret("require = { role = [\"admin\", \"root\"], level = 3 }");
    let proxy = Proxy::to(engine, [&backend]).more(&lines).start();
    let mut client = proxy.client();
    let mut of = |more: &str| bearer(&mut client, &hs256(SECRET, HEADER, &claims(more)));
    assert_eq!(of(r#","role":["user","root"],"level":3"#).status, 200);
    for more in [
        "",
        r#","role":"user","level":3"#,
        r#","role":"admin""#,
        r#","role":"admin","level":4"#,
    ] {
        let answer = of(more).refused(403, "forbidden");
        let challenge = answer.get("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"insufficient_scope\""),
            "{challenge}"
        );
    }
    assert_eq!(backend.count(), 1);
}

fn backends_are_told_what_the_token_says_and_nothing_else(engine: Engine) {
    let backend = Backend::fixed("in");
    let lines = with_secret(
        "headers = { X-User-Id = \"sub\", X-Role = \"role\", X-City = \"/address/city\" }",
    ) + "[route.headers.request]\nset = { X-Who = \"{user}/{claim:tenant}\" }\n";
    let proxy = Proxy::to(engine, [&backend]).more(&lines).start();
    let mut client = proxy.client();
    let forged = "X-User-Id: root\r\nx_user_id: root\r\nX-ROLE: admin\r\nX_Role: admin\r\nX-City: x\r\nX-City: y\r\n\
        Connection: X-User-Id, x-role, X-City, X-Who\r\n";
    for (more, role, city) in [
        ("", None, None),
        (
            r#","role":["a","b,c"],"address":{"city":"Zürich"}"#,
            Some("a,b%2Cc"),
            Some("Z%C3%BCrich"),
        ),
        (
            r#","role":"user\r\nX-User-Id: root","address":{}"#,
            Some("user%0D%0AX-User-Id: root"),
            None,
        ),
        (r#","role":{"x":1},"address":7"#, None, None),
    ] {
        let token = hs256(SECRET, HEADER, &claims(&format!(r#","tenant":"t1"{more}"#)));
        let answer = ask(
            &mut client,
            &format!("{forged}Authorization: Bearer {token}\r\n"),
        );
        assert_eq!(answer.status, 200);
        let seen = backend.seen().pop().unwrap();
        let all = |name: &str| -> Vec<String> {
            let fields = seen.head.fields.iter();
            let of_name =
                fields.filter(|(other, _)| other.to_lowercase().replace('_', "-") == name);
            of_name
                .map(|(_, value)| String::from_utf8_lossy(value.as_ref()).into_owned())
                .collect()
        };
        assert_eq!(all("x-user-id"), ["ann"], "{more}");
        assert_eq!(
            all("x-role"),
            Vec::from_iter(role.map(str::to_owned)),
            "{more}"
        );
        assert_eq!(
            all("x-city"),
            Vec::from_iter(city.map(str::to_owned)),
            "{more}"
        );
        assert_eq!(all("x-who"), ["ann/t1"], "{more}");
    }
}

fn tokens_come_in_cookies_and_beside_opaque_ones(engine: Engine) {
    let backend = Backend::fixed("in");
    let lines = with_secret("cookie = \"session\"")
        + "[route.auth.bearer]\ntokens = { bot = \"bot-0123456789abc\" }\n";
    let proxy = Proxy::to(engine, [&backend]).more(&lines).start();
    let mut client = proxy.client();
    let token = hs256(SECRET, HEADER, &claims(""));
    let bad = hs256("another-secret-0123456789abcdef0", HEADER, &claims(""));
    for (fields, status) in [
        (format!("Authorization: Bearer {token}\r\n"), 200),
        ("Authorization: Bearer bot-0123456789abc\r\n".into(), 200),
        (format!("Cookie: a=b; session={token}\r\n"), 200),
        (format!("Cookie: session={bad}\r\n"), 401),
        (format!("Cookie: session={token}; session={token}\r\n"), 401),
        (
            format!("Authorization: Bearer {token}\r\nCookie: session={token}\r\n"),
            401,
        ),
        (
            format!("Authorization: Bearer {bad}\r\nCookie: session={token}\r\n"),
            401,
        ),
        (String::new(), 401),
    ] {
        assert_eq!(ask(&mut client, &fields).status, status, "{fields:.60}");
    }
    let cookies = backend.seen().into_iter().map(|seen| seen.get("cookie"));
    assert_eq!(
        cookies.collect::<Vec<_>>(),
        [None, None, Some("a=b".to_owned())]
    );
    let refused = ask(&mut client, &format!("Authorization: Bearer {bad}\r\n"));
    let challenges = refused.all("www-authenticate");
    assert!(
        challenges.iter().any(|one| one.contains("invalid_token")),
        "{challenges:?}"
    );
}
