//! Who is let in: API keys and bearer tokens, what backends get to see of them, and that nobody else does.

use crate::support::{Backend, Client, Engine, Proxy, Response, on_each_engine};

on_each_engine!(
    keys_and_tokens_let_in,
    refusals_say_one_thing,
    credentials_stay_here,
    credentials_go_on_where_that_is_wanted,
    nobody_says_who_he_is,
    own_answers_are_guarded,
    a_key_in_a_query_leads_nowhere_else,
    a_reload_ends_what_an_old_key_opened,
    a_client_does_not_take_away_what_is_told_about_it,
);

const ALICE: &str = "alice-0123456789";
const BOT: &str = "bot-0123456789abc";

/// The route `web` with this `[route.auth]`.
fn auth(text: &str) -> String {
    format!("[[route]]\nname = \"web\"\nupstream = \"web\"\n[route.auth]\n{text}\n")
}

fn both() -> String {
    auth(&format!(
        "user_header = \"X-User\"\napi_keys = {{ header = \"X-Key\", query = \"key\", keys = {{ alice = \"{ALICE}\" }} }}\n\
         bearer = {{ tokens = {{ bot = \"{BOT}\" }} }}"
    ))
}

fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

/// `Connection` names what ends here of what the client has sent (RFC 9110 section 7.6.1), and nothing else.
fn a_client_does_not_take_away_what_is_told_about_it(engine: Engine) {
    let backend = Backend::fixed("in");
    let more = both()
        + "[route.headers.request]\nset = { X-Who = \"{user}\" }\nadd = { X-From = \"{client_ip}\" }\n";
    let proxy = Proxy::to(engine, [&backend]).more(&more).start();
    let fields = format!(
        "X-Key: {ALICE}\r\nX-Mine: 1\r\nX-User: root\r\nConnection: X-Mine, x-user, X-Who, x-from, X-Forwarded-For, \
         X-Real-IP, Forwarded, Via, X-Request-ID, Host\r\n"
    );
    assert_eq!(ask(&mut proxy.client(), "/", &fields).status, 200);
    let seen = backend.only();
    for (name, value) in [
        ("x-user", Some("alice")),
        ("x-who", Some("alice")),
        ("x-from", Some("127.0.0.1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-real-ip", Some("127.0.0.1")),
        ("host", Some("h")),
        ("x-mine", None),
    ] {
        assert_eq!(seen.get(name).as_deref(), value, "{name}");
    }
    for name in ["forwarded", "via", "x-request-id"] {
        assert!(seen.get(name).is_some(), "{name}");
    }
}

fn keys_and_tokens_let_in(engine: Engine) {
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&both()).start();
    let mut client = proxy.client();
    for (target, fields, status) in [
        ("/", format!("X-Key: {ALICE}\r\n"), 200),
        (&*format!("/?key={ALICE}"), String::new(), 200),
        ("/", format!("authorization: BEARER {BOT}\r\n"), 200),
        ("/", String::new(), 401),
        ("/", "X-Key: \r\n".to_owned(), 401),
        ("/", format!("X-Key: {BOT}\r\n"), 401),
        ("/", format!("X-Key: {ALICE}\r\nX-Key: {ALICE}\r\n"), 401),
        ("/", format!("Authorization: Bearer {ALICE}\r\n"), 401),
        ("/", "Authorization: Basic eDp5\r\n".to_owned(), 401),
        (
            "/",
            format!("Authorization: Bearer {BOT}\r\nAuthorization: Basic eDp5\r\n"),
            401,
        ),
    ] {
        let answer = ask(&mut client, target, &fields);
        assert_eq!(answer.status, status, "{target} {fields:?}");
    }
    assert_eq!(backend.count(), 3);
}

fn refusals_say_one_thing(engine: Engine) {
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&both()).start();
    let mut client = proxy.client();
    for fields in ["", "Accept: application/json\r\n", "X-Key: wrong\r\n"] {
        let answer = ask(&mut client, "/", fields);
        assert_eq!(answer.text(), "{\"message\": \"Not authenticated\"}");
        assert_eq!(
            answer.get("content-type").as_deref(),
            Some("application/json")
        );
        assert_eq!(answer.get("cache-control").as_deref(), Some("no-store"));
        let challenges = answer.all("www-authenticate");
        assert_eq!(
            challenges,
            ["ApiKey realm=\"tollgate\"", "Bearer realm=\"tollgate\""]
        );
    }
    let answer = ask(&mut client, "/", "Authorization: Bearer wrong\r\n");
    let challenges = answer.all("www-authenticate");
    assert_eq!(
        challenges[1],
        "Bearer realm=\"tollgate\", error=\"invalid_token\""
    );
    let text = ask(&mut client, "/", "Accept: text/plain\r\n").text();
    assert!(
        text.starts_with("401 Unauthorized\nNot authenticated\ncause: unauthorized\n"),
        "{text}"
    );
    let html = ask(&mut client, "/", "Accept: text/html\r\n").text();
    assert!(html.contains("<p>Not authenticated</p>"), "{html}");
    // A body that nobody wants does the connection no harm, or ends it.
    let posted = proxy
        .client()
        .ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((posted.status, backend.count()), (401, 0));
}

fn credentials_stay_here(engine: Engine) {
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend]).more(&both()).start();
    let mut client = proxy.client();
    let target = format!("/a?x=%41&%6Bey={ALICE}&&y=+");
    assert_eq!(ask(&mut client, &target, "X_Key: spoofed\r\n").status, 200);
    let fields = format!("X-Key: {ALICE}\r\nAuthorization: Basic eDp5\r\n");
    assert_eq!(ask(&mut client, "/b?x", &fields).status, 200);
    assert_eq!(ask(&mut client, &format!("/c?key={ALICE}"), "").status, 200);
    let fields = format!("Authorization: Bearer {BOT}\r\n");
    assert_eq!(ask(&mut client, "/d", &fields).status, 200);
    let received = backend.seen();
    let targets: Vec<&str> = received
        .iter()
        .map(|one| one.head.line[1].as_str())
        .collect();
    assert_eq!(targets, ["/a?x=%41&&y=+", "/b?x", "/c", "/d"]);
    let names: Vec<Option<String>> = received.iter().map(|one| one.head.get("x-user")).collect();
    assert_eq!(
        names,
        ["alice", "alice", "alice", "bot"].map(|name| Some(name.to_owned()))
    );
    for one in &received {
        for field in ["x-key", "x_key", "authorization"] {
            assert_eq!(one.head.get(field), None, "{}", one.head.line[1]);
        }
    }
}

fn credentials_go_on_where_that_is_wanted(engine: Engine) {
    let backend = Backend::fixed("in");
    let text = both().replace("[route.auth]", "[route.auth]\nstrip_credentials = false");
    let proxy = Proxy::to(engine, [&backend]).more(&text).start();
    let mut client = proxy.client();
    let target = format!("/?key={ALICE}&x");
    assert_eq!(ask(&mut client, &target, "").status, 200);
    assert_eq!(
        ask(
            &mut client,
            "/",
            &format!("Authorization: Bearer {BOT}\r\n")
        )
        .status,
        200
    );
    let received = backend.seen();
    assert_eq!(received[0].head.line[1], target);
    assert_eq!(
        received[1].head.get("authorization"),
        Some(format!("Bearer {BOT}"))
    );
}

fn nobody_says_who_he_is(engine: Engine) {
    let backend = Backend::fixed("in");
    let open = "[[route]]\nmatch = { path = \"/open\" }\nupstream = \"web\"\n";
    let text = both() + "[route.headers.request]\nset = { X-Who = \"{user} of {route}\" }\n" + open;
    let proxy = Proxy::to(engine, [&backend]).more(&text).start();
    let fields = format!("X-Key: {ALICE}\r\nX-User: root\r\nx_user: root\r\nX-USER: root\r\n");
    assert_eq!(ask(&mut proxy.client(), "/", &fields).status, 200);
    let received = backend.seen();
    let users: Vec<_> = received[0]
        .head
        .fields
        .iter()
        .filter(|(name, _)| {
            name.eq_ignore_ascii_case("x-user") || name.eq_ignore_ascii_case("x_user")
        })
        .collect();
    assert_eq!(users.len(), 1, "{users:?}");
    assert_eq!(received[0].head.get("x-user").as_deref(), Some("alice"));
    assert_eq!(
        received[0].head.get("x-who").as_deref(),
        Some("alice of web")
    );
    // Neither where nobody is asked who he is: the backend is the same.
    let fields = "X-User: root\r\nx_user: root\r\nX-Who: root of web\r\nX-Other: kept\r\n";
    assert_eq!(ask(&mut proxy.client(), "/open", fields).status, 200);
    let seen = backend.seen().pop().unwrap();
    for name in ["x-user", "x_user", "x-who"] {
        assert_eq!(seen.head.get(name), None, "{name}");
    }
    assert_eq!(seen.head.get("x-other").as_deref(), Some("kept"));
}

fn own_answers_are_guarded(engine: Engine) {
    let backend = Backend::fixed("in");
    let keys = format!("auth.api_keys.keys.alice = \"{ALICE}\"\n");
    let routes = format!(
        "[[route]]\nmatch = {{ path = \"/fixed\" }}\nanswer = {{ body = \"shown\" }}\n{keys}\
         [[route]]\nmatch = {{ path = \"/moved\" }}\nredirect = {{ to = \"/there\" }}\n{keys}\
         [[route]]\nmatch = {{ path = \"/closed\" }}\nupstream = \"web\"\nmaintenance = true\n{keys}"
    );
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let mut client = proxy.client();
    for (target, status) in [("/fixed", 200), ("/moved", 308), ("/closed", 503)] {
        let refused = ask(&mut client, target, "");
        assert_eq!((refused.status, refused.get("location")), (401, None));
        let answer = ask(&mut client, target, &format!("X-API-Key: {ALICE}\r\n"));
        assert_eq!(answer.status, status);
    }
    assert_eq!(backend.count(), 0);
}

fn a_key_in_a_query_leads_nowhere_else(engine: Engine) {
    let backend = Backend::fixed("in");
    let routes = format!(
        "[[route]]\nredirect = {{ to = \"https://elsewhere.test{{path}}{{query}}\" }}\n\
         auth.api_keys = {{ query = \"key\", keys = {{ alice = \"{ALICE}\" }} }}\n"
    );
    let proxy = Proxy::to(engine, [&backend]).more(&routes).start();
    let answer = proxy.get(&format!("/p?a&key={ALICE}&b"));
    let location = answer.get("location");
    assert_eq!(location.as_deref(), Some("https://elsewhere.test/p?a&b"));
}

fn a_reload_ends_what_an_old_key_opened(engine: Engine) {
    let backend = Backend::fixed("in");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup.clone().more(&both()).start();
    let mut client = proxy.client();
    let fields = format!("X-Key: {ALICE}\r\n");
    assert_eq!(ask(&mut client, "/", &fields).status, 200);
    let new = both().replace(ALICE, "another-0123456789");
    let told = proxy.reload(&setup.more(&new)).unwrap();
    assert!(
        told.iter().all(|line| !line.contains("0123456789")),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.contains("alice")), "{told:?}");
    assert_eq!(ask(&mut client, "/", &fields).status, 401);
    assert_eq!(
        ask(&mut client, "/", "X-Key: another-0123456789\r\n").status,
        200
    );
}
