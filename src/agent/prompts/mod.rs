//! The words that models are instructed with: files, so that a change of them reads as one. Owns
//! the system prompt and the version of all of them together. A tool's text is the file of its name
//! under `tools/`; the schema of its arguments comes from their type.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::tools::Registry;
use crate::domain::{PromptVersion, ToolSpec};

/// The system prompt. The same for every job, so that providers can cache it.
pub const SYSTEM: &str = include_str!("system.md");

/// The system prompt of the planner, which writes briefs.
pub const BRIEF: &str = include_str!("brief.md");

/// The system prompt of the summarizer.
pub const SUMMARY: &str = include_str!("summary.md");

/// The system prompt of the setup agent.
pub const SETUP: &str = include_str!("setup.md");

/// The tools, in the order in which the model sees them.
pub fn tools() -> Arc<[ToolSpec]> {
    Registry::standard().specs()
}

/// Raised by hand when the texts ask for another way of working.
const NUMBER: u32 = 2;

/// The version of all texts that any model may be instructed with.
pub fn version() -> PromptVersion {
    PromptVersion { number: NUMBER, digest: hex::encode(Sha256::digest(as_seen().as_bytes())) }
}

/// All of it as a model sees it.
fn as_seen() -> String {
    let tools: String = tools().iter().map(tool_as_seen).collect();
    let of_setup: Vec<ToolSpec> = Registry::for_setup(Vec::new()).specs().to_vec();
    let standard = self::tools();
    let of_setup: String =
        of_setup.iter().filter(|spec| !standard.contains(spec)).map(tool_as_seen).collect();
    format!(
        "# System prompt\n\n{SYSTEM}\n{tools}# For a brief\n\n{BRIEF}\n# For a summary\n\n{SUMMARY}\n\
         # For the setup agent\n\n{SETUP}\n{of_setup}"
    )
}

fn tool_as_seen(spec: &ToolSpec) -> String {
    let schema = serde_json::to_string_pretty(&spec.input_schema).unwrap_or_default();
    format!("# Tool {}\n\n{}\n\n{schema}\n\n", spec.name, spec.description)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Read the difference as the model will: every word here steers it. After a change of the way
    /// of working, raise [`NUMBER`].
    #[test]
    fn the_model_sees_exactly_this() {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(".");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("as_seen", as_seen()));
    }

    #[test]
    fn every_tool_has_its_file_and_every_file_its_tool() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/prompts/tools");
        let specs = Registry::standard().specs();
        for spec in specs.iter() {
            let path = directory.join(format!("{}.md", spec.name));
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
            assert_eq!(text.trim(), spec.description, "{}", spec.name);
        }
        let of_setup = Registry::for_setup(Vec::new()).specs();
        for file in std::fs::read_dir(directory.with_file_name("setup_tools")).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let spec = of_setup.iter().find(|spec| spec.name == name);
            assert_eq!(spec.map(|spec| spec.description.as_str()), Some(text.trim()), "{name}");
        }
        let files = std::fs::read_dir(directory).unwrap().count();
        assert_eq!(files, specs.len(), "a file under tools/ belongs to no tool");
    }

    #[test]
    fn the_version_names_number_and_digest_and_stays_the_same() {
        let version = version();
        assert_eq!(version.digest.len(), 64);
        assert_eq!(version, super::version());
        assert_eq!(version.to_string(), format!("{NUMBER} ({})", &version.digest[..12]));
    }
}
