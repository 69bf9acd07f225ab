//! The result of a command in the sandbox. A run that was ended, or that hit a limit of memory, disk or processes, has
//! no exit code, so it never counts as passing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ReportSource, TestReport};

/// How a command ended. If several things happened, the first in this order is reported: deadline, memory, disk,
/// processes, signal, exit code. An earlier one explains a later one: a full disk makes tests fail, and a failed test
/// makes an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "Ending")]
pub enum ExitStatus {
    /// It exited.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it that Mendwright did not send.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It was killed at its deadline.
    TimedOut,
    /// The kernel killed it, or one of its children, for memory.
    OutOfMemory,
    /// A writable file system was full while it ran.
    DiskFull {
        /// Which one.
        place: WritableMount,
    },
    /// The process limit refused it a process or thread.
    ProcessLimit,
}

/// A writable file system of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WritablePlace")]
pub enum WritableMount {
    /// `/workspace`.
    Workspace,
    /// The home directory.
    Home,
    /// `/tmp`.
    Tmp,
    /// `/dev/shm`.
    SharedMemory,
    /// The root file system, if it is writable.
    Root,
}

impl WritableMount {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workspace => "/workspace",
            Self::Home => "the home directory",
            Self::Tmp => "/tmp",
            Self::SharedMemory => "/dev/shm",
            Self::Root => "the root file system",
        }
    }
}

impl ExitStatus {
    /// Whether it exited with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited { code: 0 }
    }

    /// The exit code that a shell would show: 124 for a timeout (as `timeout(1)`), 137 for memory, 122 for a full disk
    /// and 123 for the process limit (shells and `timeout(1)` use neither), 128 + n for a signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited { code } => code,
            Self::Signalled { signal } => 128 + signal,
            Self::TimedOut => 124,
            Self::OutOfMemory => 137,
            Self::DiskFull { .. } => 122,
            Self::ProcessLimit => 123,
        }
    }

    /// A short description for people and the model.
    pub fn describe(self) -> String {
        match self {
            Self::Exited { code } => format!("exit code {code}"),
            Self::Signalled { signal } => format!("killed by signal {signal}"),
            Self::TimedOut => "timed out".to_owned(),
            Self::OutOfMemory => "killed: out of memory".to_owned(),
            Self::DiskFull { place } => format!("disk full: {} had no room left", place.name()),
            Self::ProcessLimit => "process limit reached: a process or thread was refused".to_owned(),
        }
    }

    /// The description and the advice, as sentences.
    pub fn explain(self) -> String {
        match self.advice() {
            Some(advice) => format!("{}. {advice}", self.describe()),
            None => format!("{}.", self.describe()),
        }
    }

    /// What to do if a limit was hit, in a sentence. It is for the author of the tests and for the operator, who sets the
    /// limits.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Exited { .. } | Self::Signalled { .. } => None,
            Self::TimedOut => Some(
                "Find out what hangs or is slow. If it needs longer, raise the repository's `timeout_minutes:`.",
            ),
            Self::OutOfMemory => Some(
                "Reduce its memory (fewer things in parallel, smaller data), or ask the operator to give sandboxes \
                 more.",
            ),
            Self::DiskFull { .. } => Some(
                "Write less or remove files that are no longer needed, or ask the operator to give sandboxes more \
                 disk.",
            ),
            Self::ProcessLimit => Some(
                "Start fewer processes and threads at the same time (fewer parallel workers), or ask the operator to \
                 allow sandboxes more.",
            ),
        }
    }
}

/// The bounded output of a command: its beginning, its end, and how much between them was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundedOutput {
    /// The beginning, as text (bytes that are not UTF-8 replaced).
    pub head: String,
    /// Bytes between head and tail that were dropped.
    pub omitted_bytes: u64,
    /// The end; empty when nothing was omitted.
    pub tail: String,
}

impl BoundedOutput {
    /// Whether a part was dropped.
    pub fn is_truncated(&self) -> bool {
        self.omitted_bytes > 0
    }

    /// Head, a line that says what is missing, and tail.
    pub fn to_text(&self) -> String {
        if self.omitted_bytes == 0 {
            return format!("{}{}", self.head, self.tail);
        }
        format!("{}\n[… {} bytes left out …]\n{}", self.head, self.omitted_bytes, self.tail)
    }
}

/// A finished command. Standard output and standard error are kept in the order they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CommandResult")]
pub struct ProcessOutput {
    /// How it ended.
    pub ending: ExitStatus,
    /// Both output streams.
    pub output: BoundedOutput,
    /// Wall time.
    pub duration: Duration,
}

/// A test that a report names as failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FailedTest(pub String);

/// One run of the test suite, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "StoredRun")]
pub struct TestRun {
    /// The shell command.
    pub command: String,
    /// The part of the suite that was run; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// The result.
    pub result: ProcessOutput,
    /// What it reports about its tests.
    pub report: TestReport,
}

/// A run as transcripts hold it: old ones only name the failed tests.
#[derive(Deserialize, JsonSchema)]
struct StoredRun {
    command: String,
    #[serde(default)]
    selection: Option<String>,
    result: ProcessOutput,
    report: Option<TestReport>,
    #[serde(default)]
    failed: Vec<FailedTest>,
}

impl From<StoredRun> for TestRun {
    fn from(kept: StoredRun) -> Self {
        let StoredRun { command, selection, result, report, failed } = kept;
        let of_old = || TestReport::naming_failed(failed.into_iter().map(|test| test.0));
        Self { command, selection, result, report: report.unwrap_or_else(of_old) }
    }
}

impl TestRun {
    /// Whether the suite passed: all of it was run, the exit code is 0, and no report contradicts it, for instance by
    /// naming a test that did not pass.
    pub fn is_green(&self) -> bool {
        self.selection.is_none() && self.exited_successfully() && self.report.contradicts_success().is_none()
    }

    /// Whether it ended with exit code 0, regardless of its report.
    pub fn exited_successfully(&self) -> bool {
        self.result.ending.is_success()
    }

    /// Whether it is the run of a suite with failures, whatever its exit code: a command can hide it (`|| true`).
    pub fn is_red(&self) -> bool {
        !self.exited_successfully() || self.report.is_red()
    }

    /// The named tests that ran and did not pass; sorted, no duplicates.
    pub fn failed(&self) -> Vec<FailedTest> {
        let mut names: Vec<FailedTest> =
            self.report.red().map(|case| FailedTest(case.name.clone())).collect();
        names.dedup();
        names
    }

    /// Whether more tests may have failed than are named, because a part of the output was dropped.
    pub fn may_miss_failed_tests(&self) -> bool {
        !self.exited_successfully()
            && self.result.output.is_truncated()
            && self.report.source != ReportSource::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_description_advice_and_its_own_code() {
        let limits = [
            ExitStatus::TimedOut,
            ExitStatus::OutOfMemory,
            ExitStatus::DiskFull { place: WritableMount::Tmp },
            ExitStatus::ProcessLimit,
        ];
        let texts: Vec<String> =
            limits.iter().map(|ending| format!("{} {}", ending.shell_code(), ending.describe())).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        124 timed out
        137 killed: out of memory
        122 disk full: /tmp had no room left
        123 process limit reached: a process or thread was refused
        ");
        assert!(limits.iter().all(|ending| ending.advice().is_some() && !ending.is_success()));
    }

    #[test]
    fn run_of_an_old_transcript_keeps_its_failed_tests() {
        let old = r#"{"command":"t","result":{"ending":{"kind":"exited","code":1},
            "output":{"head":"","omitted_bytes":0,"tail":""},"duration":{"secs":1,"nanos":0}},"failed":["a"]}"#;
        let run: TestRun = serde_json::from_str(old).unwrap();
        assert_eq!(run.failed(), [FailedTest("a".into())]);
        let again: TestRun = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(again, run);
    }

    #[test]
    fn passing_part_of_the_suite_is_not_green() {
        let ending = ExitStatus::Exited { code: 0 };
        let result = ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO };
        let run = TestRun { command: "t".into(), selection: None, result, report: TestReport::default() };
        assert!(run.is_green());
        assert!(!TestRun { selection: Some("one test".into()), ..run }.is_green());
    }

    #[test]
    fn exit_status_is_serialized_by_name() {
        let full =
            serde_json::to_string(&ExitStatus::DiskFull { place: WritableMount::SharedMemory }).unwrap();
        assert_eq!(full, r#"{"kind":"disk_full","place":"shared_memory"}"#);
        assert_eq!(serde_json::to_string(&ExitStatus::ProcessLimit).unwrap(), r#"{"kind":"process_limit"}"#);
    }
}
