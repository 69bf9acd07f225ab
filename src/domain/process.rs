//! What came of a command in the sandbox. A run that did not end by itself, or that was refused
//! memory, disk or processes, has no exit code, so it can never be taken for a passing one.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ReportSource, TestReport};

/// How a command ended. Where several things happened, the first of this order is told: deadline,
/// memory, disk, processes, signal, exit code. What stands earlier explains what stands later (a
/// full disk makes tests fail, a failed test makes an exit code), never the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "Ending")]
pub enum ExitStatus {
    /// It exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended it, and it was not us.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It was killed at its deadline.
    TimedOut,
    /// The kernel killed it, or one of its children, for memory.
    OutOfMemory,
    /// A writable file system had no room left while it ran, however it then ended.
    DiskFull {
        /// Which.
        place: WritableMount,
    },
    /// A process or thread was refused to it for their number, however it then ended.
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
    /// What is around them, where it can be written to.
    Root,
}

impl WritableMount {
    /// As people call it.
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
    /// Whether it exited by itself with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited { code: 0 }
    }

    /// The exit code a shell would show: 124 for a timeout (as `timeout(1)`), 137 for memory,
    /// 122 for a full disk, 123 for the process limit (two that shells and `timeout(1)` leave
    /// free), 128 + n for a signal.
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

    /// In a few words, for people and the model.
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

    /// What it was and what to do about it, as whole sentences.
    pub fn explain(self) -> String {
        match self.advice() {
            Some(advice) => format!("{}. {advice}", self.describe()),
            None => format!("{}.", self.describe()),
        }
    }

    /// What to do about it, in a sentence, where a limit was hit: the limits are the operator's and
    /// the repository's, so it is for whoever writes the tests as much as for them.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Exited { .. } | Self::Signalled { .. } => None,
            Self::TimedOut => Some(
                "Find what hangs or is slow; if it needs longer, the repository's `timeout_minutes:` must say so.",
            ),
            Self::OutOfMemory => Some(
                "Have it take less memory (less at the same time, smaller data), or have the operator give \
                 sandboxes more.",
            ),
            Self::DiskFull { .. } => Some(
                "Have it write less, or remove what it no longer needs; or have the operator give sandboxes more \
                 disk.",
            ),
            Self::ProcessLimit => Some(
                "Have it start fewer processes and threads at the same time (fewer parallel workers), or have the \
                 operator allow sandboxes more.",
            ),
        }
    }
}

/// Output of a command, bounded: its beginning, its end, and how much between them was let go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundedOutput {
    /// The beginning, as text (bytes that are not UTF-8 replaced).
    pub head: String,
    /// Bytes between head and tail that were not kept.
    pub omitted_bytes: u64,
    /// The end; empty when nothing was omitted.
    pub tail: String,
}

impl BoundedOutput {
    /// Whether a part of it was let go.
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
#[serde(from = "KeptRun")]
pub struct TestRun {
    /// The shell command.
    pub command: String,
    /// What of the suite was run; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<String>,
    /// What came of it.
    pub result: ProcessOutput,
    /// What it says of its tests.
    pub report: TestReport,
}

/// A run as transcripts keep it: those of old name failed tests only.
#[derive(Deserialize, JsonSchema)]
struct KeptRun {
    command: String,
    #[serde(default)]
    selection: Option<String>,
    result: ProcessOutput,
    report: Option<TestReport>,
    #[serde(default)]
    failed: Vec<FailedTest>,
}

impl From<KeptRun> for TestRun {
    fn from(kept: KeptRun) -> Self {
        let KeptRun { command, selection, result, report, failed } = kept;
        let of_old = || TestReport::naming_failed(failed.into_iter().map(|test| test.0));
        Self { command, selection, result, report: report.unwrap_or_else(of_old) }
    }
}

impl TestRun {
    /// Whether the suite passed: all of it was run, the exit code is 0, and the report, where there
    /// is one, does not say otherwise.
    pub fn is_green(&self) -> bool {
        self.selection.is_none() && self.exited_successfully() && self.report.contradicts_success().is_none()
    }

    /// Whether it ended with exit code 0, whatever its report says.
    pub fn exited_successfully(&self) -> bool {
        self.result.ending.is_success()
    }

    /// The tests that ran and did not pass, where they are named; sorted, no duplicates.
    pub fn failed(&self) -> Vec<FailedTest> {
        self.report.red().map(|case| FailedTest(case.name.clone())).collect()
    }

    /// Whether tests may have failed that are not named, because a part of the output in which they
    /// may have been named was let go.
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
    fn each_limit_has_words_advice_and_a_code_of_its_own() {
        let limits = [
            ExitStatus::TimedOut,
            ExitStatus::OutOfMemory,
            ExitStatus::DiskFull { place: WritableMount::Tmp },
            ExitStatus::ProcessLimit,
        ];
        let told: Vec<String> =
            limits.iter().map(|ending| format!("{} {}", ending.shell_code(), ending.describe())).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        124 timed out
        137 killed: out of memory
        122 disk full: /tmp had no room left
        123 process limit reached: a process or thread was refused
        ");
        assert!(limits.iter().all(|ending| ending.advice().is_some() && !ending.is_success()));
    }

    #[test]
    fn a_run_of_an_old_transcript_keeps_the_names_of_its_failed_tests() {
        let old = r#"{"command":"t","result":{"ending":{"kind":"exited","code":1},
            "output":{"head":"","omitted_bytes":0,"tail":""},"duration":{"secs":1,"nanos":0}},"failed":["a"]}"#;
        let run: TestRun = serde_json::from_str(old).unwrap();
        assert_eq!(run.failed(), [FailedTest("a".into())]);
        let again: TestRun = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(again, run);
    }

    #[test]
    fn a_part_of_the_suite_that_passes_is_not_the_suite() {
        let ending = ExitStatus::Exited { code: 0 };
        let result = ProcessOutput { ending, output: BoundedOutput::default(), duration: Duration::ZERO };
        let run = TestRun { command: "t".into(), selection: None, result, report: TestReport::default() };
        assert!(run.is_green());
        assert!(!TestRun { selection: Some("one test".into()), ..run }.is_green());
    }

    #[test]
    fn endings_are_kept_by_name() {
        let full =
            serde_json::to_string(&ExitStatus::DiskFull { place: WritableMount::SharedMemory }).unwrap();
        assert_eq!(full, r#"{"kind":"disk_full","place":"shared_memory"}"#);
        assert_eq!(serde_json::to_string(&ExitStatus::ProcessLimit).unwrap(), r#"{"kind":"process_limit"}"#);
    }
}
