//! Lists of books kept in memory, one per service: the demo's piece of state.
//!
//! It knows nothing of HTTP but the statuses it asks for, and it keeps nothing over a restart.

use std::collections::HashMap;
use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Books per list; the oldest one makes room.
const MOST_BOOKS: usize = 1000;

/// Lists; a request for one more is refused.
const MOST_SERVICES: usize = 100;

/// Bytes of a name, an author or a service.
const LONGEST_TEXT: usize = 1024;

/// The longest body [`Books::add`] looks at.
pub(super) const LONGEST_BODY: usize = 16 * 1024;

/// All lists.
#[derive(Debug, Default)]
pub(super) struct Books {
    lists: Mutex<HashMap<String, VecDeque<Book>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Book {
    name: String,
    author: String,
}

/// The service whose books this path names: empty for `/books`, `items` for `/items/books`.
pub(super) fn service_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    if rest == "books" {
        return Some("");
    }
    rest.strip_suffix("/books")
        .filter(|service| !service.is_empty() && !service.contains('/'))
}

impl Books {
    /// Status and `{"books": [...]}`, oldest first.
    pub(super) fn list(&self, service: &str) -> (u16, Value) {
        let lists = self.lists.lock();
        let books: Vec<&Book> = lists.get(service).into_iter().flatten().collect();
        (200, json!({ "books": books }))
    }

    /// Adds the book in this JSON text: 201 and `{"book": {...}}`, or 400 when `name` or `author` is missing.
    pub(super) fn add(&self, service: &str, text: &[u8]) -> (u16, Value) {
        let is_fit = |text: &str| !text.is_empty() && text.len() <= LONGEST_TEXT;
        let book = match serde_json::from_slice::<Book>(text) {
            Ok(book) if is_fit(&book.name) && is_fit(&book.author) => book,
            _ => return (400, json!({ "error": "bad request" })),
        };
        let mut lists = self.lists.lock();
        if service.len() > LONGEST_TEXT
            || (!lists.contains_key(service) && lists.len() >= MOST_SERVICES)
        {
            return (503, json!({ "error": "too many lists" }));
        }
        let list = lists.entry(service.to_owned()).or_default();
        if list.len() >= MOST_BOOKS {
            list.pop_front();
        }
        let answer = json!({ "book": &book });
        list.push_back(book);
        (201, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(name: &str) -> Vec<u8> {
        json!({ "name": name, "author": "A" })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_path_names_a_service() {
        assert_eq!(service_of("/books"), Some(""));
        assert_eq!(service_of("/items/books"), Some("items"));
        for other in [
            "/",
            "/book",
            "/books/1",
            "//books",
            "/a/b/books",
            "books",
            "/xbooks",
        ] {
            assert_eq!(service_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_list_is_bounded_and_drops_its_oldest() {
        let books = Books::default();
        for number in 0..MOST_BOOKS + 2 {
            assert_eq!(books.add("s", &book(&number.to_string())).0, 201);
        }
        let (_, listed) = books.list("s");
        let listed = listed["books"].as_array().unwrap();
        assert_eq!(listed.len(), MOST_BOOKS);
        assert_eq!(listed[0]["name"], "2");
    }

    #[test]
    fn the_number_of_lists_is_bounded() {
        let books = Books::default();
        for number in 0..MOST_SERVICES {
            assert_eq!(books.add(&number.to_string(), &book("b")).0, 201);
        }
        assert_eq!(books.add("more", &book("b")).0, 503);
        assert_eq!(books.add("0", &book("b")).0, 201);
        assert_eq!(books.list("more"), (200, json!({ "books": [] })));
    }

    #[test]
    fn what_is_no_book_is_a_bad_request() {
        let books = Books::default();
        let long = "x".repeat(LONGEST_TEXT + 1);
        for text in [
            "",
            "[]",
            "{",
            r#"{"name":"n"}"#,
            r#"{"author":"a"}"#,
            r#"{"name":"","author":"a"}"#,
            r#"{"name":1,"author":"a"}"#,
            &format!(r#"{{"name":"{long}","author":"a"}}"#),
        ] {
            assert_eq!(
                books.add("", text.as_bytes()),
                (400, json!({ "error": "bad request" })),
                "{text}"
            );
        }
    }
}
