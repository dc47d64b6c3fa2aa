//! Keys of signed tokens that come and go: by reloads, and by files that change.

use crate::support::tokens::{HEADER, Issuer, SECRET, bearer, claims, hs256, jwt};
use crate::support::{Backend, Engine, Proxy, eventually, on_each_engine};

on_each_engine!(
    keys_that_are_gone_open_nothing,
    a_key_file_that_cannot_be_read_changes_nothing,
    key_files_are_read_again_when_they_change,
);

/// A set of this secret, called so.
fn jwks(name: &str, secret: &str) -> String {
    use base64::Engine;
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret);
    format!(r#"{{"keys":[{{"kty":"oct","kid":"{name}","k":"{key}"}}]}}"#)
}

fn keys_that_are_gone_open_nothing(engine: Engine) {
    let issuer = Issuer::new();
    let path = issuer.write("jwks.json", &jwks("old", SECRET));
    let backend = Backend::fixed("in");
    let setup =
        Proxy::to(engine, [&backend]).more(&jwt(&format!("jwks = \"{path}\"\naudience = \"api\"")));
    let proxy = setup.start();
    let mut client = proxy.client();
    let old = hs256(SECRET, r#"{"alg":"HS256","kid":"old"}"#, &claims(""));
    let nameless = hs256(SECRET, HEADER, &claims(""));
    let other = "fedcba9876543210fedcba9876543210";
    let new = hs256(other, r#"{"alg":"HS256","kid":"new"}"#, &claims(""));
    let mut status = |token: &str| bearer(&mut client, token).status;
    assert_eq!(
        [status(&old), status(&nameless), status(&new)],
        [200, 200, 401]
    );
    issuer.write("jwks.json", &jwks("new", other));
    proxy.reload(&setup).unwrap();
    assert_eq!(
        [status(&old), status(&nameless), status(&new)],
        [401, 401, 200]
    );
    let odd = hs256(
        other,
        r#"{"alg":"HS256","kid":"../../../dev/null"}"#,
        &claims(""),
    );
    assert_eq!(status(&odd), 401);
}

fn a_key_file_that_cannot_be_read_changes_nothing(engine: Engine) {
    let issuer = Issuer::new();
    let path = issuer.write("jwks.json", &jwks("old", SECRET));
    let backend = Backend::fixed("in");
    let setup =
        Proxy::to(engine, [&backend]).more(&jwt(&format!("jwks = \"{path}\"\naudience = \"api\"")));
    let proxy = setup.start();
    let mut client = proxy.client();
    let token = hs256(SECRET, HEADER, &claims(""));
    for bad in ["", "{}", "{\"keys\":[]}", &jwks("short", "0123456789")] {
        issuer.write("jwks.json", bad);
        let problems = proxy.reload(&setup).unwrap_err();
        assert!(
            problems.iter().any(|line| line.contains("jwks.json")),
            "{problems:?}"
        );
        assert_eq!(bearer(&mut client, &token).status, 200);
    }
}

fn key_files_are_read_again_when_they_change(engine: Engine) {
    let issuer = Issuer::new();
    let (set, secret) = (
        issuer.write("jwks.json", &jwks("old", SECRET)),
        issuer.write("secret", SECRET),
    );
    let routes = jwt(&format!("jwks = \"{set}\"\naudience = \"api\""))
        + &format!(
            "[[route]]\nmatch = {{ path = \"/s\" }}\nupstream = \"web\"\nauth.jwt = {{ secret_file = \"{secret}\", audience = \"api\" }}\n"
        );
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let mut client = proxy.client();
    let mut status = |target: &str, secret: &str| {
        let token = hs256(secret, HEADER, &claims(""));
        let asked =
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        client.ask(asked).status
    };
    let other = "fedcba9876543210fedcba9876543210";
    assert_eq!(
        [
            status("/", SECRET),
            status("/s", SECRET),
            status("/", other)
        ],
        [200, 200, 401]
    );
    issuer.write("jwks.json", &jwks("new", other));
    issuer.write("secret", other);
    eventually("the new keys are in use", || {
        [status("/", other), status("/s", other)] == [200, 200]
    });
    assert_eq!([status("/", SECRET), status("/s", SECRET)], [401, 401]);
    // A bad one changes nothing; a good one after it does.
    issuer.write("secret", "short");
    issuer.write("jwks.json", &jwks("new", SECRET));
    eventually("the old key is back", || status("/", SECRET) == 200);
    assert_eq!([status("/s", other), status("/", other)], [200, 401]);
}
