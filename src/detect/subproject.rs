//! A project in a directory of its own, in a repository whose root says nothing: `backend/`, `server/`.

use super::shell_quoting::quoted;
use super::{Detected, Plan, RootListing, SkippedSource, candidates};

/// The only project below the root that can be tested.
pub(super) struct Subproject {
    pub(super) plans: Vec<Plan>,
    pub(super) passed_over: Vec<SkippedSource>,
    pub(super) notes: Vec<String>,
}

/// The only project of all directories of the root that can be tested; `None`: there is none, or there are
/// several, and only a person can say which of them matter.
pub(super) fn detect(root: &RootListing) -> Option<Subproject> {
    let mut tested = Vec::new();
    for directory in root.projects_below() {
        let below = root.below(directory);
        let first = candidates(&below).into_iter().find(|candidate| candidate.test.is_ok());
        tested.extend(first.map(|candidate| (directory, candidate)));
    }
    let [(directory, candidate)] = <[_; 1]>::try_from(tested).ok()?;
    let inside = |command: Detected<String>| Detected {
        value: format!("cd {} && {}", quoted(directory), command.value),
        source: format!("{directory}/: {}", command.source),
    };
    let in_directory = |plan: Plan| {
        let mut test = inside(plan.test);
        test.source.push_str("; the only directory with a project that can be tested");
        Plan { setup: plan.setup.into_iter().map(inside).collect(), test }
    };
    let plans = candidate.plans().into_iter().map(in_directory).collect();
    Some(Subproject { plans, passed_over: candidate.passed_over, notes: candidate.notes })
}
