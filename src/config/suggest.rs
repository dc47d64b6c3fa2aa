//! "Did you mean": the known word that is nearest to a misspelt one.
//!
//! Does not know any words itself.

/// The candidate nearest to `word`, if one is near enough.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = simplified(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &simplified(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(word.len().max(candidate.len())))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` or the list of what is possible.
pub(crate) fn hint<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: {}", list(candidates)),
    }
}

/// The words in backquotes, separated by commas; a long list is cut.
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    /// Enough for every table of ours; a list of hundreds of names helps nobody.
    const MOST: usize = 20;
    let mut quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    let more = quoted.len() > MOST;
    quoted.truncate(MOST);
    let joined = quoted.join(", ");
    if more { joined + ", …" } else { joined }
}

fn distance(one: &str, other: &str) -> usize {
    strsim::damerau_levenshtein(one, other)
}

/// Slips that a word of this length may have. A wrong suggestion is worse than none, so short words get few.
fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

/// `-` for `_` and upper case are the usual slips, so they count for nothing.
fn simplified(word: &str) -> String {
    // The comparison is quadratic; no word of ours is longer than this.
    let word: String = word.chars().take(64).collect();
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers_alone() {
        let keys = [
            "listen",
            "workers",
            "queue",
            "queue_timeout",
            "drain_timeout",
        ];
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("Listen", keys), Some("listen"));
        assert_eq!(nearest("queue-timeout", keys), Some("queue_timeout"));
        assert_eq!(nearest("worker", keys), Some("workers"));
        assert_eq!(nearest("wbe", ["api", "web"]), Some("web"));
        assert_eq!(nearest("zebra", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }

    #[test]
    fn hints_list_what_is_possible() {
        assert_eq!(hint("zebra", "known", ["a", "b"]), "known: `a`, `b`");
        assert_eq!(hint("lisen", "known", ["listen"]), "did you mean `listen`?");
    }
}
