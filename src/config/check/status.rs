//! `expect_status`: `200`, `2xx`, `200-399` to ranges of status codes.
//!
//! Does not judge answers; that is the probe's business.

/// Parses one entry; both ends are included. None: it is none of the three forms.
pub(super) fn parse_status(text: &str) -> Option<(u16, u16)> {
    let range = if let Some(hundreds) = text.strip_suffix("xx") {
        let first = code(hundreds, 1)?.checked_mul(100)?;
        (first, first + 99)
    } else if let Some((first, last)) = text.split_once('-') {
        (code(first.trim(), 3)?, code(last.trim(), 3)?)
    } else {
        let code = code(text, 3)?;
        (code, code)
    };
    (range.0 >= 100 && range.1 <= 599 && range.0 <= range.1).then_some(range)
}

fn code(text: &str, digits: usize) -> Option<u16> {
    let fits = text.len() == digits && text.chars().all(|c| c.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse_status;

    #[test]
    fn forms() {
        assert_eq!(parse_status("200"), Some((200, 200)));
        assert_eq!(parse_status("2xx"), Some((200, 299)));
        assert_eq!(parse_status("200-399"), Some((200, 399)));
        assert_eq!(parse_status("200 - 204"), Some((200, 204)));
        for bad in [
            "", "xx", "0xx", "6xx", "99", "600", "399-200", "2x", "20", "+20", "1000", "2xx-3xx",
            "-",
        ] {
            assert_eq!(parse_status(bad), None, "{bad}");
        }
    }
}
