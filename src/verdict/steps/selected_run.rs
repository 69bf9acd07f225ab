//! A run of a changed tree for the tests that show the issue: only the one test if there is one and the runner takes
//! a selection, else the whole suite if it is quick.

use std::time::Duration;

use crate::domain::{Sha, TestRun};
use crate::sandbox::CallError;
use crate::testing::{Selection, SuiteError, run_selected};

use super::super::comparison::Reference;
use super::super::verifier::Verifier;
use super::candidate::StepError;

/// A suite that takes longer is not run whole.
pub(super) const SUITE_TIME_MAX: Duration = Duration::from_secs(20);

impl Verifier<'_> {
    /// Runs the tests of these names at `tree`. `whole` is a run of the whole suite, for its time. `None`: the setup fails,
    /// or the tests cannot be selected and the suite takes too long.
    pub(in super::super) async fn run_tests_at(
        &self,
        tree: &Sha,
        purpose: &str,
        names: &[&str],
        (reference, whole): (&Reference<'_>, &TestRun),
    ) -> Result<Option<TestRun>, StepError> {
        if let [name] = names {
            let Ok(toolbox) = self.environment.fresh(tree, purpose).await? else { return Ok(None) };
            let selection = Selection { path: None, name: Some((*name).to_owned()) };
            let selected = run_selected(&toolbox, self.environment.settings(), &selection).await;
            self.environment.note_egress(purpose, &toolbox);
            toolbox.shut_down().await;
            match selected {
                Ok(run) if run.report.counts.is_some_and(|counts| counts.ran() > 0) => return Ok(Some(run)),
                // The runner takes no selection, or did not understand this one and ran no test.
                Ok(_) | Err(CallError::RespondToModel(_)) => {}
                Err(CallError::Fatal(error)) => return Err(SuiteError::from(error).into()),
            }
        }
        if whole.result.duration > SUITE_TIME_MAX {
            return Ok(None);
        }
        Ok(self.run_at(tree, purpose, reference).await?.ok())
    }
}
