//! Who serves a model, and so in which wire format.

use serde::{Deserialize, Serialize};

/// A provider of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelProvider {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's Chat Completions API, which many other servers speak too.
    OpenAi,
}

impl ModelProvider {
    /// All providers.
    pub const ALL: [Self; 2] = [Self::Anthropic, Self::OpenAi];

    /// The names of all providers.
    pub const NAMES: &'static [&'static str] = &[Self::Anthropic.name(), Self::OpenAi.name()];

    /// The provider's own address.
    pub fn default_url(self) -> &'static str {
        match self {
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenAi => "https://api.openai.com/v1",
        }
    }

    /// The environment variable that usually has its key.
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::Anthropic => "ANTHROPIC_API_KEY",
            Self::OpenAi => "OPENAI_API_KEY",
        }
    }

    /// The name that the configuration uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    /// The provider with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_name() {
        let names = ModelProvider::ALL.map(ModelProvider::name);
        assert_eq!(names, ModelProvider::NAMES);
        assert_eq!(names.map(ModelProvider::from_name), ModelProvider::ALL.map(Some));
        assert_eq!(ModelProvider::from_name("other"), None);
    }
}
