//! The access line: one `info` line with target `access` for every exchange, `key=value` in a fixed order.
//!
//! It holds no header fields but Host and User-Agent: Authorization and Cookie can never get into it. It does not decide
//! when an exchange has ended, and it does not measure: `serve` fills the record.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::time::Duration;

use super::escape::{ACCESS_TARGET, quoted};

/// Values longer than this many bytes are cut: a line must not grow with what a client sends.
const LONGEST_VALUE: usize = 2048;

/// What is told about one exchange. Its `Display` is the access line without time, level and target.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    /// `X-Request-ID` as sent to the backend.
    pub request_id: &'a str,
    /// The client as computed from the trusted proxies.
    pub client_ip: IpAddr,
    /// Request method.
    pub method: &'a str,
    /// Raw request-target, cut after 2 KiB.
    pub target: &'a str,
    /// Status as sent; 499 when the client left first.
    pub status: u16,
    /// Cause code when tollgate itself answered with an error.
    pub cause: Option<&'a str>,
    /// Request body bytes read from the client.
    pub bytes_in: u64,
    /// Response body bytes written to the client.
    pub bytes_out: u64,
    /// Name of the route, if one matched.
    pub route: Option<&'a str>,
    /// Name of the upstream, if one was chosen.
    pub upstream: Option<&'a str>,
    /// Id of the last backend asked.
    pub backend: Option<&'a str>,
    /// How many times a backend was asked.
    pub attempts: u32,
    /// From the complete request head to the last byte written.
    pub duration: Duration,
    /// From the complete request head to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// Time spent waiting for a worker.
    pub queued: Duration,
    /// `User-Agent` as it came, cut after 2 KiB.
    pub user_agent: Option<&'a [u8]>,
    /// Who was let in, where the route asks for that.
    pub user: Option<&'a str>,
    /// Version of TLS; none: a plain connection.
    pub tls: Option<&'a str>,
    /// Host as the request named it; empty when it named none.
    pub host: &'a str,
}

/// Logs the exchange. Costs nearly nothing when access lines are off.
pub fn record(access: &AccessRecord<'_>) {
    log::info!(target: ACCESS_TARGET, "{access}");
}

// === impl AccessRecord ===

impl Display for AccessRecord<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "id={} client_ip={} method={} host={} target={} status={} cause={} bytes_in={} bytes_out={} route={} \
             upstream={} backend={} attempts={} duration_ms={} first_byte_ms={} queued_ms={} user_agent={} user={} tls={}",
            Word(Some(self.request_id)),
            self.client_ip,
            Word(Some(self.method)),
            Text(Some(self.host.as_bytes())),
            Text(Some(self.target.as_bytes())),
            self.status,
            Word(self.cause),
            self.bytes_in,
            self.bytes_out,
            Word(self.route),
            Word(self.upstream),
            Word(self.backend),
            self.attempts,
            Millis(Some(self.duration)),
            Millis(self.first_byte),
            Millis(Some(self.queued)),
            Text(self.user_agent),
            Word(self.user),
            Word(self.tls),
        )
    }
}

/// A short value without quotes; with them as soon as it could be taken for more than one. `-` for none.
struct Word<'a>(Option<&'a str>);

impl Display for Word<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(word) = self.0 else {
            return formatter.write_str("-");
        };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        if !word.is_empty() && word.len() <= LONGEST_VALUE && word.bytes().all(is_plain) {
            formatter.write_str(word)
        } else {
            Text(Some(word.as_bytes())).fmt(formatter)
        }
    }
}

/// A value in quotes, cut when overlong. `-` for none.
struct Text<'a>(Option<&'a [u8]>);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else {
            return formatter.write_str("-");
        };
        if bytes.len() <= LONGEST_VALUE {
            return write!(formatter, "{}", quoted(bytes));
        }
        let mut end = LONGEST_VALUE;
        // Not in the middle of a UTF-8 sequence: its tail bytes are 10xxxxxx, and there are three at most.
        while end > LONGEST_VALUE - 3 && bytes.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        let mut kept = bytes.get(..end).unwrap_or_default().to_vec();
        kept.extend_from_slice("…".as_bytes());
        write!(formatter, "{}", quoted(&kept))
    }
}

/// Milliseconds with three decimals. `-` for none.
struct Millis(Option<Duration>);

impl Display for Millis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => {
                let micros = duration.as_micros();
                write!(formatter, "{}.{:03}", micros / 1000, micros % 1000)
            }
            None => formatter.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn example() -> AccessRecord<'static> {
        AccessRecord {
            request_id: "0198c0de",
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            method: "GET",
            target: "/x?y",
            status: 200,
            cause: None,
            bytes_in: 0,
            bytes_out: 23,
            route: Some("default"),
            upstream: Some("web"),
            backend: Some("b1"),
            attempts: 1,
            duration: Duration::from_micros(1234),
            first_byte: Some(Duration::from_micros(1100)),
            queued: Duration::from_micros(10),
            user_agent: Some(b"curl/8.5.0"),
            user: Some("alice"),
            tls: Some("1.3"),
            host: "example.com",
        }
    }

    #[test]
    fn a_whole_line() {
        assert_eq!(
            example().to_string(),
            "id=0198c0de client_ip=192.0.2.7 method=GET host=\"example.com\" target=\"/x?y\" status=200 cause=- \
             bytes_in=0 bytes_out=23 route=default upstream=web backend=b1 attempts=1 duration_ms=1.234 \
             first_byte_ms=1.100 queued_ms=0.010 user_agent=\"curl/8.5.0\" user=alice tls=1.3"
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let refused = AccessRecord {
            status: 404,
            cause: Some("no_route"),
            route: None,
            upstream: None,
            backend: None,
            attempts: 0,
            first_byte: None,
            user_agent: None,
            user: None,
            tls: None,
            host: "",
            ..example()
        };
        assert_eq!(
            refused.to_string(),
            "id=0198c0de client_ip=192.0.2.7 method=GET host=\"\" target=\"/x?y\" status=404 cause=no_route \
             bytes_in=0 bytes_out=23 route=- upstream=- backend=- attempts=0 duration_ms=1.234 \
             first_byte_ms=- queued_ms=0.010 user_agent=- user=- tls=-"
        );
    }

    #[test]
    fn no_value_can_pose_as_another_field() {
        let forged = AccessRecord {
            request_id: "x status=200",
            target: "/\" status=200 x=\"\r\n2026-01-01 [INFO] access: id=1",
            user_agent: Some(b"\xff\" y"),
            user: Some("a user=b\n"),
            ..example()
        };
        let line = forged.to_string();
        assert!(line.starts_with("id=\"x status=200\" client_ip="), "{line}");
        assert!(
            line.contains("target=\"/\\\" status=200 x=\\\"\\r\\n2026-01-01 [INFO] access: id=1\""),
            "{line}"
        );
        assert!(
            line.ends_with("user_agent=\"\\xff\\\" y\" user=\"a user=b\\n\" tls=1.3"),
            "{line}"
        );
    }

    #[test]
    fn an_overlong_target_is_cut_between_characters() {
        let exact = format!("/{}", "a".repeat(LONGEST_VALUE - 1));
        assert_eq!(
            Text(Some(exact.as_bytes())).to_string(),
            format!("\"{exact}\"")
        );
        // 1 + 2 * 1023 = 2047 bytes fit, the next two-byte character would straddle the limit.
        let long = format!("/{}", "é".repeat(1500));
        let kept = format!("\"/{}…\"", "é".repeat(1023));
        assert_eq!(Text(Some(long.as_bytes())).to_string(), kept);
    }
}
