//! Tokens and keys: the examples of the standards, our own, and those that must not get through.

use proptest::prelude::*;

use super::signer::{Signer, unsigned};
use super::*;

const CLAIMS: &str = r#"{"sub":"ann"}"#;

fn set(keys: Vec<Key>) -> KeySet {
    KeySet {
        keys,
        ignored: Vec::new(),
    }
}

fn jwks(keys: &[String]) -> Result<KeySet, String> {
    parse_jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

fn header(algorithm: Algorithm) -> String {
    format!(r#"{{"alg":"{}"}}"#, algorithm.name())
}

fn flaw(token: &str, keys: &KeySet) -> Option<Flaw> {
    verify(token.as_bytes(), keys).err()
}

/// RFC 7515 appendix A.1 to A.3 and RFC 8037 appendix A.4: key and token.
const EXAMPLES: &[(&str, &str)] = &[
    (
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    (
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
];

#[test]
fn the_examples_of_the_standards_hold() {
    for (key, token) in EXAMPLES {
        let keys = jwks(&[(*key).to_owned()]).unwrap();
        match verify(token.as_bytes(), &keys) {
            Ok(claims) => assert_eq!(claims["iss"].text(), Some("joe")),
            // The payload of that one is plain text. It is judged after the signature.
            Err(flaw) => assert_eq!(flaw, Flaw::Malformed("its payload is not a JSON object")),
        }
        let (signed, _) = token.rsplit_once('.').unwrap();
        let other = EXAMPLES.iter().find(|(other, _)| other != key).unwrap().1;
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_eq!(
            flaw(&format!("{signed}.{signature}"), &keys),
            Some(Flaw::Signature)
        );
    }
}

#[test]
fn each_algorithm_lets_its_own_tokens_through_and_no_others() {
    let signers: Vec<Signer> = Algorithm::ALL.into_iter().map(Signer::new).collect();
    for (algorithm, signer) in Algorithm::ALL.into_iter().zip(&signers) {
        let token = signer.token(&header(algorithm), CLAIMS);
        let claims = verify(token.as_bytes(), &set(vec![signer.key()])).unwrap();
        assert_eq!(claims["sub"].text(), Some("ann"));
        // Through a JWKS it is the same key.
        let keys = jwks(&[signer.jwk(r#","kid":"a","use":"sig","key_ops":["verify"]"#)]).unwrap();
        assert_eq!(flaw(&token, &keys), None);
        // Another key of the same kind.
        if algorithm != Algorithm::Rs256 {
            let other = set(vec![Signer::new(algorithm).key()]);
            assert_eq!(flaw(&token, &other), Some(Flaw::Signature));
        }
        // The algorithm is that of the key.
        for (other, key) in Algorithm::ALL.into_iter().zip(&signers) {
            if other != algorithm {
                let keys = set(vec![key.key()]);
                assert_eq!(flaw(&token, &keys), Some(Flaw::Algorithm));
                let lie = signer.token(&header(other), CLAIMS);
                assert_eq!(flaw(&lie, &keys), Some(Flaw::Signature));
            }
        }
    }
}

#[test]
fn nothing_is_let_through_without_a_signature() {
    let keys: Vec<Key> = Algorithm::ALL
        .map(|algorithm| Signer::new(algorithm).key())
        .into();
    let keys = set(keys);
    for name in ["none", "None", "NONE", "nOnE", "", " none"] {
        let head = format!(r#"{{"alg":"{name}"}}"#);
        let signed = unsigned(&head, CLAIMS);
        assert_eq!(
            flaw(&format!("{signed}."), &keys),
            Some(Flaw::Algorithm),
            "{name}"
        );
        assert!(flaw(&signed, &keys).is_some());
    }
    for algorithm in Algorithm::ALL {
        let signed = unsigned(&header(algorithm), CLAIMS);
        assert_eq!(flaw(&format!("{signed}."), &keys), Some(Flaw::Signature));
        let zeros = "A".repeat(86);
        assert_eq!(
            flaw(&format!("{signed}.{zeros}"), &keys),
            Some(Flaw::Signature)
        );
    }
}

#[test]
fn the_text_of_a_public_key_is_no_secret() {
    let pem = include_bytes!("../../tests/fixtures/jwt/rsa.pem");
    let keys = parse_pem(pem).unwrap();
    let trimmed = pem.trim_ascii_end();
    for secret in [&pem[..], trimmed] {
        let token = Signer::Hmac(secret.to_vec()).token(&header(Algorithm::Hs256), CLAIMS);
        assert_eq!(flaw(&token, &keys), Some(Flaw::Algorithm));
        // Also not where HS256 is used beside it.
        let both = set([keys.keys.clone(), vec![Signer::new(Algorithm::Hs256).key()]].concat());
        assert_eq!(flaw(&token, &both), Some(Flaw::Signature));
    }
}

#[test]
fn what_has_not_the_form_of_a_token_is_refused() {
    let signer = Signer::new(Algorithm::EdDsa);
    let keys = set(vec![signer.key()]);
    let good = signer.token(&header(Algorithm::EdDsa), CLAIMS);
    assert_eq!(flaw(&good, &keys), None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = signed.split_once('.').unwrap();
    let mut bad: Vec<String> = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        signed.into(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}=="),
        format!("{head}=.{payload}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{head}.{payload}\n.{signature}"),
        format!("{head}.{payload} .{signature}"),
        format!("{head}..{signature}"),
        format!("{head}.{payload}.{}", signature.replace(['-', '_'], "+")) + "/",
        format!("{head}.{payload}.{signature}.{signature}.x"),
        "a".repeat(100_000),
        ".".repeat(100_000),
        format!("{}.{payload}.{signature}", "A".repeat(9000)),
    ];
    // The last character of a signature of 64 bytes has four bits that mean nothing.
    let last = signature.chars().last().unwrap();
    let twin = char::from(last as u8 + 1);
    bad.push(format!(
        "{signed}.{}{twin}",
        &signature[..signature.len() - 1]
    ));
    for token in bad {
        // What is wrong in the payload is not even seen: nobody has signed it.
        let flaw = flaw(&token, &keys);
        assert!(
            matches!(flaw, Some(Flaw::Malformed(_) | Flaw::Signature)),
            "{token:.80}"
        );
    }
}

#[test]
fn headers_are_taken_at_their_word() {
    let signer = Signer::new(Algorithm::EdDsa);
    let keys = set(vec![signer.key()]);
    let flaw = |header: &str| flaw(&signer.token(header, CLAIMS), &keys);
    for good in [
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","typ":"jwt"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA"}"#,
        r#"{"typ":"application/at+JWT","alg":"EdDSA","x":{"y":[1]}}"#,
        // Keys of the token's own, and places to get them: not looked at.
        r#"{"alg":"EdDSA","jku":"https://evil.example/","x5u":"file:///etc/passwd","jwk":{"kty":"oct","k":"AA"}}"#,
    ] {
        assert_eq!(flaw(good), None, "{good}");
    }
    for bad in [
        r#"{"alg":"EdDSA","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","crit":[]}"#,
        r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"EdDSA","b64":true}"#,
        r#"{"alg":"EdDSA","typ":"JWS"}"#,
        r#"{"alg":"EdDSA","typ":1}"#,
        r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#,
        r#"{"alg":"EdDSA","kid":1}"#,
        r#"{"alg":"EdDSA","kid":null}"#,
        r#"{"alg":["EdDSA"]}"#,
        r#"{"alg":null}"#,
        r#"{}"#,
        r#"[]"#,
        r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none"}"#,
        r#"{"alg":"EdDSA"}}"#,
    ] {
        assert!(matches!(flaw(bad), Some(Flaw::Malformed(_))), "{bad}");
    }
    let long = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, "k".repeat(257));
    assert!(matches!(flaw(&long), Some(Flaw::Malformed(_))));
}

#[test]
fn payloads_are_objects_of_bounded_size_and_depth() {
    let signer = Signer::new(Algorithm::Hs256);
    let keys = set(vec![signer.key()]);
    let flaw = |payload: &str| flaw(&signer.token(&header(Algorithm::Hs256), payload), &keys);
    assert_eq!(flaw("{}"), None);
    assert_eq!(flaw(&format!(r#"{{"a":"{}"}}"#, "x".repeat(8184))), None);
    for bad in [
        "".to_owned(),
        "[]".into(),
        "\"x\"".into(),
        r#"{"sub":"a","sub":"b"}"#.into(),
        format!(r#"{{"a":"{}"}}"#, "x".repeat(8185)),
        format!("{}1{}", "{\"a\":".repeat(17), "}".repeat(17)),
    ] {
        assert!(matches!(flaw(&bad), Some(Flaw::Malformed(_))), "{bad:.80}");
    }
}

#[test]
fn the_key_id_chooses_and_nothing_more() {
    let (old, new) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let keys = jwks(&[old.jwk(r#","kid":"old""#), new.jwk(r#","kid":"new""#)]).unwrap();
    let token = |id: &str| new.token(&format!(r#"{{"alg":"ES256","kid":{id}}}"#), CLAIMS);
    assert_eq!(flaw(&token("\"new\""), &keys), None);
    assert_eq!(flaw(&token("\"old\""), &keys), Some(Flaw::Signature));
    for id in [
        "New",
        "new ",
        "",
        "../../dev/null",
        "/etc/passwd",
        "new' OR '1'='1",
        "| cat",
    ] {
        assert_eq!(
            flaw(&token(&format!("{id:?}")), &keys),
            Some(Flaw::UnknownKey),
            "{id}"
        );
    }
    // Without an id, all are tried.
    assert_eq!(flaw(&new.token(r#"{"alg":"ES256"}"#, CLAIMS), &keys), None);
    // After the old key has gone, its tokens have, too.
    let rotated = jwks(&[new.jwk(r#","kid":"new""#)]).unwrap();
    let replayed = old.token(r#"{"alg":"ES256","kid":"old"}"#, CLAIMS);
    assert_eq!(flaw(&replayed, &keys), None);
    assert_eq!(flaw(&replayed, &rotated), Some(Flaw::UnknownKey));
    let nameless = old.token(r#"{"alg":"ES256"}"#, CLAIMS);
    assert_eq!(flaw(&nameless, &rotated), Some(Flaw::Signature));
}

#[test]
fn sets_of_keys_are_read_with_care() {
    let signer = Signer::new(Algorithm::Rs256);
    let good = signer.jwk("");
    let ignored = |key: &str| {
        let set = jwks(&[key.to_owned(), good.clone()]).unwrap();
        assert_eq!((set.keys.len(), set.ignored.len()), (1, 1), "{key}");
        assert!(jwks(&[key.to_owned()]).is_err());
    };
    for more in [
        r#","use":"enc""#,
        r#","key_ops":["sign"]"#,
        r#","key_ops":[]"#,
        r#","alg":"RS512""#,
        r#","alg":"HS256""#,
        r#","alg":"none""#,
    ] {
        ignored(&signer.jwk(more));
    }
    ignored(r#"{"kty":"EC","crv":"P-384","x":"","y":""}"#);
    ignored(r#"{"kty":"OKP","crv":"X25519","x":""}"#);
    ignored(r#"{"kty":"AKP"}"#);
    for bad in [
        signer.jwk(r#","d":"AQAB""#),
        signer.jwk(r#","kid":7"#),
        signer.jwk(r#","use":["sig"]"#),
        signer.jwk(r#","key_ops":"verify""#),
        signer.jwk(r#","e":"AQAB""#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.into(),
        r#"{"kty":"RSA"}"#.into(),
        r#"{"kty":"oct","k":"c2hvcnQ"}"#.into(),
        r#"{"kty":"oct","k":"+/=="}"#.into(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.into(),
        r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.into(),
        r#"{"n":"x"}"#.into(),
        "7".into(),
    ] {
        assert!(jwks(&[good.clone(), bad.clone()]).is_err(), "{bad}");
    }
    let many: Vec<String> = (0..101).map(|_| good.clone()).collect();
    assert!(jwks(&many).is_err());
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert!(parse_jwks(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn pem_files_hold_public_keys() {
    let pem = include_str!("../../tests/fixtures/jwt/rsa.pem");
    let keys = parse_pem(pem.as_bytes()).unwrap();
    let signer = Signer::new(Algorithm::Rs256);
    let token = signer.token(&header(Algorithm::Rs256), CLAIMS);
    assert_eq!(flaw(&token, &keys), None);
    assert_eq!(parse_pem(pem.repeat(2).as_bytes()).unwrap().keys.len(), 2);
    let private = pem.replace("PUBLIC KEY", "PRIVATE KEY");
    assert!(
        parse_pem(private.as_bytes())
            .unwrap_err()
            .contains("private")
    );
    for bad in [
        "",
        "x",
        &pem[..200],
        &pem.repeat(17),
        &pem.replacen("MII", "MIJ", 1),
    ] {
        assert!(parse_pem(bad.as_bytes()).is_err(), "{bad:.60}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_change_of_a_good_token_gets_through(at in 0.0..1.0f64, byte in any::<u8>(), which in 0..4usize) {
        let algorithm = Algorithm::ALL[which];
        let signer = Signer::new(algorithm);
        let keys = set(vec![signer.key()]);
        let good = signer.token(&header(algorithm), CLAIMS).into_bytes();
        let mut changed = good.clone();
        let at = (at * changed.len() as f64) as usize;
        changed[at] = byte;
        prop_assert_eq!(verify(&changed, &keys).is_ok(), changed == good);
        let mut longer = good.clone();
        longer.insert(at, byte);
        prop_assert!(verify(&longer, &keys).is_err());
        let mut shorter = good;
        shorter.remove(at);
        prop_assert!(verify(&shorter, &keys).is_err());
    }

    #[test]
    fn nothing_makes_it_panic(token in proptest::collection::vec(any::<u8>(), 0..300), text in "[a-zA-Z0-9_.-]{0,300}") {
        let keys = set(vec![Key::hmac(&[1; 32]).unwrap()]);
        prop_assert!(verify(&token, &keys).is_err());
        prop_assert!(verify(text.as_bytes(), &keys).is_err());
        prop_assert!(parse_jwks(&token).is_err());
        prop_assert!(parse_pem(&token).is_err());
    }

    #[test]
    fn keys_of_any_content_do_not_make_it_panic(content in "\\PC{0,60}", kind in 0..4usize) {
        let kind = [r#""kty":"RSA""#, r#""kty":"oct""#, r#""kty":"EC","crv":"P-256""#, r#""kty":"OKP","crv":"Ed25519""#][kind];
        let value = serde_json::to_string(&content).unwrap();
        let key = format!(r#"{{{kind},"n":{value},"e":{value},"k":{value},"x":{value},"y":{value},"kid":{value}}}"#);
        let _ = jwks(&[key]);
    }
}
