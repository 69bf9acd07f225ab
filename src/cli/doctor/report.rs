//! The results of all checks, for people and for scripts. Pure. Every text is redacted.

use std::fmt::Write;

use serde::Serialize;

use crate::secrets::redact;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    /// It works.
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    Failure,
    /// It could not be checked.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) result: Finding,
    pub(super) what: String,
    pub(super) remedy: Option<String>,
}

impl Check {
    fn new(check: &'static str, result: Finding, what: impl Into<String>) -> Self {
        Self { check, result, what: redact(&what.into()).into_owned(), remedy: None }
    }

    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Finding::Ok, what)
    }

    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, Finding::Skipped, format!("not checked: {}", why.into()))
    }

    pub(super) fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Finding::Warning, what) }
    }

    pub(super) fn failure(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Finding::Failure, what) }
    }
}

/// All checks, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Check>);

#[derive(Serialize)]
struct JsonReport<'a> {
    ok: bool,
    checks: &'a [Check],
}

impl Report {
    pub(super) fn add(&mut self, check: Check) {
        self.0.push(check);
    }

    /// Whether nothing failed.
    pub(super) fn is_ok(&self) -> bool {
        self.count(Finding::Failure) == 0
    }

    fn count(&self, finding: Finding) -> usize {
        self.0.iter().filter(|check| check.result == finding).count()
    }

    pub(super) fn json(&self) -> String {
        let answer = JsonReport { ok: self.is_ok(), checks: &self.0 };
        serde_json::to_string(&answer).expect("a report has only string keys")
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Check { check, result, what, remedy } in &self.0 {
            let sign = match result {
                Finding::Ok => "ok      ",
                Finding::Warning => "warning ",
                Finding::Failure => "FAILURE ",
                Finding::Skipped => "-       ",
            };
            let _ = writeln!(text, "{sign} {check}: {what}");
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "         → {remedy}");
            }
        }
        let (failures, warnings) = (self.count(Finding::Failure), self.count(Finding::Warning));
        let _ = match (failures, warnings) {
            (0, 0) => writeln!(text, "\neverything works"),
            (0, _) => writeln!(text, "\neverything works; warnings: {warnings}"),
            _ => writeln!(text, "\nfailures: {failures}, warnings: {warnings}"),
        };
        text
    }
}
