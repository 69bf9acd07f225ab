//! Commands that set a repository up and run its tests, as the setup agent found them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobSettings;

/// Where a plan comes from that the setup agent found, for people.
pub const FOUND_BY_SETUP_AGENT: &str = "the setup agent";

/// Commands that set a repository up and run its tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetupRecipe {
    /// The setup commands, in order. Each is run by `/bin/sh` in the root of the repository.
    pub setup: Vec<String>,
    /// The test command, run in the same way.
    pub test: String,
}

impl SetupRecipe {
    /// The commands of a plan, if the setup agent found it.
    pub fn of_plan(plan: &JobSettings) -> Option<Self> {
        (plan.test_command_source == FOUND_BY_SETUP_AGENT)
            .then(|| Self { setup: plan.setup_commands.clone(), test: plan.test_command.clone() })
    }

    /// The lines of a repository's file that say the same.
    pub fn as_repository_file(&self) -> String {
        let quoted = |command: &str| serde_json::to_string(command).unwrap_or_default();
        let setup: String = self.setup.iter().map(|command| format!("  - {}\n", quoted(command))).collect();
        let setup = if setup.is_empty() { String::new() } else { format!("setup:\n{setup}") };
        format!("test: {}\n{setup}", quoted(&self.test))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_is_written_as_a_repositorys_file() {
        let recipe = SetupRecipe {
            setup: vec!["pip install -e '.[test]' \"x\"".to_owned()],
            test: "pytest: all # tests".to_owned(),
        };
        insta::assert_snapshot!(recipe.as_repository_file(), @r#"
        test: "pytest: all # tests"
        setup:
          - "pip install -e '.[test]' \"x\""
        "#);
        let file = SetupRecipe { setup: vec![], ..recipe }.as_repository_file();
        assert_eq!(file, "test: \"pytest: all # tests\"\n");
    }
}
