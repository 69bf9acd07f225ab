//! What a payload asks for, or why it asks for nothing.

use crate::domain::{DeliveryRequest, InvalidIdentity};

/// What a payload asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each delivery and handed on at once")]
pub enum Interpretation {
    /// This.
    Act(DeliveryRequest),
    /// Nothing.
    Ignore {
        /// The reason, for the log and the answer to GitHub.
        why: String,
    },
}

/// What reading a payload answers: an identifier in it may be malformed.
pub(super) type Interpreted = Result<Interpretation, InvalidIdentity>;

/// The payload asks for `request`.
pub(super) fn act(request: DeliveryRequest) -> Interpreted {
    Ok(Interpretation::Act(request))
}

/// The payload asks for nothing.
pub(super) fn ignore(why: impl Into<String>) -> Interpreted {
    Ok(Interpretation::Ignore { why: why.into() })
}

/// Why a payload without an installation is ignored: we could not act on it.
pub(super) const NO_INSTALLATION: &str = "the delivery does not come through an installation of the App";
