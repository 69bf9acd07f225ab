//! What must never leave, and the gate that it does not pass: secrets that this process knows, in
//! whatever form; canaries, which only somebody reads who is where nobody belongs; and what only
//! looks like a secret. Log lines and published texts are redacted of the same.
//!
//! A known secret or a canary anywhere is refused. What only looks like one (`rules.toml`) is
//! refused where a change adds it, and taken out of texts. A finding says which kind and where.

mod canary;
mod gate;
mod known;
mod rules;

pub use canary::{Canary, plant};
pub use gate::{AddedText, scan_additions, scan_text};
pub use known::{SecretKind, redact, register, register_until};
