//! Puts what was found in order: the plan that is tried first, and the others. A repository's own manifest comes
//! before its devcontainer and its CI workflow, which are often older than the manifest or made for another machine.

use super::tools::with_tools;
use super::{
    DetectedEnvironment, NothingDetected, Plan, RootListing, SkippedSource, UntestedProject, candidates,
    devcontainer, hints, subproject, workflow, written,
};

/// The most plans of one repository: each costs a setup and a run of the suite.
const PLANS_MAX: usize = 8;

/// What the repository needs. If several kinds of project share the root, the first one that can be tested
/// comes first, unless a CI workflow tests only another one. If neither the root nor a workflow says anything, the
/// only project in a directory of its own counts.
pub fn detect(root: &RootListing) -> Result<DetectedEnvironment, NothingDetected> {
    let container = devcontainer::detect(root);
    let ci = workflow::detect(root);
    let mut passed_over = container.passed_over;
    let (mut tested, untested): (Vec<_>, Vec<_>) =
        candidates(root).into_iter().partition(|candidate| candidate.test.is_ok());
    let by_ci = tested.iter().position(|candidate| ci.runs_one_of(candidate.runners)).unwrap_or(0);
    if by_ci > 0 {
        let chosen = tested.remove(by_ci);
        tested.insert(0, chosen);
        if let Ok(test) = &mut tested[0].test {
            test.source.push_str("; the CI workflow tests this one of several kinds of project");
        }
    }
    let ci_first = ci.job.is_some() && tested.first().is_none_or(|candidate| candidate.is_guess);
    let mut plans = Plans::default();
    let mut notes = Vec::new();
    let mut ci_image = None;
    if tested.is_empty() || ci_first {
        passed_over.extend(ci.passed_over);
    }
    let ci_plan = ci.job.as_ref().map(workflow::CiJob::plan).map(with_tools);
    if let (true, Some(job)) = (ci_first, &ci.job) {
        notes.extend(job.notes.iter().cloned());
        ci_image.clone_from(&job.image);
        plans.extend(ci_plan.clone());
    }
    let mut tested = tested.into_iter();
    if let Some(own) = tested.next() {
        passed_over.extend(own.passed_over.iter().cloned());
        if !ci_first {
            notes.extend(own.notes.iter().cloned());
        }
        plans.extend(own.plans());
    }
    if let (true, Some(project)) = (plans.is_empty(), subproject::detect(root)) {
        passed_over.extend(project.passed_over);
        notes.extend(project.notes);
        plans.extend(project.plans);
    }
    let written: Vec<Plan> = written::plans(root).into_iter().map(with_tools).collect();
    if plans.is_empty() {
        plans.extend(written.first().cloned());
    }
    let Some(first) = plans.first().cloned() else {
        let recognised_setup = untested.iter().find(|candidate| !candidate.setup.is_empty());
        let setup = match container.setup.is_empty() {
            true => recognised_setup.map(|candidate| candidate.setup.clone()).unwrap_or_default(),
            false => container.setup,
        };
        let mut recognised: Vec<UntestedProject> =
            untested.into_iter().filter_map(UntestedProject::of).collect();
        let hints = hints::hints(root, &recognised);
        recognised.extend(hints);
        return Err(NothingDetected { image: container.image, setup, recognised, passed_over });
    };
    if !container.setup.is_empty() {
        let with_container = Plan { setup: container.setup, test: first.test.clone() };
        // Without a setup of its own, the repository says only there what it needs.
        match first.setup.is_empty() {
            true => plans.insert_first(with_container),
            false => plans.extend(Some(with_container)),
        }
    }
    plans.extend(ci_plan.filter(|_| !ci_first));
    plans.extend(tested.filter_map(|other| other.plans().into_iter().next()));
    plans.extend(written);
    plans.end_with(Plan { setup: Vec::new(), test: first.test.clone() });
    let image = match (container.image, ci_image) {
        (Some(named), Some(other)) => {
            let what = format!("image `{}`", other.value);
            passed_over.push(SkippedSource::new(what, "the devcontainer names another image"));
            Some(named)
        }
        (named, other) => named.or(other),
    };
    let Plan { setup, test } = plans.0.remove(0);
    Ok(DetectedEnvironment { image, setup, test, alternatives: plans.0, passed_over, notes })
}

/// Different plans, most likely first.
#[derive(Default)]
struct Plans(Vec<Plan>);

impl Plans {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn first(&self) -> Option<&Plan> {
        self.0.first()
    }

    fn extend(&mut self, plans: impl IntoIterator<Item = Plan>) {
        for plan in plans {
            if !self.0.iter().any(|known| known.runs_the_same_as(&plan)) {
                self.0.push(plan);
            }
        }
    }

    fn insert_first(&mut self, plan: Plan) {
        self.0.insert(0, plan);
    }

    /// Makes `last` the last one, and keeps the bound.
    fn end_with(&mut self, last: Plan) {
        let is_known = self.0.iter().any(|known| known.runs_the_same_as(&last));
        self.0.truncate(if is_known { PLANS_MAX } else { PLANS_MAX - 1 });
        self.extend(Some(last));
    }
}
