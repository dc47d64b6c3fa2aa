//! `tls` in `/_proxy/status`: the certificates that clients are shown, and until when they are valid. No keys.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::clock::unix_millis;
use crate::tls::server::{Shown, Terminator};

pub(super) fn render(terminator: &Terminator, now: SystemTime) -> Value {
    let certificates = terminator.certificates();
    let certificates: Vec<Value> = certificates
        .iter()
        .map(|one| certificate(one, now))
        .collect();
    let clients = terminator.clients().map(|clients| {
        json!({
            "file": clients.file.display().to_string(),
            "mode": clients.mode.as_str(),
            "authorities": clients.authorities,
            "problem": clients.trouble,
        })
    });
    json!({ "certificates": certificates, "client_auth": clients })
}

fn certificate(shown: &Shown, now: SystemTime) -> Value {
    let validity = shown.validity;
    json!({
        "file": shown.file.as_ref().map(|file| file.display().to_string()),
        "names": shown.names,
        "not_before": unix_millis(validity.from),
        "not_after": unix_millis(validity.until),
        "days_left": validity.days_left(now),
        "sha256": shown.fingerprint,
        "warning": shown.warning(now),
        "problem": shown.trouble,
    })
}
