//! What a job has spent, and what its current round may still spend.

use super::{LoopDetector, Transcript, TranscriptEvent};
use crate::domain::{Budget, BudgetExtension, ResumeReason, Spend};

impl Transcript<'_> {
    /// What was spent in these events. Includes the tool calls that were charged for going in circles.
    pub fn spend(self) -> Spend {
        let (mut spend, mut loops) = (Spend::zero(), LoopDetector::default());
        for recorded in self.events() {
            spend.add(&recorded.event);
            loops.apply(&recorded.event);
        }
        spend.surcharge = loops.surcharge();
        spend
    }

    /// The limits of the current round, if `per_job` are the limits of a new job.
    pub fn budget(self, per_job: &Budget) -> Budget {
        let extension = match self.current_round().events().first().map(|recorded| &recorded.event) {
            Some(TranscriptEvent::Resumed { why, .. }) => match why {
                ResumeReason::Continued { grant, .. } => *grant,
                ResumeReason::Reviewed { .. } | ResumeReason::ChecksFailed { .. } => {
                    BudgetExtension::default()
                }
            },
            _ => return per_job.clone(),
        };
        per_job.extended_by(&self.before_current_round().spend(), &extension)
    }
}
