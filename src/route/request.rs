//! What routes are compared with: a request's head and its client, and the query, which is taken apart once, when the first
//! route asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::config::model::NamedValue;
use crate::message::head::RequestHead;
use crate::message::path::Path;
use crate::message::target::canonical_host;

use super::value::is_like;

/// Parameters of a query that are looked at, from its begin: whatever a client sends, a comparison stays cheap.
const MOST_PARAMETERS: usize = 256;

/// A request that looks for its route.
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a RequestHead,
    /// Without port and without the root dot, in lower case.
    host: Cow<'a, str>,
    path: Path<'a>,
    client_ip: IpAddr,
    parameters: OnceCell<Vec<Parameter<'a>>>,
}

/// Name and value of one parameter, decoded.
type Parameter<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

impl<'a> Request<'a> {
    /// The request that `head` asks for, from a client with this address.
    pub fn new(head: &'a RequestHead, client_ip: IpAddr) -> Request<'a> {
        Request {
            head,
            host: canonical_host(head.host()),
            path: path_of(head),
            client_ip: client_ip.to_canonical(),
            parameters: OnceCell::new(),
        }
    }

    /// The path in all its forms.
    pub fn path(&self) -> &Path<'a> {
        &self.path
    }

    /// The same request for another path, which is in the form for comparing.
    pub(super) fn with_path<'b>(&self, path: &'b str) -> Request<'b>
    where
        'a: 'b,
    {
        Request {
            head: self.head,
            host: self.host.clone(),
            path: Path::canonical_already(path),
            client_ip: self.client_ip,
            parameters: OnceCell::new(),
        }
    }

    /// The request.
    pub fn head(&self) -> &'a RequestHead {
        self.head
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    /// Whether the query has more parameters than are looked at.
    pub(super) fn has_more_parameters(&self) -> bool {
        pairs(self.head.target.query())
            .nth(MOST_PARAMETERS)
            .is_some()
    }

    /// Whether the query has a parameter like this; of several with the same name any will do.
    pub(super) fn has_parameter(&self, wanted: &NamedValue) -> bool {
        let query = self.head.target.query();
        let parameters = self.parameters.get_or_init(|| parameters(query));
        parameters
            .iter()
            .any(|(name, value)| **name == *wanted.name.as_bytes() && is_like(&wanted.value, value))
    }
}

/// The path of a request. `OPTIONS *` is about the server as a whole, so it goes where `/` goes.
fn path_of(head: &RequestHead) -> Path<'_> {
    if head.target.is_asterisk() {
        Path::new("/")
    } else {
        Path::new(head.target.path())
    }
}

/// What stands between the `&` of a query that begins with `?`, or is empty.
fn pairs(query: &str) -> impl Iterator<Item = &str> {
    let query = query.strip_prefix('?').unwrap_or(query);
    query.split('&').filter(|pair| !pair.is_empty())
}

/// The parameters of a query that begins with `?`, or is empty. A `+` stays one: only %XX is decoded.
fn parameters(query: &str) -> Vec<Parameter<'_>> {
    pairs(query)
        .take(MOST_PARAMETERS)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| Cow::from(percent_decode_str(text));
            (decode(name), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(query: &str) -> Vec<(String, String)> {
        let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
        let pairs = parameters(query).into_iter();
        pairs
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn queries_are_taken_apart_and_decoded() {
        assert!(decoded("").is_empty());
        assert!(decoded("?").is_empty());
        let pairs = [
            ("a", "1"),
            ("a b", "x&y"),
            ("flag", ""),
            ("p", "1+2"),
            ("bad", "%zz%4"),
            ("e", "=="),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            decoded("?a=1&&%61%20b=x%26y&flag&p=1+2&bad=%zz%4&e==="),
            pairs
        );
    }

    #[test]
    fn endless_queries_cost_no_more_than_long_ones() {
        let query = format!("?{}last=1", "a&".repeat(10_000));
        assert_eq!(parameters(&query).len(), MOST_PARAMETERS);
    }
}
