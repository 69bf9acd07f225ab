//! What a job has spent, and what its current round may still spend.

use std::time::Duration;

use super::{LoopDetector, Transcript, TranscriptEvent};
use crate::domain::{Budget, BudgetExtension, Message, ResumeReason, Spend};

impl Spend {
    /// Adds what an event of the job cost. A call without a price makes the sum of dollars unknown.
    pub fn add(&mut self, event: &TranscriptEvent) {
        if let Some(cost) = event.cost() {
            self.usage += cost.usage;
            self.usd = self.usd.zip(cost.usd).map(|(sum, more)| sum + more);
        }
        match event {
            TranscriptEvent::MessageAdded { message, milliseconds, .. } => {
                self.time += Duration::from_millis(*milliseconds);
                match message {
                    Message::Assistant { .. } => self.turns += 1,
                    Message::ToolResults { results } => {
                        self.tool_calls += u32::try_from(results.len()).unwrap_or(u32::MAX);
                    }
                    Message::User { .. } => {}
                }
            }
            TranscriptEvent::CallWasted { milliseconds, .. }
            | TranscriptEvent::BriefAnswered { milliseconds, .. }
            | TranscriptEvent::Compacted { milliseconds, .. } => {
                self.time += Duration::from_millis(*milliseconds);
            }
            _ => {}
        }
    }
}

impl Transcript<'_> {
    /// What was spent in these events. Includes the tool calls that were charged for going in circles.
    pub fn spend(self) -> Spend {
        let (mut spend, mut loops) = (Spend::zero(), LoopDetector::default());
        for (event, is_of_setup_agent) in self.events_by_agent() {
            spend.add(event);
            if !is_of_setup_agent {
                loops.apply(event);
            }
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
