//! SHA-256 digests in the format that images use.

use aws_lc_rs::digest::{Context, SHA256};

/// Computes a digest incrementally. Uses the TLS library's implementation, because whole images are hashed
/// several times.
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
    fn digest_of_no_bytes_is_the_known_value() {
        assert_eq!(digest_of(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
