//! The wire format of each provider: a folder for each, and the line that connects it.

mod anthropic;
mod openai;

use super::wire_format::WireFormat;
use crate::domain::ModelProvider;

pub use openai::OutputLimitParameter;

/// How a provider is spoken to.
pub(super) fn wire_format(provider: ModelProvider) -> &'static WireFormat {
    match provider {
        ModelProvider::Anthropic => &anthropic::WIRE_FORMAT,
        ModelProvider::OpenAi => &openai::WIRE_FORMAT,
    }
}
