//! Randomness: keys, secrets and tokens.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use secrecy::SecretString;

use crate::github::error::EmulatorError;

/// The key of the App that an emulator begins with: one for the whole process, since a key takes a second to
/// find in a debug build, and the tests start hundreds of emulators.
pub(crate) fn initial_key() -> Result<(SecretString, Vec<u8>), EmulatorError> {
    static KEY: OnceLock<(SecretString, Vec<u8>)> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key.clone());
    }
    let new = generate_key()?;
    Ok(KEY.get_or_init(|| new).clone())
}

/// A new RSA key: the private half as PEM, the public half as DER.
pub(crate) fn generate_key() -> Result<(SecretString, Vec<u8>), EmulatorError> {
    let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| EmulatorError::Random)?;
    let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(|_| EmulatorError::Random)?;
    let pkcs1 = rsa_private_key(pkcs8.as_ref()).ok_or(EmulatorError::Random)?;
    let text = base64::engine::general_purpose::STANDARD.encode(pkcs1);
    let mut pem = "-----BEGIN RSA PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END RSA PRIVATE KEY-----\n");
    Ok((pem.into(), key.public_key().as_ref().to_vec()))
}

/// The PKCS#1 key inside a PKCS#8 key: the octet string at its end, after version and algorithm.
/// Source: RFC 5208, section 5.
fn rsa_private_key(pkcs8: &[u8]) -> Option<&[u8]> {
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let at = pkcs8.windows(ALGORITHM.len()).position(|window| window == ALGORITHM)?;
    match &pkcs8[at + ALGORITHM.len()..] {
        [0x04, 0x82, high, low, key @ ..] => key.get(..usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// `length` random letters and digits.
pub(crate) fn random_text(length: usize) -> Result<String, EmulatorError> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789aB";
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).map_err(|_| EmulatorError::Random)?;
    Ok(bytes.into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
}

/// An installation token: `ghs_` and text of varying length. GitHub announced that clients must not rely
/// on the length.
pub(crate) fn random_token() -> Result<String, EmulatorError> {
    const LENGTH_MIN: usize = 36;
    let mut length = [0; 1];
    SystemRandom::new().fill(&mut length).map_err(|_| EmulatorError::Random)?;
    Ok(format!("ghs_{}", random_text(LENGTH_MIN + usize::from(length[0] % 100))?))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn generated_key_signs_tokens_that_its_public_key_verifies() {
        let (pem, public) = generate_key().unwrap();
        let signer = jsonwebtoken::EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).unwrap();
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let claims = serde_json::json!({"iss": "1", "exp": 4_000_000_000_u64});
        let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
        let key = jsonwebtoken::DecodingKey::from_rsa_der(&public);
        let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        assert!(jsonwebtoken::decode::<serde_json::Value>(&token, &key, &rules).is_ok());
    }

    #[test]
    fn tokens_have_githubs_prefix_and_no_fixed_length() {
        let tokens: Vec<String> = (0..20).map(|_| random_token().unwrap()).collect();
        assert!(tokens.iter().all(|token| token.starts_with("ghs_") && token.len() >= 40));
        assert!(tokens.iter().any(|token| token.len() != tokens[0].len()));
    }
}
