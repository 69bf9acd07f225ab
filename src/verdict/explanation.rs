//! What a verdict says, in words for the model and for people. Pure functions.

use std::collections::BTreeSet;

use crate::domain::{FailedTest, TestRun};

use super::comparison::Comparison;
use super::failures::names;

/// Why a proposal is verified.
pub(super) fn explain(
    baseline: &TestRun,
    run: &TestRun,
    comparison: &Comparison,
    proof: Option<&[FailedTest]>,
) -> String {
    let before = baseline.result.ending.describe();
    let counted = match (run.report.is_known(), run.report.counts) {
        (false, _) => " Nothing but the exit code is known of it.".to_owned(),
        (true, Some(counts)) => format!(" Tests: {} ({}).", counts.describe(), run.report.origin()),
        (true, None) => String::new(),
    };
    let passed = match comparison {
        Comparison::Green => format!(
            "`{}` ended with exit code 0 in a fresh sandbox at the proposed tree (before the change: \
             {before}).{counted}",
            run.command
        ),
        Comparison::KnownFailures(known) => {
            let tests = |names: &BTreeSet<String>| {
                names.iter().map(|name| FailedTest(name.clone())).collect::<Vec<_>>()
            };
            let fixed = match known.fixed.is_empty() {
                true => String::new(),
                false => format!(" These failed and pass now:{}", names(&tests(&known.fixed))),
            };
            format!(
                "`{}` ended with {before} in a fresh sandbox at the proposed tree, as before the \
                 change.{counted} All that passed before passes.{fixed}\nThese fail as they did before:{}",
                run.command,
                names(&tests(&known.still))
            )
        }
    };
    match proof {
        None => passed,
        Some([]) => format!(
            "{passed} With the new tests and the old source the suite does not pass; no single test is named in \
             the output that was kept."
        ),
        Some(tests) => format!("{passed} The new tests fail on the old source:{}", names(tests)),
    }
}
