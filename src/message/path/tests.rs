//! The forms of paths and what is wrong with them. Whole routes, and backends of every kind, are in the integration tests.

use proptest::prelude::*;

use super::*;

fn forms(path: &str) -> (String, String) {
    let path = Path::new(path);
    (path.normal().to_owned(), path.canonical().to_owned())
}

/// What is wrong with it, on any reading.
fn fault(path: &str) -> Option<Fault> {
    let path = Path::new(path);
    path.fault()
        .or_else(|| path.readings().find_map(Result::err))
}

#[test]
fn every_spelling_of_a_path_is_one() {
    for path in [
        "/admin/x",
        "//admin/x",
        "/./admin/x",
        "/%61dmin/%78",
        "/x/../admin/x",
        "/x/%2e%2E/admin/x",
        "/../../admin/x",
        "/admin/y/.%2e/x",
        "/x/..//admin/x",
    ] {
        let both = ("/admin/x".to_owned(), "/admin/x".to_owned());
        assert_eq!(forms(path), both, "{path}");
    }
}

#[test]
fn what_means_something_else_stays() {
    for path in [
        "/", "/a/", "/a%2Fb", "/%252e/a", "/...", "/a.b/..c", "*", "/%C3%A4", "/a;b",
    ] {
        let both = (path.to_owned(), path.to_owned());
        assert_eq!(forms(path), both, "{path}");
    }
}

#[test]
fn backends_get_what_came_where_it_means_something() {
    for (path, normal, canonical) in [
        ("/a//b", "/a//b", "/a/b"),
        ("/a//", "/a//", "/a/"),
        ("/@scope%2fname", "/@scope%2fname", "/@scope%2Fname"),
        ("/caf%c3%a9", "/caf%c3%a9", "/caf%C3%A9"),
        ("/a%3ab%22", "/a%3ab%22", "/a:b\""),
        (
            "/a%3b%3f%23%5c%25",
            "/a%3b%3f%23%5c%25",
            "/a%3B%3F%23%5C%25",
        ),
        ("/a%20b", "/a%20b", "/a%20b"),
        ("/a/http://b/c", "/a/http://b/c", "/a/http:/b/c"),
        ("/%zz", "/%25zz", "/%25zz"),
        ("/%%32%65", "/%252e", "/%252e"),
    ] {
        let both = (normal.to_owned(), canonical.to_owned());
        assert_eq!(forms(path), both, "{path}");
    }
}

#[test]
fn ends_stay_open() {
    for (path, expected) in [
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/..", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("/a/..", "/"),
    ] {
        assert_eq!(forms(path).0, expected, "{path}");
        assert_eq!(forms(path).1, expected, "{path}");
    }
}

#[test]
fn what_is_read_in_two_ways_is_a_fault() {
    for (path, expected) in [
        ("/%", Fault::Escape),
        ("/%2", Fault::Escape),
        ("/%+1", Fault::Escape),
        ("/%u002e", Fault::Escape),
        ("/a%00", Fault::Control),
        ("/a%0Ab", Fault::Control),
        ("/%7f", Fault::Control),
        ("/%2500", Fault::Control),
        ("/%c0%ae", Fault::Overlong),
        ("/%C0.", Fault::Overlong),
        ("/%e0%80%ae", Fault::Overlong),
        ("/%f0%80%80%ae", Fault::Overlong),
        ("/%f8%80%80%80%ae", Fault::Overlong),
        ("/%25c0%25ae", Fault::Overlong),
        ("/a\\b", Fault::Backslash),
        ("/a//../b", Fault::DotsBehindEmpty),
        ("/a/..%2fb", Fault::Dots),
        ("/a%2f..%2fb", Fault::Dots),
        ("/a%2f%2e", Fault::Dots),
        ("/a/..%5Cb", Fault::Dots),
        ("/a/..;/b", Fault::Dots),
        ("/a/..;x=1", Fault::Dots),
        ("/a/%2e%2e%3b/b", Fault::Dots),
        ("/a/%252e%252e/b", Fault::Dots),
        ("/a/.%252e%252fb", Fault::Dots),
        ("/a/..%20/b", Fault::Dots),
        ("/a/%20../b", Fault::Dots),
        ("/a/..%3fb", Fault::Dots),
        ("/a/..%23", Fault::Dots),
        ("/a/%25%32%65./b", Fault::Dots),
    ] {
        assert_eq!(fault(path), Some(expected), "{path}");
    }
}

#[test]
fn what_applications_send_is_none() {
    for path in [
        "/@scope%2fname",
        "/bucket//key/a%2Fb",
        "/fetch/http://example.com/a",
        "/fetch/http%3A%2F%2Fexample.com%2Fa",
        "/cars;color=red/wheels;n=4",
        "/app;jsessionid=1",
        "/100%25",
        "/a%2520b",
        "/caf%C3%A9/%E2%82%AC/%F0%9F%8D%B0",
        "/%EF%BC%8E%EF%BC%8E/x",
        "/DOMAIN%5Cuser",
        "/wiki/What%3F",
        "/C%23",
        "/.well-known/x",
        "/a/.../b",
        "/a..b/..c/d..",
        "/~user/a+b/(c)",
        "/caf%E9/%FC",
    ] {
        assert_eq!(fault(path), None, "{path}");
    }
}

#[test]
fn readings_are_what_others_see() {
    let readings = |path: &str| -> Vec<String> {
        let found = Path::new(path);
        let mut all: Vec<String> = found.readings().map(Result::unwrap).collect();
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(readings("/a/b%20c"), Vec::<String>::new());
    assert_eq!(readings("/a/b%20"), ["/a/b"]);
    assert_eq!(
        readings("/%20a/b%2520"),
        ["/%20a/b%20", "/a/b", "/a/b%2520"]
    );
    assert_eq!(readings("/a%2Fb"), ["/a/b"]);
    assert_eq!(readings("/a%5cb"), ["/a/b"]);
    assert_eq!(readings("/a;x/b"), ["/a/b"]);
    assert_eq!(readings("/a%3Fb/c"), ["/a"]);
    assert_eq!(readings("/a%2561"), ["/aa"]);
    assert_eq!(readings("/a%252Fb"), ["/a%252Fb", "/a%2Fb", "/a/b"]);
    assert_eq!(readings("/a;%2fb"), ["/a", "/a/b", "/a;/b"]);
    assert_eq!(readings("/a//b"), ["/a//b"]);
    assert_eq!(readings("/a/%2fb/"), ["/a/%2Fb/", "/a//b/", "/a/b/"]);
    assert_eq!(readings("/;x/b"), ["//b", "/;x/b", "/b"]);
}

#[test]
fn strictness_has_its_own_faults() {
    for (path, fault) in [
        ("/a/./b", Some(StrictFault::NotNormal)),
        ("/%61", Some(StrictFault::NotNormal)),
        ("/a//b", Some(StrictFault::EmptySegment)),
        ("/a%2fb", Some(StrictFault::Separator)),
        ("/a%5Cb", Some(StrictFault::Separator)),
        ("/a%2541", Some(StrictFault::Twice)),
        ("/a/b;x=1", None),
        ("/100%25", None),
        ("/caf%c3%a9", None),
    ] {
        assert_eq!(Path::new(path).strict_fault(), fault, "{path}");
    }
}

#[test]
fn paths_are_taken_apart_whatever_their_slashes() {
    assert_eq!(behind("/a/b/c", 1), "/b/c");
    assert_eq!(behind("/a//b//c", 1), "//b//c");
    assert_eq!(behind("/a//b//c", 2), "//c");
    assert_eq!(behind("/a", 1), "");
    assert_eq!(behind("/a/", 1), "/");
    assert_eq!(behind("/a", 3), "");
    assert_eq!(segments("/a//b/").collect::<Vec<_>>(), ["a", "b"]);
}

/// Paths of the pieces that matter.
fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "//", ".", "..", "a", "b", "%2e", "%2E", "%2f", "%5C", "\\", ";", "%3b", "%25",
        "%252e", "2e", "2f", "%00", "%c0", "%ae", "%20", "%3f", "%", "%61", "%41",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forms_are_final_and_clean(sent in path()) {
        let first = Path::new(&sent);
        for form in [first.normal(), first.canonical()] {
            prop_assert!(form.starts_with('/') && !form.starts_with("//"), "{sent} {form}");
            prop_assert!(!form.split('/').any(|part| matches!(part, "." | "..")), "{sent} {form}");
        }
        prop_assert!(!first.canonical().contains("//"));
        let again = Path::new(first.normal());
        prop_assert_eq!(again.normal(), first.normal());
        prop_assert_eq!(again.canonical(), first.canonical());
        // The form for comparing is one more reading: with all escapes that mean nothing else decoded.
        prop_assert_eq!(segments(first.normal()).count(), segments(first.canonical()).count());
    }

    #[test]
    fn arbitrary_text_is_taken_apart_without_a_panic(sent in "/[!-~]{0,40}") {
        let path = Path::new(&sent);
        prop_assert!(path.readings().count() < 128);
        prop_assert!(path.normal().starts_with('/'));
    }
}
