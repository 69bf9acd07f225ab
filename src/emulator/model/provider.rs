//! Which provider is emulated: a name for each, and the line that connects its wire format.

use super::emulated_format::EmulatedFormat;
use super::{anthropic, openai};

/// A provider's wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Chat Completions.
    OpenAi,
}

impl Provider {
    /// All providers.
    pub const ALL: [Self; 2] = [Self::Anthropic, Self::OpenAi];

    /// Its name, also in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    pub(super) fn format(self) -> &'static EmulatedFormat {
        match self {
            Self::Anthropic => &anthropic::FORMAT,
            Self::OpenAi => &openai::FORMAT,
        }
    }
}
