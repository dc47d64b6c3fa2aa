//! `[route.auth]`: what credentials look like and where they come; and what that means for header fields.

use std::sync::Arc;

use super::credentials::{Digests, Hashes, LONGEST_NAME};
use super::{forward_auth, given, headers, jwt};
use crate::config::file::{
    ApiKeysFile, AuthFile, BasicFile, BearerFile, CredentialFile, CredentialsFile, RouteFile,
    Written,
};
use crate::config::model::{
    ApiKeys, Auth, Basic, Bearer, CredentialFile as WatchedCredentials, HeaderChanges, Piece,
    Template, Variable,
};
use crate::config::report::{At, Report};
use crate::message::fields::{is_hop_by_hop, is_token};
use crate::message::forwarded::{is_owned, is_same_variable};

const REALM: &str = "tollgate";
const KEY_FIELD: &str = "X-API-Key";

/// None: everybody is let in.
pub(super) fn check_auth(file: &RouteFile, report: &Report) -> Option<Arc<Auth>> {
    let file = file.auth.as_ref()?;
    if file.broken {
        return None;
    }
    let auth = Auth {
        realm: check_realm(&file.realm, report),
        strip_credentials: given(&file.strip_credentials, true),
        user_header: file.user_header.as_ref().and_then(|name| {
            headers::may_be_set(&name.value, name.place, report).then(|| name.value.clone())
        }),
        api_keys: file.api_keys.as_ref().map(|keys| check_keys(keys, report)),
        bearer: file.bearer.as_ref().map(|file| check_bearer(file, report)),
        jwt: file
            .jwt
            .as_ref()
            .and_then(|jwt| jwt::check_jwt(jwt, report)),
        forward: file
            .forward
            .as_ref()
            .and_then(|forward| forward_auth::check_forward(forward, report)),
        basic: file.basic.as_ref().map(|file| check_basic(file, report)),
    };
    if !has_scheme(file) {
        report.problem_hint(
            file.place,
            "[route.auth] names no way to be let in",
            "add `api_keys`, `bearer`, `basic`, `jwt` or `forward`, or leave `auth` out",
        );
    }
    Some(Arc::new(auth))
}

/// Whether there is a way to be let in.
fn has_scheme(file: &AuthFile) -> bool {
    file.api_keys.is_some()
        || file.bearer.is_some()
        || file.jwt.is_some()
        || file.forward.is_some()
        || file.basic.is_some()
}

fn check_realm(written: &Written<String>, report: &Report) -> String {
    let Some(realm) = written else {
        return REALM.to_owned();
    };
    let fits = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if !(1..=LONGEST_NAME).contains(&realm.value.len()) || !realm.value.chars().all(fits) {
        report.problem_hint(
            realm.place,
            "`realm` cannot be used",
            "1 to 128 letters, digits, blanks and signs, without quotes and backslashes",
        );
    }
    realm.value.clone()
}

fn check_keys(file: &ApiKeysFile, report: &Report) -> ApiKeys {
    let header = match (&file.header, &file.query) {
        (Some(header), _) => {
            check_field(header, report);
            Some(header.value.clone())
        }
        (None, Some(_)) => None,
        (None, None) => Some(KEY_FIELD.to_owned()),
    };
    if let Some(query) = &file.query
        && (query.value.is_empty() || !query.value.bytes().all(is_unreserved))
    {
        report.problem_hint(
            query.place,
            "`query` cannot be the name of a parameter",
            "use letters, digits, `-`, `.`, `_` and `~`, as in \"api_key\"",
        );
    }
    let has_none = is_empty(&file.keys, file.file.as_ref());
    if has_none && !file.broken {
        report.problem_hint(
            file.place,
            "`api_keys` has no keys",
            "add `keys = { NAME = \"sha256:…\" }` or a `file` with some; `tollgate hash-key` prints such a value",
        );
    }
    let mut keys = Digests::new("key", report);
    ApiKeys {
        header,
        query: file.query.as_ref().map(|query| query.value.clone()),
        keys: keys.check(&file.keys),
        file: file.file.as_ref().map(|file| WatchedCredentials {
            path: file.path.clone(),
            entries: keys.check(&file.entries),
        }),
    }
}

fn check_bearer(file: &BearerFile, report: &Report) -> Bearer {
    let has_none = is_empty(&file.tokens, file.file.as_ref());
    if has_none && !file.broken {
        report.problem_hint(
            file.place,
            "`bearer` has no tokens",
            "add `tokens = { NAME = \"sha256:…\" }` or a `file` with some; `tollgate hash-key` prints such a value",
        );
    }
    let mut tokens = Digests::new("token", report);
    Bearer {
        tokens: tokens.check(&file.tokens),
        file: file.file.as_ref().map(|file| WatchedCredentials {
            path: file.path.clone(),
            entries: tokens.check(&file.entries),
        }),
    }
}

fn check_basic(file: &BasicFile, report: &Report) -> Basic {
    let has_none = is_empty(&file.users, file.file.as_ref());
    if has_none && !file.broken {
        report.problem_hint(
            file.place,
            "`basic` has no users",
            "add `users = { NAME = \"$argon2id$…\" }` or a `file` with some; `tollgate hash-password` prints such a value",
        );
    }
    let mut hashes = Hashes::new(report);
    Basic {
        users: hashes.check(&file.users),
        file: file.file.as_ref().map(|file| WatchedCredentials {
            path: file.path.clone(),
            entries: hashes.check(&file.entries),
        }),
    }
}

/// Whether there is nobody whom this lets in. (A file that is emptied later is taken as it is.)
fn is_empty(written: &[CredentialFile], file: Option<&CredentialsFile>) -> bool {
    written.is_empty() && file.is_none_or(|file| file.entries.is_empty())
}

/// Whether it stands for itself in a URL (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// A field that a key may come in.
fn check_field(header: &At<String>, report: &Report) {
    let name = &header.value;
    let hint = if is_same_variable(name, "authorization") {
        "use `bearer` for `Authorization: Bearer …`, or another field"
    } else {
        "use a field of its own, such as \"X-API-Key\""
    };
    if !may_carry(name) {
        let message = format!("`{}` cannot carry an API key", name.escape_debug());
        report.problem_hint(header.place, message, hint);
    }
}

/// Whether a credential may come in this field, as one of its own.
pub(super) fn may_carry(name: &str) -> bool {
    let is_taken = ["host", "cookie", "authorization", "expect"]
        .iter()
        .any(|taken| is_same_variable(name, taken));
    let is_free = !is_taken && !is_owned(name) && !is_hop_by_hop(&name.replace('_', "-"));
    is_token(name.as_bytes()) && name.len() <= 256 && is_free
}

/// `headers` with what `auth` does to requests: the fields that credentials come in stay behind, the one that tells who it is
/// is written.
pub(super) fn applied(
    headers: Option<Arc<HeaderChanges>>,
    auth: Option<&Auth>,
    file: &RouteFile,
    report: &Report,
) -> Option<Arc<HeaderChanges>> {
    let asks_backend = !super::action::is_own(file);
    let Some(auth) = auth.filter(|_| asks_backend) else {
        return headers;
    };
    let mut changes = headers.as_deref().cloned().unwrap_or_default();
    if auth.strip_credentials {
        let fields = auth.fields().map(str::to_owned);
        changes.request.remove.extend(fields);
        changes.kept_cookie = auth.jwt.as_ref().and_then(|jwt| jwt.cookie.clone());
    }
    let written: Vec<String> = {
        let written = changes.request.set.iter().chain(&changes.request.add);
        written.map(|(name, _)| name.clone()).collect()
    };
    for (name, variable) in told(auth) {
        let is_there = written.iter().any(|other| is_same_variable(name, other));
        if is_there && let Some(file) = &file.auth {
            let message = format!("`{name}` is set in [route.headers.request] too");
            let own = file.user_header.as_ref();
            let own = own.filter(|_| variable == Variable::User);
            let place = own.map_or(file.place, |own| own.place);
            report.problem_hint(place, message, "keep one of them");
        }
        let value = Template::new(vec![Piece::Variable(variable)]);
        changes.request.set.push((name.to_owned(), value));
    }
    (changes != HeaderChanges::default()).then(|| Arc::new(changes))
}

/// The fields that tell backends who it is. Where nothing is known for one, it is not there.
fn told(auth: &Auth) -> impl Iterator<Item = (&str, Variable)> {
    let claims = auth.jwt.iter().flat_map(|jwt| &jwt.headers);
    let claims = claims.map(|header| (&*header.name, Variable::Claim(header.claim.clone())));
    let answered = auth
        .forward
        .iter()
        .flat_map(|forward| &forward.response_headers);
    let answered = answered.map(|name| (&**name, Variable::Claim(name.clone())));
    let user = auth.user_header.iter();
    user.map(|name| (&**name, Variable::User))
        .chain(claims)
        .chain(answered)
}
