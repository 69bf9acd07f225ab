//! Secrets that must never be published, and the gate that blocks them: secrets that this process knows, in
//! any encoding; canaries, which can be read only after a sandbox escape; and text that looks like a secret.
//! The same are redacted from log lines and published texts.
//!
//! A known secret or a canary blocks a publication. Text that looks like a secret (`rules.toml`) blocks a
//! change that adds it, and is redacted from texts. A finding says which kind and where.

mod canary;
mod gate;
mod known;
mod rules;

pub use canary::{Canary, plant};
pub use gate::{AddedText, scan_additions, scan_text};
pub use known::{SecretKind, redact, register, register_until};
