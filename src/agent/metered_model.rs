//! The metered model: the only place that calls a model. Every call is checked against the budgets before
//! it, and accounted for after it.
//!
//! Before a call, its worst-case cost must fit the job's budget, and is reserved in the store against the
//! daily caps of the repository and the installation. After the call, the event with the answer settles the
//! reservation in the transaction that records it. A call without an answer releases its reservation if it
//! certainly cost nothing. Otherwise it is recorded at the provider's count, or at its worst-case cost.

use std::time::Instant;

use crate::domain::{Budget, BudgetExhausted, DailyCaps, Spend, TranscriptEvent, Usage, WorstCase};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, worst_case};
use crate::store::{Journal, StoreError};

/// How often an answer may break off before the call fails.
const BROKEN_MAX: u32 = 3;

/// A model with the limits of a job.
#[derive(Clone, Copy)]
pub struct MeteredModel<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// The job's log, which records reservations and costs.
    pub journal: &'a Journal,
    /// The job's limits.
    pub budget: &'a Budget,
    /// The daily limits of its repository and installation.
    pub caps: &'a DailyCaps,
}

/// An answer with its cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The answer.
    pub reply: ModelReply,
    /// The cost in US dollars, if the model has a price.
    pub usd: Option<f64>,
    /// Duration in milliseconds.
    pub milliseconds: u64,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelCallError {
    /// A limit is reached; the model was not called.
    #[error(transparent)]
    Exhausted(#[from] BudgetExhausted),
    /// The provider gave no answer, and retrying does not help.
    #[error(transparent)]
    Unusable(#[from] ModelError),
    /// The reservation or the cost cannot be recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MeteredModel<'_> {
    /// Calls the model if every limit allows it, and again if its answer breaks off. Cost without an answer
    /// is recorded here, and added to `spend`. The caller must record the answer with an event that has its
    /// [`cost`](TranscriptEvent::cost) before it calls again; until then, the worst case stays reserved.
    pub async fn ask(&self, spend: &mut Spend, request: &ModelRequest) -> Result<Completion, ModelCallError> {
        // Left by a worker that died, or by a caller that lost the answer.
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
                    tracing::warn!(broken, %detail, "answer broke off, retrying");
                    tokio::time::sleep(wait.saturating_mul(broken)).await;
                }
                Some(_) | None => return Err(error.into()),
            }
        }
    }

    /// Whether the daily caps allow a first call with the shortest prompt. Reserves nothing.
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

/// Charges a call of this job whose cost was never recorded at its worst-case cost: the process died during
/// the call, or the job was stopped. Returns the recorded event.
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
