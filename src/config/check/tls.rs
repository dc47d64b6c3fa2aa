//! `[server.tls]`, and `tls` in entries of `listen`: whether both fit together.
//!
//! Opens no file: whether a certificate is one is seen when it is read ([`crate::tls`]).

use std::path::PathBuf;

use http::HeaderName;

use super::engine::reactor_only;
use crate::config::file::{
    CertificateFile, ClientAuthFile, ListenFile, ListenTlsFile, ServerFile, ServerTlsFile, Written,
};
use crate::config::model::{
    CertificateFiles, Certificates, ClientAuth, ClientAuthMode, Engine, Listen, ListenTls,
    ServerTls, TlsVersion,
};
use crate::config::report::{Place, Report};
use crate::config::suggest;
use crate::message::fields::is_hop_by_hop;
use crate::message::forwarded::{is_owned, is_same_variable};

/// The word for certificates that are made at the start.
const SELF_SIGNED: &str = "self-signed";
/// Most certificates of one server.
const MOST: usize = 1000;
/// Where backends find the subject of a client's certificate.
const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");

/// Where they find its fingerprint.
const FINGERPRINT: &str = "X-Client-Cert-Fingerprint";

/// What is wanted of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Plain,
    Files,
    SelfSigned,
}

/// Checks `tls` of one listener.
pub(super) fn check_listen_tls(entry: &ListenFile, engine: Engine, report: &Report) -> ListenTls {
    let Some(written) = &entry.tls else {
        return ListenTls::Plain;
    };
    if let ListenTlsFile::Word(word) = &written.value
        && word != SELF_SIGNED
    {
        let message = format!("`tls` cannot be \"{word}\"");
        let hint = "write `tls = true` for the certificates in [server.tls], or `tls = \"self-signed\"` for development";
        report.problem_hint(written.place, message, hint);
    }
    if wish(entry) == Wish::Plain {
        return ListenTls::Plain;
    }
    reactor_only(
        report,
        engine,
        written.place,
        "`tls` needs the reactor engine",
    );
    ListenTls::Tls
}

fn wish(entry: &ListenFile) -> Wish {
    match entry.tls.as_ref().map(|written| &written.value) {
        None | Some(ListenTlsFile::Switch(false)) => Wish::Plain,
        Some(ListenTlsFile::Switch(true)) => Wish::Files,
        Some(ListenTlsFile::Word(_)) => Wish::SelfSigned,
    }
}

/// Checks `[server.tls]`. None: no listener speaks TLS.
pub(super) fn check_server_tls(
    file: &ServerFile,
    listens: &[Listen],
    engine: Engine,
    report: &Report,
) -> Option<ServerTls> {
    let entries = file.listen.iter().flat_map(|listen| &listen.value);
    let wishes: Vec<(Wish, Place)> = entries
        .filter_map(|entry| Some((wish(entry), entry.tls.as_ref()?.place)))
        .filter(|(wish, _)| *wish != Wish::Plain)
        .collect();
    let none = ServerTlsFile::default();
    let written = file.tls.as_ref().unwrap_or(&none);
    let files = check_certificates(written, report);
    let is_broken = files.is_err();
    let files = files.unwrap_or_default();
    if file.tls.is_some() && engine == Engine::TinyHttp {
        let what = "[server.tls] needs the reactor engine";
        reactor_only(report, engine, written.place, what);
    } else if file.tls.is_some() && wishes.is_empty() {
        report.warning(
            written.place,
            "[server.tls] has no effect: no entry of `listen` has `tls`",
            "write `{ address = \"127.0.0.1:8443\", tls = true }` in `listen`",
        );
    }
    for (wish, place) in &wishes {
        match wish {
            Wish::Files if files.is_empty() && !is_broken => report.problem_hint(
                *place,
                "`tls = true` needs a certificate, and there is none in [server.tls]",
                "write `cert` and `key` there, or here `tls = \"self-signed\"` for development",
            ),
            Wish::SelfSigned if !files.is_empty() => report.problem_hint(
                *place,
                "a self-signed certificate is asked for here, but there are others in [server.tls]",
                "write `tls = true` for those, or remove them",
            ),
            _ => (),
        }
    }
    let (min_version, client_auth) = (
        check_min_version(&written.min_version, report),
        written
            .client_auth
            .as_ref()
            .and_then(|client| check_client_auth(client, report)),
    );
    if wishes.is_empty() {
        return None;
    }
    let certificates = if files.is_empty() {
        let names = self_signed_names(listens);
        Certificates::SelfSigned { names }
    } else {
        Certificates::Files(files)
    };
    Some(ServerTls {
        certificates,
        min_version,
        client_auth,
    })
}

/// This machine's own names, and the addresses that are listened on where they are ones that people can open.
fn self_signed_names(listens: &[Listen]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let listens = listens.iter().filter(|one| one.tls == ListenTls::Tls);
    for address in listens.filter_map(|listen| listen.address.ip()) {
        let name = address.ip().to_string();
        if !address.ip().is_unspecified() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The pairs that were written; an error where there is one that is reported, and pairs are missing for that.
fn check_certificates(file: &ServerTlsFile, report: &Report) -> Result<Vec<CertificateFiles>, ()> {
    let single = CertificateFile {
        place: file.place,
        cert: file.cert.clone(),
        key: file.key.clone(),
        broken: file.broken,
    };
    let has_single = single.cert.is_some() || single.key.is_some() || single.broken;
    let Some(list) = &file.certificates else {
        return match has_single {
            true => check_pair(&single, "[server.tls]", report).map(|pair| vec![pair]),
            false => Ok(Vec::new()),
        };
    };
    if has_single {
        report.problem_hint(
            list.place,
            "`certificates` cannot stand beside `cert` and `key`",
            "put that pair into `certificates`, in the first place: the first one is for names that no other has",
        );
        return Err(());
    }
    if list.value.is_empty() {
        let hint =
            "write `certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]`, or leave it out";
        report.problem_hint(list.place, "`certificates` is empty", hint);
        return Err(());
    }
    if list.value.len() > MOST {
        let count = list.value.len();
        let message = format!("`certificates` has {count} entries, the limit is {MOST}");
        report.problem(list.place, message);
        return Err(());
    }
    let mut pairs: Vec<CertificateFiles> = Vec::new();
    let mut is_broken = false;
    for entry in &list.value {
        match check_pair(entry, "this entry of `certificates`", report) {
            Ok(pair) if pairs.iter().any(|other| other.cert == pair.cert) => {
                let message = "this certificate is listed twice";
                report.problem_hint(entry.place, message, "keep it once");
            }
            Ok(pair) => pairs.push(pair),
            Err(()) => is_broken = true,
        }
    }
    match is_broken {
        true => Err(()),
        false => Ok(pairs),
    }
}

fn check_pair(file: &CertificateFile, what: &str, report: &Report) -> Result<CertificateFiles, ()> {
    let missing = |key, other: &Written<PathBuf>| {
        if !file.broken {
            let place = other.as_ref().map_or(file.place, |other| other.place);
            let message = format!("{what} has no `{key}`");
            let hint = "a certificate and its key belong together: `cert = \"cert.pem\"` and `key = \"key.pem\"`";
            report.problem_hint(place, message, hint);
        }
    };
    match (&file.cert, &file.key) {
        (Some(cert), Some(key)) => {
            let is_good = check_path("cert", &cert.value, cert.place, report)
                & check_path("key", &key.value, key.place, report);
            is_good.then(|| CertificateFiles {
                cert: cert.value.clone(),
                key: key.value.clone(),
            })
        }
        (Some(_), None) => {
            missing("key", &file.cert);
            None
        }
        (None, key) => {
            missing("cert", key);
            None
        }
    }
    .ok_or(())
}

fn check_path(key: &str, path: &std::path::Path, place: Place, report: &Report) -> bool {
    let is_empty = path.as_os_str().is_empty();
    if is_empty {
        let message = format!("`{key}` is empty");
        report.problem_hint(place, message, "write the path of a PEM file");
    }
    !is_empty
}

fn check_min_version(written: &Written<String>, report: &Report) -> TlsVersion {
    let Some(version) = written else {
        return TlsVersion::Tls12;
    };
    match version.value.as_str() {
        "1.2" => TlsVersion::Tls12,
        "1.3" => TlsVersion::Tls13,
        other => {
            let message = format!("`min_version` cannot be \"{other}\"");
            let hint = "write \"1.2\" or \"1.3\"; older versions are broken and not available";
            report.problem_hint(version.place, message, hint);
            TlsVersion::Tls12
        }
    }
}

fn check_client_auth(file: &ClientAuthFile, report: &Report) -> Option<ClientAuth> {
    let header = check_header(&file.header, report);
    let mode = match &file.mode {
        None => ClientAuthMode::Required,
        Some(mode) => match mode.value.as_str() {
            "required" => ClientAuthMode::Required,
            "optional" => ClientAuthMode::Optional,
            other => {
                let modes = ["required", "optional"];
                let hint = suggest::hint(other, "the modes are", modes);
                report.problem_hint(mode.place, format!("unknown mode \"{other}\""), hint);
                ClientAuthMode::Required
            }
        },
    };
    let Some(ca) = &file.ca else {
        if !file.broken {
            let hint =
                "write `ca = \"ca.pem\"`: the authorities that sign the certificates of clients";
            report.problem_hint(file.place, "`client_auth` has no `ca`", hint);
        }
        return None;
    };
    check_path("ca", &ca.value, ca.place, report).then(|| ClientAuth {
        ca: ca.value.clone(),
        mode,
        header,
    })
}

fn check_header(written: &Written<String>, report: &Report) -> HeaderName {
    let Some(written) = written else {
        return SUBJECT;
    };
    let text = written.value.as_str();
    let name = HeaderName::from_bytes(text.as_bytes());
    let is_taken = is_hop_by_hop(text)
        || is_owned(text)
        || is_same_variable(text, FINGERPRINT)
        || ["host", "content-length", "authorization", "cookie"]
            .iter()
            .any(|taken| text.eq_ignore_ascii_case(taken));
    match name {
        Ok(name) if !is_taken => name,
        Ok(_) => {
            let message = format!("`header` cannot be `{text}`: that field has another meaning");
            report.problem_hint(written.place, message, "write `X-Client-Cert-Subject`");
            SUBJECT
        }
        Err(_) => {
            let message = format!("`header` \"{}\" is no field name", text.escape_debug());
            report.problem_hint(written.place, message, "write `X-Client-Cert-Subject`");
            SUBJECT
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_str;
    use crate::config::model::{Certificates, Server};

    fn server(text: &str) -> (Server, Vec<String>) {
        let rest = "[[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n";
        let loaded = load_str("t.toml", &format!("[server]\n{text}\n{rest}")).unwrap();
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        (loaded.config.server, warnings)
    }

    #[test]
    fn without_a_listener_the_table_is_told_to_be_idle() {
        let (server, warnings) = server("tls = { cert = \"a\", key = \"b\" }");
        assert_eq!(server.tls, None);
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}")
        };
        assert!(warning.contains("[server.tls] has no effect"), "{warning}");
    }

    #[test]
    fn subject_and_fingerprint_have_fields_of_their_own() {
        let text = "[server]\nlisten = { address = \"127.0.0.1:1\", tls = true }\n[server.tls]\ncert = \"a\"\nkey = \"b\"\n\
            client_auth = { ca = \"c\", header = \"x_client-cert-fingerprint\" }\n\
            [[upstream]]\nname = \"web\"\nbackends = [\"http://127.0.0.1:1\"]\n";
        let told = load_str("t.toml", text).unwrap_err().to_string();
        assert!(told.contains("that field has another meaning"), "{told}");
    }

    #[test]
    fn names_of_a_self_signed_certificate_follow_from_listen() {
        let listen = "listen = [\"127.0.0.9:1\", { address = \"127.0.0.2:2\", tls = \"self-signed\" }, \
            { address = \":3\", tls = \"self-signed\" }, { address = \"[::]:4\", tls = \"self-signed\" }]";
        let (server, warnings) = server(listen);
        assert_eq!(warnings, Vec::<String>::new());
        let names = ["localhost", "127.0.0.1", "::1", "127.0.0.2"].map(str::to_owned);
        let names = names.to_vec();
        let tls = server.tls.unwrap();
        assert_eq!(tls.certificates, Certificates::SelfSigned { names });
        let urls = server.listen.iter().map(|one| one.address.url(one.tls));
        assert_eq!(
            urls.collect::<Vec<_>>(),
            [
                "http://127.0.0.9:1",
                "https://127.0.0.2:2",
                "https://127.0.0.1:3",
                "https://[::]:4"
            ]
        );
    }
}
