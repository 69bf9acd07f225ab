//! What came of a command in the sandbox. A run that did not end by itself has no exit code, so it
//! can never be taken for a passing one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Ending {
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
}

impl Ending {
    /// Whether it exited by itself with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited { code: 0 }
    }

    /// The exit code a shell would show: 124 for a timeout (as `timeout(1)`), 137 for memory,
    /// 128 + n for a signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited { code } => code,
            Self::Signalled { signal } => 128 + signal,
            Self::TimedOut => 124,
            Self::OutOfMemory => 137,
        }
    }

    /// In words, for people and the model.
    pub fn describe(self) -> String {
        match self {
            Self::Exited { code } => format!("exit code {code}"),
            Self::Signalled { signal } => format!("killed by signal {signal}"),
            Self::TimedOut => "timed out".to_owned(),
            Self::OutOfMemory => "killed: out of memory".to_owned(),
        }
    }
}

/// Output of a command, bounded: its beginning, its end, and how much between them was let go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundedOutput {
    /// The beginning, as text (bytes that are not UTF-8 replaced).
    pub head: String,
    /// Bytes between head and tail that were not kept.
    pub omitted_bytes: u64,
    /// The end; empty when nothing was omitted.
    pub tail: String,
}

impl BoundedOutput {
    /// Head, a line that says what is missing, and tail.
    pub fn to_text(&self) -> String {
        if self.omitted_bytes == 0 {
            return format!("{}{}", self.head, self.tail);
        }
        format!("{}\n[… {} bytes left out …]\n{}", self.head, self.omitted_bytes, self.tail)
    }
}

/// A finished command. Standard output and standard error are kept in the order they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// How it ended.
    pub ending: Ending,
    /// Both output streams.
    pub output: BoundedOutput,
    /// Wall time.
    pub duration: Duration,
}

/// A test that a report names as failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FailedTest(pub String);

/// One run of the test suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRun {
    /// The shell command.
    pub command: String,
    /// What came of it.
    pub result: CommandResult,
    /// The tests that failed, where the output names them; sorted, no duplicates.
    pub failed: Vec<FailedTest>,
}

impl TestRun {
    /// Whether the run's exit code says that the suite passed.
    pub fn is_green(&self) -> bool {
        self.result.ending.is_success()
    }
}
