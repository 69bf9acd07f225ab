//! What a verification has found.

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It agrees with the manifest.
    Holds,
    /// It differs from the manifest.
    Differs,
    /// It could not be checked; this says nothing about the manifest.
    Unchecked,
    /// It differs here, and may.
    Noted,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The subject.
    pub what: &'static str,
    /// The outcome.
    pub outcome: CheckOutcome,
    /// The details.
    pub words: String,
}

/// All checks, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Verification {
    /// 0: the verdict holds. 3: something differs from the manifest. 1: it could not be checked, or nothing
    /// shows that the manifest is the service's.
    pub fn exit_code(&self) -> i32 {
        let any = |outcome: &CheckOutcome| self.checks.iter().any(|check| check.outcome == *outcome);
        match (any(&CheckOutcome::Differs), any(&CheckOutcome::Unchecked)) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 0,
        }
    }

    /// Whether something differs from the manifest.
    pub(super) fn differs(&self) -> bool {
        self.checks.iter().any(|check| check.outcome == CheckOutcome::Differs)
    }

    pub(super) fn add(&mut self, what: &'static str, outcome: CheckOutcome, words: impl Into<String>) {
        self.checks.push(Check { what, outcome, words: words.into() });
    }

    pub(super) fn add_equal(&mut self, what: &'static str, expected: &str, found: &str) {
        match expected == found {
            true => self.add(what, CheckOutcome::Holds, expected),
            false => self.add(
                what,
                CheckOutcome::Differs,
                format!("the manifest says {expected}, and it is {found}"),
            ),
        }
    }
}
