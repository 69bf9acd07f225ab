//! Finds what a job needs where nobody wrote it down: image, set-up commands and test command, from
//! a devcontainer, the repository's own files or its CI workflow. Pure: decides from a listing of
//! names and the texts of a few small files. Says where each finding is from and why, and what it
//! passed over. Runs nothing, and never reads the disk.

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
mod requirements;
mod ruby;
mod rust;
#[cfg(test)]
mod tests;
mod workflow;
mod yaml;

pub use explain::{Explanation, repository_file_for};
pub use hosts::{
    HostSource, NamedHost, ProposedHosts, propose_hosts, repository_host_files, worker_host_files,
};
pub use listing::{DETECTION_BYTES_MAX, RootEntry, RootListing};
pub(crate) use yaml::yaml_options;

/// Something found, and how.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Found<T> {
    /// It.
    pub value: T,
    /// From which file, and why, in words.
    pub source: String,
}

impl<T> Found<T> {
    fn new(value: impl Into<T>, source: impl Into<String>) -> Self {
        Self { value: value.into(), source: source.into() }
    }
}

/// Something that was there and is not used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PassedOver {
    /// What: a command, a file, a key.
    pub what: String,
    /// Why not, in words.
    pub why: String,
}

impl PassedOver {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// What a repository needs, as found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Environment {
    /// The OCI image to work in; `None`: nothing names one.
    pub image: Option<Found<String>>,
    /// Shell commands that bring what the tests need, in order. They mean to download.
    pub setup: Vec<Found<String>>,
    /// The shell command whose exit code is the verdict.
    pub test: Found<String>,
    /// What was there and is not used.
    pub passed_over: Vec<PassedOver>,
    /// What the operator or the repository's people should know.
    pub notes: Vec<String>,
}

/// Nothing says how to test; but other things may be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NothingDetected {
    /// The image, where one was found.
    pub image: Option<Found<String>>,
    /// Set-up commands, where some were found.
    pub setup: Vec<Found<String>>,
    /// Kinds of project that are there, without a way to test them.
    pub recognised: Vec<Untested>,
    /// What was there and is not used.
    pub passed_over: Vec<PassedOver>,
}

/// A kind of project that is there, without a way to test it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Untested {
    /// "Python".
    pub language: &'static str,
    /// The file that tells.
    pub sign: String,
    /// What is missing.
    pub why: String,
    /// A test command that its people might want to write.
    pub example: String,
}

impl std::error::Error for NothingDetected {}

impl fmt::Display for NothingDetected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", explain::nothing_in_words(self))
    }
}

/// One kind of project, as one of the detectors sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    language: &'static str,
    /// The file that tells.
    sign: String,
    test: Result<Found<String>, NoTest>,
    setup: Vec<Found<String>>,
    passed_over: Vec<PassedOver>,
    notes: Vec<String>,
    /// What a CI workflow's commands hold where they test this kind of project.
    runners: &'static [&'static str],
}

/// Why a kind of project cannot be tested, and what might be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoTest {
    why: String,
    example: String,
}

impl Candidate {
    fn new(language: &'static str, sign: impl Into<String>, runners: &'static [&'static str]) -> Self {
        let no_test = NoTest { why: "nothing says how it is tested".to_owned(), example: String::new() };
        Self {
            language,
            sign: sign.into(),
            test: Err(no_test),
            setup: Vec::new(),
            passed_over: Vec::new(),
            notes: Vec::new(),
            runners,
        }
    }

    fn tested_by(mut self, command: impl Into<String>, source: impl Into<String>) -> Self {
        self.test = Ok(Found::new(command, source));
        self
    }

    fn untested(mut self, why: impl Into<String>, example: impl Into<String>) -> Self {
        self.test = Err(NoTest { why: why.into(), example: example.into() });
        self
    }

    fn set_up_by(mut self, command: impl Into<String>, source: impl Into<String>) -> Self {
        self.setup.push(Found::new(command, source));
        self
    }

    fn passing_over(mut self, what: impl Into<String>, why: impl Into<String>) -> Self {
        self.passed_over.push(PassedOver::new(what, why));
        self
    }

    fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

type Detector = fn(&RootListing) -> Option<Candidate>;

/// In this order they count where several kinds of project share the root: first those whose
/// manifest is there for one reason only, last those that often only help another.
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

/// What the repository needs. Where several kinds of project share the root, the first of
/// the ecosystems that can be tested counts, unless a CI workflow tests only another one.
pub fn detect(root: &RootListing) -> Result<Environment, NothingDetected> {
    let candidates: Vec<Candidate> = DETECTORS.iter().filter_map(|detector| detector(root)).collect();
    let container = devcontainer::detect(root);
    let ci = workflow::detect(root);
    let mut passed_over = container.passed_over;
    let (tested, untested): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.test.is_ok());
    let chosen = tested.iter().position(|candidate| ci.runs_one_of(candidate.runners)).unwrap_or(0);
    let by_ci = chosen > 0;
    let mut own = None;
    for (index, candidate) in tested.into_iter().enumerate() {
        if index == chosen {
            own = Some(candidate);
        } else if let Ok(test) = candidate.test {
            let why = format!("{} is here, too ({})", candidate.language, candidate.sign);
            passed_over.push(PassedOver::new(format!("`{}`", test.value), why));
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
                PassedOver::new(
                    what,
                    "a CI workflow is asked only where the repository's own files say nothing",
                )
            }));
            let test = own.test.ok().map(|mut test| {
                if by_ci {
                    test.source.push_str("; of several kinds of project the one that the CI workflow tests");
                }
                test
            });
            (test, own.setup, None, own.notes)
        }
        (None, Some(job)) => (Some(job.test), job.setup, job.image, job.notes),
        (None, None) => {
            let setup = untested.iter().find(|candidate| !candidate.setup.is_empty());
            (None, setup.map(|candidate| candidate.setup.clone()).unwrap_or_default(), None, Vec::new())
        }
    };
    let setup = if container.setup.is_empty() {
        setup
    } else {
        let unused = |command: Found<String>| {
            PassedOver::new(format!("`{}`", command.value), "the devcontainer says what set-up is")
        };
        passed_over.extend(setup.into_iter().map(unused));
        container.setup
    };
    let image = match (container.image, image) {
        (Some(named), Some(other)) => {
            let what = format!("image `{}`", other.value);
            passed_over.push(PassedOver::new(what, "the devcontainer names another"));
            Some(named)
        }
        (named, other) => named.or(other),
    };
    match test {
        Some(test) => Ok(Environment { image, setup, test, passed_over, notes }),
        None => {
            let mut recognised: Vec<Untested> = untested.into_iter().filter_map(Untested::of).collect();
            let hints = hints::hints(root, &recognised);
            recognised.extend(hints);
            Err(NothingDetected { image, setup, recognised, passed_over })
        }
    }
}

impl Untested {
    fn of(candidate: Candidate) -> Option<Self> {
        let NoTest { why, example } = candidate.test.err()?;
        Some(Self { language: candidate.language, sign: candidate.sign, why, example })
    }
}
