//! `redirect_https`: who comes without TLS is sent to the same place with it.

use serde::Serialize;

use crate::message::forwarded::Client;
use crate::message::head::RequestHead;
use crate::message::target::is_host;

use super::template::{Piece, Template, Values, Variable};

/// The port that needs no mention.
const HTTPS: u16 = 443;

/// `server.redirect_https`, where it is switched on.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct RedirectHttps {
    /// Port of the place with TLS; 443 is left out of the URL. Default: that of the first listener with TLS, else 443.
    pub port: u16,
    /// Paths that are served without TLS too: what begins so. Default `/.well-known/acme-challenge/`.
    pub except: Vec<String>,
}

impl RedirectHttps {
    /// The same place with TLS. None: the request names no host that could be in a URL.
    pub fn location(&self, head: &RequestHead, client: &Client) -> Option<String> {
        if !is_host(head.host()) {
            return None;
        }
        let port = match self.port {
            HTTPS => String::new(),
            port => format!(":{port}"),
        };
        let template = Template::new(vec![
            Piece::Text("https://".to_owned()),
            Piece::Variable(Variable::Host),
            Piece::Text(port),
            Piece::Variable(Variable::Path),
            Piece::Variable(Variable::Query),
        ]);
        Some(template.location(&Values::of(head, client)))
    }

    /// Whether `path`, in its normal form, is served without TLS too.
    pub fn spares(&self, path: &str) -> bool {
        let mut spared = self.except.iter();
        spared.any(|prefix| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::target::Target;

    fn redirect(port: u16) -> RedirectHttps {
        let except = ["/.well-known/acme-challenge/", "/plain"].map(str::to_owned);
        RedirectHttps {
            port,
            except: except.to_vec(),
        }
    }

    fn location(port: u16, host: &str, target: &str) -> Option<String> {
        let mut head = RequestHead::unknown();
        head.target = Target::parse(target).unwrap();
        if !host.is_empty() {
            head.fields.append("Host", host);
        }
        let client = Client::identify("192.0.2.1".parse().unwrap(), &head.fields, &[]);
        redirect(port).location(&head, &client)
    }

    #[test]
    fn the_same_place_with_tls() {
        for (port, host, target, expected) in [
            (443, "a.example", "/", "https://a.example/"),
            (443, "a.example:80", "/x?y=1&z", "https://a.example/x?y=1&z"),
            (8443, "a.example:8080", "/x", "https://a.example:8443/x"),
            (8443, "[::1]:8080", "/x", "https://[::1]:8443/x"),
            (
                443,
                "a.example",
                "//evil.example/",
                "https://a.example//evil.example/",
            ),
            (
                443,
                "a.example",
                "/\\evil.example",
                "https://a.example/%5Cevil.example",
            ),
            (443, "a.example", "*", "https://a.example/"),
            (
                443,
                "b.example",
                "http://a.example:81/x",
                "https://a.example/x",
            ),
        ] {
            assert_eq!(
                location(port, host, target).as_deref(),
                Some(expected),
                "{host} {target}"
            );
        }
        for host in ["", "user@a.example", "a.example/x", "a b"] {
            assert_eq!(location(443, host, "/"), None, "{host}");
        }
    }

    #[test]
    fn some_paths_are_spared() {
        for (path, expected) in [
            ("/.well-known/acme-challenge/token", true),
            ("/.well-known/acme-challenge", false),
            ("/.well-known/", false),
            ("/plain", true),
            ("/plain/x", true),
            ("/plainer", false),
        ] {
            assert_eq!(redirect(443).spares(path), expected, "{path}");
        }
    }
}
