//! Paths that try to get from `/public/` to `/private/x`: tables of spellings, and what they make together.

use std::collections::BTreeSet;

/// Spellings of `..`, of what some take for it, and of what nobody should.
const DOTS: [&str; 28] = [
    "..",
    "%2e%2e",
    "%2E%2e",
    ".%2e",
    "%2E.",
    "%252e%252e",
    "%252E.",
    ".%25%32%65",
    "%25%32%45%25%32%65",
    "..;",
    "..;x=1",
    "%2e%2e;a/..",
    "..%3b",
    "%2e%2e%253B",
    "%c0%ae%c0%ae",
    "%C0%AE.",
    "%c0.%c0.",
    "%e0%80%ae%e0%80%ae",
    "%f0%80%80%ae.",
    "%25c0%25ae.",
    "..%20",
    "%20..",
    "..%00",
    "..%2500",
    "..%0a",
    "%u002e%u002e",
    "...",
    "%ef%bc%8e%ef%bc%8e",
];

/// Spellings of `/`, and of what some take for it.
const SLASHES: [&str; 17] = [
    "/",
    "//",
    "/./",
    "%2f",
    "%2F",
    "%252f",
    "%25%32%46",
    "\\",
    "%5c",
    "%5C",
    "%255c",
    "%c0%af",
    "%c1%9c",
    ";/",
    "%3b/",
    "/;/",
    "/.;/",
];

/// Single tricks.
const SPECIAL: [&str; 42] = [
    "/%70rivate/x",
    "/%2570rivate/x",
    "/%25%37%30rivate/x",
    "/private;a=b/x",
    "/private%3Ba/x",
    "/private%3fx",
    "/private%23",
    "/private%253Fx",
    "/private%00/x",
    "/private%20/x",
    "/;/private/x",
    "/;a/private/x",
    "/.;a/private/x",
    "/%2e;/private/x",
    "/%2e/private/x",
    "/public;/../private/x",
    "/public;x=../private/x",
    "/public/..%2f..%2fprivate%2fx%3f",
    "/public%2f..%2fprivate/x",
    "//evil/../private/x",
    "/public/%2e%2e%2f%2e%2e%5cprivate",
    "/%2fprivate/x",
    "/%5cprivate/x",
    "/%252fprivate/x",
    "/\\private/x",
    "/public/.%252e/private/x",
    "/public/%%32%65%%32%65/private/x",
    "/public/%%32e%%32e/private/x",
    "/private%2F",
    "/private%2f..%2fpublic/x",
    "/public/..private/x",
    "/private",
    "/private/",
    "/private/x",
    "/PRIVATE/x",
    "/priv%61te/x",
    "/priv%C0%E1te/x",
    "/public//../private/x",
    "/public/x//../../private/x",
    "http://test/public/../private/x",
    "http://test//private/x",
    "http://test/public/..%2fprivate/x",
];

/// All that try to get from `/public/` to `/private/x`.
pub fn corpus() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for dots in DOTS {
        for slash in SLASHES {
            all.insert(format!("/public/{dots}{slash}private{slash}x"));
            all.insert(format!("/public{slash}{dots}{slash}private/x"));
            all.insert(format!("/public/a/{dots}{slash}{dots}{slash}private/x"));
            all.insert(format!("/{dots}{slash}private/x"));
            all.insert(format!("/public/a{slash}{dots}"));
            all.insert(format!("/public/a{slash}{dots}{slash}{dots}{slash}{dots}"));
        }
    }
    for slash in SLASHES {
        all.insert(format!("{slash}private/x"));
        all.insert(format!("/{slash}private{slash}x"));
        all.insert(format!("/private{slash}x"));
        all.insert(format!("/public{slash}x"));
        all.insert(format!("/public/{slash}private/x"));
    }

    all.extend(SPECIAL.map(str::to_owned));
    assert!(all.len() > 120, "{}", all.len());
    all
}
