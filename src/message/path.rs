//! The normal form of a path (RFC 3986 section 6.2.2): what routes are compared with, so that a path cannot be spelt around a rule.
//!
//! The target itself stays as it came (see [`super::target`]); whoever rewrites a path begins with its normal form.

use std::borrow::Cow;

/// The path with unreserved characters decoded, runs of slashes made one, and `.` and `..` resolved, which never leads above the
/// root. What is otherwise encoded stays so: `%2F` is no slash.
pub fn normal(path: &str) -> Cow<'_, str> {
    let is_odd = path.contains('%') || path.contains("//") || path.contains("/.");
    if !is_odd || !path.starts_with('/') {
        return path.into();
    }
    let decoded = decode(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in decoded.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => (),
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_open || normal.is_empty() {
        normal.push('/');
    }
    normal.into()
}

/// With `%XX` replaced where it stands for a character that needs no encoding (RFC 3986 section 2.3).
fn decode(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let (digits, behind) = after.split_at_checked(2).unwrap_or((after, ""));
        match u8::from_str_radix(digits, 16).ok().map(char::from) {
            Some(c) if digits.len() == 2 && is_unreserved(c) && !digits.starts_with('+') => {
                decoded.push(c);
                rest = behind;
            }
            _ => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_one() {
        for path in [
            "/admin/x",
            "//admin/x",
            "/admin//x",
            "/./admin/x",
            "/%61dmin/%78",
            "/x/../admin/x",
            "/x/%2e%2E/admin/x",
            "/../../admin/x",
            "/admin/y/.%2e/x",
        ] {
            assert_eq!(normal(path), "/admin/x", "{path}");
        }
    }

    #[test]
    fn what_means_something_else_stays() {
        for path in [
            "/",
            "/a/",
            "/a%2Fb",
            "/a%2fb",
            "/%252e%252e/a",
            "/a%00",
            "/%zz",
            "/%",
            "/%2",
            "/%+1",
            "/...",
            "/a.b/..c",
            "*",
            "/%C3%A4",
        ] {
            assert_eq!(normal(path), path);
        }
    }

    #[test]
    fn ends_stay_open() {
        for (path, expected) in [
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a//", "/a/"),
            ("/..", "/"),
            ("//", "/"),
            ("/.", "/"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }
}
