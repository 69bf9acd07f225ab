//! What every model call is paid from. Nobody else asks a model anything.
//!
//! Before a call its worst case must fit the job's budget, and is set aside in the store against
//! what the repository and the installation may spend in a day. After it, the event with the answer
//! settles what was set aside, in the transaction that records it. A call that gave no answer is
//! given back where it certainly cost nothing; else it is recorded as the provider counted it, or as
//! the most that it can have been.

use std::time::Instant;

use crate::domain::{Budget, BudgetExhausted, DailyCaps, Spend, TranscriptEvent, Usage, WorstCase};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, worst_case};
use crate::store::{Journal, StoreError};

/// How often an answer may break off before the provider is given up.
const BROKEN_MAX: u32 = 3;

/// What a job's model calls are paid from.
#[derive(Clone, Copy)]
pub struct MeteredModel<'a> {
    /// Who is asked.
    pub model: &'a dyn Model,
    /// Where money is set aside, and spent.
    pub journal: &'a Journal,
    /// What the job may spend.
    pub budget: &'a Budget,
    /// What its repository and installation may spend in a day.
    pub caps: &'a DailyCaps,
}

/// An answer that was paid for.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The answer.
    pub reply: ModelReply,
    /// What it cost, in US dollars, where the model has a price.
    pub usd: Option<f64>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallDenied {
    /// A limit is reached; nothing was asked.
    #[error(transparent)]
    Exhausted(#[from] BudgetExhausted),
    /// The provider gave none, and will not.
    #[error(transparent)]
    Unusable(#[from] ModelError),
    /// Money cannot be set aside or recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MeteredModel<'_> {
    /// Asks the model, if every limit allows it, and again where its answer breaks off. What is
    /// spent without an answer is recorded here, and added to `spend`. The caller records the answer
    /// with an event that has its [`cost`](TranscriptEvent::cost), before anything else is asked;
    /// until then, the worst case stays set aside.
    pub async fn ask(&self, spend: &mut Spend, request: &ModelRequest) -> Result<Completion, CallDenied> {
        // Of a worker that died, or of a caller that lost the answer.
        if let Some(event) = charge_unrecorded_call(self.journal).await? {
            spend.add(&event);
        }
        let mut broken = 0;
        loop {
            let worst = worst_case(request, self.model.price());
            self.budget.check(spend, worst)?;
            let reserved = self.journal.reserve_call(self.model.name(), worst, self.caps).await?;
            reserved.map_err(BudgetExhausted::from)?;
            let asked = Instant::now();
            let error = match self.model.complete(request).await {
                Ok(reply) => {
                    let usd = self.model.price().map(|price| price.of(&reply.usage));
                    return Ok(Completion { reply, usd, milliseconds: milliseconds(asked) });
                }
                Err(error) => error,
            };
            let ModelError::Interrupted { usage, retry_after, detail, .. } = &error else {
                self.journal.cancel_call().await?;
                return Err(error.into());
            };
            let event = self.wasted(detail.clone(), *usage, worst, milliseconds(asked));
            self.journal.append(std::slice::from_ref(&event)).await?;
            spend.add(&event);
            broken += 1;
            match retry_after {
                Some(wait) if broken < BROKEN_MAX => {
                    tracing::warn!(broken, %detail, "the answer broke off, asking again");
                    tokio::time::sleep(wait.saturating_mul(broken)).await;
                }
                Some(_) | None => return Err(error.into()),
            }
        }
    }

    /// Whether there is room for a first call, however short its prompt. Sets nothing aside.
    pub async fn fits_daily_caps(
        &self,
        request: &ModelRequest,
    ) -> Result<Result<(), BudgetExhausted>, StoreError> {
        let worst = worst_case(request, self.model.price());
        let room = self.journal.fits_daily_caps(worst, self.caps).await?;
        Ok(room.map_err(BudgetExhausted::from))
    }

    fn wasted(
        &self,
        why: String,
        counted: Option<Usage>,
        worst: WorstCase,
        milliseconds: u64,
    ) -> TranscriptEvent {
        let model = self.model.name().to_owned();
        match counted {
            Some(usage) => {
                let usd = self.model.price().map(|price| price.of(&usage));
                TranscriptEvent::CallWasted { why, model, usage, usd, counted: true, milliseconds }
            }
            None => at_most(why, model, worst, milliseconds),
        }
    }
}

/// Settles a call of this job whose cost was never recorded, as the most that it can have been: the
/// process died during it, or the job was stopped. Answers with what was recorded.
pub async fn charge_unrecorded_call(journal: &Journal) -> Result<Option<TranscriptEvent>, StoreError> {
    let Some(call) = journal.unsettled_call().await? else { return Ok(None) };
    let why = "its answer was not recorded: the job was stopped, or the process ended, during the call";
    let event = at_most(why.to_owned(), call.model, call.worst, 0);
    journal.append(std::slice::from_ref(&event)).await?;
    Ok(Some(event))
}

fn at_most(why: String, model: String, worst: WorstCase, milliseconds: u64) -> TranscriptEvent {
    let usage =
        Usage { input_tokens: worst.input_tokens, output_tokens: worst.output_tokens, ..Usage::default() };
    TranscriptEvent::CallWasted { why, model, usage, usd: worst.usd, counted: false, milliseconds }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
