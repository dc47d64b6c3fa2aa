//! The admin API: backends that come, change and go at run time, and who may ask for that.

use serde_json::{Value, json};

use crate::support::admin::{self, path};
use crate::support::{Backend, Engine, Gate, Proxy, eventually, on_each_engine};

on_each_engine!(
    a_backend_registers_gets_traffic_and_vanishes_without_its_heartbeat,
    a_heartbeat_keeps_it,
    weight_and_state_change_at_run_time,
    a_drained_backend_finishes_what_it_has,
    what_is_configured_is_not_removed,
    what_was_set_by_hand_is_told_and_can_be_undone,
    what_makes_no_sense_is_told_and_changes_nothing,
    changes_want_the_token,
    changes_are_not_taken_from_web_pages,
    upstreams_can_be_looked_at_one_by_one,
    an_id_may_have_slashes,
    registrations_survive_a_restart,
    a_state_file_that_cannot_be_read_is_put_aside,
);

fn names(shown: &Value) -> Vec<String> {
    let list = shown["backends"].as_array().expect("a list");
    let ids = list.iter().map(|backend| backend["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

fn a_backend_registers_gets_traffic_and_vanishes_without_its_heartbeat(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let proxy = Proxy::to(engine, [&first]).start();
    let order = json!({ "url": second.url(), "ttl": "1s" });
    let placed = admin::put(&proxy, &path("web", "late"), &order);
    assert_eq!(placed.status, 201, "{}", placed.text());
    assert_eq!(placed.json()["id"], "late");
    assert!(placed.json()["expires_in_seconds"].as_f64().unwrap() <= 1.0);
    eventually("it gets traffic", || proxy.get("/").text() == "second");
    eventually("it is gone", || {
        admin::get(&proxy, &path("web", "late")).status == 404
    });
    let before = second.count();
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "first");
    }
    assert_eq!(second.count(), before);
}

fn a_heartbeat_keeps_it(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let proxy = Proxy::to(engine, [&first]).start();
    let order = json!({ "url": second.url(), "ttl": "30s" });
    assert_eq!(admin::put(&proxy, &path("web", "late"), &order).status, 201);
    let left = || {
        let shown = admin::get(&proxy, &path("web", "late")).json();
        shown["expires_in_seconds"].as_f64().unwrap()
    };
    eventually("time passes", || left() < 29.9);
    let before = left();
    let beat = admin::ask(&proxy, "PUT", &path("web", "late"), "", "");
    assert_eq!(beat.status, 200, "{}", beat.text());
    assert!(left() > before, "its time begins anew");
    let removed = admin::ask(&proxy, "DELETE", &path("web", "late"), "", "");
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!(admin::get(&proxy, &path("web", "late")).status, 404);
}

fn weight_and_state_change_at_run_time(engine: Engine) {
    let backends = [Backend::fixed("one"), Backend::fixed("two")];
    let proxy = Proxy::to(engine, &backends).start();
    let part = |count: usize| {
        let mut client = proxy.client();
        let answers = (0..count).map(|_| client.get("/").text());
        answers.filter(|text| text == "one").count()
    };
    assert_eq!(part(20), 10);
    let shown = admin::put(&proxy, &path("web", "b1"), &json!({ "weight": 3 }));
    assert_eq!((shown.status, &shown.json()["weight"]), (200, &json!(3)));
    assert_eq!(part(20), 15);
    for state in ["draining", "disabled"] {
        let shown = admin::put(&proxy, &path("web", "b1"), &json!({ "state": state }));
        assert_eq!(shown.json()["duty"], state);
        assert_eq!(shown.json()["usable"], false);
        assert_eq!(part(10), 0, "{state}");
    }
    admin::put(&proxy, &path("web", "b1"), &json!({ "state": "enabled" }));
    assert_eq!(part(20), 15, "the weight has stayed");
}

fn a_drained_backend_finishes_what_it_has(engine: Engine) {
    let gate = Gate::new();
    let (first, second) = (Backend::gated(&gate, "slow"), Backend::fixed("other"));
    let proxy = Proxy::to(engine, [&first, &second]).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("it is under way", || gate.arrived() == 1);
    admin::put(&proxy, &path("web", "b1"), &json!({ "state": "draining" }));
    for _ in 0..3 {
        assert_eq!(proxy.get("/").text(), "other");
    }
    let shown = admin::get(&proxy, &path("web", "b1")).json();
    assert_eq!(shown["active"], 1);
    gate.open();
    assert_eq!(client.read().text(), "slow");
    eventually("it is empty", || {
        admin::get(&proxy, &path("web", "b1")).json()["active"] == 0
    });
}

fn what_is_configured_is_not_removed(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).start();
    let answer = admin::ask(&proxy, "DELETE", &path("web", "b1"), "", "");
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("disabled"), "it says what helps");
    for (order, status) in [
        (json!({ "url": "http://127.0.0.1:1" }), 409),
        (json!({ "ttl": "5s" }), 409),
    ] {
        let answer = admin::put(&proxy, &path("web", "b1"), &order);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(proxy.get("/").text(), "x");
}

fn what_was_set_by_hand_is_told_and_can_be_undone(engine: Engine) {
    let backend = Backend::fixed("x");
    let setup = Proxy::to(engine, [&backend]);
    let proxy = setup.start();
    let weight = || admin::get(&proxy, &path("web", "b1")).json()["weight"].clone();
    admin::put(&proxy, &path("web", "b1"), &json!({ "weight": 9 }));
    assert_eq!(weight(), 9);
    let text = setup.text();
    let other = text.replacen("id = \"b1\"", "id = \"b1\", weight = 3", 1);
    assert_ne!(text, other);
    let told = "upstream web, backend b1: weight is set by hand to 9";
    let changes = proxy.reload_text(other).unwrap();
    assert_eq!(changes, ["upstream web, backend b1: weight: 1 → 3", told]);
    assert_eq!(weight(), 9);
    let answer = admin::ask(&proxy, "DELETE", &path("web", "b1"), "", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["reset"], "b1");
    assert_eq!(weight(), 3);
    let again = admin::ask(&proxy, "DELETE", &path("web", "b1"), "", "");
    assert_eq!(again.status, 409);
}

fn what_makes_no_sense_is_told_and_changes_nothing(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).start();
    let before = admin::get(&proxy, "/_proxy/upstreams/web").json();
    let big = format!("{{\"url\": \"{}\"}}", "x".repeat(100_000));
    for (method, path, body, status) in [
        ("PUT", path("web", "new"), "{", 400),
        ("PUT", path("web", "new"), "[]", 400),
        ("PUT", path("web", "new"), "{}", 404),
        ("PUT", path("web", "new"), "", 404),
        ("GET", "/_proxy/upstreamsXYZ".to_owned(), "", 404),
        ("GET", "/_proxy/upstreams/".to_owned(), "", 404),
        ("PUT", path("web", "new"), "{\"url\": \"gopher://x\"}", 400),
        (
            "PUT",
            path("web", "new"),
            "{\"url\": \"http://x:1\", \"port\": 1}",
            400,
        ),
        (
            "PUT",
            path("web", "a%20b"),
            "{\"url\": \"http://x:1\"}",
            400,
        ),
        (
            "PUT",
            path("nobody", "new"),
            "{\"url\": \"http://x:1\"}",
            404,
        ),
        ("PUT", path("web", "new"), big.as_str(), 413),
        ("DELETE", path("web", "new"), "", 404),
        ("DELETE", path("nobody", "new"), "", 404),
        ("POST", path("web", "b1"), "", 405),
        ("PUT", "/_proxy/upstreams/web".to_owned(), "{}", 405),
        (
            "GET",
            "/_proxy/upstreams/web/backends/b1/more".to_owned(),
            "",
            404,
        ),
        ("GET", "/_proxy/upstreams/web/others/b1".to_owned(), "", 404),
    ] {
        let answer = admin::ask(&proxy, method, &path, "", body);
        assert_eq!(answer.status, status, "{method} {path} {}", answer.text());
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    let after = admin::get(&proxy, "/_proxy/upstreams/web").json();
    assert_eq!(names(&after), names(&before));
}

fn changes_want_the_token(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend])
        .admin("token = \"s3cret-t0ken\"")
        .start();
    let order = "{\"state\": \"disabled\"}";
    for (method, path) in [
        ("PUT", path("web", "b1")),
        ("DELETE", path("web", "b1")),
        ("POST", "/_proxy/reload".to_owned()),
        ("GET", "/_proxy/upstreams".to_owned()),
    ] {
        let without = admin::ask(&proxy, method, &path, "", order);
        assert_eq!(without.status, 401, "{method} {path}");
        let wrong = "Authorization: Bearer s3cret-t0keN\r\n";
        assert_eq!(admin::ask(&proxy, method, &path, wrong, order).status, 401);
    }
    assert_eq!(proxy.get("/").text(), "x");
    let good = "Authorization: Bearer s3cret-t0ken\r\n";
    let by_name = format!("GET /_proxy/status HTTP/1.1\r\nHost: proxy.example\r\n{good}\r\n");
    assert_eq!(admin::raw(&proxy, &by_name).status, 200);
    let answer = admin::ask(&proxy, "PUT", &path("web", "b1"), good, order);
    assert_eq!(answer.status, 200, "{}", answer.text());
    proxy.get("/").refused(503, "no_backend");
}

fn changes_are_not_taken_from_web_pages(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).start();
    let path = path("web", "b1");
    let order = "{\"state\": \"disabled\"}";
    for field in [
        "Origin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        assert_eq!(admin::ask(&proxy, "PUT", &path, field, order).status, 403);
        let reload = admin::ask(&proxy, "POST", "/_proxy/reload", field, "");
        assert_eq!(reload.status, 403);
    }
    // A name that points here may be anybody's.
    let rebound = format!(
        "PUT {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {}\r\n\r\n{order}",
        order.len()
    );
    assert_eq!(admin::raw(&proxy, &rebound).status, 403);
    // Its pages could read what is answered, too.
    for (page, status) in [
        ("/_proxy/status", 403),
        ("/_proxy/upstreams", 403),
        ("/livez", 200),
    ] {
        let rebound = format!("GET {page} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(admin::raw(&proxy, &rebound).status, status, "{page}");
        let link = admin::ask(&proxy, "GET", page, "Sec-Fetch-Site: none\r\n", "");
        assert_eq!(link.status, 200, "{page}");
    }
    assert_eq!(proxy.get("/").text(), "x");
}

fn upstreams_can_be_looked_at_one_by_one(engine: Engine) {
    let backend = Backend::fixed("x");
    let other = Backend::fixed("y");
    let proxy = Proxy::to(engine, [&backend])
        .upstream("api", [other.address()])
        .start();
    let all = admin::get(&proxy, "/_proxy/upstreams").json();
    assert_eq!(all["upstreams"].as_array().unwrap().len(), 2);
    let one = admin::get(&proxy, "/_proxy/upstreams/api").json();
    assert_eq!(
        (&one["name"], names(&one)),
        (&json!("api"), vec!["api1".to_owned()])
    );
    let shown = admin::get(&proxy, &path("web", "b1")).json();
    assert_eq!(shown["address"], backend.address().to_string());
    assert_eq!(shown["breaker"], "passing");
    assert_eq!(admin::get(&proxy, "/_proxy/upstreams/nobody").status, 404);
}

fn an_id_may_have_slashes(engine: Engine) {
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let proxy = Proxy::to(engine, [&first]).start();
    let order = json!({ "url": second.url() });
    let answer = admin::put(&proxy, &path("web", "unix:%2Frun%2Fapp.sock"), &order);
    assert_eq!(answer.json()["id"], "unix:/run/app.sock");
    eventually("it gets traffic", || proxy.get("/").text() == "second");
}

fn registrations_survive_a_restart(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let (first, second) = (Backend::fixed("first"), Backend::fixed("second"));
    let setup = Proxy::to(engine, [&first]).server(&format!("state_file = \"{}\"", file.display()));
    let proxy = setup.start();
    let order = json!({ "url": second.url(), "weight": 7, "ttl": "1h" });
    assert_eq!(admin::put(&proxy, &path("web", "late"), &order).status, 201);
    admin::put(&proxy, &path("web", "b1"), &json!({ "state": "disabled" }));
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "second");
    }
    proxy.shut_down();

    let proxy = setup.start();
    let shown = admin::get(&proxy, &path("web", "late")).json();
    assert_eq!(
        (&shown["weight"], &shown["requests"]),
        (&json!(7), &json!(5))
    );
    assert!(shown["mean_time_ms"].as_f64().is_some());
    assert!(shown["expires_in_seconds"].as_f64().unwrap() > 3000.0);
    assert_eq!(proxy.get("/").text(), "second");
    let shown = admin::get(&proxy, &path("web", "b1")).json();
    assert_eq!(shown["duty"], "disabled");
}

fn a_state_file_that_cannot_be_read_is_put_aside(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    std::fs::write(&file, "no JSON").unwrap();
    let backend = Backend::fixed("x");
    let setup =
        Proxy::to(engine, [&backend]).server(&format!("state_file = \"{}\"", file.display()));
    let proxy = setup.start();
    assert_eq!(proxy.get("/").text(), "x");
    proxy.shut_down();
    let aside = folder.path().join("state.json.bad");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "no JSON");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("\"version\"")
    );
}
