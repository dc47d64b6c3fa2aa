//! The admin listener, and the health paths on the traffic port.

use crate::support::backend::reserve;
use crate::support::client::get;
use crate::support::{Backend, Client, Engine, Proxy, eventually, on_each_engine};

on_each_engine!(
    the_process_and_its_readiness,
    nothing_is_ready_without_a_backend,
    status_wants_the_token,
    status_names_the_backends,
    health_paths_on_the_traffic_port,
    health_paths_with_all_backends_down,
    traffic_is_not_served_on_the_admin_port,
);

const PROBES: &str = "health = { interval = \"50ms\", timeout = \"1s\", fall = 1, rise = 1 }";

fn the_process_and_its_readiness(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend]).web(PROBES).start();
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/_proxy/health",
        "/_proxy/health_check",
    ] {
        eventually(path, || get(proxy.admin(), path).status == 200);
    }
    assert_eq!(get(proxy.admin(), "/nothing").status, 404);
}

fn nothing_is_ready_without_a_backend(engine: Engine) {
    let (_reserved, nobody) = reserve();
    let proxy = Proxy::to(engine, []).and(nobody).web(PROBES).start();
    eventually("it is not ready", || {
        get(proxy.admin(), "/readyz").status == 503
    });
    assert_eq!(get(proxy.admin(), "/livez").status, 200);
    let health = get(proxy.admin(), "/_proxy/health").status;
    assert_eq!(health, 503, "it tells of the backends, as /readyz does");
}

fn status_wants_the_token(engine: Engine) {
    let backend = Backend::fixed("x");
    let proxy = Proxy::to(engine, [&backend])
        .admin("token = \"s3cret-t0ken\"")
        .start();
    let ask = |field: &str| {
        let request = format!("GET /_proxy/status HTTP/1.1\r\nHost: test\r\n{field}\r\n");
        Client::connect(proxy.admin()).ask(request)
    };
    for wrong in [
        "",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer s3cret-t0ken2\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Basic s3cret-t0ken\r\n",
    ] {
        let answer = ask(wrong);
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(
            answer
                .get("www-authenticate")
                .unwrap()
                .starts_with("Bearer"),
            "{wrong:?}"
        );
        assert!(!answer.text().contains("b1"));
    }
    assert_eq!(ask("Authorization: Bearer s3cret-t0ken\r\n").status, 200);
    assert_eq!(ask("authorization: bearer s3cret-t0ken\r\n").status, 200);
    assert_eq!(get(proxy.admin(), "/livez").status, 200);
}

fn status_names_the_backends(engine: Engine) {
    let [one, two] = ["1", "2"].map(Backend::fixed);
    let proxy = Proxy::to(engine, [&one, &two]).start();
    for _ in 0..4 {
        proxy.get("/");
    }
    let status = get(proxy.admin(), "/_proxy/status");
    assert!(
        status
            .get("content-type")
            .unwrap()
            .starts_with("application/json")
    );
    let text = status.json().to_string();
    for part in ["\"web\"", "\"b1\"", "\"b2\"", "healthy"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains(&one.address().to_string()), "{text}");
}

fn health_paths_on_the_traffic_port(engine: Engine) {
    let backend = Backend::fixed("from the backend");
    let setup = Proxy::to(engine, [&backend]).web(PROBES);
    let proxy = setup
        .server("health_paths = [\"/health\", \"/_health\"]")
        .start();
    assert_eq!(proxy.get("/health").json()["status"], "ok");
    let ready = || proxy.get("/_health").status == 200;
    eventually("the backends are known to be up", ready);
    let health = proxy.get("/_health").json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["backends"].as_array().unwrap().len(), 1);
    assert_eq!(proxy.get("/healthy").text(), "from the backend");
    assert_eq!(proxy.get("/health/").text(), "from the backend");
}

fn health_paths_with_all_backends_down(engine: Engine) {
    let (_reserved, nobody) = reserve();
    let setup = Proxy::to(engine, []).and(nobody).web(PROBES);
    let proxy = setup
        .server("health_paths = [\"/health\", \"/_health\"]")
        .start();
    eventually("the backend is known to be down", || {
        proxy.get("/_health").status == 503
    });
    let health = proxy.get("/_health").json();
    assert_eq!(health["status"], "unhealthy");
    assert_eq!(health["backends"].as_array().unwrap().len(), 1);
    assert_eq!(proxy.get("/health").status, 200);
    assert_eq!(proxy.get("/health").json()["status"], "ok");
}

fn traffic_is_not_served_on_the_admin_port(engine: Engine) {
    let backend = Backend::fixed("from the backend");
    let proxy = Proxy::to(engine, [&backend]).start();
    assert_eq!(get(proxy.admin(), "/any").status, 404);
    assert_eq!(proxy.get("/livez").text(), "from the backend");
    assert_eq!(proxy.get("/_proxy/status").text(), "from the backend");
    assert_eq!(backend.count(), 2);
}
