//! Every key of `.github/agent-fix.yml`: the only list of them. The reader's bounds, the reference page
//! and the example file are made from it.

use std::fmt;

pub(super) const TIMEOUT_MINUTES_MAX: u64 = 120;
pub(super) const COMMAND_BYTES_MAX: usize = 4096;
pub(super) const SETUP_COMMANDS_MAX: usize = 20;
pub(super) const GLOBS_MAX: usize = 200;
pub(super) const COMMANDS_MAX: usize = 50;
pub(super) const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;
pub(super) const AGENT_HOSTS_MAX: usize = 20;
pub(super) const BUDGET_MINUTES_MAX: u64 = u32::MAX as u64;

/// One key of the repository file.
#[derive(Debug)]
pub struct RepositoryKey {
    /// With the key that it is below: `network.hosts`.
    pub name: &'static str,
    /// What it takes.
    pub value: RepositoryValue,
    /// What holds if the file does not set it.
    pub default: &'static str,
    /// A value in YAML.
    pub example: &'static str,
    /// What it decides.
    pub description: &'static str,
}

/// The values that a key of the repository file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryValue {
    /// A shell command.
    Command,
    /// A list.
    List {
        /// What its entries are, in the plural.
        of: &'static str,
        /// The largest number of entries.
        max: usize,
    },
    /// An image reference.
    Image,
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest, if there is a bound.
        max: Option<u64>,
    },
    /// An amount over 0.
    Amount,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text {
        /// The longest, in bytes.
        bytes_max: usize,
    },
}

impl fmt::Display for RepositoryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("shell command"),
            Self::List { of, max } => write!(f, "list of at most {max} {of}"),
            Self::Image => f.write_str("image reference"),
            Self::Integer { min, max: Some(max) } => write!(f, "whole number, {min} to {max}"),
            Self::Integer { min, max: None } => write!(f, "whole number from {min}"),
            Self::Amount => f.write_str("number over 0"),
            Self::Flag => f.write_str("true or false"),
            Self::Choice(words) => f.write_str(&words.join(" or ")),
            Self::Text { bytes_max } => write!(f, "text of at most {bytes_max} bytes"),
        }
    }
}

/// Every key, in the order in which people read them.
pub static REPOSITORY_KEYS: &[RepositoryKey] = &[
    RepositoryKey {
        name: "test",
        value: RepositoryValue::Command,
        default: "detected",
        example: "make check",
        description: "The command that runs the tests. Its exit code is the verdict: 0 means that they pass.",
    },
    RepositoryKey {
        name: "setup",
        value: RepositoryValue::List { of: "shell commands", max: SETUP_COMMANDS_MAX },
        default: "detected; an empty list turns setup off",
        example: "[make deps]",
        description: "Commands that install what the tests need. They run once in a sandbox of their own, \
                      with network to the operator's `sandbox.allowed_hosts`. The result is cached for \
                      the same files and commands.",
    },
    RepositoryKey {
        name: "setup_files",
        value: RepositoryValue::List { of: "globs", max: GLOBS_MAX },
        default: "all files; the cached result is for one tree only",
        example: "[package.json, package-lock.json]",
        description: "The only files that the setup commands are given. Commits in which these are the same \
                      share one cached result. Name everything that the commands read, with scripts and \
                      patches; leave it out if that is the source itself.",
    },
    RepositoryKey {
        name: "image",
        value: RepositoryValue::Image,
        default: "detected, else the operator's",
        example: "registry.example/ci:1",
        description: "The OCI image that jobs run in. The operator's `sandbox.images` must allow it.",
    },
    RepositoryKey {
        name: "commands",
        value: RepositoryValue::List { of: "patterns", max: COMMANDS_MAX },
        default: "none",
        example: "[make lint, \"cargo check **\"]",
        description: "Commands that the agent may run besides the tests. `*` stands for one argument, `**` \
                      for any number of further ones. No shell interprets them. The operator can turn this \
                      off with `sandbox.commands`.",
    },
    RepositoryKey {
        name: "network.hosts",
        value: RepositoryValue::List { of: "exact host names", max: AGENT_HOSTS_MAX },
        default: "none",
        example: "[api.example.org]",
        description: "Hosts that the agent and the tests may reach, if the operator allows them too.",
    },
    RepositoryKey {
        name: "timeout_minutes",
        value: RepositoryValue::Integer { min: 1, max: Some(TIMEOUT_MINUTES_MAX) },
        default: "20",
        example: "20",
        description: "The longest time that one run of the tests may take.",
    },
    RepositoryKey {
        name: "protected_paths",
        value: RepositoryValue::List { of: "globs", max: GLOBS_MAX },
        default: "none",
        example: "[\"deploy/**\"]",
        description: "Files that no proposal may change, besides the ones that are always protected: \
                      `.github/**`, CODEOWNERS, instructions for agents, `.gitmodules` and CI \
                      configuration.",
    },
    RepositoryKey {
        name: "test_paths",
        value: RepositoryValue::List { of: "globs", max: GLOBS_MAX },
        default: "the usual places only",
        example: "[\"checks/**\"]",
        description: "Files that count as tests, besides the usual places.",
    },
    RepositoryKey {
        name: "proof",
        value: RepositoryValue::Choice(&["required", "waived"]),
        default: "required",
        example: "required",
        description: "Whether a change to a green test suite must bring a test that fails without it.",
    },
    RepositoryKey {
        name: "mutants",
        value: RepositoryValue::Flag,
        default: "true",
        example: "true",
        description: "Whether up to eight small changes of a proposal's lines are run with the tests that show the \
                      issue. The pull request says how many of them the tests catch.",
    },
    RepositoryKey {
        name: "rounds.checks",
        value: RepositoryValue::Flag,
        default: "false",
        example: "false",
        description: "Whether a check of another App that fails on Mendwright's commit starts a round of \
                      changes.",
    },
    RepositoryKey {
        name: "publish",
        value: RepositoryValue::Choice(&["push", "hold"]),
        default: "push",
        example: "push",
        description: "`hold` shows a verified change in a comment, and pushes it only after somebody with \
                      write access comments `/agent-fix publish`.",
    },
    RepositoryKey {
        name: "budget.turns",
        value: RepositoryValue::Integer { min: 1, max: None },
        default: "the operator's",
        example: "30",
        description: "Model calls of one job. A number above the operator's changes nothing.",
    },
    RepositoryKey {
        name: "budget.usd",
        value: RepositoryValue::Amount,
        default: "the operator's",
        example: "2.0",
        description: "US dollars of one job. A number above the operator's changes nothing.",
    },
    RepositoryKey {
        name: "budget.minutes",
        value: RepositoryValue::Integer { min: 1, max: Some(BUDGET_MINUTES_MAX) },
        default: "the operator's",
        example: "30",
        description: "Minutes that the agent of one job may work. A number above the operator's changes \
                      nothing.",
    },
    RepositoryKey {
        name: "instructions",
        value: RepositoryValue::Text { bytes_max: INSTRUCTIONS_BYTES_MAX },
        default: "none",
        example: "Keep public functions documented.",
        description: "What the agent should know about working in this repository.",
    },
];
