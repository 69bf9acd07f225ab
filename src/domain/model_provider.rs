//! The providers of models: a row for each. Lists of providers are made from it.

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

/// What is known about a provider. What it sends and receives is in `model/providers`.
struct ProviderRow {
    name: &'static str,
    description: &'static str,
    url: &'static str,
    key_variable: &'static str,
}

impl ModelProvider {
    /// All providers.
    pub const ALL: [Self; 2] = [Self::Anthropic, Self::OpenAi];

    /// The names of all providers.
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].row().name;
            index += 1;
        }
        names
    };

    const fn row(self) -> &'static ProviderRow {
        match self {
            Self::Anthropic => &ProviderRow {
                name: "anthropic",
                description: "Anthropic's Messages API",
                url: "https://api.anthropic.com",
                key_variable: "ANTHROPIC_API_KEY",
            },
            Self::OpenAi => &ProviderRow {
                name: "openai",
                description: "OpenAI's Chat Completions API",
                url: "https://api.openai.com/v1",
                key_variable: "OPENAI_API_KEY",
            },
        }
    }

    /// The name that the configuration and the command line use.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The wire format, for people.
    pub fn description(self) -> &'static str {
        self.row().description
    }

    /// The provider's own address.
    pub fn default_url(self) -> &'static str {
        self.row().url
    }

    /// The environment variable that usually has its key.
    pub fn key_variable(self) -> &'static str {
        self.row().key_variable
    }

    /// The provider with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

/// The table of all providers, in Markdown.
pub fn provider_table() -> String {
    let row = |provider: ModelProvider| {
        let ProviderRow { name, description, url, key_variable } = provider.row();
        format!("\n| `{name}` | {description} | `{url}` | `{key_variable}` |")
    };
    "| `model.provider` | Wire format | Address | Usual variable of the key |\n|---|---|---|---|".to_owned()
        + &ModelProvider::ALL.map(row).concat()
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
