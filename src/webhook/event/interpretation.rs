//! What a payload asks for, or why it asks for nothing.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{DeliveryRequest, InvalidIdentity};

/// What a payload asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each delivery and handed on at once")]
pub enum Interpretation {
    /// This.
    Act(DeliveryRequest),
    /// Nothing by itself, but there may be labelled issues that nobody has looked for.
    SearchLabels,
    /// Nothing.
    Ignore {
        /// The reason, for the log and the answer to GitHub.
        why: String,
    },
}

/// What reading a payload answers: an identifier in it may be malformed.
pub(super) type Interpreted = Result<Interpretation, InvalidIdentity>;

/// What reading the payload of an event answers: it may lack a field.
pub(super) type EventRead = Result<Interpreted, serde_json::Error>;

/// Reads the fields that an event needs, and interprets them.
pub(super) fn read_payload<P: DeserializeOwned>(
    payload: Value,
    interpret: impl FnOnce(P) -> Interpreted,
) -> EventRead {
    serde_json::from_value(payload).map(interpret)
}

/// The payload asks for `request`.
pub(super) fn act(request: DeliveryRequest) -> Interpreted {
    Ok(Interpretation::Act(request))
}

/// The payload is a reason to search for labelled issues.
pub(super) fn search_labels() -> Interpreted {
    Ok(Interpretation::SearchLabels)
}

/// The payload asks for nothing.
pub(super) fn ignore(why: impl Into<String>) -> Interpreted {
    Ok(Interpretation::Ignore { why: why.into() })
}

/// Why a payload without an installation is ignored: we could not act on it.
pub(super) const NO_INSTALLATION: &str = "the delivery does not come through an installation of the App";
