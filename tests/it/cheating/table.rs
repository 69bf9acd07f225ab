//! The table of ways to cheat by runner, as data: `fixtures/cheats`, a file for each. The tests play what it says, and the
//! guide's page is generated from it, so neither can say something else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The runners, in the order of the page: the name of each file in `fixtures/cheats`.
pub const RUNNERS: &[&str] = &[
    "pytest", "unittest", "node", "jest", "mocha", "rspec", "prove", "phpunit", "ctest", "go", "cargo",
    "nextest", "vitest", "maven",
];

/// A kind of cheat, or of honest change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    ExitCode,
    ExistingTest,
    WhatRunsTests,
    Reporting,
    DuringTheRun,
    OtherFiles,
    Places,
    EmptyProof,
    Honest,
    HonestBesideFlaky,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::ExitCode,
        Self::ExistingTest,
        Self::WhatRunsTests,
        Self::Reporting,
        Self::DuringTheRun,
        Self::OtherFiles,
        Self::Places,
        Self::EmptyProof,
        Self::Honest,
        Self::HonestBesideFlaky,
    ];

    /// The heading of its column, and what it is.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::ExitCode => ("exit code", "a test fails, and the exit code is 0"),
            Self::ExistingTest => {
                ("existing test", "an existing test is weakened, skipped, renamed or deleted")
            }
            Self::WhatRunsTests => {
                ("what runs tests", "configuration, plugins, hooks or scripts are changed, not the source")
            }
            Self::Reporting => ("reporting", "the source keeps failures from being reported"),
            Self::DuringTheRun => ("during the run", "tests on the disk are rewritten while the tests run"),
            Self::OtherFiles => ("other files", "a file with power beyond the tests is touched beside a fix"),
            Self::Places => {
                ("places", "a file is added where the repository ignores it, or the setup makes it")
            }
            Self::EmptyProof => {
                ("empty proof", "the new test passes on the base, or fails for another reason")
            }
            Self::Honest => ("honest fix", "a fix with a new test"),
            Self::HonestBesideFlaky => {
                ("beside others", "a fix beside tests that are skipped, repeated by the runner, or flaky")
            }
        }
    }

    fn is_honest(self) -> bool {
        match self {
            Self::Honest | Self::HonestBesideFlaky => true,
            Self::ExitCode
            | Self::ExistingTest
            | Self::WhatRunsTests
            | Self::Reporting
            | Self::DuringTheRun
            | Self::OtherFiles
            | Self::Places
            | Self::EmptyProof => false,
        }
    }
}

/// Texts by path.
type Files = BTreeMap<String, Text>;

/// A file's text. A part `@name` stands for one of the runner's texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Parts(Vec<String>),
}

/// Everything that is played with one runner.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerTable {
    /// Its name for people.
    runner: String,
    /// The test command.
    command: String,
    #[serde(default)]
    setup: Vec<String>,
    #[serde(default)]
    texts: BTreeMap<String, String>,
    /// The repository of every way.
    files: Files,
    /// More of it if the base passes, and if a test of it fails.
    #[serde(default)]
    green: Files,
    red: Files,
    #[serde(rename = "way")]
    ways: Vec<Way>,
    /// The kinds that do not apply.
    #[serde(default, rename = "not_applicable")]
    reasons: Vec<NotApplicable>,
}

/// Why a kind does not apply to a runner.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotApplicable {
    kind: Kind,
    reason: String,
}

/// The state of the base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Base {
    #[default]
    Green,
    Red,
}

/// One proposal, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    pub kind: Kind,
    /// What it does, as the end of a sentence about the proposal.
    pub does: String,
    #[serde(default)]
    base: Base,
    /// In place of the runner's.
    command: Option<String>,
    setup: Option<Vec<String>>,
    /// More files of the base, or others.
    #[serde(default)]
    files: Files,
    #[serde(default)]
    changes: Files,
    #[serde(default)]
    deletes: Vec<String>,
    /// Whether mutants of the changed lines are run.
    #[serde(default)]
    mutants: bool,
    /// It is refused, and the explanation has this text.
    refused: Option<String>,
    /// It is proposed with exactly these flags.
    flags: Option<Vec<String>>,
    /// The tests that prove it, all of them.
    proof: Option<Vec<String>>,
    /// More texts of the explanation.
    #[serde(default)]
    says: Vec<String>,
}

/// What must become of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected<'w> {
    Refused(&'w str),
    Proposed(&'w [String]),
}

/// A repository and a proposal, ready to be played.
#[derive(Debug)]
pub struct Play {
    pub command: String,
    pub setup: Vec<String>,
    pub mutants: bool,
    pub base: BTreeMap<String, String>,
    pub writes: BTreeMap<String, String>,
    pub deletes: Vec<String>,
}

/// The directory with Jest, Mocha and Vitest. It must lie where a sandbox sees it.
fn node_runners() -> String {
    std::env::var("MENDWRIGHT_TEST_NODE_RUNNERS").expect("MENDWRIGHT_TEST_NODE_RUNNERS")
}

impl RunnerTable {
    /// Reads the file of a runner.
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/cheats/{name}.toml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The ways of a kind. None: the kind does not apply, and the table says why.
    pub fn ways_of(&self, kind: Kind) -> impl Iterator<Item = &Way> {
        self.ways.iter().filter(move |way| way.kind == kind)
    }

    /// The way whose description has this text.
    pub fn way(&self, kind: Kind, text: &str) -> &Way {
        let found: Vec<&Way> = self.ways_of(kind).filter(|way| way.does.contains(text)).collect();
        assert_eq!(found.len(), 1, "{kind:?} {text:?}");
        found[0]
    }

    /// What a way needs to be played.
    pub fn play(&self, way: &Way) -> Play {
        let more = match way.base {
            Base::Green => &self.green,
            Base::Red => &self.red,
        };
        let mut base = BTreeMap::new();
        for files in [&self.files, more, &way.files] {
            base.extend(files.iter().map(|(path, text)| (path.clone(), self.text(text))));
        }
        let setup = way.setup.as_ref().unwrap_or(&self.setup);
        let resolved = |text: &String| match text.contains("{node_runners}") {
            true => text.replace("{node_runners}", &node_runners()),
            false => text.clone(),
        };
        Play {
            command: resolved(way.command.as_ref().unwrap_or(&self.command)),
            setup: setup.iter().map(resolved).collect(),
            mutants: way.mutants,
            base,
            writes: way.changes.iter().map(|(path, text)| (path.clone(), self.text(text))).collect(),
            deletes: way.deletes.clone(),
        }
    }

    fn text(&self, text: &Text) -> String {
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let part = |part: &String| match part.strip_prefix('@').filter(is_name) {
            Some(name) => {
                self.texts.get(name).unwrap_or_else(|| panic!("{}: no text {name:?}", self.runner)).clone()
            }
            None => part.clone(),
        };
        match text {
            Text::One(text) => part(text),
            Text::Parts(parts) => parts.iter().map(part).collect(),
        }
    }

    /// What is wrong with the table: a kind that is empty or named twice, or a value that its kind cannot have.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for kind in Kind::ALL {
            let reasons = self.reasons.iter().filter(|reason| reason.kind == kind).count();
            let ways = self.ways_of(kind).count();
            if (reasons == 0) == (ways == 0) || reasons > 1 {
                mistakes.push(format!("{}: {kind:?} has {ways} ways and {reasons} reasons", self.runner));
            }
        }
        for way in &self.ways {
            let is_possible = match way.expected() {
                Expected::Refused(_) => !way.kind.is_honest() && way.refused.is_some() && way.flags.is_none(),
                Expected::Proposed(flags) => way.kind.is_honest() || !flags.is_empty(),
            };
            if !is_possible {
                mistakes.push(format!("{}: {} has no value that it can have", self.runner, way.does));
            }
        }
        mistakes
    }
}

impl Way {
    /// What must become of it.
    pub fn expected(&self) -> Expected<'_> {
        match (&self.refused, &self.flags) {
            (Some(text), _) => Expected::Refused(text),
            (None, flags) => Expected::Proposed(flags.as_deref().unwrap_or_default()),
        }
    }

    /// The tests that must prove it, if the table says so.
    pub fn proof(&self) -> Option<&[String]> {
        self.proof.as_deref()
    }

    /// More that its explanation must have.
    pub fn says(&self) -> &[String] {
        &self.says
    }

    fn value(&self) -> &'static str {
        match self.expected() {
            Expected::Refused(_) => "refused",
            Expected::Proposed(_) if self.kind.is_honest() => "accepted",
            Expected::Proposed(_) => "shown",
        }
    }
}

/// The page of the guide.
fn page() -> String {
    let tables: Vec<RunnerTable> = RUNNERS.iter().map(|name| RunnerTable::load(name)).collect();
    let mut page = String::from(
        "# Ways to cheat, by runner\n\n\
         Each cell is played by a scripted model with the real program, the real runner and a real sandbox \
         (`tests/it/cheating.rs`). This page is generated from what these tests assert (`fixtures/cheats`). [Ways to \
         cheat](cheating.md) has what the verdict does, and what it does not see.\n\n\
         - *refused*: no pull request.\n\
         - *shown*: a pull request, whose first section says what was done.\n\
         - *accepted*: a pull request without an accusation. The new test is named as its proof.\n\
         - –: does not apply. The reason stands in the runner's list.\n\n",
    );
    for kind in Kind::ALL {
        let (heading, meaning) = kind.describe();
        let _ = writeln!(page, "- **{heading}**: {meaning}.");
    }
    page.push_str("\n| runner |");
    for kind in Kind::ALL {
        let _ = write!(page, " {} |", kind.describe().0);
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(Kind::ALL.len()));
    page.push('\n');
    for table in &tables {
        let _ = write!(page, "| {} |", table.runner);
        for kind in Kind::ALL {
            let mut values: Vec<&str> = table.ways_of(kind).map(Way::value).collect();
            values.sort_unstable();
            values.dedup();
            let cell = if values.is_empty() { "–".to_owned() } else { values.join(", ") };
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
    for table in &tables {
        let _ = write!(page, "\n## {}\n\n`{}`\n\n", table.runner, table.command);
        page.push_str("| kind | the proposal | value |\n|---|---|---|\n");
        for kind in Kind::ALL {
            for way in table.ways_of(kind) {
                let _ = writeln!(page, "| {} | {} | {} |", kind.describe().0, way.does, way.value());
            }
            for not in table.reasons.iter().filter(|not| not.kind == kind) {
                let _ = writeln!(page, "| {} | does not apply: {} | – |", kind.describe().0, not.reason);
            }
        }
    }
    page
}

/// Set to 1, this variable makes the test write the page instead of comparing it.
const UPDATE: &str = "MENDWRIGHT_UPDATE_REFERENCE";

#[test]
fn every_cell_of_the_table_has_a_value_or_a_reason() {
    let mistakes: Vec<String> = RUNNERS.iter().flat_map(|name| RunnerTable::load(name).mistakes()).collect();
    assert_eq!(mistakes, [""; 0]);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cheats");
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut found: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| stem(entry.unwrap().path())).collect();
    found.sort_unstable();
    let sorted = |names: &[&'static str]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names
    };
    assert_eq!(found, sorted(RUNNERS));
    assert_eq!(sorted(super::PLAYED), sorted(RUNNERS), "a runner without a test, or without a table");
}

#[test]
fn generated_files_match_the_ways_to_cheat_by_runner() {
    let path = "src/guide/security/cheating-by-runner.md";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let expected = page();
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        std::fs::write(&file, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is out of date: run `{UPDATE}=1 cargo test generated_files`, and commit it"
    );
}
