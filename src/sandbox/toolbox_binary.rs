//! The toolbox as a program: build.rs builds it, and this binary carries it.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// The toolbox, as build.rs built it.
pub(super) static TOOLBOX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mendwright-toolbox"));

/// SHA-256 of the toolbox, in hexadecimal.
pub fn toolbox_sha256() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(Sha256::digest(TOOLBOX)));
    &DIGEST
}
