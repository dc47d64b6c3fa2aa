//! TLS 1.3 records as no library makes them: with as little in each as one likes.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::cipher;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

/// Application data, outside and inside of what is encrypted (RFC 8446 section 5.2).
const KIND: u8 = 23;
/// Bytes of a tag, behind what is encrypted.
const TAG: usize = 16;

/// The next records of whoever has these secrets, one for each of `contents`.
pub fn made(secrets: &ExtractedSecrets, contents: &[&[u8]]) -> Vec<u8> {
    let (first, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = &secrets.tx else {
        panic!("another cipher was agreed on");
    };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let mut records = Vec::new();
    for (number, content) in (*first..).zip(contents) {
        let mut record = [content, &[KIND][..]].concat();
        let [high, low] = u16::try_from(record.len() + TAG).unwrap().to_be_bytes();
        let header = [KIND, 3, 3, high, low];
        let nonce = Nonce::assume_unique_for_key(cipher::Nonce::new(iv, number).0);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut record)
            .unwrap();
        records.extend_from_slice(&header);
        records.extend_from_slice(&record);
    }
    records
}
