//! X-Forwarded-User and its like: those that tollgate does not write itself belong to the route that sets them, and to nobody else.

use crate::support::{Backend, Engine, Proxy, on_each_engine};

on_each_engine!(names_that_others_use_for_users_cannot_be_forged,);

const NAMES: [&str; 4] = ["User", "Email", "Groups", "Preferred-Username"];

/// A route that knows keys, one that sets such a field itself, and one that asks `auth`.
fn routes(auth: &str) -> String {
    let names = NAMES.map(|name| format!("\"X-Forwarded-{name}\""));
    format!(
        "[[route]]\nname = \"keys\"\nmatch = {{ path = \"/keys\" }}\nupstream = \"web\"\n\
         auth = {{ user_header = \"X-Forwarded-User\", api_keys = {{ keys = {{ alice = \"alice-0123456789\" }} }} }}\n\
         [[route]]\nname = \"set\"\nmatch = {{ path = \"/set\" }}\nupstream = \"web\"\n\
         headers.request = {{ set = {{ X-Forwarded-User = \"nobody\" }}, remove = [\"X-Forwarded-Email\"] }}\n\
         [[route]]\nname = \"web\"\nupstream = \"web\"\n\
         [route.auth.forward]\nurl = \"{auth}\"\nresponse_headers = [{}]\nuser_header = \"X-Forwarded-User\"\ntimeout = \"10s\"\n",
        names.join(", ")
    )
}

/// All of them, in every spelling, and some that are tollgate's.
fn forged() -> String {
    let mut forged = "X-API-Key: alice-0123456789\r\n".to_owned();
    for name in NAMES {
        for written in [
            format!("X-Forwarded-{name}"),
            format!("x-forwarded-{name}").to_lowercase(),
            format!("X_Forwarded_{name}").replace('-', "_"),
            format!("X-Forwarded_{name}").to_uppercase(),
        ] {
            forged += &format!("{written}: root\r\n");
        }
    }
    forged + "X_Forwarded_For: 203.0.113.66\r\nX-Forwarded-Host: evil.test\r\n"
}

fn names_that_others_use_for_users_cannot_be_forged(engine: Engine) {
    let auth = Backend::start(|conn| {
        let fields = [("X-Forwarded-User", "ann"), ("X-Forwarded-Groups", "a,b")];
        conn.reply(200, &fields, "");
    });
    let backend = Backend::fixed("in");
    let proxy = Proxy::to(engine, [&backend])
        .more(&routes(&auth.url()))
        .start();
    let mut client = proxy.client();
    for target in ["/", "/keys", "/set"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h.test\r\n{}\r\n", forged());
        assert_eq!(client.ask(request).status, 200, "{target}");
    }
    let seen = backend.seen();
    let sent = |index: usize, name: &str| -> Vec<String> {
        let fields = seen[index].head.fields.iter();
        let fields = fields.filter(|(other, _)| {
            let other = other.to_lowercase().replace('_', "-");
            other == format!("x-forwarded-{name}")
        });
        fields
            .map(|(_, value)| String::from_utf8_lossy(value.as_ref()).into_owned())
            .collect()
    };
    assert_eq!(sent(0, "user"), ["ann"]);
    assert_eq!(sent(0, "groups"), ["a,b"]);
    for (index, name) in [(0, "email"), (0, "preferred-username"), (2, "email")] {
        assert_eq!(sent(index, name), [""; 0], "{name}");
    }
    assert_eq!(sent(1, "user"), ["alice"]);
    assert_eq!(sent(2, "user"), ["nobody"]);
    for index in 0..3 {
        assert_eq!(sent(index, "for"), ["127.0.0.1"]);
        assert_eq!(sent(index, "host"), ["h.test"]);
    }
    // What they claim is not shown to whoever decides.
    let shown = auth.only();
    for name in NAMES {
        let name = format!("x-forwarded-{name}").to_lowercase();
        assert_eq!(shown.get(&name), None);
    }
}
