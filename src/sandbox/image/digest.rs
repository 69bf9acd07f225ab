//! SHA-256 in the form in which images name things by it.

use aws_lc_rs::digest::{Context, SHA256};

/// Digests what passes by. The TLS library's, as whole images go through it several times.
pub(super) struct Hasher(Context);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// `sha256:…`
    pub(super) fn finish(self) -> String {
        format!("sha256:{}", hex::encode(self.0.finish()))
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        assert_eq!(digest_of(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
