//! What is known of the client's certificate becomes fields of its request, and what clients claim about certificates goes.
//!
//! The client cannot take them away again with its `Connection` field. It is done before anything looks at the request: routes, rules and backends may rely on these fields alike. A trusted proxy
//! in front may have asked for the certificate itself; then it is believed, as in everything else.

use crate::config::model::Server;
use crate::exchange::{ClientCertificate, Exchange};
use crate::message::fields::Fields;
use crate::message::forwarded::{self, Client};

/// The SHA-256 fingerprint of a client certificate, beside its subject.
const FINGERPRINT: &str = "X-Client-Cert-Fingerprint";

/// Makes the fields of a request say what is known.
pub(super) fn vouch(exchange: &mut dyn Exchange, client: &Client, server: &Server) {
    let tls = exchange.peer().tls.clone();
    let fields = &mut exchange.head_mut().fields;
    let proved = tls
        .as_deref()
        .and_then(|tls| tls.client_certificate.as_ref());
    match (proved, header(server)) {
        (Some(certificate), Some(header)) => {
            drop_claims(fields, Some(header));
            tell(fields, header, certificate);
        }
        _ => check_claims(fields, client, server),
    }
}

/// Takes away what the client claims about certificates, if it has no right to.
pub(crate) fn check_claims(fields: &mut Fields, client: &Client, server: &Server) {
    if !client.is_peer_trusted {
        drop_claims(fields, header(server));
    }
}

/// The name for subjects, where certificates are asked for.
fn header(server: &Server) -> Option<&str> {
    let auth = server.tls.as_ref()?.client_auth.as_ref()?;
    Some(auth.header.as_str())
}

/// Takes away what nobody has proved.
fn drop_claims(fields: &mut Fields, header: Option<&str>) {
    let is_claim = |name: &str| {
        forwarded::is_about_certificates(name)
            || header.is_some_and(|header| forwarded::is_same_variable(name, header))
    };
    // As a rule there is none, and nothing is written.
    let claims: Vec<String> = fields
        .iter()
        .filter(|(name, _)| is_claim(name))
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in claims {
        fields.remove(&name);
    }
}

fn tell(fields: &mut Fields, header: &str, certificate: &ClientCertificate) {
    if let Some(subject) = &certificate.subject {
        fields.append_ours(header, subject.as_bytes());
    }
    fields.append_ours(FINGERPRINT, certificate.fingerprint.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &Fields) -> Vec<String> {
        fields.iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn claims_go_however_they_are_written() {
        let mut fields = Fields::new();
        for name in [
            "X-Client-Cert-Subject",
            "x_client_cert_subject",
            "X-Client_Cert",
            "x-client-certificate-dn",
            "Client-Cert",
            "Client_Cert-Chain",
            "X-Who",
            "x_who",
            "Client-Certainty",
            "X-Client",
            "Host",
        ] {
            fields.append(name, "CN=root");
        }
        drop_claims(&mut fields, None);
        let kept = ["X-Who", "x_who", "Client-Certainty", "X-Client", "Host"];
        assert_eq!(names(&fields), kept);
        drop_claims(&mut fields, Some("x-who"));
        assert_eq!(names(&fields), kept[2..]);
    }

    #[test]
    fn what_was_proved_is_told() {
        let mut fields = Fields::new();
        let mut certificate = ClientCertificate {
            subject: Some("CN=alice".into()),
            fingerprint: "AB:CD".into(),
        };
        tell(&mut fields, "x-who", &certificate);
        assert_eq!(fields.get_str("X-Who"), Some("CN=alice"));
        assert_eq!(fields.get_str(FINGERPRINT), Some("AB:CD"));
        certificate.subject = None;
        let mut fields = Fields::new();
        tell(&mut fields, "x-who", &certificate);
        assert_eq!(names(&fields), [FINGERPRINT]);
    }
}
