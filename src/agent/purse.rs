//! Stand-in until the real one is merged; never committed.

use std::time::Instant;

use crate::domain::{Budget, BudgetExhausted, Spend};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, worst_case};
use crate::store::{Journal, StoreError};

/// What a job's model calls are paid from.
#[derive(Clone, Copy)]
pub struct Purse<'a> {
    /// Who is asked.
    pub model: &'a dyn Model,
    /// Where money is set aside, and spent.
    pub journal: &'a Journal,
    /// What the job may spend.
    pub budget: &'a Budget,
}

/// An answer that was paid for.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    /// The answer.
    pub reply: ModelReply,
    /// What it cost, in US dollars, where the model has a price.
    pub usd: Option<f64>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
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

impl Purse<'_> {
    /// Asks.
    pub async fn ask(&self, spend: &mut Spend, request: &ModelRequest) -> Result<Paid, Denied> {
        let worst = worst_case(request, self.model.price());
        self.budget.check(spend, worst)?;
        let asked = Instant::now();
        let reply = self.model.complete(request).await?;
        let usd = self.model.price().map(|price| price.of(&reply.usage));
        Ok(Paid { reply, usd, milliseconds: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }
}
