//! `security_headers`: what browsers are told to refrain from with the answers of a site.

use std::fmt;

use serde::Serialize;

/// Fields that answers get unless their backend has set them. With all of them off: none.
#[derive(Debug, Serialize, Clone, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// `X-Content-Type-Options: nosniff`. Default true.
    pub nosniff: bool,
    /// `X-Frame-Options`. Default `SAMEORIGIN`.
    pub frame_options: Option<FrameOptions>,
    /// `Referrer-Policy`. Default `strict-origin-when-cross-origin`.
    pub referrer_policy: Option<String>,
    /// `Content-Security-Policy`. Default: `frame-ancestors` with what `frame_options` says, and nothing else.
    pub content_security_policy: Option<String>,
    /// `Permissions-Policy`. Default none.
    pub permissions_policy: Option<String>,
    /// `Strict-Transport-Security`, over TLS only (RFC 6797 section 7.2). Default 365 d.
    pub hsts: Option<Hsts>,
}

/// Who may show a page in a frame.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
pub enum FrameOptions {
    /// Nobody.
    #[serde(rename = "DENY")]
    Deny,
    /// Pages of the same site.
    #[serde(rename = "SAMEORIGIN")]
    SameOrigin,
}

/// `hsts` and what belongs to it: how long a browser keeps to https.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// Seconds; 0: browsers forget it.
    pub max_age: u64,
    /// For all names below this host too. Default false.
    pub include_subdomains: bool,
    /// Asks for a place on the lists that browsers come with. Default false.
    pub preload: bool,
}

impl SecurityHeaders {
    /// Nothing at all.
    pub fn off() -> SecurityHeaders {
        SecurityHeaders {
            nosniff: false,
            frame_options: None,
            referrer_policy: None,
            content_security_policy: None,
            permissions_policy: None,
            hsts: None,
        }
    }
}

impl FrameOptions {
    /// As the value of `X-Frame-Options`.
    pub fn as_str(self) -> &'static str {
        match self {
            FrameOptions::Deny => "DENY",
            FrameOptions::SameOrigin => "SAMEORIGIN",
        }
    }

    /// The same for `Content-Security-Policy`, which wins where a browser knows both.
    pub fn frame_ancestors(self) -> &'static str {
        match self {
            FrameOptions::Deny => "frame-ancestors 'none'",
            FrameOptions::SameOrigin => "frame-ancestors 'self'",
        }
    }
}

/// The value of the field (RFC 6797 section 6.1).
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}
