//! What each tool does, as far as a model that goes in circles is concerned. The names of tools are in stored
//! transcripts, so this does not depend on which tools there are now: a tool that no longer exists keeps its row.

use crate::domain::ToolCall;

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolEffect {
    /// It changes files.
    Changes,
    /// It runs something that shows whether a change is good.
    Tries,
    /// It only reads.
    Reads,
    /// It speaks to a person, or to the model itself.
    Speaks,
}

/// Every tool that a model has or had. A test of the tools fails if one is missing.
const EFFECTS: &[(&str, ToolEffect)] = &[
    ("ask_human", ToolEffect::Speaks),
    ("check_files", ToolEffect::Reads),
    ("delete_file", ToolEffect::Changes),
    ("edit_file", ToolEffect::Changes),
    ("find_symbol", ToolEffect::Reads),
    ("finish", ToolEffect::Tries),
    ("give_up", ToolEffect::Reads),
    ("list_files", ToolEffect::Reads),
    ("move_file", ToolEffect::Changes),
    ("propose_setup", ToolEffect::Reads),
    ("read_file", ToolEffect::Reads),
    ("read_result", ToolEffect::Reads),
    ("repo_map", ToolEffect::Reads),
    ("run_command", ToolEffect::Tries),
    ("run_script", ToolEffect::Tries),
    ("run_shell", ToolEffect::Reads),
    ("run_tests", ToolEffect::Tries),
    ("search", ToolEffect::Reads),
    ("show_diff", ToolEffect::Reads),
    ("update_plan", ToolEffect::Speaks),
    ("write_file", ToolEffect::Changes),
];

impl ToolEffect {
    /// What the tool of that name does; `None`: there is no such tool.
    pub fn of(tool: &str) -> Option<Self> {
        EFFECTS.iter().find(|(name, _)| *name == tool).map(|(_, effect)| *effect)
    }

    /// What a call does. A call of a tool that does not exist reads why.
    pub(super) fn of_call(call: &ToolCall) -> Self {
        Self::of(&call.name).unwrap_or(Self::Reads)
    }
}
