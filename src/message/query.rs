//! The parameters of a query as they are written, so that one can be found, taken out or covered without touching the others.
//!
//! Names are compared decoded: `api%5Fkey` is `api_key` to whoever reads it. A `+` stays one.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands in for a value that nobody may see.
const COVER: &str = "***";

/// The values of all parameters called `name` in `query`, which begins with `?` or is empty; decoded.
pub fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let pairs = query.strip_prefix('?').unwrap_or(query).split('&');
    pairs.filter_map(move |pair| {
        let (other, value) = pair.split_once('=').unwrap_or((pair, ""));
        is_called(other, name).then(|| Cow::from(percent_decode_str(value)))
    })
}

/// `query` without the parameters called `name`; the others stay byte for byte. Without any left, the `?` goes too.
pub fn without<'a>(query: &'a str, name: &str) -> Cow<'a, str> {
    let Some(inner) = query.strip_prefix('?') else {
        return query.into();
    };
    let is_meant = |pair: &&str| is_called(pair.split('=').next().unwrap_or_default(), name);
    if !inner.split('&').any(|pair| is_meant(&pair)) {
        return query.into();
    }
    let kept: Vec<&str> = inner.split('&').filter(|pair| !is_meant(pair)).collect();
    if kept.is_empty() {
        return "".into();
    }
    format!("?{}", kept.join("&")).into()
}

/// `target`, or any text with a query in it, with `***` for the value of every parameter that is called one of `names`.
pub fn covered<'a>(target: &'a str, names: &[impl AsRef<str>]) -> Cow<'a, str> {
    let Some((path, query)) = target.split_once('?').filter(|_| !names.is_empty()) else {
        return target.into();
    };
    let is_meant = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        names.iter().any(|wanted| is_called(name, wanted.as_ref()))
    };
    if !query.split('&').any(is_meant) {
        return target.into();
    }
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_meant(pair) => format!("{name}={COVER}"),
        _ => pair.to_owned(),
    });
    let pairs: Vec<String> = pairs.collect();
    format!("{path}?{}", pairs.join("&")).into()
}

fn is_called(written: &str, name: &str) -> bool {
    written == name
        || written.contains('%') && percent_decode_str(written).eq(name.as_bytes().iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_however_they_are_written() {
        let all = |query| values(query, "api_key").collect::<Vec<_>>();
        let found = all("?a=1&api_key=x%20y&api%5fkey=2");
        assert_eq!(found, [&b"x y"[..], b"2"]);
        assert_eq!(all("?api_key"), [&b""[..]]);
        assert!(
            all("").is_empty() && all("?").is_empty() && all("?API_KEY=1&xapi_key=2").is_empty()
        );
    }

    #[test]
    fn one_goes_and_the_rest_stays_as_it_is() {
        for (query, rest) in [
            ("", ""),
            ("?", "?"),
            ("?a=%41&&b", "?a=%41&&b"),
            ("?k=1", ""),
            ("?%6b=1&a=+%2B", "?a=+%2B"),
            ("?a&k&b=k=1&k=", "?a&b=k=1"),
            ("?&k=1&", "?&"),
        ] {
            assert_eq!(without(query, "k"), rest, "{query}");
        }
    }

    #[test]
    fn values_are_covered() {
        for (target, shown) in [
            ("/p?k=secret", "/p?k=***"),
            ("/p?a=1&%6B=secret&k=other&b", "/p?a=1&%6B=***&k=***&b"),
            ("http://h/?k=a?k=b", "http://h/?k=***"),
            ("/p?k", "/p?k"),
            ("/p?kk=1", "/p?kk=1"),
            ("/k=1", "/k=1"),
        ] {
            assert_eq!(covered(target, &["x", "k"]), shown);
        }
        assert_eq!(covered("/p?k=1", &[] as &[&str]), "/p?k=1");
    }
}
