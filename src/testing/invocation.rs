//! How a command calls a runner: its words, and whether arguments at its end reach the runner.

/// How a command runs its tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    /// Whether arguments put at the command's end reach the runner.
    pub(super) takes_arguments: bool,
    /// What must precede them: `--` for `npm test`.
    pub(super) separator: Option<&'static str>,
    /// The runner's own words, from its name on.
    pub(super) words: Vec<String>,
}

impl Invocation {
    /// Whether the command has one of these words already.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.iter().any(|w| word == w || word.starts_with(&format!("{w}="))))
    }
}

/// Words as arguments.
pub(super) fn arguments(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
