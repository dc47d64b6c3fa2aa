//! Which fields tollgate adds to an answer.

use crate::message::fields::Fields;

/// Adds `X-Request-ID`, and `X-Backend-Server` when a backend is given.
pub fn decorate(fields: &mut Fields, request_id: &str, backend: Option<&str>) {
    fields.set("X-Request-ID", request_id);
    if let Some(backend) = backend {
        fields.set("X-Backend-Server", backend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_replace_theirs() {
        let mut fields = Fields::new();
        fields.append("x-request-id", "theirs");
        decorate(&mut fields, "ours", Some("b1"));
        assert_eq!(fields.get_str("X-Request-ID"), Some("ours"));
        assert_eq!(fields.get_str("X-Backend-Server"), Some("b1"));
        assert_eq!(fields.len(), 2);
    }
}
