//! How the end of a request body is found: the strict reading of RFC 9112 section 6.3.
//!
//! Every rule here exists because two parsers that disagree about a body's end are a request-smuggling hole. It judges
//! the head only; decoding chunks is the engine's work.

use super::fields::{Fields, is_token, is_value};
use super::target::is_host;

/// HTTP version of a client's request. Backends are always spoken to in 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How a request body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Neither length nor encoding: no body.
    None,
    /// `Content-Length`, also when it is 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// Whether there may be body bytes.
    pub fn has_body(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }

    /// The announced length; chunked bodies have none.
    pub fn length(self) -> Option<u64> {
        match self {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }
}

/// What is wrong with a request head. The answer is 400, and nothing after it on the connection can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// Not digits only, or more than 64 bits.
    BadContentLength,
    /// More than one, even if they agree.
    RepeatedContentLength,
    /// `Transfer-Encoding` that is anything but one `chunked`.
    BadTransferEncoding,
    /// `Content-Length` together with `Transfer-Encoding`.
    LengthAndEncoding,
    /// `Transfer-Encoding` in HTTP/1.0.
    EncodingInHttp10,
    /// A field name that is not a token.
    BadFieldName,
    /// A control character, NUL, CR or LF in a value.
    BadFieldValue,
    /// No `Host` in HTTP/1.1.
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// A `Host` that is no host.
    BadHost,
}

impl FramingError {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            FramingError::BadContentLength => "Content-Length must be digits only and fit 63 bits",
            FramingError::RepeatedContentLength => "Content-Length came more than once",
            FramingError::BadTransferEncoding => {
                "the only Transfer-Encoding that is accepted is \"chunked\", once"
            }
            FramingError::LengthAndEncoding => "Content-Length and Transfer-Encoding came together",
            FramingError::EncodingInHttp10 => "Transfer-Encoding does not exist in HTTP/1.0",
            FramingError::BadFieldName => "a header field name is not a token",
            FramingError::BadFieldValue => {
                "a header field value has a control character or a bare line end"
            }
            FramingError::MissingHost => "HTTP/1.1 needs a Host header field",
            FramingError::RepeatedHost => "Host came more than once",
            FramingError::BadHost => "Host is not a valid host name or address",
        }
    }
}

/// Judges a request's fields and finds its framing.
///
/// # Errors
/// The first rule that is broken.
pub fn judge(version: Version, fields: &Fields) -> Result<Framing, FramingError> {
    for (name, value) in fields.iter() {
        if !is_token(name.as_bytes()) {
            return Err(FramingError::BadFieldName);
        }
        if !is_value(value) {
            return Err(FramingError::BadFieldValue);
        }
    }
    judge_host(version, fields)?;
    let length = content_length(fields)?;
    match (is_chunked(fields)?, length) {
        (true, _) if version == Version::Http10 => Err(FramingError::EncodingInHttp10),
        (true, Some(_)) => Err(FramingError::LengthAndEncoding),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::None),
    }
}

fn judge_host(version: Version, fields: &Fields) -> Result<(), FramingError> {
    let mut hosts = fields.all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(FramingError::RepeatedHost);
    }
    match host {
        None if version == Version::Http11 => Err(FramingError::MissingHost),
        None => Ok(()),
        // An empty Host is what RFC 9112 section 3.2 demands for targets without an authority.
        Some(b"") => Ok(()),
        Some(host) if std::str::from_utf8(host).is_ok_and(is_host) => Ok(()),
        Some(_) => Err(FramingError::BadHost),
    }
}

fn content_length(fields: &Fields) -> Result<Option<u64>, FramingError> {
    let mut lengths = fields.all("content-length");
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    if lengths.next().is_some() {
        return Err(FramingError::RepeatedContentLength);
    }
    parse_length(length)
        .map(Some)
        .ok_or(FramingError::BadContentLength)
}

/// Digits only, no sign, no list, at most 63 bits.
pub fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(value).ok()?.parse::<u64>().ok()?;
    (length <= i64::MAX as u64).then_some(length)
}

fn is_chunked(fields: &Fields) -> Result<bool, FramingError> {
    let mut encodings = fields.all("transfer-encoding");
    let Some(encoding) = encodings.next() else {
        return Ok(false);
    };
    if encodings.next().is_some() || !encoding.eq_ignore_ascii_case(b"chunked") {
        return Err(FramingError::BadTransferEncoding);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        fields.append("Host", "a");
        for (name, value) in list {
            fields.append(name, value);
        }
        fields
    }

    #[test]
    fn good_framing() {
        let judged = |list| judge(Version::Http11, &fields(list));
        assert_eq!(judged(&[]), Ok(Framing::None));
        assert_eq!(judged(&[("content-length", "0")]), Ok(Framing::Length(0)));
        assert_eq!(
            judged(&[("Content-Length", "00012")]),
            Ok(Framing::Length(12))
        );
        assert_eq!(
            judged(&[("transfer-encoding", "Chunked")]),
            Ok(Framing::Chunked)
        );
    }

    #[test]
    fn bad_lengths() {
        for bad in [
            "",
            "abc",
            "+5",
            "-1",
            "5, 5",
            "5 5",
            "0x5",
            "5.0",
            "99999999999999999999",
            "9223372036854775808",
        ] {
            let judged = judge(Version::Http11, &fields(&[("Content-Length", bad)]));
            assert_eq!(judged, Err(FramingError::BadContentLength), "{bad}");
        }
        let judged = judge(
            Version::Http11,
            &fields(&[("Content-Length", "5"), ("content-length", "5")]),
        );
        assert_eq!(judged, Err(FramingError::RepeatedContentLength));
    }

    #[test]
    fn bad_encodings() {
        for bad in [
            "",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "xchunked",
            "chunked;q=1",
        ] {
            let judged = judge(Version::Http11, &fields(&[("Transfer-Encoding", bad)]));
            assert_eq!(judged, Err(FramingError::BadTransferEncoding), "{bad}");
        }
        let both = fields(&[("Transfer-Encoding", "chunked"), ("Content-Length", "5")]);
        assert_eq!(
            judge(Version::Http11, &both),
            Err(FramingError::LengthAndEncoding)
        );
        let old = fields(&[("Transfer-Encoding", "chunked")]);
        assert_eq!(
            judge(Version::Http10, &old),
            Err(FramingError::EncodingInHttp10)
        );
    }

    #[test]
    fn hosts() {
        assert_eq!(
            judge(Version::Http11, &Fields::new()),
            Err(FramingError::MissingHost)
        );
        assert_eq!(judge(Version::Http10, &Fields::new()), Ok(Framing::None));
        assert_eq!(
            judge(Version::Http11, &fields(&[("HOST", "a")])),
            Err(FramingError::RepeatedHost)
        );
        let mut bad = Fields::new();
        bad.append("Host", "a b");
        assert_eq!(judge(Version::Http11, &bad), Err(FramingError::BadHost));
    }

    #[test]
    fn names_and_values() {
        assert_eq!(
            judge(Version::Http11, &fields(&[("X-A", "a\nb")])),
            Err(FramingError::BadFieldValue)
        );
        assert_eq!(
            judge(Version::Http11, &fields(&[("X-A", "a\0")])),
            Err(FramingError::BadFieldValue)
        );
        assert_eq!(
            judge(Version::Http11, &fields(&[("X(", "a")])),
            Err(FramingError::BadFieldName)
        );
    }
}
