//! `redirect_https`: whether there is a place with TLS to be sent to, and which port it has.

use ipnet::IpNet;

use super::{number, path_fault};
use crate::config::file::{RedirectHttpsFile, ServerFile};
use crate::config::model::{Listen, ListenTls, RedirectHttps};
use crate::config::report::Report;

const HTTPS: u16 = 443;
/// Where certificate authorities look for answers, without TLS (RFC 8555 section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// None: off.
pub(super) fn check_redirect_https(
    file: &ServerFile,
    listens: &[Listen],
    trusted_proxies: &[IpNet],
    report: &Report,
) -> Option<RedirectHttps> {
    let file = file.redirect_https.as_ref().filter(|file| file.is_on)?;
    let with_tls = listens.iter().find(|listen| listen.tls == ListenTls::Tls);
    if trusted_proxies.is_empty() && with_tls.is_none() {
        report.problem_hint(
            file.place,
            "`redirect_https` sends clients to where nobody is: no listener speaks TLS",
            "write `listen = { address = \":8443\", tls = true }`, or name the proxies that speak TLS in front of this one in \
             `trusted_proxies`",
        );
    }
    let own = with_tls.and_then(|listen| listen.address.ip());
    let own = own.map_or(HTTPS, |address| address.port());
    if own == 0 && file.port.is_none() {
        let message = "`redirect_https` has to know the port of TLS, and the system picks it";
        report.problem_hint(file.place, message, "write `redirect_https = 8443`, say");
    }
    Some(RedirectHttps {
        port: number(report, &file.port, "port", (1, u16::MAX), own),
        except: check_except(file, report),
    })
}

fn check_except(file: &RedirectHttpsFile, report: &Report) -> Vec<String> {
    let Some(written) = &file.except else {
        return vec![CHALLENGES.to_owned()];
    };
    let mut paths = Vec::new();
    for entry in &written.value {
        if let Some(fault) = path_fault(&entry.value) {
            let message = format!("path \"{}\" {fault}", entry.value);
            report.problem_hint(
                entry.place,
                message,
                "write it as in \"/.well-known/acme-challenge/\"",
            );
        } else {
            paths.push(entry.value.clone());
        }
    }
    paths
}
