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

/// `target`, or any text with a query in it, with `***` for the value of every parameter that is called one of `names`, or that
/// some program might take for one: in other case, with other signs between its letters, as an entry of a list, after a `;` or
/// another `?`. It is for being shown; what is a credential is told by [`values`].
pub fn covered<'a>(target: &'a str, names: &[impl AsRef<str>]) -> Cow<'a, str> {
    let Some((path, query)) = target.split_once('?').filter(|_| !names.is_empty()) else {
        return target.into();
    };
    let shown = |pair: &'a str| part_to_show(pair, names);
    if !query.split('&').any(|pair| shown(pair).is_some()) {
        return target.into();
    }
    let pairs = query.split('&').map(|pair| match shown(pair) {
        Some(begin) => format!("{begin}{COVER}"),
        None => pair.to_owned(),
    });
    let pairs: Vec<String> = pairs.collect();
    format!("{path}?{}", pairs.join("&")).into()
}

/// What comes before a value that is to be covered, and all behind it with it: where the value ends is anybody's guess. `None`:
/// there is nothing to cover.
fn part_to_show<'a>(pair: &'a str, names: &[impl AsRef<str>]) -> Option<&'a str> {
    let mut begin = 0;
    for piece in pair.split_inclusive([';', '?']) {
        if let Some((name, _)) = piece.split_once('=')
            && names.iter().any(|wanted| is_like(name, wanted.as_ref()))
        {
            return pair.get(..begin + name.len() + 1);
        }
        begin += piece.len();
    }
    None
}

/// Whether a name is `name` to a program that reads names freely.
fn is_like(written: &str, name: &str) -> bool {
    let letters = |name: &'_ str| -> Vec<u8> {
        let name = percent_decode_str(name).take_while(|byte| *byte != b'[');
        name.filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
            .map(|byte| byte.to_ascii_lowercase())
            .collect()
    };
    let wanted = letters(name);
    is_called(written, name) || !wanted.is_empty() && letters(written) == wanted
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
    fn values_of_what_might_be_read_as_the_name_are_covered() {
        for (target, shown) in [
            ("/p?Api_Key=S", "/p?Api_Key=***"),
            ("/p?api-key=S&b=1", "/p?api-key=***&b=1"),
            ("/p?apiKey=S", "/p?apiKey=***"),
            ("/p?api+key=S", "/p?api+key=***"),
            ("/p?api.key=S", "/p?api.key=***"),
            ("/p?api%20key=S", "/p?api%20key=***"),
            ("/p?api_key[]=S", "/p?api_key[]=***"),
            ("/p?api_key%5B0%5D=S", "/p?api_key%5B0%5D=***"),
            ("/p?a=1;api_key=S", "/p?a=1;api_key=***"),
            ("/p?a=1;api_key=S;T&b=2", "/p?a=1;api_key=***&b=2"),
            ("/p??api_key=S", "/p??api_key=***"),
            ("/p?a=1?api_key=S", "/p?a=1?api_key=***"),
            ("/p?a;b=1", "/p?a;b=1"),
            ("/p?key=1&api_keys=2&=3", "/p?key=1&api_keys=2&=3"),
        ] {
            assert_eq!(covered(target, &["api_key"]), shown);
        }
        assert_eq!(covered("/p?_=S&-=1&=2", &["_"]), "/p?_=***&-=1&=2");
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
