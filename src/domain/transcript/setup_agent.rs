//! Questions about the setup agent's part of a transcript: it has a conversation of its own, and a part of the job's
//! budget.

use super::{PlanResult, RecordedEvent, Transcript, TranscriptEvent};
use crate::domain::{SetupRecipe, Spend};

impl<'a> Transcript<'a> {
    /// Each event, and whether it belongs to the work of the setup agent.
    pub(super) fn events_by_agent(self) -> impl Iterator<Item = (&'a TranscriptEvent, bool)> {
        self.events().iter().scan(false, |is_at_work, recorded| {
            match &recorded.event {
                TranscriptEvent::SetupAgentStarted { .. } => *is_at_work = true,
                TranscriptEvent::SetupAgentEnded { .. }
                | TranscriptEvent::Ended { .. }
                | TranscriptEvent::Resumed { .. } => *is_at_work = false,
                _ => {}
            }
            Some((&recorded.event, *is_at_work))
        })
    }

    /// The events without the work of the setup agent.
    pub fn without_setup_agent(self) -> Vec<RecordedEvent> {
        let own = self.events().iter().zip(self.events_by_agent());
        own.filter(|(_, (_, is_of_it))| !is_of_it).map(|(recorded, _)| recorded.clone()).collect()
    }

    /// Whether the setup agent began and did not end: the worker was ended.
    pub fn setup_agent_is_at_work(self) -> bool {
        self.events_by_agent().last().is_some_and(|(_, is_at_work)| is_at_work)
    }

    /// What the setup agent found for the base that was recorded last, if it was seen to work.
    pub fn setup_recipe(self) -> Option<&'a SetupRecipe> {
        self.last(|event| match event {
            TranscriptEvent::SetupAgentEnded { recipe, .. } => Some(recipe.as_ref()),
            _ => None,
        })
        .flatten()
    }

    /// What came of the plans that were tried, in order.
    pub fn plans_tried(self) -> impl Iterator<Item = &'a PlanResult> {
        self.events().iter().filter_map(|recorded| match &recorded.event {
            TranscriptEvent::PlanTried { result } => Some(result),
            _ => None,
        })
    }

    /// What the setup agent spent of the job's budget.
    pub fn setup_agent_spend(self) -> Spend {
        let mut spend = Spend::zero();
        self.events_by_agent().filter(|(_, is_of_it)| *is_of_it).for_each(|(event, _)| spend.add(event));
        spend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Message, Usage};

    #[test]
    fn work_of_the_setup_agent_is_separate() {
        let message = |usd| TranscriptEvent::MessageAdded {
            message: Message::Assistant { blocks: vec![] },
            usage: Some(Usage { input_tokens: 10, ..Usage::default() }),
            usd: Some(usd),
            model: None,
            milliseconds: 0,
        };
        let started = TranscriptEvent::SetupAgentStarted { usd_max: 1.0, turns_max: 25 };
        let recipe = SetupRecipe { setup: vec![], test: "make check".into() };
        let ended = |recipe| TranscriptEvent::SetupAgentEnded { recipe, why: None };
        let all = [
            started.clone(),
            message(0.25),
            // The worker was ended, and begins again.
            started,
            message(0.5),
            ended(Some(recipe.clone())),
            message(1.0),
        ];
        let recorded: Vec<RecordedEvent> = (1..)
            .zip(all)
            .map(|(sequence, event)| RecordedEvent { sequence, at: jiff::Timestamp::UNIX_EPOCH, event })
            .collect();
        let of = |count: usize| Transcript::new(&recorded[..count]);
        assert_eq!((of(6).spend().usd, of(6).setup_agent_spend().usd), (Some(1.75), Some(0.75)));
        assert_eq!((of(5).has_messages(), of(6).has_messages()), (false, true));
        assert_eq!((of(4).setup_agent_is_at_work(), of(5).setup_agent_is_at_work()), (true, false));
        assert_eq!((of(4).setup_recipe(), of(6).setup_recipe()), (None, Some(&recipe)));
        let sequences: Vec<u64> = of(6).without_setup_agent().iter().map(|one| one.sequence).collect();
        assert_eq!(sequences, [5, 6]);
    }
}
