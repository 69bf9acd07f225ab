//! Detects what a job needs: image, setup commands and test command, from a devcontainer, the repository's
//! own files or its CI workflow. Pure: decides from a listing of names and the texts of a few small files.
//! Records the source of each finding, and what it did not use. Runs nothing, and never reads the disk.

use std::fmt;

mod devcontainer;
mod explain;
mod go;
mod hints;
mod hosts;
mod javascript;
mod jsonc;
mod jvm;
mod listing;
mod native;
mod others;
mod package_scripts;
mod perl;
mod php;
mod plans;
mod python;
mod python_setup;
mod python_tests;
mod requirements;
mod ruby;
mod rust;
mod settings;
mod shell_quoting;
mod subproject;
#[cfg(test)]
mod tests;
mod tools;
mod workflow;
mod written;

pub use explain::{Explanation, repository_file_for, repository_file_of};
pub use hosts::{
    HostSource, ProposedHost, ProposedHosts, default_hosts, propose_hosts, repository_host_files,
    worker_host_files,
};
pub use listing::{DETECTION_BYTES_MAX, RootEntry, RootListing};
pub use plans::detect;
pub use settings::{SettingsError, apply_file, job_settings, settings_with_file};

/// Something that was detected, with its source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Detected<T> {
    /// The command or image.
    pub value: T,
    /// The file that it comes from, and why it was chosen.
    pub source: String,
}

impl<T> Detected<T> {
    fn new(value: impl Into<T>, source: impl Into<String>) -> Self {
        Self { value: value.into(), source: source.into() }
    }
}

/// Something that was found and is not used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SkippedSource {
    /// A command, a file or a key.
    pub what: String,
    /// Why it is not used.
    pub why: String,
}

impl SkippedSource {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// One complete way to set a repository up and to run its tests.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// Shell commands that install what the tests need, in order.
    pub setup: Vec<Detected<String>>,
    /// The shell command whose exit code is the verdict.
    pub test: Detected<String>,
}

impl Plan {
    /// Whether both run the same commands.
    fn runs_the_same_as(&self, other: &Self) -> bool {
        let commands =
            |plan: &Self| plan.setup.iter().map(|command| command.value.clone()).collect::<Vec<_>>();
        self.test.value == other.test.value && commands(self) == commands(other)
    }
}

/// What a repository needs, as detected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DetectedEnvironment {
    /// The OCI image; `None`: nothing names one.
    pub image: Option<Detected<String>>,
    /// Shell commands that install what the tests need, in order. They usually download.
    pub setup: Vec<Detected<String>>,
    /// The shell command whose exit code is the verdict.
    pub test: Detected<String>,
    /// Other ways, most likely first. They are tried if this one shows no passing tests.
    pub alternatives: Vec<Plan>,
    /// What was found and is not used.
    pub passed_over: Vec<SkippedSource>,
    /// What the operator or the maintainers should know.
    pub notes: Vec<String>,
}

/// No test command was detected. Other things may be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NothingDetected {
    /// The image, if one was found.
    pub image: Option<Detected<String>>,
    /// Setup commands, if some were found.
    pub setup: Vec<Detected<String>>,
    /// Kinds of project that were recognised, without a way to test them.
    pub recognised: Vec<UntestedProject>,
    /// What was found and is not used.
    pub passed_over: Vec<SkippedSource>,
}

/// A kind of project that was recognised, without a way to test it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UntestedProject {
    /// "Python".
    pub language: &'static str,
    /// The file that shows it.
    pub sign: String,
    /// What is missing.
    pub why: String,
    /// A test command that its maintainers may want to write.
    pub example: String,
}

impl std::error::Error for NothingDetected {}

impl fmt::Display for NothingDetected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", explain::explain_nothing_detected(self))
    }
}

/// One kind of project, as a detector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    language: &'static str,
    /// The file that shows it.
    sign: String,
    test: Result<Detected<String>, NoTest>,
    setup: Vec<Detected<String>>,
    /// Setups to try if that one fails, most likely first.
    other_setups: Vec<Vec<Detected<String>>>,
    /// Test commands to try if the first one shows no passing tests, most likely first.
    other_tests: Vec<Detected<String>>,
    /// What to try after that, with a setup and a test command of its own.
    other_plans: Vec<Plan>,
    passed_over: Vec<SkippedSource>,
    notes: Vec<String>,
    /// Words in a CI workflow's commands that test this kind of project.
    runners: &'static [&'static str],
    /// Whether only the names of files say how the tests are run: a CI workflow knows better.
    is_guess: bool,
}

/// Why a kind of project cannot be tested, and what its maintainers may write.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoTest {
    why: String,
    example: String,
}

impl Candidate {
    fn new(language: &'static str, sign: impl Into<String>, runners: &'static [&'static str]) -> Self {
        let no_test = NoTest { why: "nothing says how its tests are run".to_owned(), example: String::new() };
        Self {
            language,
            sign: sign.into(),
            test: Err(no_test),
            setup: Vec::new(),
            other_setups: Vec::new(),
            other_tests: Vec::new(),
            other_plans: Vec::new(),
            passed_over: Vec::new(),
            notes: Vec::new(),
            runners,
            is_guess: false,
        }
    }

    fn tested_by(mut self, command: impl Into<String>, source: impl Into<String>) -> Self {
        self.test = Ok(Detected::new(command, source));
        self
    }

    fn untested(mut self, why: impl Into<String>, example: impl Into<String>) -> Self {
        self.test = Err(NoTest { why: why.into(), example: example.into() });
        self
    }

    fn set_up_by(mut self, command: impl Into<String>, source: impl Into<String>) -> Self {
        self.setup.push(Detected::new(command, source));
        self
    }

    fn or_set_up_by(mut self, commands: Vec<Detected<String>>) -> Self {
        self.other_setups.push(commands);
        self
    }

    fn or_tested_by(mut self, command: impl Into<String>, source: impl Into<String>) -> Self {
        self.other_tests.push(Detected::new(command, source));
        self
    }

    fn or_planned(mut self, plan: Plan) -> Self {
        self.other_plans.push(plan);
        self
    }

    /// Every way in which this kind of project may be set up and tested, most likely first.
    fn plans(&self) -> Vec<Plan> {
        let Ok(test) = &self.test else { return Vec::new() };
        let with = |setup: &Vec<Detected<String>>, test: &Detected<String>| Plan {
            setup: setup.clone(),
            test: test.clone(),
        };
        let setups = std::iter::once(&self.setup).chain(&self.other_setups);
        let by_setup = setups.map(|setup| with(setup, test));
        let by_test = self.other_tests.iter().map(|other| with(&self.setup, other));
        by_setup.chain(by_test).chain(self.other_plans.iter().cloned()).collect()
    }

    fn passing_over(mut self, what: impl Into<String>, why: impl Into<String>) -> Self {
        self.passed_over.push(SkippedSource::new(what, why));
        self
    }

    fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

type Detector = fn(&RootListing) -> Option<Candidate>;

/// The order of precedence if several kinds of project share the root: first those whose manifest has one
/// purpose only, last those that often support another kind.
const DETECTORS: [Detector; 14] = [
    python::extension,
    rust::detect,
    go::detect,
    jvm::detect,
    others::dotnet,
    others::elixir,
    php::detect,
    ruby::detect,
    python::detect,
    javascript::detect,
    perl::detect,
    others::by_manifest,
    native::build_system,
    native::targets,
];

/// Every kind of project at the root of a listing.
fn candidates(root: &RootListing) -> Vec<Candidate> {
    DETECTORS.iter().filter_map(|detector| detector(root)).collect()
}

impl UntestedProject {
    fn of(candidate: Candidate) -> Option<Self> {
        let NoTest { why, example } = candidate.test.err()?;
        Some(Self { language: candidate.language, sign: candidate.sign, why, example })
    }
}
