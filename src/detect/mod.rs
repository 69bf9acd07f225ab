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
mod perl;
mod php;
mod python;
mod python_tests;
mod requirements;
mod ruby;
mod rust;
mod settings;
mod shell_quoting;
mod subproject;
#[cfg(test)]
mod tests;
mod workflow;

pub use explain::{Explanation, repository_file_for};
pub use hosts::{
    HostSource, ProposedHost, ProposedHosts, propose_hosts, repository_host_files, worker_host_files,
};
pub use listing::{DETECTION_BYTES_MAX, RootEntry, RootListing};
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

/// What a repository needs, as detected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DetectedEnvironment {
    /// The OCI image; `None`: nothing names one.
    pub image: Option<Detected<String>>,
    /// Shell commands that install what the tests need, in order. They usually download.
    pub setup: Vec<Detected<String>>,
    /// The shell command whose exit code is the verdict.
    pub test: Detected<String>,
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

/// What the repository needs. If several kinds of project share the root, the first one that can be tested
/// counts, unless a CI workflow tests only another one. If neither the root nor a workflow says anything, the
/// only project in a directory of its own counts.
pub fn detect(root: &RootListing) -> Result<DetectedEnvironment, NothingDetected> {
    let candidates = candidates(root);
    let container = devcontainer::detect(root);
    let ci = workflow::detect(root);
    let mut passed_over = container.passed_over;
    let (tested, untested): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.test.is_ok());
    let chosen = tested.iter().position(|candidate| ci.runs_one_of(candidate.runners)).unwrap_or(0);
    let by_ci = chosen > 0;
    let mut own = None;
    for (index, candidate) in tested.into_iter().enumerate() {
        if index == chosen && !(candidate.is_guess && ci.job.is_some()) {
            own = Some(candidate);
        } else if let Ok(test) = candidate.test {
            let why = match index == chosen {
                true => "a CI workflow says how the tests are run".to_owned(),
                false => format!("{} is also here ({})", candidate.language, candidate.sign),
            };
            passed_over.push(SkippedSource::new(format!("`{}`", test.value), why));
        }
    }
    if own.is_none() {
        passed_over.extend(ci.passed_over);
    }
    let (test, setup, image, notes) = match (own, ci.job) {
        (Some(own), job) => {
            passed_over.extend(own.passed_over);
            passed_over.extend(job.map(|job| {
                let what = format!("`{}` ({})", job.test.value, job.test.source);
                SkippedSource::new(
                    what,
                    "a CI workflow counts only if the repository's own files say nothing",
                )
            }));
            let test = own.test.ok().map(|mut test| {
                if by_ci {
                    test.source.push_str("; the CI workflow tests this one of several kinds of project");
                }
                test
            });
            (test, own.setup, None, own.notes)
        }
        (None, Some(job)) => (Some(job.test), job.setup, job.image, job.notes),
        (None, None) => match subproject::detect(root) {
            Some(project) => {
                passed_over.extend(project.passed_over);
                (Some(project.test), project.setup, None, project.notes)
            }
            None => {
                let setup = untested.iter().find(|candidate| !candidate.setup.is_empty());
                (None, setup.map(|candidate| candidate.setup.clone()).unwrap_or_default(), None, Vec::new())
            }
        },
    };
    let setup = if container.setup.is_empty() {
        setup
    } else {
        let unused = |command: Detected<String>| {
            SkippedSource::new(format!("`{}`", command.value), "the devcontainer defines the setup")
        };
        passed_over.extend(setup.into_iter().map(unused));
        container.setup
    };
    let image = match (container.image, image) {
        (Some(named), Some(other)) => {
            let what = format!("image `{}`", other.value);
            passed_over.push(SkippedSource::new(what, "the devcontainer names another image"));
            Some(named)
        }
        (named, other) => named.or(other),
    };
    match test {
        Some(test) => Ok(DetectedEnvironment { image, setup, test, passed_over, notes }),
        None => {
            let mut recognised: Vec<UntestedProject> =
                untested.into_iter().filter_map(UntestedProject::of).collect();
            let hints = hints::hints(root, &recognised);
            recognised.extend(hints);
            Err(NothingDetected { image, setup, recognised, passed_over })
        }
    }
}

impl UntestedProject {
    fn of(candidate: Candidate) -> Option<Self> {
        let NoTest { why, example } = candidate.test.err()?;
        Some(Self { language: candidate.language, sign: candidate.sign, why, example })
    }
}
