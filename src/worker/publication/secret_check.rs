//! Stops a job that is about to publish a secret. Nothing that was found is shown anywhere.

use tracing::error;

use crate::domain::{EscalationReason, SecretFinding};
use crate::secrets::scan_text;
use crate::worker::stop::Stop;

/// Stops the job if one of `texts` contains a secret. `what` names the texts.
pub(super) fn check_texts<'t>(what: &str, texts: impl IntoIterator<Item = &'t String>) -> Result<(), Stop> {
    let found: Vec<SecretFinding> = texts.into_iter().flat_map(|text| scan_text(what, text)).collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(contains_secret(found)),
    }
}

/// Why the job stops: the secrets that were found.
pub(super) fn contains_secret(found: Vec<SecretFinding>) -> Stop {
    for finding in &found {
        error!(what = finding.what, place = %finding.place, "publication blocked: it contains a secret");
    }
    Stop::Escalate(EscalationReason::Secret { found })
}
