//! Comparing a value with what it has to be like, in time that grows with its length alone.

use memchr::memmem;

use crate::config::model::ValueMatch;

/// Whether `value` is like `wanted`.
pub(super) fn is_like(wanted: &ValueMatch, value: &[u8]) -> bool {
    match wanted {
        ValueMatch::Exact(text) => text.as_bytes() == value,
        ValueMatch::Wildcard { start, middle, end } => value
            .strip_prefix(start.as_bytes())
            .and_then(|rest| rest.strip_suffix(end.as_bytes()))
            .is_some_and(|rest| has_in_order(rest, middle)),
    }
}

/// Whether all `parts` are in `text`, one behind the other. Taking the first place of each leaves the most for the others.
fn has_in_order(text: &[u8], parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let Some(at) = memmem::find(rest, part.as_bytes()) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        true
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wildcard(start: &str, middle: &[&str], end: &str) -> ValueMatch {
        ValueMatch::Wildcard {
            start: start.into(),
            middle: middle.iter().map(|part| (*part).into()).collect(),
            end: end.into(),
        }
    }

    /// The plainest way to say what `*` means.
    fn is_like_plainly(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, _) => value.is_empty(),
            (Some((b'*', rest)), None) => is_like_plainly(rest, value),
            (Some((b'*', rest)), Some((_, others))) => {
                is_like_plainly(rest, value) || is_like_plainly(pattern, others)
            }
            (Some((one, rest)), Some((other, others))) => {
                one == other && is_like_plainly(rest, others)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_do_what_the_plainest_way_does(pattern in "[ab]{0,3}(\\*[ab]{0,2}){1,4}", value in "[ab]{0,10}") {
            let mut parts: Vec<&str> = pattern.split('*').collect();
            let (start, end) = (parts.remove(0), parts.pop().unwrap_or_default());
            parts.retain(|part| !part.is_empty());
            let wanted = wildcard(start, &parts, end);
            let expected = is_like_plainly(pattern.as_bytes(), value.as_bytes());
            prop_assert_eq!(is_like(&wanted, value.as_bytes()), expected);
        }
    }

    #[test]
    fn exact_is_exact() {
        let exact = ValueMatch::Exact("Ab".into());
        assert!(is_like(&exact, b"Ab"));
        for other in ["ab", "Ab ", "A", "Abc", ""] {
            assert!(!is_like(&exact, other.as_bytes()), "{other}");
        }
        assert!(is_like(&ValueMatch::Exact(String::new()), b""));
    }

    #[test]
    fn wildcards_stand_for_anything_or_nothing() {
        let present = wildcard("", &[], "");
        assert!(is_like(&present, b"") && is_like(&present, b"\xff*"));
        let begin = wildcard("2", &[], "");
        assert!(is_like(&begin, b"2") && is_like(&begin, b"2.1") && !is_like(&begin, b"12"));
        let both = wildcard("ab", &[], "ba");
        // The ends must not overlap.
        assert!(!is_like(&both, b"aba") && is_like(&both, b"abba") && is_like(&both, b"ab-ba"));
        let middle = wildcard("a", &["bc", "bc"], "d");
        assert!(is_like(&middle, b"abcbcd") && is_like(&middle, b"a-bc-bc-d"));
        assert!(!is_like(&middle, b"abcd") && !is_like(&middle, b"abcbc"));
    }
}
