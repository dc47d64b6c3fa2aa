//! Who may come: the client's address, the host it asks for, the method it uses.
//!
//! Rules that look at more of a request are compared in `route`, as its conditions are. A refusal tells nothing of the lists.

use http::Method;

use super::Refusal;
use crate::config::model::Hosts;
use crate::error::Cause;
use crate::message::head::RequestHead;
use crate::message::target::canonical_host;

/// The refusal of a client, or of a request, that may not come.
pub fn forbidden() -> Refusal {
    Refusal::new(Cause::Forbidden)
}

/// Checks the host that is asked for. A request without one asks for none that is served.
///
/// # Errors
/// [`Cause::Host`].
pub fn check_host(hosts: &Hosts, head: &RequestHead) -> Result<(), Refusal> {
    if hosts.contains(&canonical_host(head.host())) {
        Ok(())
    } else {
        Err(Refusal::new(Cause::Host))
    }
}

/// Checks the method; `methods`: those that get as far as a route, all if it is empty.
///
/// # Errors
/// [`Cause::Method`], with all of them.
pub fn check_method(methods: &[Method], head: &RequestHead) -> Result<(), Refusal> {
    if methods.is_empty() || methods.contains(&head.method) {
        Ok(())
    } else {
        Err(super::no_such_method(methods.to_vec()))
    }
}

/// Whether this is a CORS preflight that asks about one of `methods`: then it goes on, as far as who answers it.
pub fn asks_about(methods: &[Method], head: &RequestHead) -> bool {
    let asked = head.asked_method();
    asked.is_some_and(|asked| methods.iter().any(|method| method.as_str() == asked))
}

/// Of the methods that routes would take, those that `methods` lets as far as them; all if that is empty.
pub fn within(methods: &[Method], of_routes: Vec<Method>) -> Vec<Method> {
    let reaches = |method: &Method| methods.is_empty() || methods.contains(method);
    let both: Vec<Method> = of_routes.into_iter().filter(reaches).collect();
    if both.is_empty() {
        methods.to_vec()
    } else {
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::HostMatch;
    use crate::message::target::Target;

    fn cause(target: &str, host: Option<&str>) -> Option<Cause> {
        let hosts = Hosts::new([
            HostMatch::Exact("example.com".into()),
            HostMatch::Suffix(".example.org".into()),
            HostMatch::Exact("10.0.0.5".into()),
            HostMatch::Exact("[2001:db8::1]".into()),
        ]);
        let mut head = RequestHead::unknown();
        head.target = Target::parse(target).unwrap();
        if let Some(host) = host {
            head.fields.append("Host", host);
        }
        check_host(&hosts, &head).err().map(|refusal| refusal.cause)
    }

    #[test]
    fn hosts_are_compared_without_port_case_and_root_dot() {
        for host in [
            "example.com",
            "EXAMPLE.com:8080",
            "example.com.",
            "example.com.:80",
            "a.Example.ORG",
            "10.0.0.5:80",
            "[2001:db8::1]",
            "[2001:DB8:0:0::1]:8080",
        ] {
            assert_eq!(cause("/", Some(host)), None, "{host}");
        }
        for host in [
            "",
            "example.org",
            "www.example.com",
            "example.com..",
            "example.com.evil.test",
            "10.0.0.6",
            "010.0.0.5",
            "2001:db8::1",
            "[2001:db8::2]",
        ] {
            assert_eq!(cause("/", Some(host)), Some(Cause::Host), "{host}");
        }
        assert_eq!(cause("/", None), Some(Cause::Host));
    }

    #[test]
    fn the_host_of_an_absolute_target_wins() {
        let target = "http://example.com:80/";
        assert_eq!(cause(target, Some("evil.test")), None);
        assert_eq!(
            cause("http://evil.test/", Some("example.com")),
            Some(Cause::Host)
        );
    }

    #[test]
    fn allowed_are_methods_that_pass_both() {
        let [get, put, post] = [Method::GET, Method::PUT, Method::POST];
        let told = |methods: &[&Method], of_routes: &[&Method]| {
            let owned = |list: &[&Method]| list.iter().map(|one| (*one).clone()).collect();
            let methods: Vec<Method> = owned(methods);
            let found = within(&methods, owned(of_routes)).into_iter();
            found.map(|method| method.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told(&[], &[&put]), ["PUT"]);
        assert_eq!(told(&[&get, &put], &[&post, &put]), ["PUT"]);
        assert_eq!(told(&[&get], &[&put]), ["GET"]);
    }
}
