//! Which route a CORS preflight is about: the one that would take the request which the browser asks about (Fetch standard section
//! 4.8), as far as that can be known beforehand.
//!
//! What the browser is told is not decided here.

use crate::config::model::Route;

use super::matcher::{Fit, fit};
use super::request::Request;

/// The index of that route, of those in `order` (best first); it has `cors`. None: nobody here answers the preflight for its
/// backend, so that it is a request like any other. `asked`: the method that the browser asks about.
pub(super) fn find(
    order: &[usize],
    routes: &[Route],
    request: &Request<'_>,
    asked: &str,
) -> Option<usize> {
    let mut possible = None;
    for index in order {
        let Some(route) = routes.get(*index) else {
            continue;
        };
        match fit(route, request, asked) {
            Fit::No => (),
            // What depends on a cookie may be meant: a preflight has none.
            Fit::Perhaps => possible = possible.or(route.cors.as_ref().map(|_| *index)),
            Fit::Yes => return route.cors.as_ref().map(|_| *index),
        }
    }
    possible
}

#[cfg(test)]
mod tests {
    use crate::config::load_str;
    use crate::message::head::RequestHead;
    use crate::message::target::Target;
    use crate::route::{Request, RouteTable};

    const ROUTES: &str = r#"
        [[upstream]]
        name = "web"
        backends = ["http://127.0.0.1:1"]
        [[route]]
        name = "read"
        match = { path = "/api", method = ["GET", "HEAD"] }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "write"
        match = { path = "/api", method = "PUT" }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "beta"
        match = { path = "/app", header = { X-Beta = "1" } }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "side"
        match = { path = "/app", cookie = { side = "b" } }
        upstream = "web"
        [[route]]
        name = "app"
        match = { path = "/app" }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "member"
        match = { path = "/member", cookie = { id = "*" } }
        upstream = "web"
        cors = { origins = ["*"] }
        [[route]]
        name = "own"
        match = { path = "/own" }
        upstream = "web"
        [[route]]
        name = "others"
        match = { path = "/own/sub", client_ip = "10.0.0.0/8" }
        upstream = "web"
        cors = { origins = ["*"] }
    "#;

    fn found(method: &str, path: &str, list: &[(&str, &str)]) -> Option<String> {
        let config = load_str("t.toml", ROUTES).map_err(|problems| problems.to_string());
        let table = RouteTable::new(&config.unwrap().config.routes);
        let mut head = RequestHead::unknown();
        head.method = method.parse().unwrap();
        head.target = Target::parse(path).unwrap();
        for (name, value) in list {
            head.fields.append(name, value);
        }
        let request = Request::new(&head, "192.0.2.1".parse().unwrap());
        let found = table.find(&request, |_, _| ());
        found.ok().map(|found| found.route.name.to_string())
    }

    fn asked(path: &str, method: &str, headers: &str) -> Option<String> {
        let mut fields = vec![
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", method),
        ];
        if !headers.is_empty() {
            fields.push(("Access-Control-Request-Headers", headers));
        }
        found("OPTIONS", path, &fields)
    }

    #[test]
    fn a_preflight_is_about_the_route_of_the_method_that_it_asks_for() {
        assert_eq!(asked("/api/x", "GET", "").as_deref(), Some("read"));
        assert_eq!(asked("/api/x", "PUT", "").as_deref(), Some("write"));
        // None takes it: as ever, a method that is not allowed.
        assert_eq!(asked("/api/x", "DELETE", ""), None);
        // Without one of its fields it is no preflight.
        let origin = ("Origin", "https://a.example");
        assert_eq!(found("OPTIONS", "/api/x", &[origin]), None);
        let method = ("Access-Control-Request-Method", "PUT");
        assert_eq!(found("OPTIONS", "/api/x", &[method]), None);
        let get = found("GET", "/api/x", &[origin, method]);
        assert_eq!(get.as_deref(), Some("read"));
    }

    #[test]
    fn what_a_preflight_does_not_carry_is_taken_from_what_it_announces() {
        assert_eq!(asked("/app", "GET", "").as_deref(), Some("app"));
        let announced = asked("/app", "GET", "content-type, x-beta");
        assert_eq!(announced.as_deref(), Some("beta"));
        assert_eq!(asked("/member", "GET", "").as_deref(), Some("member"));
    }

    #[test]
    fn routes_without_cors_see_to_their_preflights_themselves() {
        assert_eq!(asked("/own", "GET", "").as_deref(), Some("own"));
        // The other route is for clients elsewhere.
        assert_eq!(asked("/own/sub", "GET", "").as_deref(), Some("own"));
    }
}
