//! The exit codes of all commands: a contract, since others script against them.

/// The command did what was asked, with the good result.
pub(super) const SUCCESS: i32 = 0;
/// Something failed; standard error says what.
pub(super) const FAILURE: i32 = 1;
/// The command worked, and its result is not the good one: escalated, differs, diverged, not detected.
pub(super) const OTHER_RESULT: i32 = 3;
/// A program could not be started, as in a shell.
pub(super) const NOT_STARTED: i32 = 127;
/// SIGINT ended the command, as in a shell.
pub(super) const INTERRUPTED: i32 = 130;

/// A row of the reference page.
pub(super) struct ExitCode {
    pub(super) commands: &'static str,
    pub(super) code: &'static str,
    pub(super) meaning: &'static str,
}

const fn row(commands: &'static str, code: &'static str, meaning: &'static str) -> ExitCode {
    ExitCode { commands, code, meaning }
}

/// Every exit code, for the reference page.
pub(super) const EXIT_CODES: &[ExitCode] = &[
    row("`demo`", "0", "the scenario ended as it should"),
    row("`demo`", "1", "it did not, or it could not be run"),
    row("`fix`", "0", "a change is proposed"),
    row("`fix`", "3", "the job escalated: a person has to go on"),
    row("`fix`", "1", "the job failed or was cancelled"),
    row("`fix`, `evaluate`", "130", "SIGINT or SIGTERM stopped it"),
    row("`serve`", "0", "SIGINT or SIGTERM stopped it, and all jobs were put back"),
    row("`serve`", "1", "it could not start"),
    row("`doctor`", "0", "nothing failed; there may be warnings"),
    row("`doctor`", "1", "at least one check failed"),
    row("`detect`", "0", "a test command was found"),
    row("`detect`", "3", "no test command was found"),
    row("`detect`", "1", "the repository or its file could not be read"),
    row("`verify`", "0", "the manifest and its verdict hold"),
    row("`verify`", "3", "something differs"),
    row("`verify`", "1", "it could not be checked"),
    row("`replay`", "0", "everything happened as recorded"),
    row("`replay`", "3", "it diverged"),
    row("`replay`", "1", "it could not be done"),
    row("`sandbox run`", "the command's own", "the command ended without meeting a limit"),
    row("`sandbox run`", "124", "timed out: the deadline passed, and every process was ended"),
    row("`sandbox run`", "137", "out of memory: the kernel killed a process of the control group"),
    row("`sandbox run`", "122", "disk full: a writable directory had no bytes or no inodes left"),
    row("`sandbox run`", "123", "process limit: a process or thread was refused"),
    row("`sandbox run`", "128 + N", "signal N ended the command"),
    row("`sandbox run`", "127", "the command could not be started"),
    row("`sandbox run`", "130", "SIGINT stopped it"),
    row("all others", "0", "it worked"),
    row("all others", "1", "it failed; standard error says why"),
];
